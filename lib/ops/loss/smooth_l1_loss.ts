import type { Tensor } from "../../tensor.ts";
import { div, sub } from "../elementwise/binary.ts";
import { neg } from "../elementwise/unary.ts";
import { type LossOptions, pointwise, reductionOf } from "./_loss.ts";
import { betaOf } from "./_options.ts";
import { clamped } from "./_clamped.ts";

/** Options of {@linkcode smoothL1Loss}. */
export interface SmoothL1LossOptions extends LossOptions {
  /** Where the square ends and the line begins; 0 is l1Loss(). Default 1. */
  beta?: number | undefined;
}

/**
 * With d = |x - target|: d^2 / (2 beta) below beta, else d - beta / 2; then the reduction. As
 * torch.nn.functional.smooth_l1_loss, but that shapes must be equal. Floats.
 *
 * ```ts
 * import { smoothL1Loss, tensor } from "@cudeno/cudeno";
 * console.log(smoothL1Loss(tensor([0, 0]), tensor([0.5, 3])).itemSync()); // 1.3125
 * ```
 */
export function smoothL1Loss(
  x: Tensor,
  target: Tensor,
  options: SmoothL1LossOptions = {},
): Tensor {
  const reduction = reductionOf("smoothL1Loss", options, ["beta"]);
  const beta = betaOf("smoothL1Loss", options);
  return pointwise(
    {
      op: "smoothL1Loss",
      kind: "smooth_l1",
      parameter: beta,
      slope: beta === 0 ? null : (x, target) => clamped(div(sub(x, target), beta), 1),
      targetSlope: (_x, _target, slope) => neg(slope),
    },
    x,
    target,
    reduction,
  );
}
