import { record } from "../../core/autograd.ts";
import { checkOptions } from "../../core/options.ts";
import { normalizeAxis, sizeOf } from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import type { Tensor } from "../../tensor.ts";
import { anything, autocasted, checkDType } from "../_operands.ts";
import { cast } from "../elementwise/_cast.ts";
import { totalDType } from "./_reduce.ts";

/** Options of {@linkcode cumsum} and {@linkcode cumprod}. */
export interface CumulateOptions {
  /** Whether to start from the end of the axis. Default false. */
  reverse?: boolean | undefined;
  /**
   * Whether each result leaves out its own element: the first one is that of nothing, 0 for sums
   * and 1 for products. Default false.
   */
  exclusive?: boolean | undefined;
}

/**
 * Cumulative sums along an axis: y[k] = x[0] + … + x[k]. Any dtype; adds in float64, in an order
 * fixed by the shape, whole numbers in int64, but the result is int32, which wraps. The gradient is
 * the cumulative sum from the other end. As torch.cumsum.
 *
 * ```ts
 * import { cumsum, tensor } from "@cudeno/cudeno";
 * console.log(cumsum(tensor([[1, 2, 3], [4, 5, 6]]), 1).dataSync()); // 1, 3, 6, 4, 9, 15
 * console.log(cumsum(tensor([1, 2, 3]), 0, { reverse: true }).dataSync()); // 6, 5, 3
 * console.log(cumsum(tensor([1, 2, 3]), 0, { exclusive: true }).dataSync()); // 0, 1, 3
 * ```
 */
export function cumsum(x: Tensor, axis: number, options: CumulateOptions = {}): Tensor {
  checkDType("cumsum", x, anything);
  checkOptions("cumsum", options, ["reverse", "exclusive"]);
  [x] = autocasted("float32", x);
  const { reverse = false, exclusive = false } = options;
  const at = normalizeAxis("cumsum", axis, x.rank);
  return cumulate(cast(x, totalDType(x.dtype)), at, reverse, exclusive);
}

function cumulate(x: Tensor, axis: number, reverse: boolean, exclusive: boolean): Tensor {
  const y = x.make(x.shape);
  call(
    "cdn_cumsum",
    y,
    x,
    sizeOf(x.shape.slice(0, axis)),
    x.shape[axis]!,
    sizeOf(x.shape.slice(axis + 1)),
    Number(reverse),
    Number(exclusive),
    x.code,
  );
  return record(y, "cumsum", [x], (grad) => [cumulate(grad, axis, !reverse, exclusive)]);
}
