import type { Optimizer } from "../optimizer.ts";
import { Schedule } from "./schedule.ts";
import { checkAtLeast0, missing, optionsOf } from "./_check.ts";

/** Options of {@linkcode ExponentialLR}. */
export interface ExponentialLROptions {
  /** What the rate is multiplied with at each step. */
  gamma: number;
}

/**
 * The rate times gamma at every step: lr = base gamma^t. As torch.optim.lr_scheduler.ExponentialLR.
 *
 * ```ts
 * import { optim, tensor } from "@cudeno/cudeno";
 * const optimizer = new optim.SGD([tensor([1], { requiresGrad: true })], { lr: 1 });
 * const schedule = new optim.schedule.ExponentialLR(optimizer, { gamma: 0.5 });
 * for (let t = 0; t < 3; t++) schedule.step();
 * console.log(optimizer.lr); // 0.125
 * ```
 */
export class ExponentialLR extends Schedule {
  readonly #gamma: number;

  constructor(optimizer: Optimizer, options: ExponentialLROptions) {
    super(optimizer);
    this.#gamma = optionsOf("ExponentialLR", options, { gamma: missing }).gamma;
    checkAtLeast0("ExponentialLR", { gamma: this.#gamma });
    this.start();
  }

  /** @ignore */
  protected override rate(lr: number): number {
    return this.count === 0 ? lr : lr * this.#gamma;
  }
}
