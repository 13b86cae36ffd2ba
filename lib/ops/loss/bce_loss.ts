import type { Tensor } from "../../tensor.ts";
import { sigmoid } from "../elementwise/activations.ts";
import { add, div, maximum, mul, sub, weigh } from "../elementwise/binary.ts";
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
import { autocasted } from "../_operands.ts";
import { log, log1p, neg } from "../elementwise/unary.ts";

/** Options of {@linkcode bceLoss}. */
export interface BCELossOptions extends LossOptions {
  /**
   * What each element counts; of the input's shape or broadcast to it. 0 takes it out, even if it
   * is NaN. Default 1.
   */
  weight?: Tensor | null | undefined;
}

/** Options of {@linkcode bceWithLogitsLoss}. */
export interface BCEWithLogitsLossOptions extends BCELossOptions {
  /**
   * What a target of 1 counts against one of 0; of the input's shape or broadcast to it. Default 1.
   */
  posWeight?: Tensor | null | undefined;
}

const ofProbabilities: Pointwise = {
  op: "bceLoss",
  kernel: "bce_loss",
  slope: (x, target) => div(sub(x, target), maximum(mul(x, add(neg(x), 1)), 1e-12)),
  // log(1 - x) - log(x), each ending at -100 as in the loss
  targetSlope: (x) => sub(maximum(log1p(neg(x)), -100), maximum(log(x), -100)),
};

const ofLogits: Pointwise = {
  op: "bceWithLogitsLoss",
  kernel: "bce_with_logits_loss",
  slope: (x, target) => sub(sigmoid(x), target),
  targetSlope: (x) => neg(x),
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

/**
 * The binary cross-entropy of logits, without overflow: log(1 + e^x) - target x, times the weight;
 * then the reduction. With posWeight p: (1 - target) log(1 + e^x) + p target log(1 + e^-x). x and
 * target are of one shape; as torch.nn.functional.binary_cross_entropy_with_logits. Floats.
 *
 * ```ts
 * import { bceWithLogitsLoss, tensor } from "@cudeno/cudeno";
 * console.log(bceWithLogitsLoss(tensor([2, -1000]), tensor([1, 0])).itemSync()); // 0.0635
 * ```
 */
export function bceWithLogitsLoss(
  x: Tensor,
  target: Tensor,
  options: BCEWithLogitsLossOptions = {},
): Tensor {
  const op = "bceWithLogitsLoss";
  const reduction = reductionOf(op, options, ["weight", "posWeight"]);
  if (!options.weight && !options.posWeight) {
    return note(pointwise(ofLogits, x, target, reduction), () => ({
      answers: { output: x, target, threshold: 0 },
    }));
  }
  const operands = autocasted("float32", x, target, options.weight, options.posWeight);
  checkAlike(op, operands[0], operands[1]);
  checkWeightShape(op, "weight", operands[2], operands[0]);
  checkWeightShape(op, "posWeight", operands[3], operands[0]);
  return lossInFloat32(operands, (x, target, weight, posWeight) => {
    const against = (value: number) => pointwise(ofLogits, x, x.make(x.shape).fill(value), "none");
    // Each part by itself, since one may be infinite where it counts nothing.
    const losses = posWeight
      ? add(weigh(against(0), add(neg(target), 1)), weigh(against(1), mul(target, posWeight)))
      : pointwise(ofLogits, x, target, "none");
    return note(reduceLosses(weight ? weigh(losses, weight) : losses, reduction), () => ({
      answers: { output: x, target, threshold: 0 },
    }));
  });
}
