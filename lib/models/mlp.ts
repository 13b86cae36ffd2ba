import { formatValue } from "../core/describe.ts";
import type { DeviceName } from "../core/backend.ts";
import type { DType } from "../core/dtype.ts";
import { checkInteger, checkOptions } from "../core/options.ts";
import { ArgumentError } from "../native/errors.ts";
import { BatchNorm1d } from "../nn/batch_norm.ts";
import { Dropout } from "../nn/dropout.ts";
import { Linear } from "../nn/linear.ts";
import type { Module } from "../nn/module.ts";
import { LayerNorm } from "../nn/row_norm.ts";
import { Sequential } from "../nn/sequential.ts";
import { probabilityOf } from "../ops/random/_probability.ts";
import type { Activation } from "./activation.ts";
import { activationLayer } from "./_activation_layer.ts";

/** Options of {@linkcode mlp}. */
export interface MLPOptions {
  /** Features of the input. */
  in: number;
  /** Units of each hidden layer; may be empty. */
  hidden: readonly number[];
  /** Features of the output. */
  out: number;
  /** What follows each hidden layer. Default `"relu"`. */
  activation?: Activation | undefined;
  /**
   * The probability with which units of hidden layers are dropped in training. Default 0: no such
   * layers.
   */
  dropout?: number | undefined;
  /** What normalises each hidden layer before its activation. Default none. */
  norm?: "layer" | "batch" | undefined;
  /** Whether the layers have biases. Default true. */
  bias?: boolean | undefined;
  /** Default: the device of init(). */
  device?: DeviceName | undefined;
  /** Default float32. */
  dtype?: DType | undefined;
}

/**
 * A multilayer perceptron: for each hidden layer Linear, the norm, the activation and Dropout, as
 * far as they are asked for; then a last Linear, whose outputs are scores. Keys are those of a
 * PyTorch nn.Sequential of the same layers.
 *
 * ```ts
 * import { models, rand } from "@cudeno/cudeno";
 * const model = models.mlp({ in: 784, hidden: [128, 64], out: 10, norm: "batch", dropout: 0.2 });
 * console.log(model.forward(rand([32, 784])).shape); // [32, 10]
 * ```
 */
export function mlp(options: MLPOptions): Sequential {
  const own = ["in", "hidden", "out", "activation", "dropout", "norm", "bias", "device", "dtype"];
  checkOptions("mlp", options, own);
  const { hidden, out, activation = "relu", dropout = 0, norm, bias = true, ...place } = options;
  const { in: features, ...rest } = place;
  if (!Array.isArray(hidden)) {
    throw new ArgumentError(
      `mlp: hidden is ${formatValue(hidden)}; it must be a list of sizes, such as [128]`,
    );
  }
  if (norm !== undefined && norm !== "layer" && norm !== "batch") {
    throw new ArgumentError(`mlp: norm is ${formatValue(norm)}; it must be layer or batch`);
  }
  probabilityOf("mlp", dropout, "dropout");
  const sizes = [features, ...hidden, out];
  sizes.forEach((size, i) =>
    checkInteger("mlp", i === 0 ? "in" : i === sizes.length - 1 ? "out" : "hidden", size, 1)
  );
  const layers: Module[] = [];
  using undo = new DisposableStack(); // frees the layers made, should the rest fail
  undo.defer(() => layers.forEach((layer) => layer.dispose()));
  hidden.forEach((size, i) => {
    layers.push(new Linear(sizes[i]!, size, { ...rest, bias }));
    if (norm === "layer") layers.push(new LayerNorm(size, rest));
    if (norm === "batch") layers.push(new BatchNorm1d(size, rest));
    layers.push(activationLayer("mlp", activation));
    if (dropout > 0) layers.push(new Dropout({ p: dropout }));
  });
  layers.push(new Linear(sizes.at(-2)!, out, { ...rest, bias }));
  undo.move();
  return new Sequential(...layers);
}
