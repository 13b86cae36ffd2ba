import type { DeviceName } from "../core/backend.ts";
import type { DType } from "../core/dtype.ts";
import { checkOptions } from "../core/options.ts";
import { Linear } from "../nn/linear.ts";
import { Sequential } from "../nn/sequential.ts";
import type { Activation } from "./activation.ts";
import { activationLayer } from "./_activation_layer.ts";

/** Options of {@linkcode perceptron}. */
export interface PerceptronOptions {
  /** What follows the layer. Default none, so that the outputs are scores. */
  activation?: Activation | undefined;
  /** Whether the layer has a bias. Default true. */
  bias?: boolean | undefined;
  /** Default: the device of init(). */
  device?: DeviceName | undefined;
  /** Default float32. */
  dtype?: DType | undefined;
}

/**
 * A perceptron: one layer of weights, and an activation where one is named. Keys: `0.weight`,
 * `0.bias`.
 *
 * ```ts
 * import { models, rand } from "@cudeno/cudeno";
 * const model = models.perceptron(784, 10);
 * console.log(model.forward(rand([1, 784])).shape); // [1, 10]
 * ```
 */
export function perceptron(
  inFeatures: number,
  outFeatures: number,
  options: PerceptronOptions = {},
): Sequential {
  checkOptions("perceptron", options, ["activation", "bias", "device", "dtype"]);
  const { activation, ...rest } = options;
  const after = activation === undefined ? [] : [activationLayer("perceptron", activation)];
  return new Sequential(new Linear(inFeatures, outFeatures, rest), ...after);
}
