import type { Tensor } from "../../tensor.ts";
import { add, mul } from "../elementwise/binary.ts";
import { gt } from "../elementwise/compare.ts";
import { neg } from "../elementwise/unary.ts";
import { where } from "../elementwise/where.ts";
import { type LossOptions, note, pointwise, reductionOf } from "./_loss.ts";
import { marginOf } from "./_options.ts";

/** Options of {@linkcode hingeLoss}. */
export interface HingeLossOptions extends LossOptions {
  /** Default 1. */
  margin?: number | undefined;
}

/**
 * The hinge loss of two classes: max(0, margin - target x) for scores x and targets of 1 and -1 of
 * one shape, then the reduction. Floats. PyTorch has it for several classes only:
 * multiMarginLoss().
 *
 * ```ts
 * import { hingeLoss, tensor } from "@cudeno/cudeno";
 * console.log(hingeLoss(tensor([0.5, 3, 0.5]), tensor([1, 1, -1])).itemSync()); // 2 / 3
 * ```
 */
export function hingeLoss(x: Tensor, target: Tensor, options: HingeLossOptions = {}): Tensor {
  const reduction = reductionOf("hingeLoss", options, ["margin"]);
  const margin = marginOf("hingeLoss", options);
  const active = (x: Tensor, target: Tensor) => gt(add(neg(mul(x, target)), margin), 0);
  const loss = pointwise(
    {
      op: "hingeLoss",
      kind: "hinge",
      parameter: margin,
      slope: (x, target) => where(active(x, target), neg(target), 0),
      targetSlope: (x, target) => where(active(x, target), neg(x), 0),
    },
    x,
    target,
    reduction,
  );
  return note(loss, () => ({ answers: { output: x, target, threshold: 0 } }));
}
