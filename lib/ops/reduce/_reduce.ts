import type { DType } from "../../core/dtype.ts";
import { sameShape, type Shape } from "../../core/shape.ts";
import type { calls } from "../../native/calls.ts";
import type { Tensor } from "../../tensor.ts";
import type { Run } from "./_axes.ts";
import { sum } from "./sum.ts";
import { reshape } from "../shape/movement.ts";

/** Options of reductions. */
export interface ReduceOptions {
  /** Leave the reduced axes in the shape, with extent 1. Default false. */
  keepDims?: boolean | undefined;
}

/** Runs a reducing kernel, unrecorded. */
export function reduceRun(
  kernel: typeof calls.cdn_sum,
  x: Tensor,
  run: Run,
  dtype: DType = x.dtype,
): Tensor {
  const y = x.make(run.out, dtype);
  kernel(y, x, run.outer, run.axis, run.inner, x.code);
  return y;
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
