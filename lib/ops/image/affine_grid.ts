import { checkList, checkOptions } from "../../core/options.ts";
import { formatShape, type Shape } from "../../core/shape.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { autocasted, checkDType, floats, inFloat32 } from "../_operands.ts";
import { add, mul, sub } from "../elementwise/binary.ts";
import { reshape } from "../shape/movement.ts";
import { select } from "../shape/select.ts";
import { places } from "./_places.ts";

/** Options of {@linkcode affineGrid}. */
export interface AffineGridOptions {
  /** As for gridSample(). Default false. */
  alignCorners?: boolean | undefined;
}

/**
 * A grid [n, h, w, 2] for gridSample() to images of `size` [n, channels, h, w]: theta [n, 2, 3]
 * times (x, y, 1) for the places x, y of the pixels, from -1 to 1. As
 * torch.nn.functional.affine_grid. Floats; 16-bit ones compute in float32.
 *
 * @throws {ShapeError} when theta is not [n, 2, 3], or the size not that of n images.
 *
 * ```ts
 * import { affineGrid, gridSample, tensor } from "@cudeno/cudeno";
 * const mirror = tensor([[[-1, 0, 0], [0, 1, 0]]]);
 * const x = tensor([[[[1, 2, 3]]]]);
 * console.log(gridSample(x, affineGrid(mirror, [1, 1, 1, 3])).dataSync()); // 3, 2, 1
 * ```
 */
export function affineGrid(theta: Tensor, size: Shape, options: AffineGridOptions = {}): Tensor {
  const op = "affineGrid";
  checkOptions(op, options, ["alignCorners"]);
  checkDType(op, theta, floats);
  const whole = (n: unknown) => Number.isSafeInteger(n) && (n as number) > 0;
  checkList(op, "size", size, whole, "whole numbers, at least 1");
  const [n, , h, w] = size as [number, number, number, number];
  if (
    size.length !== 4 || theta.rank !== 3 || formatShape(theta.shape) !== formatShape([n, 2, 3])
  ) {
    throw new ShapeError(
      `${op}: theta is ${formatShape(theta.shape)}, the size ${formatShape(size)}; they must be ` +
        "[n, 2, 3] and [n, channels, height, width]",
    );
  }
  const { alignCorners = false } = options;
  return inFloat32(autocasted("float32", theta), (theta) => {
    const along = (count: number) => {
      const k = places(theta, count);
      if (!alignCorners) return sub(mul(add(mul(k, 2), 1), 1 / count), 1);
      return count === 1 ? k : sub(mul(k, 2 / (count - 1)), 1);
    };
    const columns = [0, 1, 2].map((i) => reshape(select(theta, 2, i), [n, 1, 1, 2]));
    const x = mul(reshape(along(w), [w, 1]), columns[0]!);
    const y = mul(reshape(along(h), [h, 1, 1]), columns[1]!);
    return add(add(x, y), columns[2]!);
  });
}
