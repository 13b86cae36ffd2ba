import { refuse } from "../../core/options.ts";

/** p, checked; the option is called `name`. */
export function probabilityOf(op: string, p = 0.5, name = "p"): number {
  if (!(p >= 0 && p <= 1)) refuse(op, name, p, "a probability, in [0, 1]");
  return p;
}
