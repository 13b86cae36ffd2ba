import { checkNumber } from "../../core/options.ts";
import { ArgumentError } from "../../native/errors.ts";

/** p, checked. */
export function probabilityOf(op: string, p = 0.5): number {
  checkNumber(op, "p", p, 0);
  if (p > 1) throw new ArgumentError(`${op}: p is ${p}; it must be a probability, in [0, 1]`);
  return p;
}
