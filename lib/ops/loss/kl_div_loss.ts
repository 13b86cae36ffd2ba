import type { Tensor } from "../../tensor.ts";
import { autocasted } from "../_operands.ts";
import { weigh } from "../elementwise/_binary.ts";
import { add, div, sub } from "../elementwise/binary.ts";
import { ne } from "../elementwise/compare.ts";
import { exp, log, neg } from "../elementwise/unary.ts";
import { where } from "../elementwise/where.ts";
import { checkAlike, lossInFloat32, type Pointwise, pointwise, type Reduction } from "./_loss.ts";
import { klReductionOf } from "./_options.ts";

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

const ofProbabilities: Pointwise = {
  op: "klDivLoss",
  kind: "kl_div",
  slope: (_x, target) => neg(target),
  targetSlope: (x, target) => {
    const counts = ne(target, 0);
    return where(counts, add(sub(log(where(counts, target, 1)), x), 1), 0);
  },
};

const ofLogarithms: Pointwise = {
  op: "klDivLoss",
  kind: "kl_div_log",
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
