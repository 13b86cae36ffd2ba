import { checkOptions } from "../../core/options.ts";
import { drawRandom } from "../../core/random.ts";
import { sameShape } from "../../core/shape.ts";
import type { Tensor } from "../../tensor.ts";
import { checkDType, checkTensor, floats } from "../_operands.ts";
import { add } from "../elementwise/binary.ts";
import { drop } from "./_drop.ts";
import { probabilityOf } from "./_probability.ts";

/** Options of {@linkcode dropout}. */
export interface DropoutOptions {
  /** The probability that an element becomes 0, in [0, 1]. Default 0.5. */
  p?: number | undefined;
  /** Without it x is returned as it is. Default true. */
  training?: boolean | undefined;
  /** Is added to the result, in the same pass over memory where it has x's shape and dtype. */
  residual?: Tensor | undefined;
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
 * console.log(dropout(ones([8]), { residual: ones([8]) }).dataSync()); // ones and threes
 * ```
 */
export function dropout(x: Tensor, options: DropoutOptions = {}): Tensor {
  checkOptions("dropout", options, ["p", "training", "residual"]);
  const { residual, training = true } = options;
  const p = probabilityOf("dropout", options.p);
  checkDType("dropout", x, floats);
  if (!training || p === 0) return residual ? add(x, residual) : x;
  if (residual) checkTensor("dropout", residual);
  const together = residual?.dtype === x.dtype && residual.device === x.device &&
    sameShape(residual.shape, x.shape);
  const from = drawRandom(Math.ceil(x.size / 4));
  const y = drop(x, p, from, x.format, together ? residual : undefined);
  return residual && !together ? add(y, residual) : y;
}
