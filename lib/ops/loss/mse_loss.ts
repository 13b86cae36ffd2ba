import type { Tensor } from "../../tensor.ts";
import { mul, sub } from "../elementwise/binary.ts";
import { type LossOptions, pointwise, reductionOf } from "./_loss.ts";
import { neg } from "../elementwise/unary.ts";

/**
 * The mean squared error: (x - target)^2, then the reduction over all elements; as
 * torch.nn.functional.mse_loss, but that shapes must be equal. Floats.
 *
 * ```ts
 * import { mseLoss, tensor } from "@cudeno/cudeno";
 * console.log(mseLoss(tensor([1, 2]), tensor([1, 4])).itemSync()); // 2
 * ```
 */
export function mseLoss(x: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  const reduction = reductionOf("mseLoss", options);
  return pointwise(
    {
      op: "mseLoss",
      kind: "mse",
      slope: (x, target) => mul(sub(x, target), 2),
      targetSlope: (_x, _target, slope) => neg(slope),
    },
    x,
    target,
    reduction,
  );
}
