import { gradEnabled } from "../../core/autograd.ts";
import { checkValue, isFloat } from "../../core/dtype.ts";
import { ArgumentError } from "../../native/errors.ts";
import { call } from "../../native/call.ts";
import { calls } from "../../native/calls.ts";
import type { Tensor } from "../../tensor.ts";
import { add, div, mul } from "./binary.ts";
import { fused, sloped, unary } from "./_unary.ts";
import { anything, autocasted, checkDType, floats } from "../_operands.ts";

/**
 * -x. Any dtype; whole numbers wrap: int32's least stays, and 1 of uint8 becomes 255. As torch.neg.
 *
 * ```ts
 * import { neg, tensor } from "@cudeno/cudeno";
 * console.log(neg(tensor([1, -2])).dataSync()); // -1, 2
 * ```
 */
export function neg(x: Tensor): Tensor {
  return unary("neg", x, anything, calls.cdn_neg, neg);
}

/**
 * |x|. Any dtype; the least int32 stays. The gradient is the sign of x, 0 at 0. As
 * torch.abs.
 *
 * ```ts
 * import { abs, tensor } from "@cudeno/cudeno";
 * console.log(abs(tensor([1, -2])).dataSync()); // 1, 2
 * ```
 */
export function abs(x: Tensor): Tensor {
  return unary(
    "abs",
    x,
    anything,
    calls.cdn_abs,
    (grad) => sloped("abs", calls.cdn_abs_grad, grad, x),
  );
}

/**
 * -1, 0 or 1 as x is negative, 0 or positive; 0 for NaN. Any dtype. The gradient is 0. As
 * torch.sign.
 *
 * ```ts
 * import { sign, tensor } from "@cudeno/cudeno";
 * console.log(sign(tensor([3, 0, -0.5])).dataSync()); // 1, 0, -1
 * ```
 */
export function sign(x: Tensor): Tensor {
  return unary("sign", x, anything, calls.cdn_sign, nothing);
}

// The gradient of steps.
const nothing = (grad: Tensor) => grad.make(grad.shape).fill(0);

// Whole numbers are x itself.
function stepwise(op: "round" | "floor" | "ceil" | "trunc", x: Tensor): Tensor {
  checkDType(op, x, anything);
  return isFloat(x.dtype) ? unary(op, x, floats, calls[`cdn_${op}`], nothing) : x;
}

/**
 * The nearest whole number, halves to the even one: 0.5 becomes 0, 1.5 becomes 2. Any dtype; of
 * whole numbers x itself. The gradient is 0. As torch.round.
 *
 * ```ts
 * import { round, tensor } from "@cudeno/cudeno";
 * console.log(round(tensor([0.5, 1.5, -1.2])).dataSync()); // 0, 2, -1
 * ```
 */
export function round(x: Tensor): Tensor {
  return stepwise("round", x);
}

/**
 * The largest whole number that is not above x. Any dtype; of whole numbers x itself. The gradient
 * is 0. As torch.floor.
 *
 * ```ts
 * import { floor, tensor } from "@cudeno/cudeno";
 * console.log(floor(tensor([1.7, -1.2])).dataSync()); // 1, -2
 * ```
 */
export function floor(x: Tensor): Tensor {
  return stepwise("floor", x);
}

/**
 * The smallest whole number that is not below x. Any dtype; of whole numbers x itself. The gradient
 * is 0. As torch.ceil.
 *
 * ```ts
 * import { ceil, tensor } from "@cudeno/cudeno";
 * console.log(ceil(tensor([1.2, -1.7])).dataSync()); // 2, -1
 * ```
 */
export function ceil(x: Tensor): Tensor {
  return stepwise("ceil", x);
}

/**
 * x without its fraction. Any dtype; of whole numbers x itself. The gradient is 0. As torch.trunc.
 *
 * ```ts
 * import { tensor, trunc } from "@cudeno/cudeno";
 * console.log(trunc(tensor([1.7, -1.7])).dataSync()); // 1, -1
 * ```
 */
export function trunc(x: Tensor): Tensor {
  return stepwise("trunc", x);
}

/**
 * e^x. Floats. As torch.exp.
 *
 * ```ts
 * import { exp, tensor } from "@cudeno/cudeno";
 * console.log(exp(tensor([0, 1])).dataSync()); // 1, 2.718…
 * ```
 */
export function exp(x: Tensor): Tensor {
  [x] = autocasted("float32", x);
  return unary("exp", x, floats, calls.cdn_exp, mul);
}

/**
 * e^x - 1, with all its digits near 0 too. Floats. As torch.expm1.
 *
 * ```ts
 * import { expm1, tensor } from "@cudeno/cudeno";
 * console.log(expm1(tensor([1e-10])).dataSync()); // 1e-10
 * ```
 */
export function expm1(x: Tensor): Tensor {
  [x] = autocasted("float32", x);
  return unary("expm1", x, floats, calls.cdn_expm1, (grad) => mul(grad, exp(x)));
}

/**
 * The natural logarithm of x; -Infinity at 0, NaN below. Floats. As torch.log.
 *
 * ```ts
 * import { log, tensor } from "@cudeno/cudeno";
 * console.log(log(tensor([1, Math.E])).dataSync()); // 0, 1
 * ```
 */
