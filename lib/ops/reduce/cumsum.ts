import { record } from "../../core/autograd.ts";
import { normalizeAxis, sizeOf } from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import type { Tensor } from "../../tensor.ts";
import { autocasted, checkDType, numbers } from "../_operands.ts";

/**
 * Cumulative sums along an axis: y[k] = x[0] + … + x[k]. Floats and int32, which wraps; adds in
 * float64 (int64), in an order fixed by the shape. The gradient is the cumulative sum from the end.
 * As torch.cumsum.
 *
 * ```ts
 * import { cumsum, tensor } from "@cudeno/cudeno";
 * console.log(cumsum(tensor([[1, 2, 3], [4, 5, 6]]), 1).dataSync()); // 1, 3, 6, 4, 9, 15
 * ```
 */
export function cumsum(x: Tensor, axis: number): Tensor {
  checkDType("cumsum", x, numbers);
  [x] = autocasted("float32", x);
  return cumulate(x, normalizeAxis("cumsum", axis, x.rank), false);
}

function cumulate(x: Tensor, axis: number, reverse: boolean): Tensor {
  const y = x.make(x.shape);
  call(
    "cdn_cumsum",
    y,
    x,
    sizeOf(x.shape.slice(0, axis)),
    x.shape[axis]!,
    sizeOf(x.shape.slice(axis + 1)),
    Number(reverse),
    x.code,
  );
  return record(y, "cumsum", [x], (grad) => [cumulate(grad, axis, !reverse)]);
}
