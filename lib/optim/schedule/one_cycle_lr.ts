import { formatValue } from "../../core/describe.ts";
import { checkInteger, checkNumber, type Complete } from "../../core/options.ts";
import { ArgumentError } from "../../native/errors.ts";
import type { Optimizer } from "../optimizer.ts";
import { Schedule, type ScheduleState } from "./schedule.ts";
import { optionsOf } from "./_check.ts";

/** Options of {@linkcode OneCycleLR}. */
export interface OneCycleLROptions {
  /** The highest rate: one for all groups, or one for each. */
  maxLr: number | readonly number[];
  /** The steps of the whole cycle; or else give epochs and stepsPerEpoch. */
  totalSteps?: number | undefined;
  /** With stepsPerEpoch, instead of totalSteps. */
  epochs?: number | undefined;
  /** With epochs, instead of totalSteps. */
  stepsPerEpoch?: number | undefined;
  /** The share of the cycle in which the rate rises; default 0.3. */
  pctStart?: number | undefined;
  /** Half cosines or straight lines; default `"cos"`. */
  annealStrategy?: "cos" | "linear" | undefined;
  /** Whether the momentum (betas[0] of Adam) goes the other way round; default true. */
  cycleMomentum?: boolean | undefined;
  /** The momentum at the highest rate; default 0.85. */
  baseMomentum?: number | undefined;
  /** The momentum at the beginning and the end; default 0.95. */
  maxMomentum?: number | undefined;
  /** The first rate is maxLr / divFactor; default 25. */
  divFactor?: number | undefined;
  /** The last rate is the first one / finalDivFactor; default 1e4. */
  finalDivFactor?: number | undefined;
  /** Go down as one has gone up, and then on to the last rate. Default false: in one go. */
  threePhase?: boolean | undefined;
}

interface Momenta {
  momentum?: number | undefined;
  betas?: readonly [number, number] | undefined;
}

interface Phase {
  end: number;
  lr: [from: "first" | "max" | "last", to: "first" | "max" | "last"];
  momentum: [from: number, to: number];
}

/**
 * One cycle: up from maxLr / divFactor to maxLr, down to nearly 0, and the momentum the other way
 * round (Smith, Topin 2018, https://arxiv.org/abs/1708.07120). As
 * torch.optim.lr_scheduler.OneCycleLR; meant to be stepped after each batch. After the cycle the
 * last rate stays.
 *
 * ```ts
 * import { optim, tensor } from "@cudeno/cudeno";
 * const optimizer = new optim.AdamW([tensor([1], { requiresGrad: true })]);
 * const schedule = new optim.schedule.OneCycleLR(optimizer, { maxLr: 0.1, totalSteps: 100 });
 * for (let t = 0; t < 29; t++) schedule.step();
 * console.log(optimizer.lr, optimizer.groups[0]!.betas[0]); // 0.1, 0.85
 * ```
 */
export class OneCycleLR extends Schedule {
  readonly #options: Complete<OneCycleLROptions>;
  readonly #total: number;
  readonly #maxLrs: readonly number[];
  readonly #phases: readonly Phase[];

