import { checkChoice, checkOptions, refuse } from "../../core/options.ts";
import { ArgumentError } from "../../native/errors.ts";
import { pairOf } from "../_pair.ts";
import type { UpsampleOptions } from "./upsample.ts";

/** As the library numbers them. */
export const modes = { nearest: 0, bilinear: 1, bicubic: 2 };

/** The options, checked; the one of size and scaleFactor that was not given is 0. */
export function checkUpsample(op: string, options: UpsampleOptions): Required<UpsampleOptions> {
  checkOptions(op, options, ["size", "scaleFactor", "mode", "alignCorners"]);
  const { size, scaleFactor, mode = "nearest" } = options;
  const alignCorners = Boolean(options.alignCorners);
  checkChoice(op, "mode", mode, modes);
  if (alignCorners && mode === "nearest") {
    throw new ArgumentError(`${op}: alignCorners is for bilinear and bicubic, not for nearest`);
  }
  if ((size === undefined) === (scaleFactor === undefined)) {
    throw new ArgumentError(`${op}: give size or scaleFactor, one of them`);
  }
  if (size !== undefined) {
    return { size: pairOf(op, "size", size, 1), scaleFactor: 0, mode, alignCorners };
  }
  const scales = typeof scaleFactor === "number" ? [scaleFactor, scaleFactor] : scaleFactor;
  const positive = (n: number) => Number.isFinite(n) && n > 0;
  if (!Array.isArray(scales) || scales.length !== 2 || !scales.every(positive)) {
    refuse(op, "scaleFactor", scaleFactor, "a positive number or [height, width] of such");
  }
  return { size: 0, scaleFactor: [scales[0]!, scales[1]!], mode, alignCorners };
}
