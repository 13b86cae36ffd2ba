import { record } from "../../core/autograd.ts";
import { checkOptions } from "../../core/options.ts";
import { calls } from "../../native/calls.ts";
import type { Tensor } from "../../tensor.ts";
import { anything, autocasted, checkDType } from "../_operands.ts";
import { cast } from "../elementwise/_cast.ts";
import { mul } from "../elementwise/binary.ts";
import { reshape } from "../shape/movement.ts";
import { type Axes, reduceTogether } from "./_axes.ts";
import { linearScan } from "./_linear_scan.ts";
import { type ReduceOptions, reduceRun, totalDType } from "./_reduce.ts";

/**
 * The product over the axes; 1 over none. Any dtype. Multiplies in float64, in an order fixed by
 * the shape; the product of int32 and of uint8 is int32 and wraps, where PyTorch's is int64. The
 * gradient of an element is the product of the others, right where some are 0 too. As torch.prod.
 *
 * ```ts
 * import { prod, tensor } from "@cudeno/cudeno";
 * const x = tensor([[1, 2], [3, 4]]);
 * console.log(prod(x).itemSync(), prod(x, 0).dataSync()); // 24, and 3, 8
 * ```
 */
export function prod(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  checkDType("prod", x, anything);
  [x] = autocasted("float32", x);
  checkOptions("prod", options, ["keepDims"]);
  return reduceTogether("prod", x, axes, options.keepDims, (part, run) => {
    const { outer, axis, inner } = run;
    const y = reduceRun(calls.cdn_prod, part, run, totalDType(part.dtype));
    return record(y, "prod", [part], (grad) => {
      // The product of those before each element times that of those behind it.
      const wide = cast(reshape(part, [outer, axis, inner]), "float64");
      const others = mul(linearScan(wide, null, 1, false), linearScan(wide, null, 1, true));
      const dx = mul(others, cast(reshape(grad, [outer, 1, inner]), "float64"));
      return [reshape(cast(dx, part.dtype), part.shape)];
    });
  });
}
