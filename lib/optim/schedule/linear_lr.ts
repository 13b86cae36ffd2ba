import { checkInteger, type Complete } from "../../core/options.ts";
import { ArgumentError } from "../../native/errors.ts";
import type { Optimizer } from "../optimizer.ts";
import { Schedule } from "./schedule.ts";
import { checkAtLeast0, missing, optionsOf } from "./_check.ts";

/** Options of {@linkcode LinearLR}. */
export interface LinearLROptions {
  /** The factor at step 0, above 0; default 1/3. */
  startFactor?: number | undefined;
  /** The factor at step totalIters and after; default 1. */
  endFactor?: number | undefined;
  /** Default 5. */
  totalIters?: number | undefined;
}

/**
 * The rate times a factor that goes in a straight line from startFactor to endFactor over
 * totalIters steps, and stays there. As torch.optim.lr_scheduler.LinearLR.
 *
 * ```ts
 * import { optim, tensor } from "@cudeno/cudeno";
 * const optimizer = new optim.SGD([tensor([1], { requiresGrad: true })], { lr: 1 });
 * const schedule = new optim.schedule.LinearLR(optimizer, { startFactor: 0.5, totalIters: 4 });
 * schedule.step();
 * console.log(optimizer.lr); // 0.625
 * ```
 */
export class LinearLR extends Schedule {
  readonly #options: Complete<LinearLROptions>;

  constructor(optimizer: Optimizer, options: LinearLROptions = {}) {
    super(optimizer);
    this.#options = optionsOf("LinearLR", options, {
      startFactor: 1 / 3,
      endFactor: 1,
      totalIters: 5,
    });
    const { startFactor, endFactor, totalIters } = this.#options;
    checkAtLeast0("LinearLR", { startFactor, endFactor });
    if (startFactor === 0) {
      throw new ArgumentError("LinearLR: startFactor is 0, from which no factor leads away");
    }
    checkInteger("LinearLR", "totalIters", totalIters, 0);
    this.start();
  }

  /** @ignore */
  protected override rate(lr: number): number {
    const { startFactor, endFactor, totalIters } = this.#options;
    if (this.count === 0) return lr * startFactor;
    if (this.count > totalIters) return lr;
    // From the factor of the step before to that of this one.
    const way = endFactor - startFactor;
    return lr * (1 + way / (totalIters * startFactor + (this.count - 1) * way));
  }
}

/** Options of {@linkcode LinearWarmup}. */
export interface LinearWarmupOptions {
  /** After how many steps the rate is whole. */
  steps: number;
}

/**
 * A warm-up: lr = base min(1, (t + 1) / steps), so that no step is lost at a rate of 0. To go on
 * with another schedule after it, see {@linkcode SequentialLR}.
 *
 * ```ts
 * import { optim, tensor } from "@cudeno/cudeno";
 * const optimizer = new optim.SGD([tensor([1], { requiresGrad: true })], { lr: 1 });
 * const schedule = new optim.schedule.LinearWarmup(optimizer, { steps: 4 });
 * schedule.step();
 * console.log(optimizer.lr); // 0.5
 * ```
 */
export class LinearWarmup extends LinearLR {
  constructor(optimizer: Optimizer, options: LinearWarmupOptions) {
    const { steps } = optionsOf("LinearWarmup", options, { steps: missing });
    checkInteger("LinearWarmup", "steps", steps, 1);
    super(optimizer, { startFactor: 1 / steps, totalIters: steps - 1 });
  }
}
