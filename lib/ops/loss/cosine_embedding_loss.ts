import { formatShape, sameShape } from "../../core/shape.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { autocasted, checkDType, checkSameDevice, checkSameDType, floats } from "../_operands.ts";
import { relu } from "../elementwise/activations.ts";
import { add, div, mul, sub } from "../elementwise/binary.ts";
import { eq } from "../elementwise/compare.ts";
import { neg } from "../elementwise/unary.ts";
import { where } from "../elementwise/where.ts";
import { lossInFloat32, type LossOptions, reduceLosses, reductionOf } from "./_loss.ts";
import { cosineMarginOf } from "./_options.ts";
import { norm } from "../reduce/norm.ts";
import { sum } from "../reduce/sum.ts";
import { pad } from "../shape/pad.ts";

/** Options of {@linkcode cosineEmbeddingLoss}. */
export interface CosineEmbeddingLossOptions extends LossOptions {
  /** The cosine below which a pair that differs costs nothing, from -1 to 1. Default 0. */
  margin?: number | undefined;
}

/**
 * For pairs x1, x2 of [n, features] or [features] with the cosine c of the angle between them: 1 -
 * c where the target is 1, max(0, c - margin) where it is -1; then the reduction. The target is [n]
 * or [], of int32 or a float; as torch.nn.functional.cosine_embedding_loss.
 *
 * ```ts
 * import { cosineEmbeddingLoss, tensor } from "@cudeno/cudeno";
 * const [a, b] = [tensor([[1, 0], [1, 0]]), tensor([[1, 1], [1, 1]])];
 * console.log(cosineEmbeddingLoss(a, b, tensor([1, -1])).itemSync()); // 0.5
 * ```
 */
export function cosineEmbeddingLoss(
  x1: Tensor,
  x2: Tensor,
  target: Tensor,
  options: CosineEmbeddingLossOptions = {},
): Tensor {
  const op = "cosineEmbeddingLoss";
  const reduction = reductionOf(op, options, ["margin"]);
  const margin = cosineMarginOf(op, options);
  [x1, x2] = autocasted("float32", x1, x2);
  checkDType(op, x1, floats);
  checkSameDevice(op, x1, x2, target);
  checkSameDType(op, x1, x2);
  checkDType(`${op}: target`, target, ["int32", ...floats]);
  const fits = sameShape(x1.shape, x2.shape) && sameShape(target.shape, x1.shape.slice(0, -1));
  if ((x1.rank !== 1 && x1.rank !== 2) || !fits) {
    throw new ShapeError(
      `${op}: inputs are ${formatShape(x1.shape)} and ${formatShape(x2.shape)}, target ${
        formatShape(target.shape)
      }; wanted are twice [n, features] and [n], or twice [features] and []`,
    );
  }
  return lossInFloat32([x1, x2], (x1, x2) => {
    const cosine = sum(mul(unit(x1), unit(x2)), -1);
    const apart = where(eq(target, -1), relu(sub(cosine, margin)), 0);
    return reduceLosses(where(eq(target, 1), add(neg(cosine), 1), apart), reduction);
  });
}

// x / sqrt(|x|^2 + 1e-12) along the last axis, as in PyTorch, without squares that overflow.
function unit(x: Tensor): Tensor {
  const longer = pad(x, x.shape.map((_, d) => [0, d === x.rank - 1 ? 1 : 0]), { value: 1e-6 });
  return div(x, norm(longer, -1, { keepDims: true }));
}
