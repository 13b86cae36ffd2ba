import { checkInteger, type Complete } from "../../core/options.ts";
import type { Optimizer } from "../optimizer.ts";
import { Schedule } from "./schedule.ts";
import { checkAtLeast0, missing, optionsOf } from "./_check.ts";

/** Options of {@linkcode CosineAnnealingLR}. */
export interface CosineAnnealingLROptions {
  /** After how many steps the least rate is reached; from there it would rise again. */
  tMax: number;
  /** The least rate; default 0. */
  etaMin?: number | undefined;
}

/**
 * Half a cosine from the base rate to etaMin: lr = etaMin + (base - etaMin) (1 + cos(pi t / tMax))
 * / 2 (Loshchilov, Hutter 2017, https://arxiv.org/abs/1608.03983, without restarts). As
 * torch.optim.lr_scheduler.CosineAnnealingLR.
 *
 * ```ts
 * import { optim, tensor } from "@cudeno/cudeno";
 * const optimizer = new optim.SGD([tensor([1], { requiresGrad: true })], { lr: 1 });
 * const schedule = new optim.schedule.CosineAnnealingLR(optimizer, { tMax: 10 });
 * for (let t = 0; t < 5; t++) schedule.step();
 * console.log(optimizer.lr.toFixed(3)); // 0.500
 * ```
 */
export class CosineAnnealingLR extends Schedule {
  readonly #options: Complete<CosineAnnealingLROptions>;

  constructor(optimizer: Optimizer, options: CosineAnnealingLROptions) {
    super(optimizer);
    this.#options = optionsOf("CosineAnnealingLR", options, { tMax: missing, etaMin: 0 });
    checkInteger("CosineAnnealingLR", "tMax", this.#options.tMax, 1);
    checkAtLeast0("CosineAnnealingLR", { etaMin: this.#options.etaMin });
    this.start();
  }

  /** @ignore */
  protected override rate(lr: number, baseLr: number): number {
    const { tMax, etaMin } = this.#options;
    const t = this.count;
    if (t === 0) return lr;
    // At a minimum there is no factor that leads away from it.
    if ((t - 1 - tMax) % (2 * tMax) === 0) {
      return lr + (baseLr - etaMin) * (1 - Math.cos(Math.PI / tMax)) / 2;
    }
    const height = (t: number) => 1 + Math.cos(Math.PI * t / tMax);
    return height(t) / height(t - 1) * (lr - etaMin) + etaMin;
  }
}
