import { formatValue } from "../../core/format.ts";
import { checkValue } from "../../core/dtype.ts";
import { checkOptions } from "../../core/options.ts";
import { checkShape, contiguousStrides, formatShape, sizeOf } from "../../core/shape.ts";
import { ArgumentError, ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { broadcastTo, reshape } from "./movement.ts";
import { checkTensor } from "../_operands.ts";
import { put, take } from "./_window.ts";

/** Options of {@linkcode pad}. */
export interface PadOptions {
  /** What to fill with; default 0. */
  value?: number | undefined;
}

/**
 * x with elements added before and after along each axis, `[before, after]` for each, outermost
 * first; negative numbers take elements away. Any dtype. As torch.nn.functional.pad, whose list of
 * numbers starts at the last axis.
 *
 * ```ts
 * import { pad, tensor } from "@cudeno/cudeno";
 * console.log(pad(tensor([1, 2, 3]), [[2, -1]], { value: 9 }).dataSync()); // 9, 9, 1, 2
 * ```
 */
export function pad(
  x: Tensor,
  pads: readonly (readonly [before: number, after: number])[],
  options: PadOptions = {},
): Tensor {
  checkTensor("pad", x);
  checkOptions("pad", options, ["value"]);
  const { value = 0 } = options;
  checkValue("pad", value, x.dtype);
  const pair = (p: readonly number[]) =>
    Array.isArray(p) && p.length === 2 && p.every(Number.isSafeInteger);
  if (!Array.isArray(pads) || pads.length !== x.rank || !pads.every(pair)) {
    throw new ArgumentError(
      `pad: ${formatValue(pads)} is not a pair of whole numbers for each axis of ${
        formatShape(x.shape)
      }`,
    );
  }
  // What is taken away goes first, then comes what is added.
  const kept = x.shape.map((extent, d) =>
    extent + Math.min(0, pads[d]![0]) + Math.min(0, pads[d]![1])
  );
  if (kept.some((extent) => extent < 0)) {
    throw new ShapeError(
      `pad: ${formatValue(pads)} takes more away than there is in ${formatShape(x.shape)}`,
    );
  }
  const whole = kept.map((extent, d) =>
    extent + Math.max(0, pads[d]![0]) + Math.max(0, pads[d]![1])
  );
  checkShape("pad", whole);
  const window = (shape: readonly number[], sign: number) => {
    const strides = contiguousStrides(shape);
    const starts = pads.map(([before]) => Math.max(0, sign * before));
    return {
      shape: kept,
      strides,
      offset: starts.reduce((sum, start, d) => sum + start * strides[d]!, 0),
    };
  };
  const smaller = kept.some((extent, d) => extent < x.shape[d]!);
  const larger = kept.some((extent, d) => extent < whole[d]!);
  const inner = smaller ? take("pad", x, window(x.shape, -1)) : x;
  return larger ? put("pad", inner, whole, window(whole, 1), value) : inner;
}

/**
 * x repeated, reps[d] times along axis d. The shorter one of reps and x's shape has ones put in
 * front of it. Any dtype. As torch.tile.
 *
 * ```ts
 * import { tensor, tile } from "@cudeno/cudeno";
 * console.log(tile(tensor([1, 2]), [2, 2]).dataSync()); // 1, 2, 1, 2, 1, 2, 1, 2
 * ```
 */
export function tile(x: Tensor, reps: readonly number[]): Tensor {
  checkTensor("tile", x);
  if (!Array.isArray(reps) || !reps.every((n) => Number.isSafeInteger(n) && n >= 0)) {
    throw new ArgumentError(`tile: reps is ${formatValue(reps)}; it must be whole numbers`);
  }
  const rank = Math.max(reps.length, x.rank);
  const counts = [...new Array<number>(rank - reps.length).fill(1), ...reps];
  const before = [...new Array<number>(rank - x.rank).fill(1), ...x.shape];
  const shape = before.map((extent, d) => extent * counts[d]!);
  checkShape("tile", shape);
  // The last axis first, while there is least to copy; one axis at a time needs no more than three
  // axes.
  let y = x;
  for (let d = rank - 1; d >= 0; d--) {
    if (counts[d] === 1) continue;
    const outer = sizeOf(before.slice(0, d));
    const inner = before[d]! * sizeOf(shape.slice(d + 1));
    y = broadcastTo(reshape(y, [outer, 1, inner]), [outer, counts[d]!, inner]);
  }
  return reshape(y, shape);
}
