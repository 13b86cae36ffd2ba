import { gradEnabled, record } from "../core/autograd.ts";
import { checkOptions } from "../core/options.ts";
import type { Tensor } from "../tensor.ts";
import { maximum, mul, sub } from "./binary.ts";
import { autocasted, checkDType, floats, inFloat32 } from "./operands.ts";
import type { ReduceOptions } from "./reduce.ts";
import { type Axes, reduceTogether, type Run, sizesOf, spread } from "./reduce_axes.ts";
import { exp } from "./unary.ts";

/**
 * log(sum(e^x)) over the axes, computed from x - max(x) so that nothing overflows. Floats. -Infinity over no elements or
 * -Infinity alone, Infinity where one is. The gradient is softmax(x), and 0 where the result is -Infinity. As
 * torch.logsumexp.
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
  const one = (part: Tensor, run: Run) => {
    const y = part.make(run.out);
    const { backend } = part;
    backend.check(
      backend.functions.cdn_log_sum_exp(y.handle, part.handle, ...sizesOf(run), part.code),
    );
    return record(y, "logSumExp", [part], (grad) => [
      gradEnabled() ? composedGrad(grad, part, y, run) : fusedGrad(grad, part, y, run),
    ]);
  };
  // The gradient wants the result unrounded.
  return inFloat32([x], (x) => reduceTogether("logSumExp", x, axes, options.keepDims, one));
}

// dy e^(x - y). Where y is -Infinity so is every x: a finite y keeps the difference from being NaN.
function composedGrad(grad: Tensor, x: Tensor, y: Tensor, run: Run): Tensor {
  const finite = maximum(y, y.dtype === "float64" ? -Number.MAX_VALUE : -3.4028234663852886e38);
  return mul(exp(sub(x, spread(finite, x, run))), spread(grad, x, run));
}

function fusedGrad(grad: Tensor, x: Tensor, y: Tensor, run: Run): Tensor {
  const dx = x.make(x.shape);
  const { backend } = x;
  backend.check(
    backend.functions.cdn_log_sum_exp_grad(
      dx.handle,
      grad.handle,
      x.handle,
      y.handle,
      ...sizesOf(run),
      x.code,
    ),
  );
  return dx;
}
