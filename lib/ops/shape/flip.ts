import { record } from "../../core/autograd.ts";
import { contiguousStrides, normalizeAxes } from "../../core/shape.ts";
import type { Tensor } from "../../tensor.ts";
import { checkTensor } from "../_operands.ts";
import { gathered } from "./_window.ts";

/**
 * x with the order of elements reversed along the axes; along all of them when none are given. Any
 * dtype. As torch.flip.
 *
 * ```ts
 * import { flip, tensor } from "@cudeno/cudeno";
 * console.log(flip(tensor([[1, 2], [3, 4]]), 1).dataSync()); // 2, 1, 4, 3
 * ```
 */
export function flip(x: Tensor, axes?: number | readonly number[]): Tensor {
  checkTensor("flip", x);
  const list = normalizeAxes("flip", axes, x.rank).filter((axis) => x.shape[axis]! > 1);
  if (list.length === 0 || x.size === 0) return x;
  const own = contiguousStrides(x.shape);
  const strides = own.map((stride, d) => (list.includes(d) ? -stride : stride));
  const offset = list.reduce((sum, axis) => sum + (x.shape[axis]! - 1) * own[axis]!, 0);
  const y = gathered(x, { shape: x.shape, strides, offset });
  return record(y, "flip", [x], (grad) => [flip(grad, list)]);
}
