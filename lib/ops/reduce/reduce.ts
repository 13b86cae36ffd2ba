import { gradEnabled, record } from "../../core/autograd.ts";
import type { DType } from "../../core/dtype.ts";
import { checkOptions } from "../../core/options.ts";
import { sameShape, type Shape } from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import type { Tensor } from "../../tensor.ts";
import { div, weigh } from "../elementwise/binary.ts";
import { reshape } from "../shape/movement.ts";
import { autocasted, checkDType, floats, numbers } from "../_operands.ts";
import { type Axes, checkNotEmpty, reduceAxes, reduceTogether, type Run, spread } from "./_axes.ts";

export type { Axes };

/** Options of reductions. */
export interface ReduceOptions {
  /** Leave the reduced axes in the shape, with extent 1. Default false. */
  keepDims?: boolean | undefined;
}

type Kernel = `cdn_${"sum" | "mean" | "max" | "min" | "argmax" | "argmin"}`;

function reduceRun(kernel: Kernel, x: Tensor, run: Run, dtype: DType = x.dtype): Tensor {
  const y = x.make(run.out, dtype);
  call(kernel, y, x, run.outer, run.axis, run.inner, x.code);
  return y;
}

/**
 * The sum over the axes; 0 over none. Floats and int32. Adds in float64, in an order fixed by the
 * shape; int32 in int64, but the result wraps, where PyTorch's is int64.
 *
 * ```ts
 * import { sum, tensor } from "@cudeno/cudeno";
 * const x = tensor([[1, 2], [3, 4]]);
 * console.log(sum(x).itemSync(), sum(x, 0).dataSync()); // 10, and 4, 6
 * ```
 */
export function sum(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  checkDType("sum", x, numbers);
  [x] = autocasted("float32", x);
  checkOptions("sum", options, ["keepDims"]);
  return reduceAxes(
    "sum",
    x,
    axes,
    options.keepDims,
    (part, run) =>
      record(reduceRun("cdn_sum", part, run), "sum", [part], (grad) => [spread(grad, part, run)]),
  );
}

/**
 * The mean over the axes; NaN over none. Floats; cast whole numbers first. Adds in float64, in an
 * order fixed by the shape.
 *
 * ```ts
 * import { mean, tensor } from "@cudeno/cudeno";
 * console.log(mean(tensor([[1, 2], [3, 4]]), 1, { keepDims: true }).shape); // [2, 1]
 * ```
 */
export function mean(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  checkDType("mean", x, floats);
  [x] = autocasted("float32", x);
  checkOptions("mean", options, ["keepDims"]);
  return reduceAxes(
    "mean",
    x,
    axes,
    options.keepDims,
    (part, run) =>
      record(reduceRun("cdn_mean", part, run), "mean", [part], (grad) => [
        spread(div(grad, run.axis), part, run),
      ]),
  );
}

function extremum(
  op: "max" | "min",
  x: Tensor,
  axes: Axes | undefined,
  options: ReduceOptions,
): Tensor {
  checkDType(op, x, numbers);
  checkOptions(op, options, ["keepDims"]);
  // Axis by axis, equal elements would not share the gradient evenly.
  return reduceTogether(op, x, axes, options.keepDims, (part, run) => {
    checkNotEmpty(op, part, run);
    const y = reduceRun(`cdn_${op}`, part, run);
    return record(y, op, [part], (grad) => [
      // To be differentiated again, the shares are constants.
      gradEnabled()
        ? weigh(spread(grad, part, run), extremumGrad(grad.make(grad.shape).fill(1), part, y, run))
        : extremumGrad(grad, part, y, run),
    ]);
  });
}

function extremumGrad(grad: Tensor, x: Tensor, y: Tensor, run: Run): Tensor {
  const dx = x.make(x.shape);
  call("cdn_max_grad", dx, grad, x, y, run.outer, run.axis, run.inner, x.code);
  return dx;
}

/**
 * The largest element over the axes; NaN if there is one. Equal ones share the gradient evenly, as
 * in torch.amax.
 *
 * ```ts
 * import { max, tensor } from "@cudeno/cudeno";
 * console.log(max(tensor([[1, 5], [3, 4]]), 1).dataSync()); // 5, 4
 * ```
 */
export function max(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  return extremum("max", x, axes, options);
}

/**
 * The smallest element over the axes; NaN if there is one. Equal ones share the gradient evenly, as
 * in torch.amin.
 *
 * ```ts
 * import { min, tensor } from "@cudeno/cudeno";
 * console.log(min(tensor([[1, 5], [3, 4]]), 1).dataSync()); // 1, 3
 * ```
 */
export function min(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  return extremum("min", x, axes, options);
}

function argExtremum(
  op: "argmax" | "argmin",
  x: Tensor,
  axis: number | undefined,
  options: ReduceOptions,
): Tensor {
  checkDType(op, x, numbers);
  checkOptions(op, options, ["keepDims"]);
  return reduceAxes(op, x, axis, options.keepDims, (part, run) => {
    checkNotEmpty(op, part, run);
    return reduceRun(`cdn_${op}`, part, run, "int32");
  });
}

/**
 * The index of the largest element along the axis (of all elements when none is given), the first
 * of equal ones; int32.
 *
 * ```ts
 * import { argmax, tensor } from "@cudeno/cudeno";
 * console.log(argmax(tensor([[1, 5], [3, 4]]), 1).dataSync()); // 1, 1
 * ```
 */
export function argmax(x: Tensor, axis?: number, options: ReduceOptions = {}): Tensor {
  return argExtremum("argmax", x, axis, options);
}

/**
 * The index of the smallest element along the axis (of all elements when none is given), the first
 * of equal ones; int32.
 *
 * ```ts
 * import { argmin, tensor } from "@cudeno/cudeno";
 * console.log(argmin(tensor([4, 2, 3])).itemSync()); // 1
 * ```
 */
export function argmin(x: Tensor, axis?: number, options: ReduceOptions = {}): Tensor {
  return argExtremum("argmin", x, axis, options);
}

/** Undoes broadcasting: sums a gradient over the axes along which `shape` was repeated. */
export function sumTo(grad: Tensor, shape: Shape): Tensor {
  if (sameShape(grad.shape, shape)) return grad;
  const missing = grad.rank - shape.length;
  const axes = grad.shape.flatMap((extent, d) =>
    d < missing || (shape[d - missing] === 1 && extent !== 1) ? [d] : []
  );
  return reshape(sum(grad, axes), shape);
}
