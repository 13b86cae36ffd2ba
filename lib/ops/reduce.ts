import { record } from "../core/autograd.ts";
import { type DType, dtypeInfo } from "../core/dtype.ts";
import { checkOptions } from "../core/options.ts";
import { ShapeError } from "../native/errors.ts";
import { formatShape, normalizeAxes, sameShape, type Shape, sizeOf } from "../core/shape.ts";
import type { Tensor } from "../tensor.ts";
import { div } from "./binary.ts";
import { cast } from "./cast.ts";
import { broadcastTo, permute, reshape } from "./movement.ts";
import { checkDType, floats, numbers } from "./operands.ts";

/** Options of reductions. */
export interface ReduceOptions {
  /** Leave the reduced axes in the shape, with extent 1. Default false. */
  keepDims?: boolean;
}

/** The axes to reduce: one, several, or all when not given. Negative ones count from the back. */
export type Axes = number | readonly number[];

type Kernel = `cdn_${"sum" | "mean" | "max" | "min" | "argmax" | "argmin"}`;

// A tensor as [outer, axis, inner], the axes first..last being the one to reduce.
interface Run {
  outer: number;
  axis: number;
  inner: number;
  /** The shape of the result with the axes left in, with extent 1. */
  kept: Shape;
  /** The shape of the result. */
  out: Shape;
}

function runOf(shape: Shape, first: number, last: number, out?: Shape): Run {
  const kept = shape.map((extent, d) => (d < first || d > last ? extent : 1));
  return {
    outer: sizeOf(shape.slice(0, first)),
    axis: sizeOf(shape.slice(first, last + 1)),
    inner: sizeOf(shape.slice(last + 1)),
    kept,
    out: out ?? kept,
  };
}

// Neighbouring axes reduce as one; the last ones go first, so that the others keep their numbers.
function reduceAxes(
  op: string,
  x: Tensor,
  axes: Axes | undefined,
  options: ReduceOptions,
  one: (x: Tensor, run: Run) => Tensor,
): Tensor {
  checkOptions(op, options, ["keepDims"]);
  const list = normalizeAxes(op, axes, x.rank);
  if (list.length === 0) {
    return one(x, { outer: x.size, axis: 1, inner: 1, kept: x.shape, out: x.shape });
  }
  const apart = list.some((axis, i) => i > 0 && axis !== list[i - 1]! + 1);
  if (apart && dtypeInfo(x.dtype).bytes === 2) { // between the passes nothing is rounded to 16 bits
    return cast(reduceAxes(op, cast(x, "float32"), axes, options, one), x.dtype);
  }
  const out = options.keepDims ? undefined : x.shape.filter((_, d) => !list.includes(d));
  let y = x;
  for (let end = list.length - 1; end >= 0;) {
    let start = end;
    while (start > 0 && list[start - 1] === list[start]! - 1) start--;
    y = one(y, runOf(y.shape, list[start]!, list[end]!, start === 0 ? out : undefined));
    end = start - 1;
  }
  return y;
}

function reduceRun(kernel: Kernel, x: Tensor, run: Run, dtype: DType = x.dtype): Tensor {
  const y = x.make(run.out, dtype);
  const { backend } = x;
  const { outer, axis, inner } = run;
  backend.check(
    backend.functions[kernel](
      y.handle,
      x.handle,
      BigInt(outer),
      BigInt(axis),
      BigInt(inner),
      x.code,
    ),
  );
  return y;
}

/** The sum over the axes; 0 over none. float32, float64, int32. Adds in float64, in an order fixed by the shape. */
export function sum(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  checkDType("sum", x, numbers);
  return reduceAxes("sum", x, axes, options, (part, run) => {
    const { shape } = part;
    return record(reduceRun("cdn_sum", part, run), "sum", [part], (grad) => [
      broadcastTo(reshape(grad, run.kept), shape),
    ]);
  });
}

/** The mean over the axes; NaN over none. float32, float64. Adds in float64, in an order fixed by the shape. */
export function mean(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  checkDType("mean", x, floats);
  return reduceAxes("mean", x, axes, options, (part, run) => {
    const { shape } = part;
    return record(reduceRun("cdn_mean", part, run), "mean", [part], (grad) => [
      broadcastTo(reshape(div(grad, run.axis), run.kept), shape),
    ]);
  });
}

function extremum(
  op: "max" | "min",
  x: Tensor,
  axes: Axes | undefined,
  options: ReduceOptions,
): Tensor {
  checkDType(op, x, numbers);
  const list = normalizeAxes(op, axes, x.rank);
  if (list.some((axis, i) => i > 0 && axis !== list[i - 1]! + 1)) {
    return extremumApart(op, x, list, options);
  }
  return reduceAxes(op, x, list, options, (part, run) => {
    checkNotEmpty(op, part, run);
    const y = reduceRun(`cdn_${op}`, part, run);
    return record(y, op, [part], (grad) => [extremumGrad(grad, part, y, run)]);
  });
}

// Axes that are not neighbours are brought together: one after the other, equal elements would not share evenly.
function extremumApart(
  op: "max" | "min",
  x: Tensor,
  list: readonly number[],
  options: ReduceOptions,
): Tensor {
  checkOptions(op, options, ["keepDims"]);
  const kept = x.shape.flatMap((_, d) => (list.includes(d) ? [] : [d]));
  const together = list.map((_, i) => kept.length + i);
  const y = extremum(op, permute(x, [...kept, ...list]), together, {});
  return options.keepDims
    ? reshape(y, x.shape.map((extent, d) => (list.includes(d) ? 1 : extent)))
    : y;
}

function extremumGrad(grad: Tensor, x: Tensor, y: Tensor, run: Run): Tensor {
  const dx = x.make(x.shape);
  const { backend } = x;
  backend.check(
    backend.functions.cdn_max_grad(
      dx.handle,
      grad.handle,
      x.handle,
      y.handle,
      BigInt(run.outer),
      BigInt(run.axis),
      BigInt(run.inner),
      x.code,
    ),
  );
  return dx;
}

function checkNotEmpty(op: string, x: Tensor, run: Run): void {
  if (run.axis === 0 && run.outer * run.inner > 0) {
    throw new ShapeError(`${op}: shape ${formatShape(x.shape)} has no elements along the axis`);
  }
}

/** The largest element over the axes; NaN if there is one. Equal ones share the gradient evenly, as in torch.amax. */
export function max(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  return extremum("max", x, axes, options);
}

/** The smallest element over the axes; NaN if there is one. Equal ones share the gradient evenly, as in torch.amin. */
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
  return reduceAxes(op, x, axis, options, (part, run) => {
    checkNotEmpty(op, part, run);
    return reduceRun(`cdn_${op}`, part, run, "int32");
  });
}

/** The index of the largest element along the axis (of all elements when none is given), the first of equal ones; int32. */
export function argmax(x: Tensor, axis?: number, options: ReduceOptions = {}): Tensor {
  return argExtremum("argmax", x, axis, options);
}

/** The index of the smallest element along the axis (of all elements when none is given), the first of equal ones; int32. */
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
