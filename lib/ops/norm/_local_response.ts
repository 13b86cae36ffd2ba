import { checkInteger, checkNumber, checkOptions } from "../../core/options.ts";
import type { LocalResponseNormOptions } from "./local_response_norm.ts";

/** The size and the options, checked, with defaults for those not given. */
export function checkLocalResponse(
  op: string,
  size: number,
  options: LocalResponseNormOptions,
): { alpha: number; beta: number; k: number } {
  checkOptions(op, options, ["alpha", "beta", "k"]);
  checkInteger(op, "size", size, 1);
  const { alpha = 1e-4, beta = 0.75, k = 1 } = options;
  for (const [name, value] of Object.entries({ alpha, beta, k })) checkNumber(op, name, value);
  return { alpha, beta, k };
}
