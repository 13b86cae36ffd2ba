import { checkInteger, type Complete } from "../../core/options.ts";
import type { Optimizer } from "../optimizer.ts";
import { Schedule } from "./schedule.ts";
import { checkAtLeast0, missing, optionsOf } from "./_check.ts";

/** Options of {@linkcode StepLR}. */
export interface StepLROptions {
  /** How many steps a rate lasts. */
  stepSize: number;
  /** What it is multiplied with then; default 0.1. */
  gamma?: number | undefined;
}

/**
 * The rate times gamma after every stepSize steps: lr = base gamma^floor(t / stepSize). As
 * torch.optim.lr_scheduler.StepLR.
 *
 * ```ts
 * import { optim, tensor } from "@cudeno/cudeno";
 * const optimizer = new optim.SGD([tensor([1], { requiresGrad: true })], { lr: 1 });
 * const schedule = new optim.schedule.StepLR(optimizer, { stepSize: 2, gamma: 0.5 });
 * for (let t = 0; t < 4; t++) schedule.step();
 * console.log(optimizer.lr); // 0.25
 * ```
 */
export class StepLR extends Schedule {
  readonly #options: Complete<StepLROptions>;

  constructor(optimizer: Optimizer, options: StepLROptions) {
    super(optimizer);
    this.#options = optionsOf("StepLR", options, { stepSize: missing, gamma: 0.1 });
    checkInteger("StepLR", "stepSize", this.#options.stepSize, 1);
    checkAtLeast0("StepLR", { gamma: this.#options.gamma });
    this.start();
  }

  /** @ignore */
  protected override rate(lr: number): number {
    const { stepSize, gamma } = this.#options;
    return this.count > 0 && this.count % stepSize === 0 ? lr * gamma : lr;
  }
}
