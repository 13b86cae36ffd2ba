import { record } from "../../core/autograd.ts";
import { checkOptions } from "../../core/options.ts";
import { normalizeAxis } from "../../core/shape.ts";
import type { Tensor } from "../../tensor.ts";
import { anything, autocasted, checkDType, inFloat32 } from "../_operands.ts";
import { cast } from "../elementwise/_cast.ts";
import { add, mul } from "../elementwise/binary.ts";
import { linearScan, recurrence } from "./_linear_scan.ts";
import { totalDType } from "./_reduce.ts";
import type { CumulateOptions } from "./cumsum.ts";

/**
 * Cumulative products along an axis: y[k] = x[0] … x[k]. Any dtype; multiplies in float64, whole
 * numbers as int32, which wraps. The gradient is made of products without the element itself, so
 * that it is right where elements are 0 too. Options as of {@linkcode cumsum}. As torch.cumprod.
 *
 * ```ts
 * import { cumprod, tensor } from "@cudeno/cudeno";
 * console.log(cumprod(tensor([1, 2, 3, 4]), 0).dataSync()); // 1, 2, 6, 24
 * console.log(cumprod(tensor([1, 2, 3, 4]), 0, { exclusive: true }).dataSync()); // 1, 1, 2, 6
 * ```
 */
export function cumprod(x: Tensor, axis: number, options: CumulateOptions = {}): Tensor {
  checkDType("cumprod", x, anything);
  checkOptions("cumprod", options, ["reverse", "exclusive"]);
  [x] = autocasted("float32", x);
  const { reverse = false, exclusive = false } = options;
  const at = normalizeAxis("cumprod", axis, x.rank);
  if (exclusive) {
    return inFloat32([cast(x, totalDType(x.dtype))], (x) => linearScan(x, null, at, reverse));
  }
  const y = recurrence(cast(x, totalDType(x.dtype)), null, at, reverse, false);
  // Where y[k] = before[k] x[k], and before is an exclusive product.
  return record(y, "cumprod", [x], (grad) => [
    inFloat32([grad, x], (grad, x) => {
      const before = linearScan(x, null, at, reverse);
      return mul(before, add(grad, linearScan(x, mul(grad, x), at, !reverse)));
    }),
  ]);
}
