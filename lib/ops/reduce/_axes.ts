// What all reductions share: the axes of a tensor as one, between those before and those behind it.
import { formatShape, normalizeAxes, type Shape, sizeOf } from "../../core/shape.ts";
import { dtypeInfo } from "../../core/dtype.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { broadcastTo, permute, reshape } from "../shape/movement.ts";
import { inFloat32 } from "../_operands.ts";

/** The axes to reduce: one, several, or all when not given. Negative ones count from the back. */
export type Axes = number | readonly number[];

/** A tensor as [outer, axis, inner], the axes first..last being the one to reduce. */
export interface Run {
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

// Whether some of the sorted axes are not neighbours.
function apart(list: readonly number[]): boolean {
  return list.some((axis, i) => i > 0 && axis !== list[i - 1]! + 1);
}

/**
 * Reduces neighbouring axes as one, and one such run after the other: for what may be done in
 * steps. The last run goes first, so that the axes of the others keep their numbers.
 */
export function reduceAxes(
  op: string,
  x: Tensor,
  axes: Axes | undefined,
  keepDims: boolean | undefined,
  one: (x: Tensor, run: Run) => Tensor,
): Tensor {
  if (axes === undefined) {
    const kept = x.shape.map(() => 1);
    return one(x, { outer: 1, axis: x.size, inner: 1, kept, out: keepDims ? kept : [] });
  }
  const list = normalizeAxes(op, axes, x.rank);
  if (list.length === 0) {
    return one(x, { outer: x.size, axis: 1, inner: 1, kept: x.shape, out: x.shape });
  }
  // between the passes nothing is rounded to 16 bits
  if (apart(list) && dtypeInfo(x.dtype).bytes === 2) {
    return inFloat32([x], (wide) => reduceAxes(op, wide, axes, keepDims, one));
  }
  const out = keepDims ? undefined : x.shape.filter((_, d) => !list.includes(d));
  let y = x;
  for (let end = list.length - 1; end >= 0;) {
    let start = end;
    while (start > 0 && list[start - 1] === list[start]! - 1) start--;
    y = one(y, runOf(y.shape, list[start]!, list[end]!, start === 0 ? out : undefined));
    end = start - 1;
  }
  return y;
}

/**
 * Reduces all axes as one: those that are not neighbours are brought together behind the others
 * first.
 */
export function reduceTogether(
  op: string,
  x: Tensor,
  axes: Axes | undefined,
  keepDims: boolean | undefined,
  one: (x: Tensor, run: Run) => Tensor,
): Tensor {
  const list = normalizeAxes(op, axes, x.rank);
  if (!apart(list)) return reduceAxes(op, x, list, keepDims, one);
  const kept = x.shape.flatMap((_, d) => (list.includes(d) ? [] : [d]));
  const together = list.map((_, i) => kept.length + i);
  const y = reduceAxes(op, permute(x, [...kept, ...list]), together, false, one);
  return keepDims ? reshape(y, x.shape.map((n, d) => (list.includes(d) ? 1 : n))) : y;
}

/** Repeats what belongs to the result for each element of x that went into it. */
export function spread(y: Tensor, x: Tensor, run: Run): Tensor {
  return broadcastTo(y.size === 1 ? y : reshape(y, run.kept), x.shape);
}

/** Throws where there is nothing along the axis, for reductions that need something. */
export function checkNotEmpty(op: string, x: Tensor, run: Run): void {
  if (run.axis === 0 && run.outer * run.inner > 0) {
    throw new ShapeError(`${op}: shape ${formatShape(x.shape)} has no elements along the axis`);
  }
}
