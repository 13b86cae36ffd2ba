import { recording } from "../../core/recording.ts";
import { ArgumentError } from "../../native/errors.ts";
import { checkNumber, checkState, refuse } from "../../core/options.ts";
import { type Group, type Optimizer, type OptimizerOptions } from "../optimizer.ts";
import { checkOptimizer } from "../_check.ts";

/** What a schedule needs to go on later; plain JSON. */
export type ScheduleState = Record<string, unknown>;

/**
 * The base of learning rate schedules, after torch.optim.lr_scheduler.LRScheduler. Making one sets
 * the rates of step 0; step() goes on to the next. Each group of the optimizer has its own rates,
 * from its own first rate, which the first schedule notes in the group as `initialLr`. A group
 * added to the optimizer later keeps its own rate, until a schedule is made that knows it.
 *
 * Schedules count steps; whether a step is an epoch or a batch is for the caller, or for the
 * Trainer's `scheduleEvery`.
 *
 * A subclass computes in rate() a group's next rate. Those that do so from the present one, as in
 * PyTorch, may be chained: their factors multiply.
 *
 * ```ts
 * import { optim, tensor } from "@cudeno/cudeno";
 * class Halving extends optim.schedule.Schedule {
 *   protected override rate(lr: number) {
 *     return this.count === 0 ? lr : lr / 2;
 *   }
 * }
 * const optimizer = new optim.SGD([tensor([1], { requiresGrad: true })], { lr: 1 });
 * const schedule = new Halving(optimizer).start();
 * schedule.step();
 * console.log(optimizer.lr, schedule.lastLr); // 0.5, [0.5]
 * ```
 */
export abstract class Schedule {
  /** Whose rates it sets. */
  readonly optimizer: Optimizer;
  #baseLrs: number[];
  #lastLr: number[];
  #count = 0;

  /** Subclasses call start() at the end of their constructors. */
  constructor(optimizer: Optimizer) {
    checkOptimizer(new.target.name, optimizer);
    this.optimizer = optimizer;
    this.#baseLrs = optimizer.groups.map((group) => group.initialLr ??= group.lr);
    this.#lastLr = optimizer.groups.map(({ lr }) => lr);
  }

  /** The groups that it schedules: those that the optimizer had when it was made. */
  protected get groups(): readonly Group<OptimizerOptions>[] {
    return this.optimizer.groups.slice(0, this.#baseLrs.length);
  }

  /** How many steps it has made. */
  get count(): number {
    return this.#count;
  }

  /** Each group's rate before any schedule changed it. */
  get baseLrs(): readonly number[] {
    return this.#baseLrs;
  }

  /** The rates that it set last, one a group. */
  get lastLr(): readonly number[] {
    return this.#lastLr;
  }

  /** Sets the rates of step 0. */
  start(): this {
    this.set((group, i) => this.rate(group.lr, this.#baseLrs[i]!, i));
    return this;
  }

  /** Goes on to the next step and sets its rates. */
  step(_metric?: number): void {
    this.#count++;
    this.start();
  }

  /** Begins anew from the base rates: what SequentialLR does with those after the first. */
  restart(): void {
    this.set((_, i) => this.#baseLrs[i]!);
    this.rewind();
  }

  /** Begins anew from the present rates: what ChainedScheduler does with all but the first. */
  rewind(): void {
    this.#count = 0;
    this.start();
  }

  /** A group's rate at step `count`, from its present rate and its base rate. */
  protected abstract rate(lr: number, baseLr: number, group: number): number;

  /** Sets each group's rate. */
  protected set(rate: (group: Group<OptimizerOptions>, index: number) => number): void {
    recording()?.refuse(
      "a schedule's step() would run while the step is recorded only; call it after the step",
    );
    this.#lastLr = this.groups.map((group, i) => group.lr = rate(group, i));
  }

  /** Jumps to a step without setting rates. */
  protected moveTo(count: number): void {
    this.#count = count;
  }

  /** All that it needs to go on from here, the optimizer's rates among it; plain JSON. */
  stateDict(): ScheduleState {
    const lrs = this.optimizer.groups.map(({ lr }) => lr);
    return { count: this.#count, baseLrs: [...this.#baseLrs], lastLr: [...this.#lastLr], lrs };
  }

  /**
   * Goes on from the state of a schedule that was made with the same options, at the rates that the
   * optimizer had: whether the optimizer's state is loaded before the schedule is made, before this
   * or after it. Nothing is changed if it throws.
   */
  loadStateDict(state: ScheduleState): void {
    this.checkState(state);
    const { count, baseLrs, lastLr, lrs } = state as unknown as Saved;
    this.#count = count;
    this.#baseLrs = [...baseLrs];
    this.#lastLr = [...lastLr];
    this.optimizer.groups.forEach((group, i) => group.lr = lrs[i]!);
  }

  /** Throws for a state that lacks what this schedule needs, or of another number of groups. */
  checkState(state: ScheduleState): void {
    const op = this.constructor.name;
    checkState(op, state);
    const { count, baseLrs, lastLr, lrs } = state as Partial<Saved>;
    if (![baseLrs, lastLr, lrs].every(Array.isArray)) {
      refuse(op, "the state", state, "what stateDict() gives");
    }
    const { length } = this.optimizer.groups;
    if (lrs!.length !== length || baseLrs!.length > length) {
      throw new ArgumentError(
        `${op}: the state is of ${lrs!.length} groups; the optimizer has ${length}`,
      );
    }
    checkNumber(op, "count", count!, 0);
    for (const [name, list] of Object.entries({ baseLrs, lastLr, lrs })) {
      list!.forEach((lr, i) => checkNumber(op, `${name}[${i}]`, lr, 0));
    }
  }
}

interface Saved {
  count: number;
  baseLrs: number[];
  lastLr: number[];
  lrs: number[];
}
