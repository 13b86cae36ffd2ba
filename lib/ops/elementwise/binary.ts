import { gradEnabled } from "../../core/autograd.ts";
import { isFloat } from "../../core/dtype.ts";
import { calls } from "../../native/calls.ts";
import type { Tensor } from "../../tensor.ts";
import { anything, autocasted, checkDType, floats, inFloat32 } from "../_operands.ts";
import { broadcasted, differentiable, weigh } from "./_binary.ts";
import { cast } from "./_cast.ts";
import { eq, ge } from "./compare.ts";
import { log, neg } from "./unary.ts";
import { where } from "./where.ts";

/**
 * a + b, with broadcasting. Any dtype; whole numbers wrap.
 *
 * ```ts
 * import { add, tensor } from "@cudeno/cudeno";
 * console.log(add(tensor([[1], [2]]), tensor([10, 20])).dataSync()); // 11, 21, 12, 22
 * ```
 */
export function add(a: Tensor, b: Tensor | number): Tensor {
  checkDType("add", a, anything);
  [a, b] = autocasted("widest", a, b);
  const y = broadcasted("add", calls.cdn_add, a, b);
  return differentiable("add", y, a, b, (grad) => grad, (grad) => grad);
}

/**
 * a - b, with broadcasting. Any dtype; whole numbers wrap.
 *
 * ```ts
 * import { sub, tensor } from "@cudeno/cudeno";
 * console.log(sub(tensor([5, 7]), 2).dataSync()); // 3, 5
 * ```
 */
export function sub(a: Tensor, b: Tensor | number): Tensor {
  checkDType("sub", a, anything);
  [a, b] = autocasted("widest", a, b);
  const y = broadcasted("sub", calls.cdn_sub, a, b);
  return differentiable("sub", y, a, b, (grad) => grad, neg);
}

/**
 * a * b, element by element, with broadcasting. Any dtype; whole numbers wrap.
 *
 * ```ts
 * import { mul, tensor } from "@cudeno/cudeno";
 * console.log(mul(tensor([1, 2]), tensor([3, 4])).dataSync()); // 3, 8
 * ```
 */
export function mul(a: Tensor, b: Tensor | number): Tensor {
  checkDType("mul", a, anything);
  [a, b] = autocasted("widest", a, b);
  const y = broadcasted("mul", calls.cdn_mul, a, b);
  return differentiable(
    "mul",
    y,
    a,
    b,
    (grad, wide) => mul(wide(grad), wide(b)),
    (grad, wide) => mul(wide(grad), wide(a)),
  );
}

/**
 * a / b, with broadcasting. Floats; whole numbers give float32, infinite or NaN where b is 0. As
 * torch.div; {@linkcode floorDivide} gives whole numbers.
 *
 * ```ts
 * import { div, tensor } from "@cudeno/cudeno";
 * console.log(div(tensor([1, 2]), 4).dataSync()); // 0.25, 0.5
 * ```
 */
export function div(a: Tensor, b: Tensor | number): Tensor {
  checkDType("div", a, anything);
  if (!isFloat(a.dtype) && (typeof b === "number" || b?.dtype === a.dtype)) {
    [a, b] = [cast(a, "float32"), typeof b === "number" ? b : cast(b, "float32")];
  }
  [a, b] = autocasted("widest", a, b);
  const y = broadcasted("div", calls.cdn_div, a, b);
  return differentiable(
    "div",
    y,
    a,
    b,
    (grad, wide) => div(wide(grad), wide(b)),
    // Not grad a / b^2, whose parts overflow and vanish where the whole does not; of 16 bits y may
    // too.
    (grad, wide) =>
      inFloat32([wide(grad), a, b], (grad, x, b) => {
        return neg(mul(grad, div(x === a ? y : div(x, b), b)));
      }),
  );
}

/**
 * The largest whole number that is not above a / b, with broadcasting. Floats, where division by 0
 * gives an infinity or NaN; int32 and uint8, where it gives 0 (PyTorch refuses it), and -(2^31) /
 * -1 wraps. The gradient is 0. As torch.floor_divide.
 *
 * ```ts
 * import { floorDivide, tensor } from "@cudeno/cudeno";
 * console.log(floorDivide(tensor([-7, 7], { dtype: "int32" }), 2).dataSync()); // -4, 3
 * ```
 */
export function floorDivide(a: Tensor, b: Tensor | number): Tensor {
  checkDType("floorDivide", a, anything);
  [a, b] = autocasted("widest", a, b);
  const y = broadcasted("floorDivide", calls.cdn_floor_divide, a, b);
  const zeros = (grad: Tensor) => grad.make(grad.shape).fill(0);
  return differentiable("floorDivide", y, a, b, zeros, zeros);
}

