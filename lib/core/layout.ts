import type { Shape } from "./shape.ts";

// Eight dimensions of three numbers, or of two and an offset.
const layout = new BigInt64Array(25);

/**
 * The layout argument of broadcasting kernels: (extent, strides…) for each dimension, in one buffer that the next call
 * reuses.
 */
export function writeLayout(
  shape: Shape,
  a: Shape,
  b?: Shape,
  offset = 0,
): BigInt64Array<ArrayBuffer> {
  let at = 0;
  for (let d = 0; d < shape.length; d++) {
    layout[at++] = BigInt(shape[d]!);
    layout[at++] = BigInt(a[d]!);
    if (b) layout[at++] = BigInt(b[d]!);
  }
  if (!b) layout[at] = BigInt(offset);
  return layout;
}
