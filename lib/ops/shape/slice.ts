import { formatValue } from "../../core/describe.ts";
import { contiguousStrides, normalizeAxis } from "../../core/shape.ts";
import { ArgumentError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { checkTensor } from "../_operands.ts";
import { take } from "./_window.ts";

/**
 * The elements of x along an axis from `start` up to, but without, `stop`, in steps of `step`:
 * Python's x[start:stop:step]. Negative places count from the end, places outside are moved to the
 * ends, and a negative step goes backwards, by default from the last element to the first. Any
 * dtype. Where the result lies in one piece in x (step 1, along the first axis for instance), it is
 * a view: it has x's memory and sees what is written there.
 *
 * ```ts
 * import { arange, slice } from "@cudeno/cudeno";
 * const x = arange(6);
 * console.log(slice(x, 0, 1, 4).dataSync()); // 1, 2, 3
 * console.log(slice(x, 0, -2).dataSync()); // 4, 5
 * console.log(slice(x, 0, undefined, undefined, -2).dataSync()); // 5, 3, 1
 * ```
 */
export function slice(x: Tensor, axis: number, start?: number, stop?: number, step = 1): Tensor {
  checkTensor("slice", x);
  const at = normalizeAxis("slice", axis, x.rank);
  for (const [name, value] of Object.entries({ start, stop, step })) {
    if (value !== undefined && !Number.isSafeInteger(value)) {
      throw new ArgumentError(`slice: ${name} is ${formatValue(value)}; it must be a whole number`);
    }
  }
  if (step === 0) throw new ArgumentError("slice: step is 0; it must be another number");
  const extent = x.shape[at]!;
  const [low, high] = step > 0 ? [0, extent] : [-1, extent - 1];
  const place = (value: number) =>
    Math.min(Math.max(value < 0 ? value + extent : value, low), high);
  const first = start === undefined ? (step > 0 ? low : high) : place(start);
  const last = stop === undefined ? (step > 0 ? high : low) : place(stop);
  const count = Math.max(0, Math.ceil((last - first) / step));
  if (count === extent && step === 1) return x;
  const strides = contiguousStrides(x.shape);
  return take("slice", x, {
    shape: x.shape.with(at, count),
    strides: strides.with(at, count > 1 ? strides[at]! * step : 0),
    offset: count > 0 ? first * strides[at]! : 0,
  });
}
