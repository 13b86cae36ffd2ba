import { formatCall } from "../core/describe.ts";
import { checkTensor } from "../ops/_operands.ts";
import type { DeviceName } from "../core/backend.ts";
import type { DType } from "../core/dtype.ts";
import { checkInteger, checkOptions } from "../core/options.ts";
import { keep } from "../core/scope.ts";
import { formatShape } from "../core/shape.ts";
import { ones, zeros } from "../create.ts";
import { ShapeError } from "../native/errors.ts";
import { batchNorm } from "../ops/norm/batch_norm.ts";
import { checkBatchNorm } from "../ops/norm/_batch_norm.ts";
import type { Tensor } from "../tensor.ts";
import { Module } from "./module.ts";

/** Options of {@linkcode BatchNorm1d} and its like. */
export interface BatchNormOptions {
  /** Added to the variance. Default 1e-5. */
  eps?: number | undefined;
  /**
   * The share of the new statistics in the running ones; null for the average of all so far.
   * Default 0.1.
   */
  momentum?: number | null | undefined;
  /** Whether there are a weight and a bias to learn. Default true. */
  affine?: boolean | undefined;
  /**
   * Whether statistics are gathered in training for evaluation; else evaluation uses the batch's
   * own. Default true.
   */
  trackRunningStats?: boolean | undefined;
  /** Default: the device of init(). */
  device?: DeviceName | undefined;
  /** Default float32. The running statistics of 16-bit floats are float32. */
  dtype?: DType | undefined;
}

/** What layers of batch normalisation have in common: they differ in the shapes that they take. */
export abstract class BatchNorm extends Module {
  /** [features], or null; starts at 1. */
  weight: Tensor | null;
  /** [features], or null; starts at 0. */
  bias: Tensor | null;
  /** [features], or null; starts at 0. */
  running_mean: Tensor | null;
  /** [features], or null; starts at 1. */
  running_var: Tensor | null;
  /** How many batches have been seen in training, or null; int32. */
  num_batches_tracked: Tensor | null;
  /** What is added to the variance. */
  readonly eps: number;
  readonly #momentum: number | null;
  readonly #features: number;

  constructor(features: number, options: BatchNormOptions = {}) {
    super();
    const name = new.target.name;
    checkInteger(name, "features", features, 1);
    const known = ["eps", "momentum", "affine", "trackRunningStats", "device", "dtype"];
    checkOptions(name, options, known);
    const {
      eps = 1e-5,
      momentum = 0.1,
      affine = true,
      trackRunningStats = true,
      dtype = "float32",
      ...place
    } = options;
    checkBatchNorm(name, { momentum, eps });
    this.#momentum = momentum;
    this.eps = eps;
    this.#features = features;
    const learned = { ...place, dtype, requiresGrad: true };
    const gathered = { ...place, dtype: dtype === "float64" ? dtype : "float32" } as const;
    using undo = new DisposableStack(); // frees what was made, should the rest fail
    undo.defer(() => super.dispose());
    this.weight = affine ? keep(ones([features], learned)) : null;
    this.bias = affine ? keep(zeros([features], learned)) : null;
    this.running_mean = trackRunningStats ? keep(zeros([features], gathered)) : null;
    this.running_var = trackRunningStats ? keep(ones([features], gathered)) : null;
    this.num_batches_tracked = trackRunningStats
      ? keep(zeros([], { ...place, dtype: "int32" }))
      : null;
    undo.move();
  }

  /** Throws a ShapeError unless x has a shape that the layer takes. */
  protected abstract checkInput(x: Tensor): void;

  /** x normalised; in training mode by the batch's statistics, which the running ones follow. */
  override forward(x: Tensor): Tensor {
    return this.activated(x);
  }

  /** activation(forward(x) + residual) as one operation; the residual of x's shape and dtype. */
  activated(x: Tensor, activation?: "relu", residual?: Tensor): Tensor {
    checkTensor(this.constructor.name, x);
    this.checkInput(x);
    if (x.shape[1] !== this.#features) {
      throw new ShapeError(
        `${this.constructor.name}: x is ${formatShape(x.shape)}; it must have ${this.#features} ` +
          "features, axis 1, as the layer was made for",
      );
    }
    return batchNorm(x, {
      weight: this.weight,
      bias: this.bias,
      runningMean: this.running_mean,
      runningVar: this.running_var,
      numBatchesTracked: this.num_batches_tracked,
      training: this.training,
      momentum: this.#momentum,
      eps: this.eps,
      residual,
      activation,
    });
  }

  /** Such as `BatchNorm1d(features)`. */
  override describe(): string {
    return formatCall(this.constructor.name, [this.#features], {
      eps: this.eps === 1e-5 ? undefined : this.eps,
      momentum: this.#momentum === 0.1 ? undefined : this.#momentum,
      affine: this.weight ? undefined : false,
      trackRunningStats: this.running_mean ? undefined : false,
    });
  }
}

/**
 * batchNorm() of [n, features] or [n, features, length]; as torch.nn.BatchNorm1d.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * const layer = new nn.BatchNorm1d(2);
 * console.log(layer.forward(tensor([[1, 10], [3, 30]])).dataSync()); // -1, -1, 1, 1
 * console.log(layer.running_mean!.dataSync()); // 0.2, 2
 * ```
 */
export class BatchNorm1d extends BatchNorm {
  /** Takes [n, features] and [n, features, length]. */
  protected override checkInput(x: Tensor): void {
    if (x.rank !== 2 && x.rank !== 3) {
      throw new ShapeError(
        `BatchNorm1d: x is ${
          formatShape(x.shape)
        }; it must be [n, features] or [n, features, length]`,
      );
    }
  }
}

/**
 * batchNorm() of images [n, features, height, width]; as torch.nn.BatchNorm2d. Keeps the memory
 * format.
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * const layer = new nn.BatchNorm2d(3);
 * console.log(layer.forward(rand([2, 3, 4, 4])).shape); // [2, 3, 4, 4]
 * ```
 */
export class BatchNorm2d extends BatchNorm {
  /** Takes [n, features, height, width]. */
  protected override checkInput(x: Tensor): void {
    if (x.rank !== 4) {
      throw new ShapeError(
        `BatchNorm2d: x is ${formatShape(x.shape)}; it must be [n, features, height, width]`,
      );
    }
  }
}
