import { checkValue } from "../../core/dtype.ts";
import { formatValue } from "../../core/describe.ts";
import { checkChoice, checkOptions } from "../../core/options.ts";
import { checkShape, contiguousStrides, formatShape } from "../../core/shape.ts";
import { ArgumentError, ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { checkTensor } from "../_operands.ts";
import { borders, padBorder } from "../image/_border.ts";
import { put, take } from "./_window.ts";

/** Options of {@linkcode pad}. */
export interface PadOptions {
  /** What to fill with; default 0. For mode "constant". */
  value?: number | undefined;
  /**
   * What is added: `value`, or what is there: mirrored about the elements at the ends, those
   * elements again, or what comes from the other end; NumPy's names for the last two are edge and
   * wrap. Default "constant".
   */
  mode?: "constant" | "reflect" | "replicate" | "edge" | "circular" | "wrap" | undefined;
}

const numpys = { edge: "replicate", wrap: "circular" } as const;

/**
 * x with elements added before and after along each axis, `[before, after]` for each, outermost
 * first; negative numbers take elements away. Any dtype. As torch.nn.functional.pad, whose list of
 * numbers starts at the last axis. Modes other than "constant" take nothing away; along the last
 * two axes of floats they keep the memory format.
 *
 * @throws {ShapeError} when more is taken away than there is, or an extent is too small to reflect
 * (by at most extent - 1) or to go around (by at most the extent).
 *
 * ```ts
 * import { pad, tensor } from "@cudeno/cudeno";
 * console.log(pad(tensor([1, 2, 3]), [[2, -1]], { value: 9 }).dataSync()); // 9, 9, 1, 2
 * console.log(pad(tensor([1, 2, 3]), [[2, 0]], { mode: "reflect" }).dataSync()); // 3, 2, 1, 2, 3
 * ```
 */
export function pad(
  x: Tensor,
  pads: readonly (readonly [before: number, after: number])[],
  options: PadOptions = {},
): Tensor {
  checkTensor("pad", x);
  checkOptions("pad", options, ["value", "mode"]);
  const { value = 0, mode = "constant" } = options;
  checkChoice("pad", "mode", mode, { constant: 0, ...borders, ...numpys });
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
  if (mode !== "constant") {
    if (value !== 0) {
      throw new ArgumentError(`pad: value is ${value}; with mode ${mode} nothing is filled`);
    }
    return padBorder(x, pads, mode === "edge" || mode === "wrap" ? numpys[mode] : mode);
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
