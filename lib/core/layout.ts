import { refuse } from "./options.ts";
import { contiguousStrides, formatShape, type Shape } from "./shape.ts";
import { ShapeError } from "../native/errors.ts";

/**
 * In which order the elements of a tensor lie in memory: row by row, or, of images [n, channels,
 * height, width], the channels of each pixel side by side. Shapes and reads are the same in both.
 */
export type MemoryFormat = "contiguous" | "channelsLast";

/** Throws unless it is a format that a tensor of this shape can have. */
export function checkFormat(op: string, format: MemoryFormat, shape: Shape): void {
  if (format !== "contiguous" && format !== "channelsLast") {
    refuse(op, "format", format, '"contiguous" or "channelsLast"');
  }
  if (format === "channelsLast" && shape.length !== 4) {
    throw new ShapeError(
      `${op}: a tensor of shape ${formatShape(shape)} has no channelsLast format; ` +
        "only images have it, [n, channels, height, width]",
    );
  }
}

/** The strides of a tensor, in elements. */
export function stridesOf(shape: Shape, format: MemoryFormat): number[] {
  if (format === "contiguous") return contiguousStrides(shape);
  const [, c, h, w] = shape as [number, number, number, number];
  return [c * h * w, 1, w * c, c];
}

/** What is listed for each axis, in the order in which the axes lie in memory. */
export function inMemoryOrder<T>(axes: readonly T[], format: MemoryFormat): readonly T[] {
  return format === "contiguous" ? axes : [axes[0]!, axes[2]!, axes[3]!, axes[1]!];
}

/**
 * A part of a contiguous tensor: its element i is the one at `offset` + the sum of i[d] strides[d].
 */
export interface Window {
  readonly shape: Shape;
  /** In elements; they may be 0 or negative. */
  readonly strides: Shape;
  readonly offset: number;
}

// Eight dimensions of four numbers.
const layout = new BigInt64Array(32);

/**
 * The layout argument of broadcasting kernels: (extent, a stride for each input) for each
 * dimension, in one buffer that the next call reuses. With one input it is that of strided copies
 * too, at an offset of 0.
 */
export function writeLayout(shape: Shape, ...strides: Shape[]): BigInt64Array<ArrayBuffer> {
  let at = 0;
  for (let d = 0; d < shape.length; d++) {
    layout[at++] = BigInt(shape[d]!);
    for (const stride of strides) layout[at++] = BigInt(stride[d]!);
  }
  return layout.fill(0n, at); // what earlier calls left would look like a difference of this one
}

/**
 * That of a broadcasting kernel in one dimension: both inputs element by element, or a number,
 * `stepB` 0, with each.
 */
export function writeFlat(size: number, stepB: 0n | 1n = 1n): BigInt64Array<ArrayBuffer> {
  layout[0] = BigInt(size);
  layout[1] = 1n;
  layout[2] = stepB;
  return layout.fill(0n, 3);
}

/**
 * The layout argument of strided copies and writes: (extent, stride) for each dimension, then the
 * offset.
 */
export function writeWindow({ shape, strides, offset }: Window): BigInt64Array<ArrayBuffer> {
  const window = writeLayout(shape, strides);
  window[2 * shape.length] = BigInt(offset);
  return window;
}
