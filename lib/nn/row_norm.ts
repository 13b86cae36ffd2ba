import { formatCall } from "../core/describe.ts";
import type { DeviceName } from "../core/backend.ts";
import type { DType } from "../core/dtype.ts";
import { checkNumber, checkOptions } from "../core/options.ts";
import { keep } from "../core/scope.ts";
import type { Shape } from "../core/shape.ts";
import { ones, zeros } from "../create.ts";
import { layerNorm } from "../ops/norm/layer_norm.ts";
import { normalizedShapeOf } from "../ops/norm/_row_norm.ts";
import { rmsNorm } from "../ops/norm/rms_norm.ts";
import type { Tensor } from "../tensor.ts";
import { Module } from "./module.ts";

/** Options of {@linkcode RMSNorm}. */
export interface RMSNormOptions {
  /** Added to the mean square. Default: the machine epsilon of x's dtype. */
  eps?: number | undefined;
  /** Whether there is a weight to learn. Default true. */
  elementwiseAffine?: boolean | undefined;
  /** Default: the device of init(). */
  device?: DeviceName | undefined;
  /** Default float32. */
  dtype?: DType | undefined;
}

/** Options of {@linkcode LayerNorm}. */
export interface LayerNormOptions extends RMSNormOptions {
  /** Added to the variance. Default 1e-5. */
  eps?: number | undefined;
  /** Whether there is a bias to learn too, where elementwiseAffine. Default true. */
  bias?: boolean | undefined;
}

/**
 * layerNorm() over the last axes, with a weight that starts at 1 and a bias that starts at 0; as
 * torch.nn.LayerNorm.
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * const layer = new nn.LayerNorm(8);
 * console.log(layer.forward(rand([4, 8])).shape); // [4, 8]
 * ```
 */
export class LayerNorm extends Module {
  /** Of normalizedShape, or null. */
  weight: Tensor | null;
  /** Of normalizedShape, or null. */
  bias: Tensor | null;
  readonly #shape: Shape;
  readonly #eps: number;

  constructor(normalizedShape: number | Shape, options: LayerNormOptions = {}) {
    super();
    checkOptions("LayerNorm", options, ["eps", "elementwiseAffine", "bias", "device", "dtype"]);
    const { eps = 1e-5, elementwiseAffine = true, bias = true, ...place } = options;
    checkNumber("LayerNorm", "eps", eps, 0);
    this.#shape = normalizedShapeOf("LayerNorm", normalizedShape);
    this.#eps = eps;
    const learned = { ...place, requiresGrad: true };
    using undo = new DisposableStack(); // frees what was made, should the rest fail
    undo.defer(() => super.dispose());
    this.weight = elementwiseAffine ? keep(ones(this.#shape, learned)) : null;
    this.bias = elementwiseAffine && bias ? keep(zeros(this.#shape, learned)) : null;
    undo.move();
  }

  /** x normalised. */
  override forward(x: Tensor): Tensor {
    return layerNorm(x, this.#shape, { weight: this.weight, bias: this.bias, eps: this.#eps });
  }

  /** `LayerNorm(extents)`. */
  override describe(): string {
    return formatCall("LayerNorm", [this.#shape.length === 1 ? this.#shape[0] : this.#shape], {
      eps: this.#eps === 1e-5 ? undefined : this.#eps,
      elementwiseAffine: this.weight ? undefined : false,
      bias: this.weight && !this.bias ? false : undefined,
    });
  }
}

/**
 * rmsNorm() over the last axes, with a weight that starts at 1; as torch.nn.RMSNorm.
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * const layer = new nn.RMSNorm(8);
 * console.log(layer.forward(rand([4, 8])).shape); // [4, 8]
 * ```
 */
export class RMSNorm extends Module {
  /** Of normalizedShape, or null. */
  weight: Tensor | null;
  readonly #shape: Shape;
  readonly #eps: number | undefined;

  constructor(normalizedShape: number | Shape, options: RMSNormOptions = {}) {
    super();
    checkOptions("RMSNorm", options, ["eps", "elementwiseAffine", "device", "dtype"]);
    const { eps, elementwiseAffine = true, ...place } = options;
    if (eps !== undefined) checkNumber("RMSNorm", "eps", eps, 0);
    this.#shape = normalizedShapeOf("RMSNorm", normalizedShape);
    this.#eps = eps;
    this.weight = elementwiseAffine
      ? keep(ones(this.#shape, { ...place, requiresGrad: true }))
      : null;
  }

  /** x normalised. */
  override forward(x: Tensor): Tensor {
    return rmsNorm(x, this.#shape, {
      weight: this.weight,
      ...(this.#eps === undefined ? {} : { eps: this.#eps }),
    });
  }

  /** `RMSNorm(extents)`. */
  override describe(): string {
    return formatCall("RMSNorm", [this.#shape.length === 1 ? this.#shape[0] : this.#shape], {
      eps: this.#eps,
      elementwiseAffine: this.weight ? undefined : false,
    });
  }
}
