import { formatShape, sizeOf } from "../../core/shape.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { autocasted, checkDType, floats, inFloat32 } from "../_operands.ts";
import { add, mul, pow } from "../elementwise/binary.ts";
import { reshape } from "../shape/movement.ts";
import { pad } from "../shape/pad.ts";
import { slice } from "../shape/slice.ts";
import { checkLocalResponse } from "./_local_response.ts";

/** Options of {@linkcode localResponseNorm}. */
export interface LocalResponseNormOptions {
  /** What the mean square is multiplied by. Default 1e-4. */
  alpha?: number | undefined;
  /** The power that x is divided by. Default 0.75. */
  beta?: number | undefined;
  /** Added to the mean square. Default 1. */
  k?: number | undefined;
}

/**
 * x / (k + alpha m)^beta, with m the mean of the squares of the `size` channels around each, those
 * beyond the ends being 0; x is [n, channels, …]. As torch.nn.functional.local_response_norm
 * (Krizhevsky et al., 2012). Made of operations, of the sum of `size` shifted squares; its result
 * is contiguous. Floats; 16-bit ones compute in float32.
 *
 * @throws {ShapeError} when x has fewer than 3 axes.
 *
 * ```ts
 * import { localResponseNorm, ones } from "@cudeno/cudeno";
 * console.log(localResponseNorm(ones([1, 2, 1]), 2, { alpha: 2, beta: 1 }).dataSync());
 * // 1 / 2, 1 / 3
 * ```
 */
export function localResponseNorm(
  x: Tensor,
  size: number,
  options: LocalResponseNormOptions = {},
): Tensor {
  const op = "localResponseNorm";
  checkDType(op, x, floats);
  const { alpha, beta, k } = checkLocalResponse(op, size, options);
  if (x.rank < 3) {
    throw new ShapeError(`${op}: x is ${formatShape(x.shape)}; it must be [n, channels, …]`);
  }
  const [n, channels] = x.shape as [number, number];
  const before = Math.floor(size / 2);
  return inFloat32(autocasted("float32", x), (x) => {
    const flat = reshape(x, [n, channels, sizeOf(x.shape.slice(2))]);
    const squares = pad(mul(flat, flat), [[0, 0], [before, size - 1 - before], [0, 0]]);
    let sum = slice(squares, 1, 0, channels);
    for (let i = 1; i < size; i++) sum = add(sum, slice(squares, 1, i, i + channels));
    return reshape(mul(flat, pow(add(mul(sum, alpha / size), k), -beta)), x.shape);
  });
}
