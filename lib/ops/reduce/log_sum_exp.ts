import { gradEnabled, record } from "../../core/autograd.ts";
import { checkOptions } from "../../core/options.ts";
import { call } from "../../native/call.ts";
import type { Tensor } from "../../tensor.ts";
import { maximum, mul, sub } from "../elementwise/binary.ts";
import { cast } from "../elementwise/_cast.ts";
import { autocasted, checkDType, floats } from "../_operands.ts";
import type { ReduceOptions } from "./_reduce.ts";
import { type Axes, reduceTogether, type Run, spread } from "./_axes.ts";
import { exp } from "../elementwise/unary.ts";

/**
 * log(sum(e^x)) over the axes, computed from x - max(x) so that nothing overflows. Floats.
 * -Infinity over no elements or
 * -Infinity alone, Infinity where one is. The gradient is softmax(x), and 0 where the result is
 * -Infinity. As torch.logsumexp.
 *
 * ```ts
 * import { logSumExp, tensor } from "@cudeno/cudeno";
 * const y = logSumExp(tensor([[1000, 1000], [0, -Infinity]]), 1);
 * console.log(y.dataSync()); // 1000 + log(2), 0
 * ```
 */
export function logSumExp(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  checkDType("logSumExp", x, floats);
  [x] = autocasted("float32", x);
  checkOptions("logSumExp", options, ["keepDims"]);
  return reduceTogether("logSumExp", x, axes, options.keepDims, along);
}

function along(x: Tensor, run: Run): Tensor {
  // In full for the gradient: next to a large x the logarithm of a sum is less than a float32's
  // last place.
  const exact = x.make(run.out, "float64");
  call("cdn_log_sum_exp", exact, x, run.outer, run.axis, run.inner, x.code);
  const y = record(cast(exact, x.dtype), "logSumExp", [x], (grad) => [
    gradEnabled() ? composedGrad(grad, x, run) : fusedGrad(grad, x, exact, run),
  ]);
  if (y !== exact && !y.requiresGrad) exact.dispose();
  return y;
}

// dy e^(x - y). Where y is -Infinity so is every x: a finite y keeps the difference from being NaN.
function composedGrad(grad: Tensor, x: Tensor, run: Run): Tensor {
  const wide = cast(x, "float64");
  const finite = maximum(along(wide, run), -Number.MAX_VALUE);
  const share = exp(sub(wide, spread(finite, x, run)));
  return cast(mul(share, spread(cast(grad, "float64"), x, run)), x.dtype);
}

function fusedGrad(grad: Tensor, x: Tensor, y: Tensor, run: Run): Tensor {
  const dx = x.make(x.shape);
  call("cdn_log_sum_exp_grad", dx, grad, x, y, run.outer, run.axis, run.inner, x.code);
  return dx;
}
