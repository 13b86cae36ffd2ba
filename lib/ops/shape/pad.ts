import { checkValue } from "../../core/dtype.ts";
import { formatValue } from "../../core/format.ts";
import { checkOptions } from "../../core/options.ts";
import { checkShape, contiguousStrides, formatShape } from "../../core/shape.ts";
import { ArgumentError, ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
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
