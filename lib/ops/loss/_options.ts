import { formatValue } from "../../core/describe.ts";
import { checkNumber, checkOptions } from "../../core/options.ts";
import { ArgumentError } from "../../native/errors.ts";
import { type Reduction, reductionOf } from "./_loss.ts";
import type { CosineEmbeddingLossOptions } from "./cosine_embedding_loss.ts";
import type { CrossEntropyOptions } from "./cross_entropy.ts";
import type { HuberLossOptions } from "./huber_loss.ts";
import type { KLDivLossOptions } from "./kl_div_loss.ts";
import type { MultiMarginLossOptions } from "./multi_margin_loss.ts";
import type { SmoothL1LossOptions } from "./smooth_l1_loss.ts";

/** beta, checked. */
export function betaOf(op: string, { beta = 1 }: SmoothL1LossOptions): number {
  checkNumber(op, "beta", beta, 0);
  return beta;
}

/** delta, checked. */
export function deltaOf(op: string, { delta = 1 }: HuberLossOptions): number {
  checkNumber(op, "delta", delta, 0);
  if (delta === 0) throw new ArgumentError(`${op}: delta is 0; it must be above 0`);
  return delta;
}

/** margin, checked. */
export function marginOf(
  op: string,
  { margin }: { margin?: number | undefined },
  otherwise = 1,
): number {
  checkNumber(op, "margin", margin ?? otherwise);
  return margin ?? otherwise;
}

/** The margin of a cosine, checked. */
export function cosineMarginOf(op: string, options: CosineEmbeddingLossOptions): number {
  const margin = marginOf(op, options, 0);
  if (Math.abs(margin) > 1) {
    throw new ArgumentError(`${op}: margin is ${margin}; a cosine is in [-1, 1]`);
  }
  return margin;
}

/** p, checked. */
export function exponentOf(op: string, { p = 1 }: MultiMarginLossOptions): number {
  if (p !== 1 && p !== 2) {
    throw new ArgumentError(`${op}: p is ${formatValue(p)}; it must be 1 or 2`);
  }
  return p;
}

/** The reduction asked for, checked. */
export function klReductionOf(op: string, options: KLDivLossOptions): Reduction | "batchmean" {
  checkOptions(op, options, ["reduction", "logTarget"]);
  const { reduction = "mean" } = options;
  if (!["mean", "sum", "none", "batchmean"].includes(reduction)) {
    throw new ArgumentError(
      `${op}: reduction is ${formatValue(reduction)}; it must be mean, batchmean, sum or none`,
    );
  }
  return reduction;
}

const keys = ["weight", "ignoreIndex", "labelSmoothing"];

/** The options, checked as far as they can be without tensors. */
export function crossEntropyOptions(
  op: string,
  options: CrossEntropyOptions,
): { reduction: Reduction; labelSmoothing: number } {
  const reduction = reductionOf(op, options, keys);
  const { labelSmoothing = 0 } = options;
  checkNumber(op, "labelSmoothing", labelSmoothing, 0);
  if (labelSmoothing > 1) {
    throw new ArgumentError(`${op}: labelSmoothing is ${labelSmoothing}; it must be in [0, 1]`);
  }
  return { reduction, labelSmoothing };
}
