import type { Tensor } from "../../tensor.ts";
import { autocasted } from "../_operands.ts";
import { classesOf, pick, reduceClassLosses } from "./_classes.ts";
import { lossInFloat32, type LossOptions, note, reductionOf } from "./_loss.ts";

/** Options of losses against class numbers. */
export interface ClassLossOptions extends LossOptions {
  /**
   * [classes]: what a sample of each class counts; the mean divides by their sum. Those of a class
   * that counts 0 are left out, whatever their scores. Default: 1 each.
   */
  weight?: Tensor | null | undefined;
  /** A target that counts nothing. Default -100. */
  ignoreIndex?: number | undefined;
}

/**
 * The negative log-likelihood of classes: -x[target] * weight[target] for logarithms of
 * probabilities x, as of logSoftmax(), then the reduction: the mean divides by the sum of the
 * targets' weights. x is [n, classes], [classes] or [n, classes, d1, …], target the same without
 * classes, of int32 or uint8; as torch.nn.functional.nll_loss. A target out of range gives NaN and
 * is reported by the next read.
 *
 * ```ts
 * import { nllLoss, tensor } from "@cudeno/cudeno";
 * const x = tensor([[0.5, 0.5], [0.1, 0.9]]).log();
 * console.log(nllLoss(x, tensor([0, 1], { dtype: "int32" })).itemSync()); // 0.399
 * ```
 */
export function nllLoss(x: Tensor, target: Tensor, options: ClassLossOptions = {}): Tensor {
  const reduction = reductionOf("nllLoss", options, ["weight", "ignoreIndex"]);
  const [input, weight] = autocasted("float32", x, options.weight);
  const found = classesOf("nllLoss", input, target, { ...options, weight: weight ?? null });
  return lossInFloat32([input, found.weight], (x, weight) => {
    const classes = { ...found, weight };
    return note(reduceClassLosses(pick(x, classes), classes, reduction), () => ({
      answers: { ...classes, output: x, axis: x.rank === 1 ? 0 : 1 },
    }));
  });
}
