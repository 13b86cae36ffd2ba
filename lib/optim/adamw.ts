import type { Complete } from "../core/options.ts";
import { type AdamOptions } from "./adam.ts";
import { checkAdam, updateAdam } from "./_adam_step.ts";
import type { Batch } from "./batch.ts";
import { type Group, Optimizer, type Trainable } from "./optimizer.ts";

/**
 * Adam with decoupled weight decay (Loshchilov, Hutter 2019, https://arxiv.org/abs/1711.05101), as
 * torch.optim.AdamW: p first shrinks by 1 - lr weightDecay, by default 1 - 0.01 lr; then comes
 * Adam's step by the gradient alone.
 *
 * Biases and the weights of norms are often left to be as large as they need; groups say so:
 *
 * ```ts
 * import { nn, optim } from "@cudeno/cudeno";
 * const model = new nn.Sequential(new nn.Linear(4, 8), new nn.ReLU(), new nn.Linear(8, 2));
 * const [matrices, others] = [true, false].map((matrix) =>
 *   model.parameters().filter((p) => (p.rank >= 2) === matrix)
 * );
 * const optimizer = new optim.AdamW(
 *   [{ params: matrices!, weightDecay: 0.1 }, { params: others!, weightDecay: 0 }],
 *   { lr: 3e-4 },
 * );
 * console.log(optimizer.groups.map((group) => group.weightDecay)); // 0.1, 0
 * ```
 */
export class AdamW extends Optimizer<AdamOptions> {
  /** @ignore */
  protected override readonly skips = true;

  constructor(params: Trainable<AdamOptions>, options: AdamOptions = {}) {
    super("AdamW", params, options, {
      lr: 1e-3,
      betas: [0.9, 0.999],
      eps: 1e-8,
      weightDecay: 0.01,
      amsgrad: false,
      maximize: false,
    });
  }

  /** @ignore */
  protected override check(options: Complete<AdamOptions>): void {
    checkAdam("AdamW", options);
  }

  /** @ignore */
  protected override update(batch: Batch<Group<AdamOptions>>): void {
    updateAdam(batch, true);
  }
}
