import { refuse } from "./options.ts";
import { formatValue } from "./describe.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";

/** Extents, outermost first; `[]` is a scalar. */
export type Shape = readonly number[];

/** The most dimensions that the kernels handle. */
export const MAX_RANK = 8;

/** The number of elements of a shape. */
export function sizeOf(shape: Shape): number {
  let n = 1;
  for (let d = 0; d < shape.length; d++) n *= shape[d]!;
  return n;
}

/** `[2, 3]`, for messages. */
export function formatShape(shape: Shape): string {
  return `[${shape.map((extent) => formatValue(extent)).join(", ")}]`;
}

/**
 * The number of elements. Throws unless every extent is a whole number from 0 up, the rank at most
 * 8 and the size countable.
 */
export function checkShape(op: string, shape: Shape): number {
  if (!Array.isArray(shape)) {
    throw new ArgumentError(
      `${op}: the shape is ${formatValue(shape)}; it must be one array, such as [2, 3]`,
    );
  }
  for (let d = 0; d < shape.length; d++) {
    if (!Number.isSafeInteger(shape[d]) || shape[d]! < 0) {
      throw new ShapeError(
        `${op}: shape ${formatShape(shape)} has an extent that is no whole number from 0 up`,
      );
    }
  }
  if (shape.length > MAX_RANK) {
    throw new ShapeError(`${op}: shape ${formatShape(shape)} has more than ${MAX_RANK} dimensions`);
  }
  const size = sizeOf(shape);
  if (!Number.isSafeInteger(size)) {
    throw new ShapeError(
      `${op}: shape ${formatShape(shape)} has more elements than can be counted`,
    );
  }
  return size;
}

/** Whether two shapes are the same. */
export function sameShape(a: Shape, b: Shape): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let d = 0; d < a.length; d++) if (a[d] !== b[d]) return false;
  return true;
}

/**
 * The shape that two shapes broadcast to by NumPy's rule: extents are equal or one of them is 1,
 * from the right.
 */
export function broadcastShapes(op: string, a: Shape, b: Shape): number[] {
  const rank = Math.max(a.length, b.length);
  const out = new Array<number>(rank);
  for (let d = 1; d <= rank; d++) {
    const x = a[a.length - d] ?? 1;
    const y = b[b.length - d] ?? 1;
    if (x !== y && x !== 1 && y !== 1) {
      throw new ShapeError(
        `${op}: shapes ${formatShape(a)} and ${formatShape(b)} do not broadcast: ` +
          `counted from the right, dimension ${d} is ${x} and ${y}`,
      );
    }
    out[rank - d] = x === 1 ? y : x;
  }
  return out;
}

/** The strides, in elements, of a contiguous tensor. */
export function contiguousStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    strides[d] = step;
    step *= shape[d]!;
  }
  return strides;
}

/**
 * The strides by which a tensor of `shape`, by default a contiguous one, is read as `target`: 0
 * where it is repeated.
 */
export function broadcastStrides(
  shape: Shape,
  target: Shape,
  own: Shape = contiguousStrides(shape),
): number[] {
  const missing = target.length - shape.length;
  return target.map((_, d) => (d < missing || shape[d - missing] === 1 ? 0 : own[d - missing]!));
}

/** An axis counted from the front; negative ones count from the back. */
export function normalizeAxis(op: string, axis: number, rank: number): number {
  if (!Number.isInteger(axis)) {
    throw new ArgumentError(`${op}: axis is ${formatValue(axis)}; it must be a whole number`);
  }
  if (axis < -rank || axis >= rank) {
    if (rank === 0) {
      throw new ShapeError(
        `${op}: axis is ${axis}; a tensor of shape [] is one number and has no axes`,
      );
    }
    throw new ShapeError(
      `${op}: axis is ${formatValue(axis)}; a tensor of ${rank} dimensions has axes ${-rank}..${
        rank - 1
      }`,
    );
  }
  return axis < 0 ? axis + rank : axis;
}

/** Sorted distinct axes from the front; all of them when none are given. */
export function normalizeAxes(
  op: string,
  axes: number | readonly number[] | undefined,
  rank: number,
): number[] {
  if (axes === undefined) return Array.from({ length: rank }, (_, d) => d);
  if (typeof axes !== "number" && !Array.isArray(axes)) {
    refuse(op, "axes", axes, "an axis or an array of axes; options such as keepDims come after it");
  }
  const list: readonly number[] = typeof axes === "number" ? [axes] : axes;
  const out = list.map((axis) => normalizeAxis(op, axis, rank)).sort((a, b) => a - b);
  if (new Set(out).size !== out.length) {
    throw new ArgumentError(`${op}: axes [${list.join(", ")}] name one axis twice`);
  }
  return out;
}
