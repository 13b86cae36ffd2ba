import type { DType } from "../../core/dtype.ts";
import { checkOptions } from "../../core/options.ts";
import type { Shape } from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import type { Tensor } from "../../tensor.ts";
import { autocasted, checkDType, floats } from "../_operands.ts";
import { recorded, rowsOf, saved } from "./_row_norm.ts";

/** Options of {@linkcode rmsNorm}. */
export interface RMSNormOptions {
  /** Of normalizedShape; multiplies the result. Default: 1. */
  weight?: Tensor | null | undefined;
  /**
   * Added to the mean square, so that a row of zeros stays one. Default: the machine epsilon of x's
   * dtype.
   */
  eps?: number | undefined;
}

/** The distance from 1 to the next number of a float dtype. */
const machineEpsilon: Partial<Record<DType, number>> = {
  float32: 2 ** -23,
  float64: 2 ** -52,
  float16: 2 ** -10,
  bfloat16: 2 ** -7,
};

/**
 * x / sqrt(mean(x^2) + eps) * weight, the mean over the last axes, which are `normalizedShape`; as
 * torch.nn.functional.rms_norm (Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019).
 * Floats; 16-bit ones compute in float32.
 *
 * @throws {ShapeError} when x does not end in normalizedShape, or weight is not of it.
 *
 * ```ts
 * import { rmsNorm, tensor } from "@cudeno/cudeno";
 * console.log(rmsNorm(tensor([[3, 4]]), 2).dataSync()); // about 0.849, 1.131
 * ```
 */
export function rmsNorm(
  x: Tensor,
  normalizedShape: number | Shape,
  options: RMSNormOptions = {},
): Tensor {
  checkOptions("rmsNorm", options, ["weight", "eps"]);
  checkDType("rmsNorm", x, floats);
  const [input, weight] = autocasted("float32", x, options.weight);
  x = input;
  const eps = options.eps ?? machineEpsilon[x.dtype]!;
  const all = rowsOf("rmsNorm", x, normalizedShape, { weight }, eps);
  const rstd = saved(all)();
  const y = x.make(x.shape);
  call("cdn_rms_norm", y, rstd, x, all.weight, all.rows, all.cols, eps, x.code);
  return recorded(all, y, null, rstd);
}