export function log(x: Tensor): Tensor {
  [x] = autocasted("float32", x);
  return unary("log", x, floats, calls.cdn_log, (grad) => div(grad, x));
}

/**
 * log(1 + x), with all its digits near 0 too; -Infinity at -1, NaN below. Floats. As torch.log1p.
 *
 * ```ts
 * import { log1p, tensor } from "@cudeno/cudeno";
 * console.log(log1p(tensor([1e-10])).dataSync()); // 1e-10
 * ```
 */
export function log1p(x: Tensor): Tensor {
  [x] = autocasted("float32", x);
  return unary("log1p", x, floats, calls.cdn_log1p, (grad) => div(grad, add(x, 1)));
}

/**
 * The square root of x; NaN below 0. Floats. The gradient is 1 / (2 sqrt(x)). As torch.sqrt.
 *
 * ```ts
 * import { sqrt, tensor } from "@cudeno/cudeno";
 * console.log(sqrt(tensor([4, 9])).dataSync()); // 2, 3
 * ```
 */
export function sqrt(x: Tensor): Tensor {
  return unary(
    "sqrt",
    x,
    floats,
    calls.cdn_sqrt,
    (grad, y) => gradEnabled() ? div(grad, mul(y, 2)) : fused(calls.cdn_sqrt_grad, grad, y),
  );
}

/**
 * 1 / sqrt(x); Infinity at 0, NaN below. Floats. The gradient is -1/2 x^(-3/2). As torch.rsqrt.
 *
 * ```ts
 * import { rsqrt, tensor } from "@cudeno/cudeno";
 * console.log(rsqrt(tensor([4, 16])).dataSync()); // 0.5, 0.25
 * ```
 */
export function rsqrt(x: Tensor): Tensor {
  [x] = autocasted("float32", x);
  return unary(
    "rsqrt",
    x,
    floats,
    calls.cdn_rsqrt,
    (grad, y) => sloped("rsqrt", calls.cdn_rsqrt_grad, grad, y, (y) => mul(mul(y, -1.5), y)),
  );
}

/**
 * The sine of x, in radians. Floats. As torch.sin.
 *
 * ```ts
 * import { sin, tensor } from "@cudeno/cudeno";
 * console.log(sin(tensor([0, Math.PI / 2])).dataSync()); // 0, 1
 * ```
 */
export function sin(x: Tensor): Tensor {
  return unary("sin", x, floats, calls.cdn_sin, (grad) => mul(grad, cos(x)));
}

/**
 * The cosine of x, in radians. Floats. As torch.cos.
 *
 * ```ts
 * import { cos, tensor } from "@cudeno/cudeno";
 * console.log(cos(tensor([0, Math.PI])).dataSync()); // 1, -1
 * ```
 */
export function cos(x: Tensor): Tensor {
  return unary("cos", x, floats, calls.cdn_cos, (grad) => mul(grad, neg(sin(x))));
}

/**
 * The error function of x, 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x. Floats. As
 * torch.erf.
 *
 * ```ts
 * import { erf, tensor } from "@cudeno/cudeno";
 * console.log(erf(tensor([0, 1])).dataSync()); // 0, 0.8427…
 * ```
 */
export function erf(x: Tensor): Tensor {
  return unary(
    "erf",
    x,
    floats,
    calls.cdn_erf,
    (grad) =>
      sloped("erf", calls.cdn_erf_grad, grad, x, (x) => {
        x = clip(x, -1000, 1000); // beyond it is 0, where infinity times 0 would be NaN
        return mul(mul(exp(neg(mul(x, x))), x), -4 / Math.sqrt(Math.PI));
      }),
  );
}

/**
 * x, but `min` where it is less and `max` where it is more; one of them may be left out. NaN stays
 * NaN; `max` wins where it is less than `min`. Any dtype. The gradient is 1 from min to max,
 * both included, else 0. As torch.clamp.
 *
 * @throws {ArgumentError} when neither is given, or one is NaN.
 *
 * ```ts
 * import { clip, tensor } from "@cudeno/cudeno";
 * console.log(clip(tensor([-3, 0.5, 7]), -1, 1).dataSync()); // -1, 0.5, 1
 * ```
 */
export function clip(x: Tensor, min?: number, max?: number): Tensor {
  checkDType("clip", x, anything);
  if (min === undefined && max === undefined) {
    throw new ArgumentError("clip: neither min nor max is given; give one or both");
  }
  for (const bound of [min, max]) if (bound !== undefined) checkValue("clip", bound, x.dtype);
  const [low = -Infinity, high = Infinity] = [min, max];
  if (Number.isNaN(low) || Number.isNaN(high)) {
    throw new ArgumentError(`clip: min is ${min}, max is ${max}; neither may be NaN`);
  }
  return unary(
    "clip",
    x,
    anything,
    (y, x, n, dtype) => call("cdn_clip", y, x, n, low, high, dtype),
    (grad) =>
      sloped(
        "clip",
        (dx, dy, x, n, dtype) => call("cdn_clip_grad", dx, dy, x, n, low, high, dtype),
        grad,
        x,
      ),
  );
}
