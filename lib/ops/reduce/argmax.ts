import { checkOptions } from "../../core/options.ts";
import { calls } from "../../native/calls.ts";
import type { Tensor } from "../../tensor.ts";
import { anything, checkDType } from "../_operands.ts";
import { checkNotEmpty, reduceAxes } from "./_axes.ts";
import { type ReduceOptions, reduceRun } from "./_reduce.ts";

function argExtremum(
  op: "argmax" | "argmin",
  x: Tensor,
  axis: number | undefined,
  options: ReduceOptions,
): Tensor {
  checkDType(op, x, anything);
  checkOptions(op, options, ["keepDims"]);
  return reduceAxes(op, x, axis, options.keepDims, (part, run) => {
    checkNotEmpty(op, part, run);
    return reduceRun(calls[`cdn_${op}`], part, run, "int32");
  });
}

/**
 * The index of the largest element along the axis (of all elements when none is given), the first
 * of equal ones; int32.
 *
 * ```ts
 * import { argmax, tensor } from "@cudeno/cudeno";
 * console.log(argmax(tensor([[1, 5], [3, 4]]), 1).dataSync()); // 1, 1
 * ```
 */
export function argmax(x: Tensor, axis?: number, options: ReduceOptions = {}): Tensor {
  return argExtremum("argmax", x, axis, options);
}

/**
 * The index of the smallest element along the axis (of all elements when none is given), the first
 * of equal ones; int32.
 *
 * ```ts
 * import { argmin, tensor } from "@cudeno/cudeno";
 * console.log(argmin(tensor([4, 2, 3])).itemSync()); // 1
 * ```
 */
export function argmin(x: Tensor, axis?: number, options: ReduceOptions = {}): Tensor {
  return argExtremum("argmin", x, axis, options);
}
