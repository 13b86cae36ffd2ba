import { checkOptions } from "../../core/options.ts";
import type { Shape } from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import type { Tensor } from "../../tensor.ts";
import { autocasted } from "../_operands.ts";
import { recorded, rowsOf, saved } from "./_row_norm.ts";
import type { RMSNormOptions } from "./rms_norm.ts";

/** Options of {@linkcode layerNorm}. */
export interface LayerNormOptions extends RMSNormOptions {
  /** Of normalizedShape; added to the result. Default: 0. */
  bias?: Tensor | null | undefined;
  /** Added to the variance. Default 1e-5. */
  eps?: number | undefined;
}

/**
 * (x - mean) / sqrt(variance + eps) * weight + bias, with mean and (biased) variance over the last
 * axes, which are `normalizedShape`; as torch.nn.functional.layer_norm. Floats; 16-bit ones compute
 * in float32.
 *
 * @throws {ShapeError} when x does not end in normalizedShape, or weight or bias are not of it.
 *
 * ```ts
 * import { layerNorm, tensor } from "@cudeno/cudeno";
 * console.log(layerNorm(tensor([[1, 2, 3], [4, 6, 8]]), 3).dataSync());
 * // twice about -1.22, 0, 1.22
 * ```
 */
export function layerNorm(
  x: Tensor,
  normalizedShape: number | Shape,
  options: LayerNormOptions = {},
): Tensor {
  checkOptions("layerNorm", options, ["weight", "bias", "eps"]);
  const [input, w, b] = autocasted("float32", x, options.weight, options.bias);
  x = input;
  const all = rowsOf("layerNorm", x, normalizedShape, { weight: w, bias: b }, options.eps ?? 1e-5);
  const { weight, bias, eps } = all;
  const save = saved(all);
  const [mean, rstd] = [save(), save()];
  const y = x.make(x.shape);
  call("cdn_layer_norm", y, mean, rstd, x, weight, bias, all.rows, all.cols, eps, x.code);
  return recorded(all, y, mean, rstd);
}
