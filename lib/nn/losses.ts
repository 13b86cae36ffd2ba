import { crossEntropy, type LossOptions, reductionOf } from "../ops/cross_entropy.ts";
import { mseLoss } from "../ops/mse_loss.ts";
import type { Tensor } from "../tensor.ts";

/** What a trainer calls: from the model's output and the target to the loss. */
export interface Loss {
  /** The loss of `output` against `target`: for a trainer one number, the mean over the batch. */
  forward(output: Tensor, target: Tensor): Tensor;
}

/** crossEntropy() with fixed options. */
export class CrossEntropyLoss implements Loss {
  readonly #options: LossOptions;

  /** Takes the options of crossEntropy(). */
  constructor(options: LossOptions = {}) {
    reductionOf("CrossEntropyLoss", options);
    this.#options = options;
  }

  /** The loss of logits [n, classes] against class numbers [n]. */
  forward(logits: Tensor, target: Tensor): Tensor {
    return crossEntropy(logits, target, this.#options);
  }
}

/** mseLoss() with fixed options. */
export class MSELoss implements Loss {
  readonly #options: LossOptions;

  /** Takes the options of mseLoss(). */
  constructor(options: LossOptions = {}) {
    reductionOf("MSELoss", options);
    this.#options = options;
  }

  /** The mean squared error of `output` against `target` of the same shape. */
  forward(output: Tensor, target: Tensor): Tensor {
    return mseLoss(output, target, this.#options);
  }
}
