import { betaOf, deltaOf } from "../ops/loss/_options.ts";
import { huberLoss, type HuberLossOptions } from "../ops/loss/huber_loss.ts";
import { l1Loss } from "../ops/loss/l1_loss.ts";
import { smoothL1Loss, type SmoothL1LossOptions } from "../ops/loss/smooth_l1_loss.ts";
import { type LossOptions, reductionOf } from "../ops/loss/_loss.ts";
import { mseLoss } from "../ops/loss/mse_loss.ts";
import type { Tensor } from "../tensor.ts";
import { LossBase } from "./_loss_base.ts";
import type { Loss } from "./losses.ts";

/**
 * mseLoss() with fixed options.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * const loss = new nn.MSELoss();
 * console.log(loss.forward(tensor([1, 2]), tensor([1, 4])).itemSync()); // 2
 * ```
 */
export class MSELoss extends LossBase<LossOptions> implements Loss {
  constructor(options: LossOptions = {}) {
    super(options);
    reductionOf("MSELoss", options);
  }

  /** The loss of `output` against `target` of the same shape. */
  forward(output: Tensor, target: Tensor): Tensor {
    return mseLoss(output, target, this.options);
  }
}

/**
 * l1Loss() with fixed options.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * const loss = new nn.L1Loss();
 * console.log(loss.forward(tensor([1, 2]), tensor([1, 4])).itemSync()); // 1
 * ```
 */
export class L1Loss extends LossBase<LossOptions> implements Loss {
  constructor(options: LossOptions = {}) {
    super(options);
    reductionOf("L1Loss", options);
  }

  /** The loss of `output` against `target` of the same shape. */
  forward(output: Tensor, target: Tensor): Tensor {
    return l1Loss(output, target, this.options);
  }
}

/**
 * smoothL1Loss() with fixed options.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * const loss = new nn.SmoothL1Loss();
 * console.log(loss.forward(tensor([0]), tensor([3])).itemSync()); // 2.5
 * ```
 */
export class SmoothL1Loss extends LossBase<SmoothL1LossOptions> implements Loss {
  constructor(options: SmoothL1LossOptions = {}) {
    super(options);
    reductionOf("SmoothL1Loss", options, ["beta"]);
    betaOf("SmoothL1Loss", options);
  }

  /** The loss of `output` against `target` of the same shape. */
  forward(output: Tensor, target: Tensor): Tensor {
    return smoothL1Loss(output, target, this.options);
  }
}

/**
 * huberLoss() with fixed options.
 *
 * ```ts
 * import { nn, tensor } from "@cudeno/cudeno";
 * const loss = new nn.HuberLoss();
 * console.log(loss.forward(tensor([0]), tensor([3])).itemSync()); // 2.5
 * ```
 */
export class HuberLoss extends LossBase<HuberLossOptions> implements Loss {
  constructor(options: HuberLossOptions = {}) {
    super(options);
    reductionOf("HuberLoss", options, ["delta"]);
    deltaOf("HuberLoss", options);
  }

  /** The loss of `output` against `target` of the same shape. */
  forward(output: Tensor, target: Tensor): Tensor {
    return huberLoss(output, target, this.options);
  }
}
