import { checkInteger, checkNumber, type Complete } from "../../core/options.ts";
import type { Optimizer } from "../optimizer.ts";
import { Schedule } from "./schedule.ts";
import { checkAtLeast0, missing, optionsOf } from "./_check.ts";

/** Options of {@linkcode CosineAnnealingWarmRestarts}. */
export interface CosineAnnealingWarmRestartsOptions {
  /** The steps of the first cycle. */
  t0: number;
  /** How many times as long each cycle is as the one before; default 1. */
  tMult?: number | undefined;
  /** The least rate; default 0. */
  etaMin?: number | undefined;
}

/**
 * Half a cosine from the base rate to etaMin, again and again: lr = etaMin + (base - etaMin) (1 +
 * cos(pi t / T)) / 2, t counting within a cycle of T steps (Loshchilov, Hutter 2017,
 * https://arxiv.org/abs/1608.03983). As torch.optim.lr_scheduler.CosineAnnealingWarmRestarts.
 *
 * ```ts
 * import { optim, tensor } from "@cudeno/cudeno";
 * const optimizer = new optim.SGD([tensor([1], { requiresGrad: true })], { lr: 1 });
 * const schedule = new optim.schedule.CosineAnnealingWarmRestarts(optimizer, { t0: 3, tMult: 2 });
 * for (let t = 0; t < 3; t++) schedule.step();
 * console.log(optimizer.lr); // 1: a restart
 * ```
 */
export class CosineAnnealingWarmRestarts extends Schedule {
  readonly #options: Complete<CosineAnnealingWarmRestartsOptions>;

  constructor(optimizer: Optimizer, options: CosineAnnealingWarmRestartsOptions) {
    super(optimizer);
    this.#options = optionsOf("CosineAnnealingWarmRestarts", options, {
      t0: missing,
      tMult: 1,
      etaMin: 0,
    });
    const { t0, tMult, etaMin } = this.#options;
    checkInteger("CosineAnnealingWarmRestarts", "t0", t0, 1);
    checkInteger("CosineAnnealingWarmRestarts", "tMult", tMult, 1);
    checkAtLeast0("CosineAnnealingWarmRestarts", { etaMin });
    this.start();
  }

  /** Goes to a step, which may lie between whole ones: `moveToStep(epoch + batch / batches)`. */
  moveToStep(step: number): void {
    checkNumber("CosineAnnealingWarmRestarts", "step", step, 0);
    this.moveTo(step);
    this.start();
  }

  /** @ignore */
  protected override rate(_lr: number, baseLr: number): number {
    const { t0, tMult, etaMin } = this.#options;
    let [t, cycle] = [this.count, t0];
    if (tMult === 1) t %= t0;
    else for (; t >= cycle; cycle *= tMult) t -= cycle;
    return etaMin + (baseLr - etaMin) * (1 + Math.cos(Math.PI * t / cycle)) / 2;
  }
}
