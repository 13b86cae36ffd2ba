import type { Tensor } from "../../tensor.ts";
import { avgPool, shareOf } from "./_avg_pool.ts";
import {
  adaptiveOf,
  type AdaptiveSize,
  type PoolSize,
  type WindowOptions,
  windowsOf,
} from "./_pool.ts";

/** Options of {@linkcode avgPool2d} and, with `number`, of {@linkcode avgPool1d}. */
export interface AvgPoolOptions<Size = PoolSize> extends Omit<WindowOptions<Size>, "dilation"> {
  /** Whether the padding counts as places to divide by. Default true. */
  countIncludePad?: boolean | undefined;
  /** What to divide sums by instead of the number of places. */
  divisorOverride?: number | undefined;
}

const keys = ["kernelSize", "stride", "padding", "ceilMode", "countIncludePad", "divisorOverride"];

/**
 * The average of each window of images x [n, c, h, w] or [c, h, w], by channel:
 *
 * y[n][c][i][j] = the sum of x[n][c][i * stride - padding + k][…], k < kernelSize, / places
 *
 * as torch.nn.functional.avg_pool2d. The results' extents are those of {@linkcode maxPool2d}.
 * Places are those of the window in the image and its padding, or with `countIncludePad: false` in
 * the image alone. Floats; sums are in float32, of float64 in float64. The result has the memory
 * format of x.
 *
 * @throws {ShapeError} for another rank, windows that do not fit, or padding of more than half of
 * kernelSize.
 *
 * ```ts
 * import { avgPool2d, tensor } from "@cudeno/cudeno";
 * const x = tensor([[[1, 2, 5, 0], [4, 3, 1, 6]]]); // one channel of 2 x 4
 * console.log(avgPool2d(x, { kernelSize: 2 }).dataSync()); // 2.5, 3
 * ```
 */
export function avgPool2d(x: Tensor, options: AvgPoolOptions): Tensor {
  const plan = windowsOf("avgPool2d", false, options, keys);
  return avgPool(x, plan, shareOf("avgPool2d", options));
}

/**
 * {@linkcode avgPool2d} of one axis: x is [n, c, l] or [c, l]; as torch.nn.functional.avg_pool1d.
 *
 * ```ts
 * import { avgPool1d, tensor } from "@cudeno/cudeno";
 * const x = tensor([[1, 3, 2, 6]]);
 * console.log(avgPool1d(x, { kernelSize: 2 }).dataSync()); // 2, 4
 * ```
 */
export function avgPool1d(x: Tensor, options: AvgPoolOptions<number>): Tensor {
  const plan = windowsOf("avgPool1d", true, options, keys);
  return avgPool(x, plan, shareOf("avgPool1d", options));
}

/**
 * The average of each of outputSize windows that share out an image, as in {@linkcode
 * adaptiveMaxPool2d}; 1 for the average of whole images. x is [n, c, h, w] or [c, h, w], of floats.
 * As torch.nn.functional.adaptive_avg_pool2d.
 *
 * ```ts
 * import { adaptiveAvgPool2d, tensor } from "@cudeno/cudeno";
 * const x = tensor([[[1, 2, 3], [6, 5, 4]]]);
 * console.log(adaptiveAvgPool2d(x, 1).dataSync()); // 3.5
 * console.log(adaptiveAvgPool2d(x, [null, 2]).dataSync()); // 1.5, 2.5, 5.5, 4.5
 * ```
 */
export function adaptiveAvgPool2d(x: Tensor, outputSize: AdaptiveSize): Tensor {
  return avgPool(x, adaptiveOf("adaptiveAvgPool2d", false, outputSize));
}

/**
 * {@linkcode adaptiveAvgPool2d} of one axis: x is [n, c, l] or [c, l]; as
 * torch.nn.functional.adaptive_avg_pool1d.
 *
 * ```ts
 * import { adaptiveAvgPool1d, tensor } from "@cudeno/cudeno";
 * console.log(adaptiveAvgPool1d(tensor([[1, 3, 2, 6]]), 2).dataSync()); // 2, 4
 * ```
 */
export function adaptiveAvgPool1d(x: Tensor, outputSize: number): Tensor {
  return avgPool(x, adaptiveOf("adaptiveAvgPool1d", true, outputSize));
}
