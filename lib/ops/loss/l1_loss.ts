import { checkNumber } from "../../core/options.ts";
import { ArgumentError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { div, maximum, minimum, sub } from "../elementwise/binary.ts";
import { type LossOptions, pointwise, reductionOf } from "./_loss.ts";
import { neg } from "../elementwise/unary.ts";

/** Options of {@linkcode smoothL1Loss}. */
export interface SmoothL1LossOptions extends LossOptions {
  /** Where the square ends and the line begins; 0 is l1Loss(). Default 1. */
  beta?: number | undefined;
}

/** Options of {@linkcode huberLoss}. */
export interface HuberLossOptions extends LossOptions {
  /** Where the square ends and the line begins; above 0. Default 1. */
  delta?: number | undefined;
}

/** beta, checked. */
export function betaOf(op: string, { beta = 1 }: SmoothL1LossOptions): number {
  checkNumber(op, "beta", beta, 0);
  return beta;
}

/** delta, checked. */
export function deltaOf(op: string, { delta = 1 }: HuberLossOptions): number {
  checkNumber(op, "delta", delta, 0);
  if (delta === 0) throw new ArgumentError(`${op}: delta is 0; it must be above`);
  return delta;
}

/**
 * The mean absolute error: |x - target|, then the reduction; as torch.nn.functional.l1_loss, but
 * that shapes must be equal. Floats. The gradient is 0 where they are equal.
 *
 * ```ts
 * import { l1Loss, tensor } from "@cudeno/cudeno";
 * console.log(l1Loss(tensor([1, 2]), tensor([1, 4])).itemSync()); // 1
 * ```
 */
export function l1Loss(x: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  const reduction = reductionOf("l1Loss", options);
  return pointwise(
    {
      op: "l1Loss",
      kernel: "l1_loss",
      slope: null,
      targetSlope: (_x, _target, slope) => neg(slope),
    },
    x,
    target,
    reduction,
  );
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
      kernel: "smooth_l1_loss",
      parameter: beta,
      slope: beta === 0 ? null : (x, target) => clamped(div(sub(x, target), beta), 1),
      targetSlope: (_x, _target, slope) => neg(slope),
    },
    x,
    target,
    reduction,
  );
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
      kernel: "huber_loss",
      parameter: delta,
      slope: (x, target) => clamped(sub(x, target), delta),
      targetSlope: (_x, _target, slope) => neg(slope),
    },
    x,
    target,
    reduction,
  );
}

const clamped = (x: Tensor, limit: number) => minimum(maximum(x, -limit), limit);
