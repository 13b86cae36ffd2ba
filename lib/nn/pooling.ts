import { formatCall } from "../core/describe.ts";
import { checkOptions } from "../core/options.ts";
import { avgPool, shareOf } from "../ops/pool/_avg_pool.ts";
import { maxPool } from "../ops/pool/_max_pool.ts";
import {
  adaptiveOf,
  type AdaptiveSize,
  type Plan,
  type PoolSize,
  type WindowOptions,
  windowsOf,
} from "../ops/pool/_pool.ts";
import type { AvgPoolOptions } from "../ops/pool/avg_pool.ts";
import type { Tensor } from "../tensor.ts";
import { Module } from "./module.ts";

/** Options of {@linkcode MaxPool2d} and, with `number`, of {@linkcode MaxPool1d}. */
export type MaxPoolLayerOptions<Size = PoolSize> = Omit<WindowOptions<Size>, "kernelSize">;

/** Options of {@linkcode AvgPool2d} and, with `number`, of {@linkcode AvgPool1d}. */
export type AvgPoolLayerOptions<Size = PoolSize> = Omit<AvgPoolOptions<Size>, "kernelSize">;

/** What layers of pooling have in common: a function, and the call that they print as. */
export abstract class PoolBase extends Module {
  readonly #size: AdaptiveSize;
  readonly #options: object;
  readonly #pool: (x: Tensor) => Tensor;

  constructor(size: AdaptiveSize, options: object, pool: (x: Tensor) => Tensor) {
    super();
    this.#size = size;
    this.#options = options;
    this.#pool = pool;
  }

  /** x pooled. */
  override forward(x: Tensor): Tensor {
    return this.#pool(x);
  }

