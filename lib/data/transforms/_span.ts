import { refuse } from "../../core/options.ts";

/** From one number to another. */
export type Span = readonly [least: number, most: number];

/** A range of numbers; a single one goes from its negative to itself. */
export function spanOf(op: string, name: string, value: unknown): Span {
  if (typeof value === "number" && value >= 0 && value < Infinity) return [-value, value];
  const range = Array.isArray(value) && value.length === 2 && value.every(Number.isFinite);
  if (!range || value[0] > value[1]) {
    refuse(op, name, value, "a number, at least 0, or [least, most]");
  }
  return [value[0], value[1]];
}
