import { formatValue } from "../../core/describe.ts";
import { contiguousStrides, formatShape, normalizeAxis } from "../../core/shape.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { checkTensor } from "../_operands.ts";
import { take } from "./_window.ts";

/**
 * x at one place of an axis, without that axis; a negative index counts from the end. A view, as
 * with {@linkcode slice}, where it can be. Any dtype. As torch.select.
 *
 * ```ts
 * import { select, tensor } from "@cudeno/cudeno";
 * console.log(select(tensor([[1, 2], [3, 4]]), 1, -1).dataSync()); // 2, 4
 * ```
 */
export function select(x: Tensor, axis: number, index: number): Tensor {
  checkTensor("select", x);
  const at = normalizeAxis("select", axis, x.rank);
  const extent = x.shape[at]!;
  if (!Number.isInteger(index) || index < -extent || index >= extent) {
    throw new ShapeError(
      `select: index is ${formatValue(index)}; axis ${axis} of ${
        formatShape(x.shape)
      } has places ${-extent}..${extent - 1}`,
    );
  }
  const strides = contiguousStrides(x.shape);
  return take("select", x, {
    shape: x.shape.toSpliced(at, 1),
    strides: strides.toSpliced(at, 1),
    offset: (index < 0 ? index + extent : index) * strides[at]!,
  });
}
