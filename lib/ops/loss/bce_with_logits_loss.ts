import type { Tensor } from "../../tensor.ts";
import { autocasted } from "../_operands.ts";
import { weigh } from "../elementwise/_binary.ts";
import { sigmoid } from "../elementwise/activations.ts";
import { add, mul, sub } from "../elementwise/binary.ts";
import { neg } from "../elementwise/unary.ts";
import {
  checkAlike,
  checkWeightShape,
  lossInFloat32,
  note,
  type Pointwise,
  pointwise,
  reduceLosses,
  reductionOf,
} from "./_loss.ts";
import type { BCELossOptions } from "./bce_loss.ts";

/** Options of {@linkcode bceWithLogitsLoss}. */
export interface BCEWithLogitsLossOptions extends BCELossOptions {
  /**
   * What a target of 1 counts against one of 0; of the input's shape or broadcast to it. Default 1.
   */
  posWeight?: Tensor | null | undefined;
}

const ofLogits: Pointwise = {
  op: "bceWithLogitsLoss",
  kind: "bce_with_logits",
  slope: (x, target) => sub(sigmoid(x), target),
  targetSlope: (x) => neg(x),
};

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
