import type { Tensor } from "../../tensor.ts";
import { autocasted } from "../_operands.ts";
import { weigh } from "../elementwise/_binary.ts";
import { add, div, maximum, mul, sub } from "../elementwise/binary.ts";
import { log, log1p, neg } from "../elementwise/unary.ts";
import {
  checkAlike,
  checkWeightShape,
  lossInFloat32,
  type LossOptions,
  note,
  type Pointwise,
  pointwise,
  reduceLosses,
  reductionOf,
} from "./_loss.ts";

/** Options of {@linkcode bceLoss}. */
export interface BCELossOptions extends LossOptions {
  /**
   * What each element counts; of the input's shape or broadcast to it. 0 takes it out, even if it
   * is NaN. Default 1.
   */
  weight?: Tensor | null | undefined;
}

const ofProbabilities: Pointwise = {
  op: "bceLoss",
  kind: "bce",
  slope: (x, target) => div(sub(x, target), maximum(mul(x, add(neg(x), 1)), 1e-12)),
  // log(1 - x) - log(x), each ending at -100 as in the loss
  targetSlope: (x) => sub(maximum(log1p(neg(x)), -100), maximum(log(x), -100)),
};

/**
 * The binary cross-entropy of probabilities: -(target log(x) + (1 - target) log(1 - x)) with
 * logarithms that end at
 * -100, times the weight; then the reduction. x and target are in [0, 1] and of one shape; outside
 * of it x gives NaN. As torch.nn.functional.binary_cross_entropy. Floats. bceWithLogitsLoss() is
 * more exact for what a sigmoid would give.
 *
 * ```ts
 * import { bceLoss, tensor } from "@cudeno/cudeno";
 * console.log(bceLoss(tensor([0.9, 0.2]), tensor([1, 0])).itemSync()); // 0.164
 * ```
 */
export function bceLoss(x: Tensor, target: Tensor, options: BCELossOptions = {}): Tensor {
  const reduction = reductionOf("bceLoss", options, ["weight"]);
  if (!options.weight) {
    return note(pointwise(ofProbabilities, x, target, reduction), () => ({
      answers: { output: x, target, threshold: 0.5 },
    }));
  }
  const operands = autocasted("float32", x, target, options.weight);
  checkAlike("bceLoss", operands[0], operands[1]);
  checkWeightShape("bceLoss", "weight", operands[2], operands[0]);
  return lossInFloat32(operands, (x, target, weight) => {
    const losses = weigh(pointwise(ofProbabilities, x, target, "none"), weight);
    return note(reduceLosses(losses, reduction), () => ({
      answers: { output: x, target, threshold: 0.5 },
    }));
  });
}