/**
 * What {@linkcode floorDivide} leaves, a - b floor(a / b), with broadcasting: Python's %, with the
 * sign of b. Floats, where division by 0 gives NaN; int32 and uint8, where it gives 0 (PyTorch
 * refuses it). The gradient is 1 for a and -floor(a / b) for b. As torch.remainder.
 *
 * ```ts
 * import { remainder, tensor } from "@cudeno/cudeno";
 * console.log(remainder(tensor([-7, 7, 7.5]), 4).dataSync()); // 1, 3, 3.5
 * ```
 */
export function remainder(a: Tensor, b: Tensor | number): Tensor {
  checkDType("remainder", a, anything);
  [a, b] = autocasted("widest", a, b);
  const y = broadcasted("remainder", calls.cdn_remainder, a, b);
  return differentiable(
    "remainder",
    y,
    a,
    b,
    (grad) => grad,
    (grad, wide) => neg(mul(wide(grad), wide(floorDivide(a, b)))),
  );
}

/**
 * a to the power b, with broadcasting. Floats. The gradient is b a^(b-1) for a, which is 0 where b
 * is 0, and a^b ln a for b, which is 0 where a is 0 and b is not negative.
 *
 * ```ts
 * import { pow, tensor } from "@cudeno/cudeno";
 * console.log(pow(tensor([1, 2, 3]), 2).dataSync()); // 1, 4, 9
 * ```
 */
export function pow(a: Tensor, b: Tensor | number): Tensor {
  checkDType("pow", a, floats);
  [a, b] = autocasted("float32", a, b);
  const y = broadcasted("pow", calls.cdn_pow, a, b);
  return differentiable(
    "pow",
    y,
    a,
    b,
    (grad, wide) =>
      inFloat32([wide(grad), a, b], (grad, a, b) => {
        if (!gradEnabled() || b === 0) {
          return mul(grad, broadcasted("pow", calls.cdn_pow_grad_base, a, b));
        }
        const local = typeof b === "number" ? pow(a, b - 1) : pow(nonzero(a, eq(b, 0)), sub(b, 1));
        return mul(grad, typeof b === "number" ? mul(local, b) : weigh(local, b));
      }),
    (grad, wide) =>
      inFloat32([wide(grad), a, b as Tensor], (grad, a, b) =>
        mul(
          grad,
          gradEnabled()
            ? mul(pow(a, b), log(nonzero(a, ge(b, 0))))
            : broadcasted("pow", calls.cdn_pow_grad_exponent, a, b),
        )),
  );
}

// a, but 1 for zeros where the mask holds: the other factor is 0 there, and its product with
// infinity would be NaN.
function nonzero(a: Tensor, mask: Tensor): Tensor {
  return where(mask, where(eq(a, 0), 1, a), a);
}

/**
 * The larger of a and b, element by element; NaN where either is. Any dtype. Where they are equal
 * each gets half the gradient.
 *
 * ```ts
 * import { maximum, tensor } from "@cudeno/cudeno";
 * console.log(maximum(tensor([1, 5]), tensor([3, 2])).dataSync()); // 3, 5
 * ```
 */
export function maximum(a: Tensor, b: Tensor | number): Tensor {
  checkDType("maximum", a, anything);
  [a, b] = autocasted("widest", a, b);
  const y = broadcasted("maximum", calls.cdn_maximum, a, b);
  return differentiable(
    "maximum",
    y,
    a,
    b,
    (grad) => weigh(grad, broadcasted("maximum", calls.cdn_maximum_grad, a, b)),
    (grad) => weigh(grad, broadcasted("maximum", calls.cdn_maximum_grad, b as Tensor, a)),
  );
}

/**
 * The smaller of a and b, element by element; NaN where either is. Any dtype. Where they are equal
 * each gets half the gradient.
 *
 * ```ts
 * import { minimum, tensor } from "@cudeno/cudeno";
 * console.log(minimum(tensor([1, 5]), 3).dataSync()); // 1, 3
 * ```
 */
export function minimum(a: Tensor, b: Tensor | number): Tensor {
  checkDType("minimum", a, anything);
  [a, b] = autocasted("widest", a, b);
  const y = broadcasted("minimum", calls.cdn_minimum, a, b);
  // a is the smaller where -a is the larger.
  const share = (x: Tensor, other: Tensor | number) =>
    broadcasted(
      "minimum",
      calls.cdn_maximum_grad,
      neg(x),
      typeof other === "number" ? -other : neg(other),
    );
  return differentiable(
    "minimum",
    y,
    a,
    b,
    (grad) => weigh(grad, share(a, b)),
    (grad) => weigh(grad, share(b as Tensor, a)),
  );
}
