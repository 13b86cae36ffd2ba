// Windows over images: what all poolings check and tell the library.
import type { MemoryFormat } from "../../core/layout.ts";
import { checkInteger, checkOptions, refuse } from "../../core/options.ts";
import { formatShape, type Shape } from "../../core/shape.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { checkDType, floats } from "../_operands.ts";
import { reshape } from "../shape/movement.ts";

type Pair = readonly [height: number, width: number];

/** A number for both axes of an image, or one for each. */
export type PoolSize = number | readonly [height: number, width: number];

/** The windows along one axis. A kernel of 0 stands for adaptive ones. */
export interface Axis {
  extent: number;
  out: number;
  kernel: number;
  stride: number;
  padding: number;
  dilation: number;
}

/** How images are pooled, as kernels are told. */
export interface Pooling {
  /** Of the images, [n, c, h, w]. */
  readonly from: Shape;
  /** Of the results. */
  readonly to: Shape;
  readonly format: MemoryFormat;
  readonly axes: readonly [height: Axis, width: Axis];
  /** The `sizes` of the library. */
  readonly sizes: BigInt64Array<ArrayBuffer>;
}

// The numbers of a line, as images one place high have them.
function lineOf(op: string, name: string, size: unknown, least: number): Pair {
  if (typeof size !== "number") refuse(op, name, size, "a number");
  checkInteger(op, name, size, least);
  return [least, size];
}

// Both numbers of a size.
function pairOf(op: string, name: string, size: PoolSize, least: number): Pair {
  const pair: readonly number[] = typeof size === "number" ? [size, size] : size;
  if (!Array.isArray(pair) || pair.length !== 2) {
    refuse(op, name, size, "a number or [height, width]");
  }
  for (const number of pair) checkInteger(op, name, number, least);
  return pair as unknown as Pair;
}

/** What is pooled how: checked once, for images of any extents. */
export interface Plan {
  /** Whom messages name. */
  readonly op: string;
  /** Whether x has one axis, [n, c, l], instead of images. */
  readonly line: boolean;
  /** Whether windows are 2 x 2, side by side from the first place on. */
  readonly halves?: boolean;
  /** The windows of images of these extents. */
  axes(extents: Shape): [height: Axis, width: Axis];
}

/** The options that say what windows there are. */
export interface WindowOptions<Size = PoolSize> {
  /** The extents of a window. */
  kernelSize: Size;
  /** From one window to the next. Default: kernelSize. */
  stride?: Size | undefined;
  /**
   * Places around the image, which count as -infinity for the largest and as 0 for averages; at
   * most half of kernelSize. Default 0.
   */
  padding?: Size | undefined;
  /** From one place of a window to the next. Default 1. */
  dilation?: Size | undefined;
  /** Whether windows may reach beyond the image and its padding. Default false. */
  ceilMode?: boolean | undefined;
}

/** Windows as options ask for them, which have no others than `known`. */
export function windowsOf(
  op: string,
  line: boolean,
  options: WindowOptions | WindowOptions<number>,
  known: readonly string[],
): Plan {
  checkOptions(op, options, known);
  const { kernelSize, stride = kernelSize, padding = 0, dilation = 1, ceilMode = false } = options;
  const pair = (name: string, size: PoolSize, least: number) =>
    (line ? lineOf : pairOf)(op, name, size, least);
  const kernels = pair("kernelSize", kernelSize, 1);
  const strides = pair("stride", stride, 1);
  const paddings = pair("padding", padding, 0);
  const dilations = pair("dilation", dilation, 1);
  paddings.forEach((padding, d) => {
    if (2 * padding <= kernels[d]!) return;
    throw new ShapeError(
      `${op}: padding is ${padding}; it must be at most half of kernelSize, which is ${kernels[d]}`,
    );
  });
  const axis = (extent: number, d: 0 | 1): Axis => {
    const [kernel, stride, padding, dilation] = [kernels[d], strides[d], paddings[d], dilations[d]];
    const span = (kernel - 1) * dilation + 1;
    const room = extent + 2 * padding - span;
    let out = (ceilMode ? Math.ceil : Math.floor)(room / stride) + 1;
    // What begins in the padding behind is no window.
    if (ceilMode && (out - 1) * stride >= extent + padding) out--;
    const found = { extent, out, kernel, stride, padding, dilation };
    if (extent > 0 && out > 0 && !seesNothing(found)) return found;
    throw new ShapeError(
      `${op}: windows of ${kernel} with dilation ${dilation}, ${span} places, do not fit into ` +
        `an axis of ${extent} with padding ${padding}; use a smaller kernelSize or larger images`,
    );
  };
  const halves = !ceilMode && String([kernels, strides, paddings, dilations]) === "2,2,2,2,0,0,1,1";
  return { op, line, halves, axes: ([h, w]) => [axis(h!, 0), axis(w!, 1)] };
}

