import { record } from "../../core/autograd.ts";
import { type Window, writeWindow } from "../../core/layout.ts";
import { contiguousStrides, type Shape, sizeOf } from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import type { Tensor } from "../../tensor.ts";

// Reading a part of a tensor and putting a part into a larger one are each other's gradients;
// slices, pads and the like are made of them.

/**
 * The elements of x that a window names: without a copy where they lie one after another. Recorded
 * as `op`.
 */
export function take(op: string, x: Tensor, window: Window): Tensor {
  const { shape: whole } = x;
  return record(taken(x, window), op, [x], (grad) => [put(op, grad, whole, window)]);
}

function taken(x: Tensor, window: Window): Tensor {
  const { shape, strides, offset } = window;
  if (sizeOf(shape) === 0) return x.part(0, shape);
  const dense = contiguousStrides(shape);
  const together = shape.every((extent, d) => extent === 1 || strides[d] === dense[d]);
  return together ? x.part(offset, shape) : gathered(x, window);
}

/** As {@linkcode take}, but always a copy and not recorded. */
export function gathered(x: Tensor, window: Window): Tensor {
  const y = x.make(window.shape);
  call("cdn_strided_copy", y, x, writeWindow(window), window.shape.length, x.code);
  return y;
}

/** A tensor of shape `whole` with x in its window and `value` elsewhere. Recorded as `op`. */
export function put(op: string, x: Tensor, whole: Shape, window: Window, value = 0): Tensor {
  const y = x.make(whole);
  const zeros = Object.is(value, 0);
  if (!zeros) y.fill(value);
  write(y, x, window, zeros ? y.size : 0);
  return record(y, op, [x], (grad) => [take(op, grad, window)]);
}

/**
 * Overwrites a window of y with x, which has the window's shape. Not recorded. The rest of the
 * first `zeros` elements, if there are any, becomes 0.
 */
export function write(y: Tensor, x: Tensor, window: Window, zeros = 0): void {
  call("cdn_strided_write", y, x, writeWindow(window), window.shape.length, zeros, y.code);
}
