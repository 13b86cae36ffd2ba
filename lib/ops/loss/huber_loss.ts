import type { Tensor } from "../../tensor.ts";
import { sub } from "../elementwise/binary.ts";
import { neg } from "../elementwise/unary.ts";
import { clamped } from "./_clamped.ts";
import { type LossOptions, pointwise, reductionOf } from "./_loss.ts";
import { deltaOf } from "./_options.ts";

/** Options of {@linkcode huberLoss}. */
export interface HuberLossOptions extends LossOptions {
  /** Where the square ends and the line begins; above 0. Default 1. */
  delta?: number | undefined;
}

/**
 * With d = |x - target|: d^2 / 2 up to delta, else delta (d - delta / 2); then the reduction. As
 * torch.nn.functional.huber_loss, but that shapes must be equal. Floats.
 *
 * ```ts
 * import { huberLoss, tensor } from "@cudeno/cudeno";
 * console.log(huberLoss(tensor([0, 0]), tensor([1, 3]), { delta: 2 }).itemSync()); // 2.25
 * ```
 */
export function huberLoss(x: Tensor, target: Tensor, options: HuberLossOptions = {}): Tensor {
  const reduction = reductionOf("huberLoss", options, ["delta"]);
  const delta = deltaOf("huberLoss", options);
  return pointwise(
    {
      op: "huberLoss",
      kind: "huber",
      parameter: delta,
      slope: (x, target) => clamped(sub(x, target), delta),
      targetSlope: (_x, _target, slope) => neg(slope),
    },
    x,
    target,
    reduction,
  );
}
