import { formatValue } from "../../core/describe.ts";
import { refuse } from "../../core/options.ts";
import { scope } from "../../core/scope.ts";
import { formatShape, normalizeAxis } from "../../core/shape.ts";
import { ArgumentError, ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { checkTensor } from "../_operands.ts";
import { slice } from "./slice.ts";

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
