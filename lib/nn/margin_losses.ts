import { isFloat } from "../core/dtype.ts";
import { reductionOf } from "../ops/loss/_loss.ts";
import {
  cosineEmbeddingLoss,
  type CosineEmbeddingLossOptions,
} from "../ops/loss/cosine_embedding_loss.ts";
import { cosineMarginOf, exponentOf, marginOf } from "../ops/loss/_options.ts";
import { hingeLoss, type HingeLossOptions } from "../ops/loss/hinge_loss.ts";
import { multiMarginLoss, type MultiMarginLossOptions } from "../ops/loss/multi_margin_loss.ts";
import type { Tensor } from "../tensor.ts";
import { LossBase } from "./_loss_base.ts";
import type { Loss } from "./losses.ts";

/**
 * hingeLoss() with fixed options; for class numbers [n] and scores [n, classes], multiMarginLoss().
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * const loss = new nn.HingeLoss();
 * console.log(loss.forward(tensor([0.5, 3]), tensor([1, -1])).itemSync()); // 2.25
 * ```
 */
export class HingeLoss extends LossBase<HingeLossOptions> implements Loss {
  constructor(options: HingeLossOptions = {}) {
    super(options);
    reductionOf("HingeLoss", options, ["margin"]);
    marginOf("HingeLoss", options);
  }

  /**
   * The loss of scores against 1 and -1 of the same shape, or of scores [n, classes] against class
   * numbers [n].
   */
  forward(output: Tensor, target: Tensor): Tensor {
    if (isFloat(target.dtype)) return hingeLoss(output, target, this.options);
    if (target.rank < output.rank) return multiMarginLoss(output, target, this.options);
    return hingeLoss(output, target.to(output.dtype), this.options);
  }
}

/**
 * multiMarginLoss() with fixed options.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * const loss = new nn.MultiMarginLoss();
 * const target = tensor([3], { dtype: "int32" });
 * console.log(loss.forward(tensor([[0.1, 0.2, 0.4, 0.8]]), target).itemSync()); // 0.325
 * ```
 */
export class MultiMarginLoss extends LossBase<MultiMarginLossOptions> implements Loss {
  constructor(options: MultiMarginLossOptions = {}) {
    super(options);
    reductionOf("MultiMarginLoss", options, ["margin", "p", "weight"]);
    marginOf("MultiMarginLoss", options);
    exponentOf("MultiMarginLoss", options);
  }

  /** The loss of scores [n, classes] against class numbers [n]. */
  forward(output: Tensor, target: Tensor): Tensor {
    return multiMarginLoss(output, target, this.options);
  }
}

/**
 * cosineEmbeddingLoss() with fixed options.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * const loss = new nn.CosineEmbeddingLoss({ margin: 0.2 });
 * const [a, b] = [tensor([[1, 0]]), tensor([[1, 1]])];
 * console.log(loss.forward(a, b, tensor([-1])).itemSync()); // 0.507
 * ```
 */
export class CosineEmbeddingLoss extends LossBase<CosineEmbeddingLossOptions> {
  constructor(options: CosineEmbeddingLossOptions = {}) {
    super(options);
    reductionOf("CosineEmbeddingLoss", options, ["margin"]);
    cosineMarginOf("CosineEmbeddingLoss", options);
  }

  /** The loss of pairs [n, features] against 1 (alike) and -1 (not) [n]. */
  forward(x1: Tensor, x2: Tensor, target: Tensor): Tensor {
    return cosineEmbeddingLoss(x1, x2, target, this.options);
  }
}
