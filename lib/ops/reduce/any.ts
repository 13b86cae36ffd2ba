import { checkOptions } from "../../core/options.ts";
import { calls } from "../../native/calls.ts";
import type { Tensor } from "../../tensor.ts";
import { checkTensor } from "../_operands.ts";
import { ne } from "../elementwise/compare.ts";
import { type Axes, reduceAxes } from "./_axes.ts";
import { type ReduceOptions, reduceRun } from "./_reduce.ts";

function truth(op: "any" | "all", x: Tensor, axes: Axes | undefined, options: ReduceOptions) {
  checkTensor(op, x);
  checkOptions(op, options, ["keepDims"]);
  const mask = x.dtype === "uint8";
  const kernel = op === "any" ? calls.cdn_max : calls.cdn_min;
  const y = reduceAxes(op, mask ? x : ne(x, 0), axes, options.keepDims, (part, run) => {
    return run.axis === 0
      ? part.make(run.out).fill(Number(op === "all"))
      : reduceRun(kernel, part, run);
  });
  return mask ? ne(y, 0) : y;
}

/**
 * 1 where any element over the axes is not 0, else 0, as uint8; 0 over none. Any dtype; NaN is not
 * 0. As torch.any.
 *
 * ```ts
 * import { any, tensor } from "@cudeno/cudeno";
 * console.log(any(tensor([[0, 2], [0, 0]]), 1).dataSync()); // 1, 0
 * ```
 */
export function any(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  return truth("any", x, axes, options);
}

/**
 * 1 where no element over the axes is 0, else 0, as uint8; 1 over none. Any dtype; NaN is not 0. As
 * torch.all.
 *
 * ```ts
 * import { all, tensor } from "@cudeno/cudeno";
 * console.log(all(tensor([[1, 2], [3, 0]]), 1).dataSync()); // 1, 0
 * ```
 */
export function all(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  return truth("all", x, axes, options);
}
