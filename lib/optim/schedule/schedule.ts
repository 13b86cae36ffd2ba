import { ArgumentError } from "../../native/errors.ts";
import { checkNumber, checkState } from "../../core/options.ts";
import { type Group, type Optimizer, type OptimizerOptions } from "../optimizer.ts";
import { checkOptimizer } from "../check.ts";

/** What a schedule needs to go on later; plain JSON. */
export type ScheduleState = Record<string, unknown>;

/**
 * The base of learning rate schedules, after torch.optim.lr_scheduler.LRScheduler. Making one sets the rates of step 0;
 * step() goes on to the next. Each group of the optimizer has its own rates, from its own first rate, which the first
 * schedule notes in the group as `initialLr`.
 *
 * Schedules count steps; whether a step is an epoch or a batch is for the caller, or for the Trainer's `scheduleEvery`.
 *
 * A subclass computes in rate() a group's next rate. Those that do so from the present one, as in PyTorch, may be
 * chained: their factors multiply.
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
    this.#lastLr = this.optimizer.groups.map((group, i) => group.lr = rate(group, i));
  }

  /** Jumps to a step without setting rates. */
  protected moveTo(count: number): void {
    this.#count = count;
  }

  /** All that it needs to go on from here; plain JSON. The rates themselves are in the optimizer's state. */
  stateDict(): ScheduleState {
    return { count: this.#count, baseLrs: [...this.#baseLrs], lastLr: [...this.#lastLr] };
  }

  /** Goes on from a state. Load the optimizer's too. */
  loadStateDict(state: ScheduleState): void {
    checkState(this.constructor.name, state);
    const { count, baseLrs, lastLr } = state as {
      count: number;
      baseLrs: number[];
      lastLr: number[];
    };
    const op = this.constructor.name;
    checkNumber(op, "count", count, 0);
    for (const [name, list] of Object.entries({ baseLrs, lastLr })) {
      if (!Array.isArray(list) || list.length !== this.#baseLrs.length) {
        throw new ArgumentError(
          `${op}: the state is of ${list?.length} groups; the optimizer has ${this.#baseLrs.length}`,
        );
      }
      list.forEach((lr, i) => checkNumber(op, `${name}[${i}]`, lr, 0));
    }
    this.#count = count;
    this.#baseLrs = [...baseLrs];
    this.#lastLr = [...lastLr];
  }
}
