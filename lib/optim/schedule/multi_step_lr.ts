import { formatValue } from "../../core/describe.ts";
import { checkInteger, type Complete } from "../../core/options.ts";
import { ArgumentError } from "../../native/errors.ts";
import type { Optimizer } from "../optimizer.ts";
import { Schedule } from "./schedule.ts";
import { checkAtLeast0, optionsOf } from "./_check.ts";

/** Options of {@linkcode MultiStepLR}. */
export interface MultiStepLROptions {
  /** The steps at which the rate changes; one that is there twice counts twice. */
  milestones: readonly number[];
  /** What it is multiplied with then; default 0.1. */
  gamma?: number | undefined;
}

/**
 * The rate times gamma at each milestone. As torch.optim.lr_scheduler.MultiStepLR.
 *
 * ```ts
 * import { optim, tensor } from "@cudeno/cudeno";
 * const optimizer = new optim.SGD([tensor([1], { requiresGrad: true })], { lr: 1 });
 * const schedule = new optim.schedule.MultiStepLR(optimizer, { milestones: [1, 3], gamma: 0.5 });
 * for (let t = 0; t < 4; t++) schedule.step();
 * console.log(optimizer.lr); // 0.25
 * ```
 */
export class MultiStepLR extends Schedule {
  readonly #options: Complete<MultiStepLROptions>;

  constructor(optimizer: Optimizer, options: MultiStepLROptions) {
    super(optimizer);
    this.#options = optionsOf("MultiStepLR", options, {
      milestones: undefined as unknown as number[],
      gamma: 0.1,
    });
    const { milestones, gamma } = this.#options;
    if (!Array.isArray(milestones)) {
      throw new ArgumentError(
        `MultiStepLR: milestones is ${formatValue(milestones)}; it must be an array`,
      );
    }
    milestones.forEach((at, i) => checkInteger("MultiStepLR", `milestones[${i}]`, at, 0));
    checkAtLeast0("MultiStepLR", { gamma });
    this.start();
  }

  /** @ignore */
  protected override rate(lr: number): number {
    const { milestones, gamma } = this.#options;
    const times = milestones.filter((at) => at === this.count).length;
    return times === 0 ? lr : lr * gamma ** times;
  }
}
