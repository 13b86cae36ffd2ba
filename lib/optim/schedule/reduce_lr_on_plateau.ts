import { formatValue } from "../../core/describe.ts";
import { checkInteger, checkNumber, type Complete } from "../../core/options.ts";
import { ArgumentError } from "../../native/errors.ts";
import type { Optimizer } from "../optimizer.ts";
import { Schedule, type ScheduleState } from "./schedule.ts";
import { checkAtLeast0, optionsOf } from "./_check.ts";

/** Options of {@linkcode ReduceLROnPlateau}. */
export interface ReduceLROnPlateauOptions {
  /**
   * Whether the metric is to fall (`"min"`, the default), as a loss, or to rise, as an accuracy.
   */
  mode?: "min" | "max" | undefined;
  /** What the rate is multiplied with; default 0.1. */
  factor?: number | undefined;
  /** How many steps without a better metric are let pass; default 10. */
  patience?: number | undefined;
  /** By how much a better metric must be better; default 1e-4. */
  threshold?: number | undefined;
  /** Whether that is a share of the best metric's size (`"rel"`, the default) or a difference. */
  thresholdMode?: "rel" | "abs" | undefined;
  /** Steps after a reduction in which nothing is counted; default 0. */
  cooldown?: number | undefined;
  /** The least rate; default 0. */
  minLr?: number | undefined;
  /** A change of the rate by less than this is left out; default 1e-8. */
  eps?: number | undefined;
}

/**
 * Lowers the rate when a metric has stopped improving. step() takes the metric, after each
 * validation; a Trainer gives it the validation loss, or without validation the training loss. As
 * torch.optim.lr_scheduler.ReduceLROnPlateau, but that the share of a negative metric is no bonus.
 * Groups that the optimizer got later are lowered too.
 *
 * ```ts
 * import { optim, tensor } from "@cudeno/cudeno";
 * const optimizer = new optim.SGD([tensor([1], { requiresGrad: true })], { lr: 1 });
 * const schedule = new optim.schedule.ReduceLROnPlateau(optimizer, { patience: 1, factor: 0.5 });
 * for (const loss of [3, 2, 2, 2]) schedule.step(loss);
 * console.log(optimizer.lr); // 0.5
 * ```
 */
export class ReduceLROnPlateau extends Schedule {
  readonly #options: Complete<ReduceLROnPlateauOptions>;
  #best: number | null = null;
  #bad = 0;
  #cooldown = 0;

  constructor(optimizer: Optimizer, options: ReduceLROnPlateauOptions = {}) {
    super(optimizer);
    const all = this.#options = optionsOf("ReduceLROnPlateau", options, {
      mode: "min",
      factor: 0.1,
      patience: 10,
      threshold: 1e-4,
      thresholdMode: "rel",
      cooldown: 0,
      minLr: 0,
      eps: 1e-8,
    });
    const { mode, factor, patience, threshold, thresholdMode, cooldown, minLr, eps } = all;
    if (mode !== "min" && mode !== "max") {
      throw new ArgumentError(
        `ReduceLROnPlateau: mode is ${formatValue(mode)}; it must be min or max`,
      );
    }
    if (thresholdMode !== "rel" && thresholdMode !== "abs") {
      throw new ArgumentError(
        `ReduceLROnPlateau: thresholdMode is ${formatValue(thresholdMode)}; it must be rel or abs`,
      );
    }
    checkAtLeast0("ReduceLROnPlateau", { factor, threshold, minLr, eps });
    if (factor >= 1) {
      throw new ArgumentError(`ReduceLROnPlateau: factor is ${factor}; it must be below 1`);
    }
    checkInteger("ReduceLROnPlateau", "patience", patience, 0);
    checkInteger("ReduceLROnPlateau", "cooldown", cooldown, 0);
  }

  /** Takes the metric of a step into account; NaN and infinities count as no better. */
  override step(metric?: number): void {
    if (typeof metric !== "number") {
      throw new ArgumentError(
        `ReduceLROnPlateau: step() needs the metric; it was ${formatValue(metric)}`,
      );
    }
    this.moveTo(this.count + 1);
    if (this.#better(metric)) [this.#best, this.#bad] = [metric, 0];
    else this.#bad++;
    if (this.#cooldown > 0) {
      this.#cooldown--;
      this.#bad = 0;
    }
    if (this.#bad > this.#options.patience) {
      [this.#bad, this.#cooldown] = [0, this.#options.cooldown];
      for (const group of this.optimizer.groups) group.lr = this.#lower(group.lr!);
    }
    this.set(({ lr }) => lr);
  }

  #better(metric: number): boolean {
    const { mode, threshold, thresholdMode } = this.#options;
    if (!Number.isFinite(metric)) return false;
    if (this.#best === null) return true;
    const sign = mode === "min" ? -1 : 1;
    const margin = thresholdMode === "abs" ? threshold : threshold * Math.abs(this.#best);
    return sign * metric > sign * this.#best + margin;
  }

  /** Forgets the metrics. */
  override rewind(): void {
    [this.#best, this.#bad, this.#cooldown] = [null, 0, 0];
    super.rewind();
  }

  /** @ignore */
  protected override rate(lr: number): number {
    return lr;
  }

  #lower(lr: number): number {
    const { factor, minLr, eps } = this.#options;
    const lower = Math.max(lr * factor, minLr);
    return lr - lower > eps ? lower : lr;
  }

  /** All that it needs to go on from here; plain JSON. */
  override stateDict(): ScheduleState {
    return {
      ...super.stateDict(),
      best: this.#best,
      bad: this.#bad,
      cooldown: this.#cooldown,
    };
  }

  /** Goes on from a state. */
  override loadStateDict(state: ScheduleState): void {
    super.loadStateDict(state);
    const { best, bad, cooldown } = state as unknown as Saved;
    [this.#best, this.#bad, this.#cooldown] = [best, bad, cooldown];
  }

  /** Throws also for a state of another kind of schedule. */
  override checkState(state: ScheduleState): void {
    super.checkState(state);
    const { best, bad, cooldown } = state as unknown as Saved;
    if (best !== null) checkNumber("ReduceLROnPlateau", "best", best);
    checkInteger("ReduceLROnPlateau", "bad", bad, 0);
    checkInteger("ReduceLROnPlateau", "cooldown", cooldown, 0);
  }
}

interface Saved {
  best: number | null;
  bad: number;
  cooldown: number;
}
