import type { Tensor } from "../../tensor.ts";
import { neg } from "../elementwise/unary.ts";
import { type LossOptions, pointwise, reductionOf } from "./_loss.ts";

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
      kind: "l1",
      slope: null,
      targetSlope: (_x, _target, slope) => neg(slope),
    },
    x,
    target,
    reduction,
  );
}
