import { checkOptions } from "../../core/options.ts";
import { drawRandom } from "../../core/random.ts";
import type { Tensor } from "../../tensor.ts";
import { checkDType, floats } from "../_operands.ts";
import { drop } from "./_drop.ts";
import { probabilityOf } from "./_probability.ts";

/** Options of {@linkcode dropout}. */
export interface DropoutOptions {
  /** The probability that an element becomes 0, in [0, 1]. Default 0.5. */
  p?: number | undefined;
  /** Without it x is returned as it is. Default true. */
  training?: boolean | undefined;
}

/**
 * Elements at random become 0, with probability p; the others are divided by 1 - p, so that the
 * mean stays. As torch.nn.functional.dropout. Not training, or with p = 0, it returns x itself.
 * Floats. The random numbers follow manualSeed(): the same elements on every device and for every
 * dtype, in the order in which they lie in memory. No mask is stored.
 *
 * ```ts
 * import { dropout, ones } from "@cudeno/cudeno";
 * console.log(dropout(ones([8]), { p: 0.25 }).dataSync()); // zeros and 1.333
 * ```
 */
export function dropout(x: Tensor, options: DropoutOptions = {}): Tensor {
  checkOptions("dropout", options, ["p", "training"]);
  const p = probabilityOf("dropout", options.p);
  checkDType("dropout", x, floats);
  if (!(options.training ?? true) || p === 0) return x;
  const from = drawRandom(Math.ceil(x.size / 4));
  return drop(x, p, from, x.format);
}
