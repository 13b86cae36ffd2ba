import type { Complete } from "../core/options.ts";
import { call } from "../native/call.ts";
import type { Batch, ParameterState } from "./batch.ts";
import { checkBetas, checkRates } from "./_check.ts";
import { type Group, Optimizer, type Trainable } from "./optimizer.ts";

/** Options of {@linkcode NAdam}. */
export interface NAdamOptions {
  /** The learning rate; default 2e-3. */
  lr?: number | undefined;
  /** How slowly the means of gradients and of their squares forget; default [0.9, 0.999]. */
  betas?: readonly [number, number] | undefined;
  /** Added to the denominator; default 1e-8. */
  eps?: number | undefined;
  /** Default 0. */
  weightDecay?: number | undefined;
  /** How fast the momentum grows to betas[0]; default 4e-3. */
  momentumDecay?: number | undefined;
  /** Shrink p by 1 - lr weightDecay, as AdamW does, instead of an L2 penalty. Default false. */
  decoupledWeightDecay?: boolean | undefined;
  /** Climb instead of descend. Default false. */
  maximize?: boolean | undefined;
}

/**
 * Adam with Nesterov's momentum (Dozat 2016, https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ),
 * as torch.optim.NAdam. With m and v as in Adam, mu(t) = beta1 (1 - 0.96^(t momentumDecay) / 2) and
 * M(t) the product of mu(1)…mu(t):
 *
 *     p = p - lr ((1 - mu(t)) g / (1 - M(t)) + mu(t+1) m / (1 - M(t+1))) / (sqrt(v / (1 - beta2^t))
 * + eps)
 *
 * ```ts
 * import { optim, tensor } from "@cudeno/cudeno";
 * const w = tensor([1, -2], { requiresGrad: true });
 * const optimizer = new optim.NAdam([w], { lr: 0.1 });
 * for (let i = 0; i < 50; i++) {
 *   optimizer.zeroGrad();
 *   w.mul(w).sum().backward();
 *   optimizer.step();
 * }
 * console.log(w.dataSync()); // close to 0
 * ```
 */
export class NAdam extends Optimizer<NAdamOptions> {
  /** @ignore */
  protected override readonly skips = true;

  constructor(params: Trainable<NAdamOptions>, options: NAdamOptions = {}) {
    super("NAdam", params, options, {
      lr: 2e-3,
      betas: [0.9, 0.999],
      eps: 1e-8,
      weightDecay: 0,
      momentumDecay: 4e-3,
      decoupledWeightDecay: false,
      maximize: false,
    });
  }

  /** @ignore */
  protected override check(options: Complete<NAdamOptions>): void {
    checkRates("NAdam", options, ["lr", "eps", "weightDecay", "momentumDecay"]);
    checkBetas("NAdam", options.betas);
  }

  /** @ignore The product of the momenta depends on the options at each step before. */
  protected override key(state: ParameterState): string {
    return `${state.step} ${state.numbers["muProduct"]}`;
  }

  /** @ignore */
  protected override update(batch: Batch<Group<NAdamOptions>>): void {
    const { betas: [, beta2], eps, weightDecay, momentumDecay } = batch.group;
    const { decoupledWeightDecay, maximize } = batch.group;
    call(
      "cdn_nadam_step",
      batch.handles(),
      batch.grads(),
      batch.state("expAvg"),
      batch.state("expAvgSq"),
      batch.sizes(),
      batch.params.length,
      batch.clock(1, "muProduct"),
      batch.skip,
      beta2,
      eps,
      weightDecay,
      momentumDecay,
      Number(decoupledWeightDecay),
      Number(maximize),
      batch.code,
    );
  }
}
