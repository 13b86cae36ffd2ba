import type { Complete } from "../core/options.ts";
import { call } from "../native/call.ts";
import type { Batch } from "./batch.ts";
import { checkRates } from "./_check.ts";
import { type Group, Optimizer, type Trainable } from "./optimizer.ts";

/** Options of {@linkcode Adagrad}. */
export interface AdagradOptions {
  /** The learning rate; default 0.01. */
  lr?: number | undefined;
  /** At step t the rate is lr / (1 + (t - 1) lrDecay); default 0. */
  lrDecay?: number | undefined;
  /** L2 penalty, added to the gradient; default 0. */
  weightDecay?: number | undefined;
  /** What the sum of squares begins with; default 0. */
  initialAccumulatorValue?: number | undefined;
  /** Added to the denominator; default 1e-10. */
  eps?: number | undefined;
  /** Climb instead of descend. Default false. */
  maximize?: boolean | undefined;
}

/**
 * Adagrad (Duchi, Hazan, Singer 2011, https://jmlr.org/papers/v12/duchi11a.html), as
 * torch.optim.Adagrad: with g = grad + weightDecay p, the sum s grows by g^2, and p becomes p - lr
 * / (1 + (t - 1) lrDecay) g / (sqrt(s) + eps).
 *
 * ```ts
 * import { optim, tensor } from "@cudeno/cudeno";
 * const w = tensor([3], { requiresGrad: true });
 * const optimizer = new optim.Adagrad([w], { lr: 0.5 });
 * w.mul(w).sum().backward();
 * optimizer.step();
 * console.log(w.itemSync()); // 2.5: the first step is lr
 * ```
 */
export class Adagrad extends Optimizer<AdagradOptions> {
  /** @ignore */
  protected override readonly skips = true;

  constructor(params: Trainable<AdagradOptions>, options: AdagradOptions = {}) {
    super("Adagrad", params, options, {
      lr: 0.01,
      lrDecay: 0,
      weightDecay: 0,
      initialAccumulatorValue: 0,
      eps: 1e-10,
      maximize: false,
    });
  }

  /** @ignore */
  protected override check(options: Complete<AdagradOptions>): void {
    const names = ["lr", "lrDecay", "weightDecay", "initialAccumulatorValue", "eps"] as const;
    checkRates("Adagrad", options, names);
  }

  /** @ignore */
  protected override update(batch: Batch<Group<AdagradOptions>>): void {
    const { lrDecay, weightDecay, initialAccumulatorValue, eps, maximize } = batch.group;
    call(
      "cdn_adagrad_step",
      batch.handles(),
      batch.grads(),
      batch.state("sum", initialAccumulatorValue),
      batch.sizes(),
      batch.params.length,
      batch.clock(),
      batch.skip,
      lrDecay,
      eps,
      weightDecay,
      Number(maximize),
      batch.code,
    );
  }
}
