import { formatValue } from "../../core/describe.ts";
import { checkInteger, checkList } from "../../core/options.ts";
import { checkShape, formatShape, normalizeAxis, sizeOf } from "../../core/shape.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { checkTensor } from "../_operands.ts";
import { indexOf } from "../index/_scatter.ts";
import { indexSelect } from "../index/index_select.ts";
import { broadcastTo, flatten, reshape } from "./movement.ts";

/**
 * x with each element of an axis `repeats` times in a row, or each as often as an array of counts
 * says; without an axis, of all elements as one line. Any dtype. As torch.repeat_interleave;
 * {@linkcode tile} repeats the whole.
 *
 * ```ts
 * import { repeatInterleave, tensor } from "@cudeno/cudeno";
 * console.log(repeatInterleave(tensor([1, 2]), 2).dataSync()); // 1, 1, 2, 2
 * console.log(repeatInterleave(tensor([[1, 2]]), [0, 3], 1).dataSync()); // 2, 2, 2
 * ```
 */
export function repeatInterleave(
  x: Tensor,
  repeats: number | readonly number[],
  axis?: number,
): Tensor {
  const op = "repeatInterleave";
  checkTensor(op, x);
  if (axis === undefined) [x, axis] = [flatten(x), 0];
  const at = normalizeAxis(op, axis, x.rank);
  const extent = x.shape[at]!;
  if (!Array.isArray(repeats)) {
    const times = repeats as number;
    checkInteger(op, "repeats", times, 0);
    const shape = x.shape.with(at, extent * times);
    checkShape(op, shape);
    const [outer, inner] = [sizeOf(x.shape.slice(0, at + 1)), sizeOf(x.shape.slice(at + 1))];
    return reshape(broadcastTo(reshape(x, [outer, 1, inner]), [outer, times, inner]), shape);
  }
  const counts: readonly number[] = repeats;
  const whole = (n: unknown) => Number.isSafeInteger(n) && n as number >= 0;
  checkList(op, "repeats", counts, whole, "whole numbers, at least 0");
  if (counts.length !== extent) {
    throw new ShapeError(
      `${op}: repeats is ${formatValue(repeats)}; axis ${axis} of ${
        formatShape(x.shape)
      } needs ${extent} counts`,
    );
  }
  checkShape(op, x.shape.with(at, counts.reduce((sum, n) => sum + n, 0)));
  return indexSelect(x, at, indexOf(x, counts.flatMap((n, i) => new Array<number>(n).fill(i))));
}
