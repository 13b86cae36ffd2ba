import { formatValue } from "../../core/format.ts";
import { checkOptions } from "../../core/options.ts";
import { ArgumentError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { add, div, sub, weigh } from "../elementwise/binary.ts";
import { ne } from "../elementwise/compare.ts";
import { checkAlike, lossInFloat32, type Pointwise, pointwise, type Reduction } from "./_loss.ts";
import { autocasted } from "../_operands.ts";
import { exp, log, neg } from "../elementwise/unary.ts";
import { where } from "../elementwise/where.ts";

/** Options of {@linkcode klDivLoss}. */
export interface KLDivLossOptions {
  /**
   * As of other losses, or `"batchmean"`: the sum over the first extent, which is the divergence
   * itself. Default `"mean"`.
   */
  reduction?: Reduction | "batchmean" | undefined;
  /** Whether the target holds logarithms too. Default false. */
  logTarget?: boolean | undefined;
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

const ofProbabilities: Pointwise = {
  op: "klDivLoss",
  kernel: "kl_div_loss",
  slope: (_x, target) => neg(target),
  targetSlope: (x, target) => {
    const counts = ne(target, 0);
    return where(counts, add(sub(log(where(counts, target, 1)), x), 1), 0);
  },
};

const ofLogarithms: Pointwise = {
  op: "klDivLoss",
  kernel: "kl_div_log_loss",
  slope: (_x, target) => neg(exp(target)),
  targetSlope: (x, target) => weigh(add(sub(target, x), 1), exp(target)),
};

/**
 * The divergence of Kullback and Leibler from x, logarithms of probabilities, to target: target
 * (log(target) - x), 0 where target is 0, and so its gradient; then the reduction. As
 * torch.nn.functional.kl_div, but that shapes must be equal. Floats.
 *
 * ```ts
 * import { klDivLoss, tensor } from "@cudeno/cudeno";
 * const x = tensor([[0.5, 0.5]]).log();
 * console.log(klDivLoss(x, tensor([[0.9, 0.1]]), { reduction: "batchmean" }).itemSync()); // 0.368
 * ```
 */
export function klDivLoss(x: Tensor, target: Tensor, options: KLDivLossOptions = {}): Tensor {
  const reduction = klReductionOf("klDivLoss", options);
  const loss = options.logTarget ? ofLogarithms : ofProbabilities;
  if (reduction !== "batchmean") return pointwise(loss, x, target, reduction);
  [x, target] = autocasted("float32", x, target);
  checkAlike("klDivLoss", x, target);
  const samples = x.shape[0] ?? 1;
  return lossInFloat32([x, target], (x, target) => div(pointwise(loss, x, target, "sum"), samples));
}
