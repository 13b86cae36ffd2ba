import { checkOptions } from "../../core/options.ts";
import type { Tensor } from "../../tensor.ts";
import { anything, autocasted, checkDType } from "../_operands.ts";
import type { Axes } from "./_axes.ts";
import { added, type ReduceOptions } from "./_reduce.ts";

/**
 * The sum over the axes; 0 over none. Any dtype. Adds in float64, in an order fixed by the shape;
 * int32 and uint8, whose sum is int32, in int64, but the result wraps, where PyTorch's is int64.
 *
 * ```ts
 * import { sum, tensor } from "@cudeno/cudeno";
 * const x = tensor([[1, 2], [3, 4]]);
 * console.log(sum(x).itemSync(), sum(x, 0).dataSync()); // 10, and 4, 6
 * ```
 */
export function sum(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  checkDType("sum", x, anything);
  [x] = autocasted("float32", x);
  checkOptions("sum", options, ["keepDims"]);
  return added("sum", x, axes, options.keepDims);
}
