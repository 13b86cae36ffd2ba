import type { Shape } from "./shape.ts";

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
  if (strides.length === 1) layout[at] = 0n;
  return layout;
}

/**
 * That of a broadcasting kernel in one dimension: both inputs element by element, or a number,
 * `stepB` 0, with each.
 */
export function writeFlat(size: number, stepB: 0n | 1n = 1n): BigInt64Array<ArrayBuffer> {
  layout[0] = BigInt(size);
  layout[1] = 1n;
  layout[2] = stepB;
  return layout;
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