  /** Such as `MaxPool2d(3, { stride: 2 })`. */
  override describe(): string {
    return formatCall(this.constructor.name, [this.#size], { ...this.#options });
  }
}

const maxKeys = ["stride", "padding", "dilation", "ceilMode"];
const avgKeys = ["stride", "padding", "ceilMode", "countIncludePad", "divisorOverride"];

function windows<Size extends PoolSize>(
  name: string,
  line: boolean,
  kernelSize: Size,
  options: object,
  known: readonly string[],
): Plan {
  checkOptions(name, options, known);
  return windowsOf(name, line, { ...options, kernelSize }, ["kernelSize", ...known]);
}

/**
 * The largest element of each window of [n, c, l] or [c, l], by maxPool1d(); as torch.nn.MaxPool1d.
 *
 * ```ts
 * import { nn, zeros } from "@cudeno/cudeno";
 * console.log(new nn.MaxPool1d(2).forward(zeros([8, 3, 32])).shape); // [8, 3, 16]
 * ```
 */
export class MaxPool1d extends PoolBase {
  constructor(kernelSize: number, options: MaxPoolLayerOptions<number> = {}) {
    const plan = windows("MaxPool1d", true, kernelSize, options, maxKeys);
    super(kernelSize, options, (x) => maxPool(x, plan));
  }
}

/**
 * The average of each window of [n, c, l] or [c, l], by avgPool1d(); as torch.nn.AvgPool1d.
 *
 * ```ts
 * import { nn, zeros } from "@cudeno/cudeno";
 * console.log(new nn.AvgPool1d(2).forward(zeros([8, 3, 32])).shape); // [8, 3, 16]
 * ```
 */
export class AvgPool1d extends PoolBase {
  constructor(kernelSize: number, options: AvgPoolLayerOptions<number> = {}) {
    const plan = windows("AvgPool1d", true, kernelSize, options, avgKeys);
    const share = shareOf("AvgPool1d", { ...options, kernelSize });
    super(kernelSize, options, (x) => avgPool(x, plan, share));
  }
}

/**
 * The largest element of each window of images [n, c, h, w] or [c, h, w], by
 * maxPool2d(); as torch.nn.MaxPool2d.
 *
 * ```ts
 * import { nn, zeros } from "@cudeno/cudeno";
 * console.log(new nn.MaxPool2d(2).forward(zeros([8, 3, 32, 32])).shape); // [8, 3, 16, 16]
 * ```
 */
export class MaxPool2d extends PoolBase {
  /** Whether windows are 2 x 2, side by side, which a convolution can take along. */
  readonly halves: boolean;

  constructor(kernelSize: PoolSize, options: MaxPoolLayerOptions = {}) {
    const plan = windows("MaxPool2d", false, kernelSize, options, maxKeys);
    super(kernelSize, options, (x) => maxPool(x, plan));
    this.halves = plan.halves ?? false;
  }
}

/**
 * The average of each window of images [n, c, h, w] or [c, h, w], by avgPool2d();
 * as torch.nn.AvgPool2d.
 *
 * ```ts
 * import { nn, zeros } from "@cudeno/cudeno";
 * console.log(new nn.AvgPool2d(2).forward(zeros([8, 3, 32, 32])).shape); // [8, 3, 16, 16]
 * ```
 */
export class AvgPool2d extends PoolBase {
  constructor(kernelSize: PoolSize, options: AvgPoolLayerOptions = {}) {
    const plan = windows("AvgPool2d", false, kernelSize, options, avgKeys);
    const share = shareOf("AvgPool2d", { ...options, kernelSize });
    super(kernelSize, options, (x) => avgPool(x, plan, share));
  }
}

/**
 * The largest element of each of outputSize windows that share out [n, c, l] or [c, l], by
 * adaptiveMaxPool1d(). As torch.nn.AdaptiveMaxPool1d.
 *
 * ```ts
 * import { nn, zeros } from "@cudeno/cudeno";
 * console.log(new nn.AdaptiveMaxPool1d(1).forward(zeros([8, 3, 32])).shape); // [8, 3, 1]
 * ```
 */
export class AdaptiveMaxPool1d extends PoolBase {
  constructor(outputSize: number) {
    const plan = adaptiveOf("AdaptiveMaxPool1d", true, outputSize);
    super(outputSize, {}, (x) => maxPool(x, plan));
  }
}

/**
 * The average of each of outputSize windows that share out [n, c, l] or [c, l], by
 * adaptiveAvgPool1d(). As torch.nn.AdaptiveAvgPool1d.
 *
 * ```ts
 * import { nn, zeros } from "@cudeno/cudeno";
 * console.log(new nn.AdaptiveAvgPool1d(1).forward(zeros([8, 3, 32])).shape); // [8, 3, 1]
 * ```
 */
export class AdaptiveAvgPool1d extends PoolBase {
  constructor(outputSize: number) {
    const plan = adaptiveOf("AdaptiveAvgPool1d", true, outputSize);
    super(outputSize, {}, (x) => avgPool(x, plan));
  }
}

/**
 * The largest element of each of outputSize windows that share out images [n, c, h, w] or
 * [c, h, w], by adaptiveMaxPool2d(); 1 gives that of whole images. As torch.nn.AdaptiveMaxPool2d.
 *
 * ```ts
 * import { nn, zeros } from "@cudeno/cudeno";
 * console.log(new nn.AdaptiveMaxPool2d(1).forward(zeros([8, 3, 32, 32])).shape); // [8, 3, 1, 1]
 * ```
 */
export class AdaptiveMaxPool2d extends PoolBase {
  constructor(outputSize: AdaptiveSize) {
    const plan = adaptiveOf("AdaptiveMaxPool2d", false, outputSize);
    super(outputSize, {}, (x) => maxPool(x, plan));
  }
}

/**
 * The average of each of outputSize windows that share out images [n, c, h, w] or
 * [c, h, w], by adaptiveAvgPool2d(); 1 gives that of whole images. As torch.nn.AdaptiveAvgPool2d.
 *
 * ```ts
 * import { nn, zeros } from "@cudeno/cudeno";
 * console.log(new nn.AdaptiveAvgPool2d(1).forward(zeros([8, 3, 32, 32])).shape); // [8, 3, 1, 1]
 * ```
 */
export class AdaptiveAvgPool2d extends PoolBase {
  constructor(outputSize: AdaptiveSize) {
    const plan = adaptiveOf("AdaptiveAvgPool2d", false, outputSize);
    super(outputSize, {}, (x) => avgPool(x, plan));
  }
}
