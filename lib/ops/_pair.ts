// Options that are one number for both axes of an image, or one for each.
import { refuse } from "../core/options.ts";

/** A number for the height and the width, or one for each. */
export type Pair = number | readonly [height: number, width: number];

/** Whole numbers for height and width, at least `least`, of one or two. */
export function pairOf(op: string, name: string, value: Pair, least: number): [number, number] {
  const pair = typeof value === "number" ? [value, value] : value;
  const fits = (n: number) => Number.isSafeInteger(n) && n >= least;
  if (!Array.isArray(pair) || pair.length !== 2 || !pair.every(fits)) {
    refuse(op, name, value, `a whole number, at least ${least}, or [height, width] of such`);
  }
  return [pair[0]!, pair[1]!];
}
