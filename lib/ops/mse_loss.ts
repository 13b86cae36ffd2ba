import { formatShape, sameShape } from "../core/shape.ts";
import { ShapeError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";
import { mul, sub } from "./binary.ts";
import { type LossOptions, reductionOf } from "./cross_entropy.ts";
import { autocasted, checkDType, floats } from "./operands.ts";
import { mean, sum } from "./reduce.ts";

/**
 * The mean squared error: (x - target)^2, then the reduction over all elements; as torch.nn.functional.mse_loss, but
 * that shapes must be equal. float32, float64.
 */
export function mseLoss(x: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  const reduction = reductionOf("mseLoss", options);
  [x, target] = autocasted("float32", x, target);
  checkDType("mseLoss", x, floats);
  if (!sameShape(x.shape, target.shape)) {
    throw new ShapeError(
      `mseLoss: input is ${formatShape(x.shape)}, target ${
        formatShape(target.shape)
      }; they must be equal`,
    );
  }
  const difference = sub(x, target);
  const squares = mul(difference, difference);
  return reduction === "mean" ? mean(squares) : reduction === "sum" ? sum(squares) : squares;
}
