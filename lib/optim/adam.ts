import { checkAdam, updateAdam } from "./_adam_step.ts";
import type { Complete } from "../core/options.ts";
import type { Batch } from "./batch.ts";
import { type Group, Optimizer, type Trainable } from "./optimizer.ts";

/** Options of {@linkcode Adam} and {@linkcode AdamW}. */
export interface AdamOptions {
  /** The learning rate; default 1e-3. */
  lr?: number | undefined;
  /** How slowly the means of gradients and of their squares forget; default [0.9, 0.999]. */
  betas?: readonly [number, number] | undefined;
  /** Added to the denominator; default 1e-8. */
  eps?: number | undefined;
  /** Adam: L2 penalty, added to the gradient; default 0. AdamW: decoupled; default 0.01. */
  weightDecay?: number | undefined;
  /** Divide by the largest mean square so far (Reddi, Kale, Kumar 2018). Default false. */
  amsgrad?: boolean | undefined;
  /** Climb instead of descend. Default false. */
  maximize?: boolean | undefined;
}

/**
 * Adam (Kingma, Ba 2015, https://arxiv.org/abs/1412.6980), as torch.optim.Adam. With g = grad +
 * weightDecay p, at step t:
 *
 *     m = beta1 m + (1 - beta1) g        v = beta2 v + (1 - beta2) g^2
 *     p = p - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)
 *
 * ```ts
 * import { optim, tensor } from "@cudeno/cudeno";
 * const w = tensor([1, -2], { requiresGrad: true });
 * const optimizer = new optim.Adam([w], { lr: 0.1 });
 * w.mul(w).sum().backward();
 * optimizer.step();
 * console.log(w.dataSync()); // 0.9, -1.9: the first step is lr, whatever the gradient's size
 * ```
 */
export class Adam extends Optimizer<AdamOptions> {
  /** @ignore */
  protected override readonly skips = true;

  constructor(params: Trainable<AdamOptions>, options: AdamOptions = {}) {
    super("Adam", params, options, {
      lr: 1e-3,
      betas: [0.9, 0.999],
      eps: 1e-8,
      weightDecay: 0,
      amsgrad: false,
      maximize: false,
    });
  }

  /** @ignore */
  protected override check(options: Complete<AdamOptions>): void {
    checkAdam("Adam", options);
  }

  /** @ignore */
  protected override update(batch: Batch<Group<AdamOptions>>): void {
    updateAdam(batch, false);
  }
}
