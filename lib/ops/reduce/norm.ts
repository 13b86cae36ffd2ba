import { formatValue } from "../../core/describe.ts";
import { gradEnabled, record } from "../../core/autograd.ts";
import { checkOptions } from "../../core/options.ts";
import { call } from "../../native/call.ts";
import { ArgumentError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { div, mul, pow } from "../elementwise/binary.ts";
import { weigh } from "../elementwise/_binary.ts";
import { eq } from "../elementwise/compare.ts";
import { autocasted, checkDType, floats, inFloat32 } from "../_operands.ts";
import type { ReduceOptions } from "./_reduce.ts";
import { type Axes, checkNotEmpty, reduceTogether, type Run, spread } from "./_axes.ts";
import { abs } from "../elementwise/unary.ts";
import { where } from "../elementwise/where.ts";

/** Options of {@linkcode norm}. */
export interface NormOptions extends ReduceOptions {
  /** The power: any number, Infinity or -Infinity. Default 2. */
  p?: number | undefined;
}

/**
 * The norm over the axes of x as a vector: (sum |x|^p)^(1/p), by default Euclid's, p = 2. p =
 * Infinity (-Infinity) is the largest (smallest) |x|, p = 0 the number of elements that are not 0.
 * Floats; adds in float64, so that squares of float32 do not overflow. Over no elements it is 0, or
 * a ShapeError where p is negative or infinite. The gradient is 0 where the norm is; elements of
 * the same extreme size share it evenly. As torch.linalg.vector_norm.
 *
 * ```ts
 * import { norm, tensor } from "@cudeno/cudeno";
 * const x = tensor([3, -4]);
 * console.log(norm(x).itemSync()); // 5
 * console.log(norm(x, 0, { p: 1 }).itemSync()); // 7
 * console.log(norm(x, 0, { p: Infinity }).itemSync()); // 4
 * ```
 */
export function norm(x: Tensor, axes?: Axes, options: NormOptions = {}): Tensor {
  checkDType("norm", x, floats);
  [x] = autocasted("float32", x);
  checkOptions("norm", options, ["keepDims", "p"]);
  const { p = 2, keepDims } = options;
  if (typeof p !== "number" || Number.isNaN(p)) {
    throw new ArgumentError(`norm: p is ${formatValue(p)}; it must be a number, or Infinity`);
  }
  const one = (part: Tensor, run: Run) => {
    if (p < 0 || p === Infinity) checkNotEmpty("norm", part, run);
    const y = part.make(run.out);
    call("cdn_vector_norm", y, part, run.outer, run.axis, run.inner, p, part.code);
    return record(y, "norm", [part], (grad) => [
      gradEnabled() ? composedGrad(grad, part, y, run, p) : fusedGrad(grad, part, y, run, p),
    ]);
  };
  // The gradient wants the norm unrounded.
  return inFloat32([x], (x) => reduceTogether("norm", x, axes, keepDims, one));
}

function fusedGrad(grad: Tensor, x: Tensor, y: Tensor, run: Run, p: number): Tensor {
  const dx = x.make(x.shape);
  call("cdn_vector_norm_grad", dx, grad, x, y, run.outer, run.axis, run.inner, p, x.code);
  return dx;
}

// dy sign(x) (|x| / y)^(p - 1), with a ratio of 1 instead of 0, which the sign then takes out; by
// an infinite norm instead of 0, so that it is 0 whatever x does.
function composedGrad(grad: Tensor, x: Tensor, y: Tensor, run: Run, p: number): Tensor {
  if (p === 2) {
    return mul(div(x, spread(where(eq(y, 0), Infinity, y), x, run)), spread(grad, x, run));
  }
  // The signs, or at an infinity the shares, do not change with x: for p = 1 they are all there is.
  const plain = Number.isFinite(p) && p !== 0 ? 1 : p;
  const signs = fusedGrad(y.make(y.shape).fill(1), x, y, run, plain);
  const linear = weigh(spread(grad, x, run), signs);
  if (plain !== 1 || p === 1) return linear;
  const norms = spread(where(eq(y, 0), 1, y), x, run);
  return mul(linear, pow(div(where(eq(x, 0), norms, abs(x)), norms), p - 1));
}