// Whether a window has no place of the image: one that begins before it may step over it.
function seesNothing({ extent, out, stride, padding, dilation }: Axis): boolean {
  if (dilation <= extent) return false;
  for (let o = 0; o < out && o * stride < padding; o++) {
    const before = padding - o * stride;
    if (Math.ceil(before / dilation) * dilation - before >= extent) return true;
  }
  return false;
}

/** The extents of the results of adaptive pooling; null leaves an axis as it is. */
export type AdaptiveSize = number | readonly [height: number | null, width: number | null];

/** The windows that give results of the extents asked for. */
export function adaptiveOf(op: string, line: boolean, outputSize: AdaptiveSize): Plan {
  const sizes: readonly (number | null)[] = typeof outputSize === "number"
    ? [line ? 1 : outputSize, outputSize]
    : outputSize;
  if (!Array.isArray(sizes) || sizes.length !== 2 || (line && typeof outputSize !== "number")) {
    refuse(op, "outputSize", outputSize, line ? "a number" : "a number or [height, width]");
  }
  for (const size of sizes) if (size !== null) checkInteger(op, "outputSize", size, 1);
  const axis = (extent: number, size: number | null | undefined): Axis => {
    const out = size ?? extent;
    if (extent === 0) throw new ShapeError(`${op}: an axis of x has no places to pool`);
    const kernel = extent % out === 0 ? extent / out : 0;
    return { extent, out, kernel, stride: kernel || 1, padding: 0, dilation: 1 };
  };
  return { op, line, axes: ([h, w]) => [axis(h!, sizes[0]), axis(w!, sizes[1])] };
}

/** The most places that a window has, or one more. */
export function placesOf({ axes }: Pooling): number {
  return axes.reduce(
    (n, { extent, out, kernel }) => n * (kernel || Math.ceil(extent / out) + 1),
    1,
  );
}

/** The pooling of images [n, c, h, w] that lie in a format. */
export function poolingOf(plan: Plan, from: Shape, format: MemoryFormat): Pooling {
  const [n, c, h, w] = from as [number, number, number, number];
  const axes = plan.axes([h, w]);
  const [outer, inner] = format === "contiguous" ? [n * c, 1] : [n, c];
  const numbers = axes.flatMap(({ extent, out, kernel, stride, padding, dilation }) => {
    return [extent, out, kernel, stride, padding, dilation];
  });
  const sizes = BigInt64Array.from([outer, inner, ...numbers], BigInt);
  return { from, to: [n, c, ...axes.map(({ out }) => out)], format, axes, sizes };
}

/**
 * Runs `fn` on x as images [n, c, h, w], and gives its results the axes that x has: [c, h, w] for
 * images, and for lines [n, c, l] or [c, l].
 */
export function overImages<T extends readonly [Tensor, ...Tensor[]]>(
  x: Tensor,
  plan: Plan,
  fn: (images: Tensor, pooling: Pooling) => T,
): T {
  const { op, line } = plan;
  checkDType(op, x, floats);
  const rank = line ? 3 : 4;
  if (x.rank !== rank && x.rank !== rank - 1) {
    const wanted = line ? "[n, c, l] or [c, l]" : "[n, c, h, w] or [c, h, w]";
    throw new ShapeError(`${op}: x is ${formatShape(x.shape)}; it must be ${wanted}`);
  }
  const full = x.rank === rank ? x.shape : [1, ...x.shape];
  const from = line ? full.toSpliced(2, 0, 1) : full;
  const images = x.rank === 4 ? x : reshape(x, from);
  const pooling = poolingOf(plan, from, images.format);
  const results = fn(images, pooling);
  if (x.rank === 4) return results;
  const shape = [...x.shape.slice(0, line ? -1 : -2), ...pooling.to.slice(line ? 3 : 2)];
  return results.map((y) => reshape(y, shape)) as unknown as T;
}
