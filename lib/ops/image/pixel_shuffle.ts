import { checkInteger } from "../../core/options.ts";
import { formatShape } from "../../core/shape.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { checkTensor } from "../_operands.ts";
import { permute, reshape } from "../shape/movement.ts";

/**
 * Images of r times the height and width from the channels: x [n, c r², h, w] as [n, c, h r, w r],
 * where y[n, c, i r + a, j r + b] = x[n, c r² + a r + b, i, j]; any axes may stand before the
 * channels. Any dtype. As torch.nn.functional.pixel_shuffle.
 *
 * @throws {ShapeError} when x has fewer than 3 axes, or r² does not divide the channels.
 *
 * ```ts
 * import { pixelShuffle, tensor } from "@cudeno/cudeno";
 * const x = tensor([1, 2, 3, 4], { shape: [1, 4, 1, 1] });
 * console.log(pixelShuffle(x, 2).shape); // [1, 1, 2, 2]
 * ```
 */
export function pixelShuffle(x: Tensor, r: number): Tensor {
  const [before, c, h, w] = parts("pixelShuffle", x, r);
  if (c % (r * r) !== 0) {
    throw new ShapeError(
      `pixelShuffle: x is ${formatShape(x.shape)}; its ${c} channels must be a multiple of ${
        r * r
      }`,
    );
  }
  return rearranged(x, [c / r / r, r, r, h, w], [0, 3, 1, 4, 2], [
    ...before,
    c / r / r,
    h * r,
    w * r,
  ]);
}

/**
 * The reverse of {@linkcode pixelShuffle}: x [n, c, h r, w r] as [n, c r², h, w]. As
 * torch.nn.functional.pixel_unshuffle.
 *
 * @throws {ShapeError} when x has fewer than 3 axes, or r does not divide height and width.
 *
 * ```ts
 * import { pixelUnshuffle, rand } from "@cudeno/cudeno";
 * console.log(pixelUnshuffle(rand([1, 3, 4, 6]), 2).shape); // [1, 12, 2, 3]
 * ```
 */
export function pixelUnshuffle(x: Tensor, r: number): Tensor {
  const [before, c, h, w] = parts("pixelUnshuffle", x, r);
  if (h % r !== 0 || w % r !== 0) {
    throw new ShapeError(
      `pixelUnshuffle: x is ${formatShape(x.shape)}; height and width must be multiples of ${r}`,
    );
  }
  return rearranged(x, [c, h / r, r, w / r, r], [0, 2, 4, 1, 3], [
    ...before,
    c * r * r,
    h / r,
    w / r,
  ]);
}

function parts(op: string, x: Tensor, r: number): [number[], number, number, number] {
  checkTensor(op, x);
  checkInteger(op, "r", r, 1);
  if (x.rank < 3) {
    throw new ShapeError(
      `${op}: x is ${formatShape(x.shape)}; it must be [n, channels, height, width]`,
    );
  }
  const [c, h, w] = x.shape.slice(-3) as [number, number, number];
  return [x.shape.slice(0, -3), c, h, w];
}

function rearranged(x: Tensor, split: number[], order: number[], shape: number[]): Tensor {
  const outer = shape.slice(0, -3).reduce((a, b) => a * b, 1);
  const axes = [0, ...order.map((axis) => axis + 1)];
  return reshape(permute(reshape(x, [outer, ...split]), axes), shape);
}
