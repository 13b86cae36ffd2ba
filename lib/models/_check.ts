import { refuse } from "../core/options.ts";

/** Throws unless it is true or false. */
export function checkFlag(op: string, name: string, value: unknown): void {
  if (typeof value !== "boolean") refuse(op, name, value, "true or false");
}
