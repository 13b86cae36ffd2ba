import { record } from "../../core/autograd.ts";
import type { MemoryFormat } from "../../core/layout.ts";
import { type Shape, sizeOf } from "../../core/shape.ts";
import type { Memory } from "../../core/elements.ts";
import type { Tensor } from "../../tensor.ts";

/** A kernel that writes one tensor from another. */
export type Kernel = (to: Memory, from: Memory) => void;

/**
 * A linear function of x by a kernel, and its transpose by another: the gradient, whose gradient is
 * the function again. Memory on both sides is in one format.
 */
export function linearMap(
  op: string,
  x: Tensor,
  shape: Shape,
  format: MemoryFormat,
  there: Kernel,
  back: Kernel,
): Tensor {
  const y = x.make(shape, x.dtype, format);
  there(y.stored(format), x.stored(format));
  return record(y, op, [x], (grad) => [linearMap(op, grad, x.shape, format, back, there)]);
}

/** A tensor as [outer, height, width, inner], as it lies in memory. */
export function planesOf({ shape, format }: Pick<Tensor, "shape" | "format">): {
  outer: number;
  height: number;
  width: number;
  inner: number;
} {
  const [height, width] = [shape.at(-2) ?? 1, shape.at(-1)!];
  if (format === "contiguous") {
    return { outer: sizeOf(shape.slice(0, -2)), height, width, inner: 1 };
  }
  return { outer: shape[0]!, height, width, inner: shape[1]! };
}
