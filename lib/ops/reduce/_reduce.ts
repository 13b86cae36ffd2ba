import { record } from "../../core/autograd.ts";
import { type DType, isFloat } from "../../core/dtype.ts";
import { sameShape, type Shape } from "../../core/shape.ts";
import { calls } from "../../native/calls.ts";
import type { Tensor } from "../../tensor.ts";
import { cast } from "../elementwise/_cast.ts";
import { div } from "../elementwise/binary.ts";
import { reshape } from "../shape/movement.ts";
import { type Axes, reduceAxes, type Run, spread } from "./_axes.ts";
import { sum } from "./sum.ts";

/** Options of reductions. */
export interface ReduceOptions {
  /** Leave the reduced axes in the shape, with extent 1. Default false. */
  keepDims?: boolean | undefined;
}

/** Runs a reducing kernel, unrecorded. */
export function reduceRun(
  kernel: typeof calls.cdn_max,
  x: Tensor,
  run: Run,
  dtype: DType = x.dtype,
): Tensor {
  const y = x.make(run.out, dtype);
  kernel(y, x, run.outer, run.axis, run.inner, x.code);
  return y;
}

/**
 * The sum or mean over axes, of memory in any format. Between passes floats are float64, so that
 * nothing is rounded there or overflows. Of uint8 it is int32.
 */
export function added(
  op: "sum" | "mean",
  x: Tensor,
  axes: Axes | undefined,
  keepDims: boolean | undefined,
): Tensor {
  const y = reduceAxes(op, x, axes, keepDims, (part, run) => {
    const { dtype } = part;
    const y = part.make(run.out, run.last || !isFloat(dtype) ? totalDType(dtype) : "float64");
    const from = part.stored(run.format);
    calls[`cdn_${op}`](y, from, run.outer, run.axis, run.inner, y.code, part.code);
    return record(y, op, [part], (grad) => {
      const share = op === "mean" ? div(grad, run.axis) : grad;
      return [spread(cast(share, dtype), part, run)];
    });
  }, true);
  return isFloat(x.dtype) ? cast(y, x.dtype) : y;
}

/** The dtype of sums and products. */
export function totalDType(dtype: DType): DType {
  return dtype === "uint8" ? "int32" : dtype;
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
