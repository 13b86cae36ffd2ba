import { checkOptions } from "../../core/options.ts";
import type { Tensor } from "../../tensor.ts";
import { maxPool } from "./_max_pool.ts";
import {
  adaptiveOf,
  type AdaptiveSize,
  type PoolSize,
  type WindowOptions,
  windowsOf,
} from "./_pool.ts";

export type { AdaptiveSize, PoolSize, WindowOptions };

/** Options of {@linkcode adaptiveMaxPool2d} and {@linkcode adaptiveMaxPool1d}. */
export interface AdaptiveMaxPoolOptions<
  Indices extends boolean = boolean,
> {
  /** Whether to give the places of the elements too. Default false. */
  returnIndices?: Indices | undefined;
}

/** Options of {@linkcode maxPool2d} and, with `number`, of {@linkcode maxPool1d}. */
export interface MaxPoolOptions<
  Size = PoolSize,
  Indices extends boolean = boolean,
> extends WindowOptions<Size>, AdaptiveMaxPoolOptions<Indices> {}

/** What poolings give with `returnIndices: true`. */
export interface MaxPoolResult {
  /** The largest elements. */
  values: Tensor;
  /** Where they are in their image, row * width + column; int32. */
  indices: Tensor;
}

/** The largest elements alone, or with `returnIndices: true` their places too. */
export type MaxPooled<Indices> = Indices extends true ? MaxPoolResult : Tensor;

const keys = ["kernelSize", "stride", "padding", "dilation", "ceilMode", "returnIndices"];

/**
 * The largest element of each window of images x [n, c, h, w] or [c, h, w], by channel:
 *
 * y[n][c][i][j] = the largest x[n][c][i * stride - padding + k * dilation][…], k < kernelSize
 *
 * as torch.nn.functional.max_pool2d. An axis of h becomes one of (h + 2 padding - dilation
 * (kernelSize - 1) - 1) / stride + 1 places, rounded down, or up with ceilMode, but no window
 * begins behind the image. NaN counts as the largest; of equal elements the first gets the
 * gradient. Floats. The result has the memory format of x. With `returnIndices: true` there are
 * values and indices.
 *
 * @throws {ShapeError} for another rank, windows that do not fit, or padding of more than half of
 * kernelSize.
 *
 * ```ts
 * import { maxPool2d, tensor } from "@cudeno/cudeno";
 * const x = tensor([[[1, 2, 5, 0], [4, 3, 1, 7]]]); // one channel of 2 x 4
 * console.log(maxPool2d(x, { kernelSize: 2 }).dataSync()); // 4, 7
 * const { indices } = maxPool2d(x, { kernelSize: 2, returnIndices: true });
 * console.log(indices.dataSync()); // 4, 7
 * ```
 */
export function maxPool2d<Indices extends boolean = false>(
  x: Tensor,
  options: MaxPoolOptions<PoolSize, Indices>,
): MaxPooled<Indices> {
  return maxPool(x, windowsOf("maxPool2d", false, options, keys), options.returnIndices);
}

/**
 * {@linkcode maxPool2d} of one axis: x is [n, c, l] or [c, l]; as torch.nn.functional.max_pool1d.
 *
 * ```ts
 * import { maxPool1d, tensor } from "@cudeno/cudeno";
 * const x = tensor([[1, 3, 2, 5, 4]]);
 * console.log(maxPool1d(x, { kernelSize: 3, stride: 2 }).dataSync()); // 3, 5
 * ```
 */
export function maxPool1d<Indices extends boolean = false>(
  x: Tensor,
  options: MaxPoolOptions<number, Indices>,
): MaxPooled<Indices> {
  return maxPool(x, windowsOf("maxPool1d", true, options, keys), options.returnIndices);
}

/**
 * The largest element of each of outputSize windows that share out an image: of an axis of h they
 * are the places from i h / out, rounded down, to (i + 1) h / out, rounded up. x is [n, c, h, w] or
 * [c, h, w]; all else is as in {@linkcode maxPool2d}. As torch.nn.functional.adaptive_max_pool2d.
 *
 * ```ts
 * import { adaptiveMaxPool2d, tensor } from "@cudeno/cudeno";
 * const x = tensor([[[1, 2, 3], [6, 5, 4]]]);
 * console.log(adaptiveMaxPool2d(x, [1, 2]).dataSync()); // 6, 5
 * ```
 */
export function adaptiveMaxPool2d<Indices extends boolean = false>(
  x: Tensor,
  outputSize: AdaptiveSize,
  options: AdaptiveMaxPoolOptions<Indices> = {},
): MaxPooled<Indices> {
  checkOptions("adaptiveMaxPool2d", options, ["returnIndices"]);
  const plan = adaptiveOf("adaptiveMaxPool2d", false, outputSize);
  return maxPool(x, plan, options.returnIndices);
}

/**
 * {@linkcode adaptiveMaxPool2d} of one axis: x is [n, c, l] or [c, l]; as
 * torch.nn.functional.adaptive_max_pool1d.
 *
 * ```ts
 * import { adaptiveMaxPool1d, tensor } from "@cudeno/cudeno";
 * console.log(adaptiveMaxPool1d(tensor([[1, 3, 2, 5]]), 2).dataSync()); // 3, 5
 * ```
 */
export function adaptiveMaxPool1d<Indices extends boolean = false>(
  x: Tensor,
  outputSize: number,
  options: AdaptiveMaxPoolOptions<Indices> = {},
): MaxPooled<Indices> {
  checkOptions("adaptiveMaxPool1d", options, ["returnIndices"]);
  const plan = adaptiveOf("adaptiveMaxPool1d", true, outputSize);
  return maxPool(x, plan, options.returnIndices);
}
