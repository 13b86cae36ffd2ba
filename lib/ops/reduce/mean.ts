import { checkOptions } from "../../core/options.ts";
import type { Tensor } from "../../tensor.ts";
import { autocasted, checkDType, floats } from "../_operands.ts";
import type { Axes } from "./_axes.ts";
import { added, type ReduceOptions } from "./_reduce.ts";

/**
 * The mean over the axes; NaN over none. Floats; cast whole numbers first. Adds in float64, in an
 * order fixed by the shape.
 *
 * ```ts
 * import { mean, tensor } from "@cudeno/cudeno";
 * console.log(mean(tensor([[1, 2], [3, 4]]), 1, { keepDims: true }).shape); // [2, 1]
 * ```
 */
export function mean(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  checkDType("mean", x, floats);
  [x] = autocasted("float32", x);
  checkOptions("mean", options, ["keepDims"]);
  return added("mean", x, axes, options.keepDims);
}
