import { refuse } from "../../core/options.ts";
import { formatValue } from "../../core/format.ts";
import { record } from "../../core/autograd.ts";
import { scope } from "../../core/scope.ts";
import { contiguousStrides, formatShape, normalizeAxes, normalizeAxis } from "../../core/shape.ts";
import { ArgumentError, ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { checkTensor } from "../_operands.ts";
import { gathered, take } from "./_window.ts";

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

/**
 * x at one place of an axis, without that axis; a negative index counts from the end. A view, as
 * with {@linkcode slice}, where it can be. Any dtype. As torch.select.
 *
 * ```ts
 * import { select, tensor } from "@cudeno/cudeno";
 * console.log(select(tensor([[1, 2], [3, 4]]), 1, -1).dataSync()); // 2, 4
 * ```
 */
export function select(x: Tensor, axis: number, index: number): Tensor {
  checkTensor("select", x);
  const at = normalizeAxis("select", axis, x.rank);
  const extent = x.shape[at]!;
  if (!Number.isInteger(index) || index < -extent || index >= extent) {
    throw new ShapeError(
      `select: index is ${formatValue(index)}; axis ${axis} of ${
        formatShape(x.shape)
      } has places ${-extent}..${extent - 1}`,
    );
  }
  const strides = contiguousStrides(x.shape);
  return take("select", x, {
    shape: x.shape.toSpliced(at, 1),
    strides: strides.toSpliced(at, 1),
    offset: (index < 0 ? index + extent : index) * strides[at]!,
  });
}

/**
 * x in parts along an axis: parts of `sizes` elements, the last one with what is left, or of the
 * sizes listed. Views where they can be. Any dtype. As torch.split.
 *
 * ```ts
 * import { arange, split } from "@cudeno/cudeno";
 * console.log(split(arange(5), 2).map((part) => part.size)); // [2, 2, 1]
 * console.log(split(arange(5), [1, 4]).map((part) => part.size)); // [1, 4]
 * ```
 */
export function split(x: Tensor, sizes: number | readonly number[], axis = 0): Tensor[] {
  checkTensor("split", x);
  const at = normalizeAxis("split", axis, x.rank);
  const extent = x.shape[at]!;
  if (typeof sizes !== "number" && !Array.isArray(sizes)) {
    refuse("split", "sizes", sizes, "a whole number or an array of them");
  }
  const list: readonly number[] = typeof sizes === "number" ? evenly(sizes, extent) : sizes;
  const whole = (n: number) => Number.isSafeInteger(n) && n >= 0;
  if (!list.every(whole) || list.reduce((sum, size) => sum + size, 0) !== extent) {
    throw new ShapeError(
      `split: the sizes [${
        Array.from(list, formatValue).join(", ")
      }] do not make the ${extent} elements of axis ${axis} of ${formatShape(x.shape)}`,
    );
  }
  let start = 0;
  return scope(() => list.map((size) => slice(x, at, start, start += size))); // all or none
}

function evenly(size: number, extent: number): number[] {
  if (!Number.isSafeInteger(size) || size < (extent === 0 ? 0 : 1)) {
    throw new ArgumentError(
      `split: the size is ${formatValue(size)}; it must be a whole number, at least 1`,
    );
  }
  const count = Math.max(1, Math.ceil(extent / Math.max(size, 1)));
  return Array.from({ length: count }, (_, i) => Math.min(size, extent - i * size));
}

/**
 * x in at most `chunks` parts along an axis, all of one size but for the last; fewer, where that
 * size fills the axis sooner. Views where they can be. Any dtype. As torch.chunk.
 *
 * ```ts
 * import { arange, chunk } from "@cudeno/cudeno";
 * console.log(chunk(arange(5), 3).map((part) => part.size)); // [2, 2, 1]
 * ```
 */
export function chunk(x: Tensor, chunks: number, axis = 0): Tensor[] {
  checkTensor("chunk", x);
  const extent = x.shape[normalizeAxis("chunk", axis, x.rank)]!;
  if (!Number.isSafeInteger(chunks) || chunks < 1) {
    throw new ArgumentError(
      `chunk: chunks is ${formatValue(chunks)}; it must be a whole number, at least 1`,
    );
  }
  return split(x, extent === 0 ? new Array(chunks).fill(0) : Math.ceil(extent / chunks), axis);
}

/**
 * x with the order of elements reversed along the axes; along all of them when none are given. Any
 * dtype. As torch.flip.
 *
 * ```ts
 * import { flip, tensor } from "@cudeno/cudeno";
 * console.log(flip(tensor([[1, 2], [3, 4]]), 1).dataSync()); // 2, 1, 4, 3
 * ```
 */
export function flip(x: Tensor, axes?: number | readonly number[]): Tensor {
  checkTensor("flip", x);
  const list = normalizeAxes("flip", axes, x.rank).filter((axis) => x.shape[axis]! > 1);
  if (list.length === 0 || x.size === 0) return x;
  const own = contiguousStrides(x.shape);
  const strides = own.map((stride, d) => (list.includes(d) ? -stride : stride));
  const offset = list.reduce((sum, axis) => sum + (x.shape[axis]! - 1) * own[axis]!, 0);
  const y = gathered(x, { shape: x.shape, strides, offset });
  return record(y, "flip", [x], (grad) => [flip(grad, list)]);
}
