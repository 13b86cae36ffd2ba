import type { DeviceName } from "../core/backend.ts";
import type { DType } from "../core/dtype.ts";
import { formatCall } from "../core/describe.ts";
import { checkInteger, checkNumber, checkOptions } from "../core/options.ts";
import { keep } from "../core/scope.ts";
import { formatShape } from "../core/shape.ts";
import { ones, zeros } from "../create.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";
import { checkTensor } from "../ops/_operands.ts";
import { groupNorm, instanceNorm } from "../ops/norm/group_norm.ts";
import { checkLocalResponse } from "../ops/norm/_local_response.ts";
import {
  localResponseNorm,
  type LocalResponseNormOptions,
} from "../ops/norm/local_response_norm.ts";
import { reshape } from "../ops/shape/movement.ts";
import type { Tensor } from "../tensor.ts";
import { Module } from "./module.ts";

/** Options of {@linkcode GroupNorm} and {@linkcode InstanceNorm2d}. */
export interface GroupNormOptions {
  /** Added to the variance. Default 1e-5. */
  eps?: number | undefined;
  /**
   * Whether there are a weight and a bias to learn. Default true for GroupNorm, false for
   * InstanceNorm.
   */
  affine?: boolean | undefined;
  /** Default: the device of init(). */
  device?: DeviceName | undefined;
  /** Default float32. */
  dtype?: DType | undefined;
}

/** What layers that normalise each image by itself have in common: weight, bias, eps. */
export abstract class ImageNorm extends Module {
  /** [channels], or null; starts at 1. */
  weight: Tensor | null;
  /** [channels], or null; starts at 0. */
  bias: Tensor | null;
  /** Added to the variance. */
  protected readonly eps: number;

  constructor(channels: number, affine: boolean, options: GroupNormOptions) {
    super();
    const name = new.target.name;
    checkInteger(name, "channels", channels, 1);
    checkOptions(name, options, ["eps", "affine", "device", "dtype"]);
    const { eps = 1e-5, affine: asked = affine, ...place } = options;
    checkNumber(name, "eps", eps, 0);
    const learned = { ...place, requiresGrad: true };
    this.eps = eps;
    using undo = new DisposableStack(); // frees what was made, should the rest fail
    undo.defer(() => super.dispose());
    this.weight = asked ? keep(ones([channels], learned)) : null;
    this.bias = asked ? keep(zeros([channels], learned)) : null;
    undo.move();
  }

  /** Such as `GroupNorm(2, 4)`. */
  protected describeAs(args: number[], affine: boolean): string {
    const asked = this.weight !== null;
    return formatCall(this.constructor.name, args, {
      eps: this.eps === 1e-5 ? undefined : this.eps,
      affine: asked === affine ? undefined : asked,
    });
  }
}

/**
 * groupNorm() of [n, channels, …], with a weight that starts at 1 and a bias that starts at 0; as
 * torch.nn.GroupNorm.
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * const layer = new nn.GroupNorm(2, 6);
 * console.log(layer.forward(rand([4, 6, 5, 5])).shape); // [4, 6, 5, 5]
 * ```
 */
export class GroupNorm extends ImageNorm {
  readonly #groups: number;
  readonly #channels: number;

  constructor(groups: number, channels: number, options: GroupNormOptions = {}) {
    checkInteger("GroupNorm", "groups", groups, 1);
    checkInteger("GroupNorm", "channels", channels, 1);
    if (channels % groups !== 0) {
      throw new ArgumentError(
        `GroupNorm: channels is ${channels}; it must be a multiple of the ${groups} groups`,
      );
    }
    super(channels, true, options);
    this.#groups = groups;
    this.#channels = channels;
  }

  /** x normalised. */
  override forward(x: Tensor): Tensor {
    checkTensor("GroupNorm", x);
    checkChannelCount("GroupNorm", x, 1, this.#channels);
    return groupNorm(x, this.#groups, { weight: this.weight, bias: this.bias, eps: this.eps });
  }

  /** `GroupNorm(groups, channels)`. */
  override describe(): string {
    return this.describeAs([this.#groups, this.#channels], true);
  }
}

function checkChannelCount(op: string, x: Tensor, axis: number, channels: number): void {
  if (x.shape[axis] === channels) return;
  throw new ShapeError(
    `${op}: x is ${formatShape(x.shape)}; axis ${axis} must be its ${channels} channels`,
  );
}

/** What layers of instance normalisation have in common: they differ in the shapes they take. */
export abstract class InstanceNorm extends ImageNorm {
  readonly #features: number;

  constructor(features: number, options: GroupNormOptions = {}) {
    super(features, false, options);
    this.#features = features;
  }

  /** The rank of a batch, and the names of its axes. */
  protected abstract readonly batch: readonly string[];

  /** x normalised; a batch, or one image without the axis of the batch. */
  override forward(x: Tensor): Tensor {
    const name = this.constructor.name;
    checkTensor(name, x);
    const { rank, shape } = x, axes = this.batch;
    if (rank !== axes.length && rank !== axes.length - 1) {
      throw new ShapeError(
        `${name}: x is ${formatShape(shape)}; it must be [${axes.join(", ")}], or that without n`,
      );
    }
    const single = rank < axes.length;
    checkChannelCount(name, x, single ? 0 : 1, this.#features);
    const options = { weight: this.weight, bias: this.bias, eps: this.eps };
    return reshape(instanceNorm(single ? reshape(x, [1, ...shape]) : x, options), shape);
  }

  /** Such as `InstanceNorm2d(features)`. */
  override describe(): string {
    return this.describeAs([this.#features], false);
  }
}

/**
 * instanceNorm() of [n, features, length]; as torch.nn.InstanceNorm1d, without running statistics:
 * no weight and bias unless `affine`.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * const layer = new nn.InstanceNorm1d(2);
 * console.log(layer.forward(tensor([[[1, 3], [10, 30]]])).dataSync()); // -1, 1, -1, 1
 * ```
 */
export class InstanceNorm1d extends InstanceNorm {
  /** The axes of a batch. */
  protected override readonly batch: readonly string[] = ["n", "features", "length"];
}

/**
 * instanceNorm() of images [n, features, height, width]; as torch.nn.InstanceNorm2d, without
 * running statistics: no weight and bias unless `affine`.
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * const layer = new nn.InstanceNorm2d(3, { affine: true });
 * console.log(layer.forward(rand([2, 3, 4, 4])).shape); // [2, 3, 4, 4]
 * ```
 */
export class InstanceNorm2d extends InstanceNorm {
  /** The axes of a batch. */
  protected override readonly batch: readonly string[] = ["n", "features", "height", "width"];
}

/**
 * localResponseNorm(); as torch.nn.LocalResponseNorm.
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * console.log(new nn.LocalResponseNorm(5).forward(rand([2, 8, 4, 4])).shape); // [2, 8, 4, 4]
 * ```
 */
export class LocalResponseNorm extends Module {
  readonly #size: number;
  readonly #given: LocalResponseNormOptions;

  constructor(size: number, options: LocalResponseNormOptions = {}) {
    super();
    checkLocalResponse("LocalResponseNorm", size, options);
    this.#size = size;
    this.#given = { ...options };
  }

  /** x normalised. */
  override forward(x: Tensor): Tensor {
    return localResponseNorm(x, this.#size, this.#given);
  }

  /** `LocalResponseNorm(size)`. */
  override describe(): string {
    return formatCall("LocalResponseNorm", [this.#size], { ...this.#given });
  }
}