  constructor(optimizer: Optimizer, options: OneCycleLROptions) {
    super(optimizer);
    const all = this.#options = optionsOf("OneCycleLR", options, {
      maxLr: undefined as unknown as number,
      totalSteps: 0,
      epochs: 0,
      stepsPerEpoch: 0,
      pctStart: 0.3,
      annealStrategy: "cos",
      cycleMomentum: true,
      baseMomentum: 0.85,
      maxMomentum: 0.95,
      divFactor: 25,
      finalDivFactor: 1e4,
      threePhase: false,
    });
    this.#total = all.totalSteps || all.epochs * all.stepsPerEpoch;
    checkInteger("OneCycleLR", "totalSteps", this.#total, 1);
    check(all);
    const { maxLr } = all;
    this.#maxLrs = typeof maxLr === "number" ? optimizer.groups.map(() => maxLr) : maxLr;
    if (this.#maxLrs?.length !== optimizer.groups.length) {
      throw new ArgumentError(
        `OneCycleLR: maxLr is ${
          formatValue(maxLr)
        }; it must be a number, or one for each of the ${optimizer.groups.length} groups`,
      );
    }
    this.#maxLrs.forEach((value, i) => checkNumber("OneCycleLR", `maxLr[${i}]`, value, 0));
    const groups = optimizer.groups as readonly Momenta[];
    if (all.cycleMomentum && !groups.every((g) => g.betas || g.momentum !== undefined)) {
      throw new ArgumentError(
        "OneCycleLR: the optimizer has neither momentum nor betas; pass { cycleMomentum: false }",
      );
    }
    this.#phases = phases(all, this.#total);
    this.start();
  }

  /** Goes on to the next step and sets its rates, and momenta. */
  override start(): this {
    super.start();
    if (this.#options.cycleMomentum) this.#setMomenta();
    return this;
  }

  // The phase of this step, and how far it has come.
  #now(): { phase: Phase; share: number } {
    const t = Math.min(this.count, this.#total - 1);
    let begin = 0;
    for (const [i, phase] of this.#phases.entries()) {
      if (t <= phase.end || i === this.#phases.length - 1) {
        const length = phase.end - begin;
        return { phase, share: length === 0 ? 1 : (t - begin) / length };
      }
      begin = phase.end;
    }
    throw new ArgumentError("OneCycleLR: there are no phases");
  }

  #between(from: number, to: number, share: number): number {
    if (this.#options.annealStrategy === "linear") return (to - from) * share + from;
    return to + (from - to) / 2 * (Math.cos(Math.PI * share) + 1);
  }

  #setMomenta(): void {
    const { phase, share } = this.#now();
    const momentum = this.#between(...phase.momentum, share);
    for (const group of this.groups as readonly Momenta[]) setMomentum(group, momentum);
  }

  /** All that it needs to go on from here, the optimizer's momenta among it; plain JSON. */
  override stateDict(): ScheduleState {
    const momenta = (this.groups as readonly Momenta[]).map((g) => g.betas?.[0] ?? g.momentum);
    return { ...super.stateDict(), ...(this.#options.cycleMomentum ? { momenta } : {}) };
  }

  /** Goes on from a state. */
  override loadStateDict(state: ScheduleState): void {
    super.loadStateDict(state);
    if (!this.#options.cycleMomentum) return;
    const momenta = state["momenta"] as number[];
    (this.groups as readonly Momenta[]).forEach((group, i) => setMomentum(group, momenta[i]!));
  }

  /** Throws also where only one of the two moves the momentum. */
  override checkState(state: ScheduleState): void {
    super.checkState(state);
    const { cycleMomentum } = this.#options;
    if (cycleMomentum !== "momenta" in state) {
      throw new ArgumentError(
        `OneCycleLR: the state is of a schedule with cycleMomentum ${!cycleMomentum}; this ` +
          `one has ${cycleMomentum}`,
      );
    }
  }

  /** @ignore */
  protected override rate(_lr: number, _baseLr: number, group: number): number {
    const { divFactor, finalDivFactor } = this.#options;
    const max = this.#maxLrs[group]!;
    const first = max / divFactor;
    const lrs = { first, max, last: first / finalDivFactor };
    const { phase, share } = this.#now();
    return this.#between(lrs[phase.lr[0]], lrs[phase.lr[1]], share);
  }
}

function setMomentum(group: Momenta, momentum: number): void {
  if (group.betas) group.betas = [momentum, group.betas[1]];
  else group.momentum = momentum;
}

function check(options: Complete<OneCycleLROptions>): void {
  const { pctStart, annealStrategy, baseMomentum, maxMomentum, divFactor, finalDivFactor } =
    options;
  for (const [name, value] of Object.entries({ pctStart, baseMomentum, maxMomentum })) {
    if (!(value >= 0 && value <= 1)) {
      throw new ArgumentError(`OneCycleLR: ${name} is ${value}; it must be from 0 to 1`);
    }
  }
  for (const [name, value] of Object.entries({ divFactor, finalDivFactor })) {
    checkNumber("OneCycleLR", name, value, Number.MIN_VALUE);
  }
  if (annealStrategy !== "cos" && annealStrategy !== "linear") {
    throw new ArgumentError(
      `OneCycleLR: annealStrategy is ${formatValue(annealStrategy)}; it must be cos or linear`,
    );
  }
}

function phases(options: Complete<OneCycleLROptions>, total: number): Phase[] {
  const { pctStart, baseMomentum: low, maxMomentum: high, threePhase } = options;
  const up: Phase = { end: pctStart * total - 1, lr: ["first", "max"], momentum: [high, low] };
  if (!threePhase) return [up, { end: total - 1, lr: ["max", "last"], momentum: [low, high] }];
  return [
    up,
    { end: 2 * pctStart * total - 2, lr: ["max", "first"], momentum: [low, high] },
    { end: total - 1, lr: ["first", "last"], momentum: [high, high] },
  ];
}
