import { gradEnabled, record } from "../../core/autograd.ts";
import { computeDType } from "../../core/dtype.ts";
import { checkNumber, checkOptions } from "../../core/options.ts";
import { call } from "../../native/call.ts";
import type { Tensor } from "../../tensor.ts";
import { div, mul, sub } from "../elementwise/binary.ts";
import { cast } from "../elementwise/_cast.ts";
import { eq } from "../elementwise/compare.ts";
import { reshape } from "../shape/movement.ts";
import { autocasted, checkDType, floats } from "../_operands.ts";
import { mean } from "./mean.ts";
import type { ReduceOptions } from "./_reduce.ts";
import { type Axes, reduceTogether, type Run } from "./_axes.ts";
import { where } from "../elementwise/where.ts";

/** Options of {@linkcode variance} and {@linkcode std}. */
export interface VarianceOptions extends ReduceOptions {
  /**
   * What is taken off the number of elements before dividing by it: 1 (the default) for a sample, 0
   * for the whole.
   */
  correction?: number | undefined;
}

function statistic(
  op: "variance" | "std",
  x: Tensor,
  axes: Axes | undefined,
  options: VarianceOptions,
): Tensor {
  checkDType(op, x, floats);
  [x] = autocasted("float32", x);
  checkOptions(op, options, ["correction", "keepDims"]);
  const { correction = 1, keepDims } = options;
  checkNumber(op, "correction", correction);
  const root = op === "std";
  const one = (part: Tensor, run: Run) => {
    // Unrounded, for the gradient.
    const y = part.make(run.out, computeDType(part.dtype));
    // Only the gradient wants the mean, and in full: where it is large a narrower float would lose
    // the differences.
    const center = gradEnabled() && part.requiresGrad ? part.make(run.out, "float64") : undefined;
    call(
      "cdn_variance",
      y,
      center,
      part,
      run.outer,
      run.axis,
      run.inner,
      correction,
      Number(root),
      part.code,
    );
    return record(y, op, [part], (grad) => [
      gradEnabled()
        ? composedGrad(grad, part, root ? y : undefined, run, correction)
        : fusedGrad(grad, part, center!, root ? y : undefined, run, correction),
    ]);
  };
  return cast(reduceTogether(op, x, axes, keepDims, one), x.dtype);
}

// dy (x - mean) 2 / (n - correction), for the root (x - mean) / y instead of twice x - mean: 0
// where y is, whatever x does.
function composedGrad(
  grad: Tensor,
  x: Tensor,
  root: Tensor | undefined,
  run: Run,
  correction: number,
): Tensor {
  const cube = cast(reshape(x, [run.outer, run.axis, run.inner]), "float64");
  const centred = sub(cube, mean(cube, 1, { keepDims: true }));
  let scaled = mul(cast(grad, "float64"), 2 / Math.max(0, run.axis - correction));
  if (root) scaled = div(scaled, mul(where(eq(root, 0), Infinity, cast(root, "float64")), 2));
  const product = mul(centred, reshape(scaled, [run.outer, 1, run.inner]));
  return reshape(cast(product, x.dtype), x.shape);
}

function fusedGrad(
  grad: Tensor,
  x: Tensor,
  center: Tensor,
  root: Tensor | undefined,
  run: Run,
  correction: number,
): Tensor {
  const dx = x.make(x.shape);
  call(
    "cdn_variance_grad",
    dx,
    grad,
    x,
    center,
    root,
    run.outer,
    run.axis,
    run.inner,
    correction,
    x.code,
  );
  return dx;
}

/**
 * The variance over the axes: sum((x - mean)^2) / max(0, n - correction), n being the number of
 * elements along the axes. Computed in one pass, in float64. Floats. Options: `correction` (default
 * 1, Bessel's; 0 gives that of the whole population) and `keepDims`. NaN where n is not above the
 * correction and nothing is spread, as for no element or one. As torch.var.
 *
 * ```ts
 * import { tensor, variance } from "@cudeno/cudeno";
 * const x = tensor([[1, 2, 3], [4, 6, 8]]);
 * console.log(variance(x, 1).dataSync()); // 1, 4
 * console.log(variance(x, 1, { correction: 0 }).shape); // [2]
 * ```
 */
export function variance(x: Tensor, axes?: Axes, options: VarianceOptions = {}): Tensor {
  return statistic("variance", x, axes, options);
}

/**
 * The standard deviation over the axes: the square root of {@linkcode variance}, with the same
 * options. Its gradient is 0 where it is 0. As torch.std.
 *
 * ```ts
 * import { std, tensor } from "@cudeno/cudeno";
 * console.log(std(tensor([1, 2, 3])).itemSync()); // 1
 * ```
 */
export function std(x: Tensor, axes?: Axes, options: VarianceOptions = {}): Tensor {
  return statistic("std", x, axes, options);
}
