// What all reductions share: the axes of a tensor as one, between those before and those behind it.
import { inMemoryOrder, type MemoryFormat } from "../../core/layout.ts";
import { formatShape, normalizeAxes, type Shape, sizeOf } from "../../core/shape.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { broadcastTo, permute, reshape } from "../shape/movement.ts";

/** The axes to reduce: one, several, or all when not given. Negative ones count from the back. */
export type Axes = number | readonly number[];

/** A tensor as [outer, axis, inner], the axes of a run being the one to reduce. */
export interface Run {
  outer: number;
  axis: number;
  inner: number;
  /** The memory format that this is in. */
  format: MemoryFormat;
  /** The shape of the result with the axes left in, with extent 1. */
  kept: Shape;
  /** The shape of the result. */
  out: Shape;
  /** Whether no other run comes after it. */
  last: boolean;
}

// Whether some of the sorted axes are not neighbours.
function apart(list: readonly number[]): boolean {
  return list.some((axis, i) => i > 0 && axis !== list[i - 1]! + 1);
}

// Whether the axes that are left without these lie in memory as in the shape, in channelsLast too.
function keepsOrder(list: readonly number[]): boolean {
  return list.includes(1) || (list.includes(2) && list.includes(3));
}

/**
 * Reduces neighbouring axes as one, and one such run after the other: for what may be done in
 * steps. With `anyFormat` neighbours are those side by side in memory, where the result is in
 * order.
 */
export function reduceAxes(
  op: string,
  x: Tensor,
  axes: Axes | undefined,
  keepDims: boolean | undefined,
  one: (x: Tensor, run: Run) => Tensor,
  anyFormat = false,
): Tensor {
  const whole = { outer: 1, axis: 1, inner: 1, format: "contiguous", last: true } as const;
  if (axes === undefined) {
    const kept = x.shape.map(() => 1);
    const format = anyFormat ? x.format : "contiguous";
    return one(x, { ...whole, axis: x.size, format, kept, out: keepDims ? kept : [] });
  }
  let left = normalizeAxes(op, axes, x.rank);
  if (left.length === 0) return one(x, { ...whole, outer: x.size, kept: x.shape, out: x.shape });
  const out = keepDims ? undefined : x.shape.filter((_, d) => !left.includes(d));
  let y = x;
  while (left.length > 0) {
    const { shape } = y;
    const format = anyFormat && keepsOrder(left) ? y.format : "contiguous";
    const order = inMemoryOrder(shape.map((_, d) => d), format);
    const size = (from: number, to?: number) => sizeOf(order.slice(from, to).map((d) => shape[d]!));
    const end = order.findLastIndex((d) => left.includes(d)) + 1;
    let start = end - 1;
    while (start > 0 && left.includes(order[start - 1]!)) start--;
    const run = order.slice(start, end);
    left = left.filter((d) => !run.includes(d));
    const kept = shape.map((extent, d) => (run.includes(d) ? 1 : extent));
    const last = left.length === 0;
    y = one(y, {
      outer: size(0, start),
      axis: size(start, end),
      inner: size(end),
      format,
      kept,
      out: last && out ? out : kept,
      last,
    });
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
