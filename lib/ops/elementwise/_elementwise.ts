import { record } from "../../core/autograd.ts";
import type { Backend } from "../../core/backend.ts";
import type { FusedActivation } from "../../core/node.ts";
import { computeDType, type DType } from "../../core/dtype.ts";
import type { Tensor } from "../../tensor.ts";
import { mul } from "./binary.ts";
import { cast } from "./cast.ts";
import { checkDType } from "../_operands.ts";

type Functions = Backend["functions"];

/** A kernel of y = f(x) by name, or a call of one that has parameters. */
export type Kernel =
  | `cdn_${"neg" | "abs" | "sign" | "exp" | "expm1" | "log" | "log1p" | "sqrt" | "rsqrt"}`
  | `cdn_${"sin" | "cos" | "erf"}`
  | `cdn_${"relu" | "sigmoid" | "tanh" | "gelu" | "gelu_tanh" | "silu"}`
  | ((f: Functions, y: number, x: number, n: bigint, dtype: number) => number);

/** The same for dx = dy f'(x), from dy and either x or y. */
export type GradKernel =
  | `cdn_${"abs" | "sqrt" | "rsqrt" | "erf"}_grad`
  | `cdn_${"relu" | "sigmoid" | "tanh" | "gelu" | "gelu_tanh" | "silu"}_grad`
  | ((f: Functions, dx: number, dy: number, saved: number, n: bigint, dtype: number) => number);

/**
 * y = f(x) by a kernel; `gradient` makes x's from y's and from y. `activation` is the name under
 * which products know f, if they do.
 */
export function unary(
  op: string,
  x: Tensor,
  dtypes: readonly DType[],
  kernel: Kernel,
  gradient: (grad: Tensor, y: Tensor) => Tensor,
  activation?: FusedActivation,
): Tensor {
  checkDType(op, x, dtypes);
  const { backend, format } = x;
  const y = x.make(x.shape, x.dtype, format);
  const [to, from] = [y.stored(format).handle, x.stored(format).handle];
  const { functions } = backend;
  const n = BigInt(x.size);
  backend.check(
    typeof kernel === "string"
      ? functions[kernel](to, from, n, x.code)
      : kernel(functions, to, from, n, x.code),
  );
  return record(
    y,
    op,
    [x],
    (grad, step) => [step.gated ? grad : gradient(grad, y)],
    activation && { activation, saved: activation === "relu" ? y : x },
  );
}

/** dx = dy f'(x) by one kernel, unrecorded: for when the gradient is not to be differentiated. */
export function fused(kernel: GradKernel, grad: Tensor, saved: Tensor): Tensor {
  const { backend, format } = grad;
  const dx = grad.make(grad.shape, grad.dtype, format);
  const [to, from] = [dx.stored(format).handle, saved.stored(format).handle];
  const dy = grad.stored(format).handle;
  const { functions } = backend;
  const n = BigInt(dx.size);
  backend.check(
    typeof kernel === "string"
      ? functions[kernel](to, dy, from, n, dx.code)
      : kernel(functions, to, dy, from, n, dx.code),
  );
  return dx;
}

/**
 * dx = dy f'(x) by one kernel, recorded. It is linear in dy, whose gradient the same kernel gives
 * again; `second` is what dx / dy changes by with what was saved, made of operations, for which
 * that is widened as kernels widen it. Left out: by nothing.
 */
export function sloped(
  op: string,
  kernel: GradKernel,
  grad: Tensor,
  saved: Tensor,
  second?: (saved: Tensor) => Tensor,
): Tensor {
  const wide = (x: Tensor) => cast(x, computeDType(x.dtype));
  return record(fused(kernel, grad, saved), op, second ? [grad, saved] : [grad], (next) => {
    const linear = grad.requiresGrad ? sloped(op, kernel, next, saved, second) : null;
    if (!second) return [linear];
    return [linear, cast(mul(mul(wide(next), wide(grad)), second(wide(saved))), saved.dtype)];
  });
}
