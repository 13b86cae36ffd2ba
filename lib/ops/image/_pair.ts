import { refuse } from "../../core/options.ts";
import { formatShape, type Shape } from "../../core/shape.ts";
import { ShapeError } from "../../native/errors.ts";

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

/** Throws unless a shape is that of images, [n, channels, height, width]. */
export function checkImages(op: string, shape: Shape): void {
  if (shape.length === 4) return;
  throw new ShapeError(
    `${op}: x is ${formatShape(shape)}; it must be [n, channels, height, width]`,
  );
}
