import { bceLoss, type BCELossOptions } from "../ops/loss/bce_loss.ts";
import {
  bceWithLogitsLoss,
  type BCEWithLogitsLossOptions,
} from "../ops/loss/bce_with_logits_loss.ts";
import { crossEntropy, type CrossEntropyOptions } from "../ops/loss/cross_entropy.ts";
import { crossEntropyOptions } from "../ops/loss/_options.ts";
import { klDivLoss, type KLDivLossOptions } from "../ops/loss/kl_div_loss.ts";
import { klReductionOf } from "../ops/loss/_options.ts";
import { reductionOf } from "../ops/loss/_loss.ts";
import { type ClassLossOptions, nllLoss } from "../ops/loss/nll_loss.ts";
import type { Tensor } from "../tensor.ts";
import { LossBase } from "./_loss_base.ts";

/** What a trainer calls: from the model's output and the target to the loss. */
export interface Loss {
  /** The loss of `output` against `target`: for a trainer one number, the mean over the batch. */
  forward(output: Tensor, target: Tensor): Tensor;
}

/**
 * crossEntropy() with fixed options.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * const loss = new nn.CrossEntropyLoss();
 * console.log(loss.forward(tensor([[2, 0]]), tensor([0], { dtype: "int32" })).itemSync()); // 0.127
 * ```
 */
export class CrossEntropyLoss extends LossBase<CrossEntropyOptions> implements Loss {
  constructor(options: CrossEntropyOptions = {}) {
    super(options);
    crossEntropyOptions("CrossEntropyLoss", options);
  }

  /** The loss of logits against class numbers, or against probabilities of the logits' shape. */
  forward(logits: Tensor, target: Tensor): Tensor {
    return crossEntropy(logits, target, this.options);
  }
}

/**
 * nllLoss() with fixed options.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * const loss = new nn.NLLLoss();
 * console.log(loss.forward(tensor([[-0.5, -1]]), tensor([0], { dtype: "int32" })).itemSync());
 * // 0.5
 * ```
 */
export class NLLLoss extends LossBase<ClassLossOptions> implements Loss {
  constructor(options: ClassLossOptions = {}) {
    super(options);
    reductionOf("NLLLoss", options, ["weight", "ignoreIndex"]);
  }

  /** The loss of logarithms of probabilities against class numbers. */
  forward(output: Tensor, target: Tensor): Tensor {
    return nllLoss(output, target, this.options);
  }
}

/**
 * bceLoss() with fixed options.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * const loss = new nn.BCELoss();
 * console.log(loss.forward(tensor([0.9]), tensor([1])).itemSync()); // 0.105
 * ```
 */
export class BCELoss extends LossBase<BCELossOptions> implements Loss {
  constructor(options: BCELossOptions = {}) {
    super(options);
    reductionOf("BCELoss", options, ["weight"]);
  }

  /** The loss of probabilities against `target` of the same shape. */
  forward(output: Tensor, target: Tensor): Tensor {
    return bceLoss(output, target, this.options);
  }
}

/**
 * bceWithLogitsLoss() with fixed options.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * const loss = new nn.BCEWithLogitsLoss();
 * console.log(loss.forward(tensor([2]), tensor([1])).itemSync()); // 0.127
 * ```
 */
export class BCEWithLogitsLoss extends LossBase<BCEWithLogitsLossOptions> implements Loss {
  constructor(options: BCEWithLogitsLossOptions = {}) {
    super(options);
    reductionOf("BCEWithLogitsLoss", options, ["weight", "posWeight"]);
  }

  /** The loss of logits against `target` of the same shape. */
  forward(output: Tensor, target: Tensor): Tensor {
    return bceWithLogitsLoss(output, target, this.options);
  }
}

/**
 * klDivLoss() with fixed options.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * const loss = new nn.KLDivLoss();
 * console.log(loss.forward(tensor([[-0.5, -1]]), tensor([[0.5, 0.5]])).itemSync()); // 0.0284
 * ```
 */
export class KLDivLoss extends LossBase<KLDivLossOptions> implements Loss {
  constructor(options: KLDivLossOptions = {}) {
    super(options);
    klReductionOf("KLDivLoss", options);
  }

  /** The divergence from `output`, logarithms of probabilities, to `target` of the same shape. */
  forward(output: Tensor, target: Tensor): Tensor {
    return klDivLoss(output, target, this.options);
  }
}
