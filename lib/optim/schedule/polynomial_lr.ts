import { checkInteger, type Complete } from "../../core/options.ts";
import type { Optimizer } from "../optimizer.ts";
import { Schedule } from "./schedule.ts";
import { checkAtLeast0, optionsOf } from "./_check.ts";

/** Options of {@linkcode PolynomialLR}. */
export interface PolynomialLROptions {
  /** After how many steps the rate is 0; default 5. */
  totalIters?: number | undefined;
  /** Default 1, a straight line. */
  power?: number | undefined;
}

/**
 * lr = base (1 - min(t, totalIters) / totalIters)^power. As torch.optim.lr_scheduler.PolynomialLR.
 *
 * ```ts
 * import { optim, tensor } from "@cudeno/cudeno";
 * const optimizer = new optim.SGD([tensor([1], { requiresGrad: true })], { lr: 1 });
 * const schedule = new optim.schedule.PolynomialLR(optimizer, { totalIters: 4, power: 2 });
 * schedule.step();
 * console.log(optimizer.lr); // 0.5625
 * ```
 */
export class PolynomialLR extends Schedule {
  readonly #options: Complete<PolynomialLROptions>;

  constructor(optimizer: Optimizer, options: PolynomialLROptions = {}) {
    super(optimizer);
    this.#options = optionsOf("PolynomialLR", options, { totalIters: 5, power: 1 });
    checkInteger("PolynomialLR", "totalIters", this.#options.totalIters, 1);
    checkAtLeast0("PolynomialLR", { power: this.#options.power });
    this.start();
  }

  /** @ignore */
  protected override rate(lr: number): number {
    const { totalIters, power } = this.#options;
    if (this.count === 0 || this.count > totalIters) return lr;
    const left = (t: number) => 1 - t / totalIters;
    return lr * (left(this.count) / left(this.count - 1)) ** power;
  }
}
