import { record } from "../../core/autograd.ts";
import { sizeOf } from "../../core/shape.ts";
import { calls } from "../../native/calls.ts";
import type { Tensor } from "../../tensor.ts";
import { mul } from "../elementwise/binary.ts";

/**
 * y[k] = a[k] y[k - 1] + b[k] along an axis, from y = 0 on; without b products of a, from 1 on.
 * Exclusive: what there was before each element. Unrecorded.
 */
export function recurrence(
  a: Tensor,
  b: Tensor | null,
  axis: number,
  reverse: boolean,
  exclusive: boolean,
): Tensor {
  const [outer, inner] = [sizeOf(a.shape.slice(0, axis)), sizeOf(a.shape.slice(axis + 1))];
  const flags = [Number(reverse), Number(exclusive)] as const;
  const y = a.make(a.shape);
  calls.cdn_linear_scan(y, a, b, outer, a.shape[axis]!, inner, ...flags, a.code);
  return y;
}

/** The same, exclusive and recorded. Its gradient for b is such a recurrence in reverse. */
export function linearScan(a: Tensor, b: Tensor | null, axis: number, reverse: boolean): Tensor {
  const y = recurrence(a, b, axis, reverse, true);
  return record(y, "linearScan", b ? [a, b] : [a], (grad) => {
    const back = linearScan(a, grad, axis, !reverse);
    const ofA = a.requiresGrad ? mul(back, y) : null;
    return b ? [ofA, back] : [ofA];
  });
}
