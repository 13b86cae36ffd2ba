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
export class CrossEntropyLoss implements Loss {
  readonly #options: CrossEntropyOptions;

  constructor(options: CrossEntropyOptions = {}) {
    crossEntropyOptions("CrossEntropyLoss", options);
    this.#options = options;
  }

  /** The loss of logits against class numbers, or against probabilities of the logits' shape. */
  forward(logits: Tensor, target: Tensor): Tensor {
    return crossEntropy(logits, target, this.#options);
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
export class NLLLoss implements Loss {
  readonly #options: ClassLossOptions;

  constructor(options: ClassLossOptions = {}) {
    reductionOf("NLLLoss", options, ["weight", "ignoreIndex"]);
    this.#options = options;
  }

  /** The loss of logarithms of probabilities against class numbers. */
  forward(output: Tensor, target: Tensor): Tensor {
    return nllLoss(output, target, this.#options);
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
export class BCELoss implements Loss {
  readonly #options: BCELossOptions;

  constructor(options: BCELossOptions = {}) {
    reductionOf("BCELoss", options, ["weight"]);
    this.#options = options;
  }

  /** The loss of probabilities against `target` of the same shape. */
  forward(output: Tensor, target: Tensor): Tensor {
    return bceLoss(output, target, this.#options);
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
export class BCEWithLogitsLoss implements Loss {
  readonly #options: BCEWithLogitsLossOptions;

  constructor(options: BCEWithLogitsLossOptions = {}) {
    reductionOf("BCEWithLogitsLoss", options, ["weight", "posWeight"]);
    this.#options = options;
  }

  /** The loss of logits against `target` of the same shape. */
  forward(output: Tensor, target: Tensor): Tensor {
    return bceWithLogitsLoss(output, target, this.#options);
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
export class KLDivLoss implements Loss {
  readonly #options: KLDivLossOptions;

  constructor(options: KLDivLossOptions = {}) {
    klReductionOf("KLDivLoss", options);
    this.#options = options;
  }

  /** The divergence from `output`, logarithms of probabilities, to `target` of the same shape. */
  forward(output: Tensor, target: Tensor): Tensor {
    return klDivLoss(output, target, this.#options);
  }
}
