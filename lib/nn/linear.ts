import { formatCall } from "../core/describe.ts";
import type { DeviceName } from "../core/backend.ts";
import type { DType } from "../core/dtype.ts";
import { checkInteger, checkOptions } from "../core/options.ts";
import { linear } from "../ops/linalg/linear.ts";
import type { Tensor } from "../tensor.ts";
import { Module } from "./module.ts";
import { uniform } from "./_uniform.ts";

/** Options of {@linkcode Linear}. */
export interface LinearOptions {
  /** Whether to add a bias. Default true. */
  bias?: boolean | undefined;
  /** Default: the device of init(). */
  device?: DeviceName | undefined;
  /** Default float32. */
  dtype?: DType | undefined;
}

/**
 * y = x w^T + b: x [..., in], weight [out, in], bias [out]. Both start uniform in ±1/sqrt(in), as
 * torch.nn.Linear's do (its Kaiming initialisation with a = sqrt(5) comes to that).
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * console.log(new nn.Linear(3, 2).forward(rand([5, 3])).shape); // [5, 2]
 * ```
 */
export class Linear extends Module {
  /** [out, in]. */
  weight: Tensor;
  /** [out], or null. */
  bias: Tensor | null;

  constructor(inFeatures: number, outFeatures: number, options: LinearOptions = {}) {
    super();
    checkInteger("Linear", "inFeatures", inFeatures, 1);
    checkInteger("Linear", "outFeatures", outFeatures, 1);
    checkOptions("Linear", options, ["bias", "device", "dtype"]);
    using undo = new DisposableStack(); // frees what was made, should the rest fail
    undo.defer(() => super.dispose());
    this.weight = uniform([outFeatures, inFeatures], inFeatures, options);
    this.bias = options.bias ?? true ? uniform([outFeatures], inFeatures, options) : null;
    undo.move();
  }

  /** x w^T + b. */
  override forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias);
  }

  /** `Linear(in, out)`. */
  override describe(): string {
    const [out, features] = this.weight.shape;
    return formatCall("Linear", [features, out], { bias: this.bias ? undefined : false });
  }
}
