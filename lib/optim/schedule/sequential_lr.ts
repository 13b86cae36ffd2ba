import { checkInteger } from "../../core/options.ts";
import { ArgumentError } from "../../native/errors.ts";
import { checkSchedules, checkStates, optionsOf } from "./_check.ts";
import { Schedule, type ScheduleState } from "./schedule.ts";

/** Options of {@linkcode SequentialLR}. */
export interface SequentialLROptions {
  /**
   * The steps at which the second, third, … schedule takes over; one less than there are schedules.
   */
  milestones: readonly number[];
}

/**
 * Several schedules one after another: each begins anew, from the base rates, at its milestone. As
 * torch.optim.lr_scheduler.SequentialLR.
 *
 * ```ts
 * import { optim, tensor } from "@cudeno/cudeno";
 * const optimizer = new optim.SGD([tensor([1], { requiresGrad: true })], { lr: 1 });
 * const warmup = new optim.schedule.LinearWarmup(optimizer, { steps: 10 });
 * const cosine = new optim.schedule.CosineAnnealingLR(optimizer, { tMax: 90 });
 * const schedule = new optim.schedule.SequentialLR([warmup, cosine], { milestones: [10] });
 * for (let t = 0; t < 10; t++) schedule.step();
 * console.log(optimizer.lr); // 1
 * ```
 */
export class SequentialLR extends Schedule {
  readonly #schedules: readonly Schedule[];
  readonly #milestones: readonly number[];
  #turn = 0;

  constructor(schedules: readonly Schedule[], options: SequentialLROptions) {
    const first = checkSchedules("SequentialLR", schedules);
    super(first.optimizer);
    const { milestones } = optionsOf("SequentialLR", options, {
      milestones: undefined as unknown as number[],
    });
    if (milestones?.length !== schedules.length - 1) {
      throw new ArgumentError(
        `SequentialLR: there are ${schedules.length} schedules; milestones must be ${
          schedules.length - 1
        } numbers`,
      );
    }
    milestones.forEach((at, i) =>
      checkInteger("SequentialLR", `milestones[${i}]`, at, i === 0 ? 1 : milestones[i - 1]! + 1)
    );
    this.#schedules = [...schedules];
    this.#milestones = [...milestones];
    first.restart(); // undoes what making the others has set
    this.set(({ lr }) => lr);
  }

  /** Goes on to the next step, in the schedule whose turn it is. */
  override step(metric?: number): void {
    this.moveTo(this.count + 1);
    const turn = this.#milestones.filter((at) => at <= this.count).length;
    const schedule = this.#schedules[turn]!;
    if (turn === this.#turn) schedule.step(metric);
    else schedule.restart();
    this.#turn = turn;
    this.set(({ lr }) => lr);
  }

  /** Begins anew, with the first. */
  override rewind(): void {
    this.moveTo(0);
    this.#turn = 0;
    this.#schedules[0]!.restart();
    this.set(({ lr }) => lr);
  }

  /** @ignore */
  protected override rate(lr: number): number {
    return lr;
  }

  /** All that they need to go on from here; plain JSON. */
  override stateDict(): ScheduleState {
    const schedules = this.#schedules.map((s) => s.stateDict());
    return { ...super.stateDict(), schedules, turn: this.#turn };
  }

  /** Goes on from a state. */
  override loadStateDict(state: ScheduleState): void {
    super.loadStateDict(state);
    const states = state["schedules"] as ScheduleState[];
    this.#schedules.forEach((schedule, i) => schedule.loadStateDict(states[i]!));
    this.#turn = state["turn"] as number;
  }

  /** Throws also for a state of other schedules. */
  override checkState(state: ScheduleState): void {
    super.checkState(state);
    checkStates("SequentialLR", this.#schedules, state["schedules"]);
  }
}
