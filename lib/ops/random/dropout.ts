import { record } from "../../core/autograd.ts";
import type { MemoryFormat } from "../../core/layout.ts";
import { checkNumber, checkOptions } from "../../core/options.ts";
import { takeRandom } from "../../core/random.ts";
import { ArgumentError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { checkDType, floats } from "../_operands.ts";

/** Options of {@linkcode dropout}. */
export interface DropoutOptions {
  /** The probability that an element becomes 0, in [0, 1]. Default 0.5. */
  p?: number | undefined;
  /** Without it x is returned as it is. Default true. */
  training?: boolean | undefined;
}

/** p, checked. */
export function probabilityOf(op: string, p = 0.5): number {
  checkNumber(op, "p", p, 0);
  if (p > 1) throw new ArgumentError(`${op}: p is ${p}; it must be a probability, in [0, 1]`);
  return p;
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
  const { seed, offset } = takeRandom(Math.ceil(x.size / 4));
  return drop(x, p, seed, offset, x.format);
}

/**
 * With random numbers that are given: linear in x, and so its own gradient, if that goes through
 * memory in the same order.
 */
export function drop(
  x: Tensor,
  p: number,
  seed: bigint,
  offset: bigint,
  format: MemoryFormat,
): Tensor {
  const y = x.make(x.shape, x.dtype, format);
  const [to, from] = [y.stored(format).handle, x.stored(format).handle];
  const { backend } = x;
  backend.check(
    backend.functions.cdn_dropout(to, from, BigInt(x.size), p, seed, offset, x.code),
  );
  return record(y, "dropout", [x], (grad) => [drop(grad, p, seed, offset, format)]);
}
