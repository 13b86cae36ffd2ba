import type { Complete } from "../core/options.ts";
import { call } from "../native/call.ts";
import type { Batch } from "./batch.ts";
import { checkRates, checkShare } from "./_check.ts";
import { type Group, Optimizer, type Trainable } from "./optimizer.ts";

/** Options of {@linkcode RMSprop}. */
export interface RMSpropOptions {
  /** The learning rate; default 0.01. */
  lr?: number | undefined;
  /** How slowly the mean of squares forgets; default 0.99. */
  alpha?: number | undefined;
  /** Added to the denominator; default 1e-8. */
  eps?: number | undefined;
  /** L2 penalty, added to the gradient; default 0. */
  weightDecay?: number | undefined;
  /** Default 0. */
  momentum?: number | undefined;
  /**
   * Divide by the standard deviation of gradients instead of their root mean square. Default false.
   */
  centered?: boolean | undefined;
  /** Climb instead of descend. Default false. */
  maximize?: boolean | undefined;
}

/**
 * RMSprop (Hinton 2012; centered: Graves 2013, https://arxiv.org/abs/1308.0850), as
 * torch.optim.RMSprop. With g = grad + weightDecay p:
 *
 *     s = alpha s + (1 - alpha) g^2      m = alpha m + (1 - alpha) g (centered; else 0)
 *     d = g / (sqrt(s - m^2) + eps)      v = momentum v + d
 *     p = p - lr v
 *
 * ```ts
 * import { optim, tensor } from "@cudeno/cudeno";
 * const w = tensor([3], { requiresGrad: true });
 * const optimizer = new optim.RMSprop([w], { lr: 0.1, alpha: 0.75 });
 * w.mul(w).sum().backward();
 * optimizer.step();
 * console.log(w.itemSync()); // 2.8: g / sqrt(g^2 / 4) is 2
 * ```
 */
export class RMSprop extends Optimizer<RMSpropOptions> {
  /** @ignore */
  protected override readonly skips = true;

  constructor(params: Trainable<RMSpropOptions>, options: RMSpropOptions = {}) {
    super("RMSprop", params, options, {
      lr: 0.01,
      alpha: 0.99,
      eps: 1e-8,
      weightDecay: 0,
      momentum: 0,
      centered: false,
      maximize: false,
    });
  }

  /** @ignore */
  protected override check(options: Complete<RMSpropOptions>): void {
    checkRates("RMSprop", options, ["lr", "eps", "weightDecay", "momentum"]);
    checkShare("RMSprop", "alpha", options.alpha);
  }

  /** @ignore */
  protected override update(batch: Batch<Group<RMSpropOptions>>): void {
    const { alpha, eps, weightDecay, momentum, centered, maximize } = batch.group;
    call(
      "cdn_rmsprop_step",
      batch.handles(),
      batch.grads(),
      batch.state("squareAvg"),
      centered ? batch.state("gradAvg") : null,
      momentum > 0 ? batch.state("momentumBuffer") : null,
      batch.sizes(),
      batch.params.length,
      batch.clock(),
      batch.skip,
      alpha,
      eps,
      weightDecay,
      Number(maximize),
      batch.code,
    );
  }
}
