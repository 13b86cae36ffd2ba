import { checkSchedules, checkStates } from "./_check.ts";
import { Schedule, type ScheduleState } from "./schedule.ts";

/**
 * Several schedules at once: each changes the rate that the one before it has left. As
 * torch.optim.lr_scheduler.ChainedScheduler. Those that compute from the base rate alone (LambdaLR,
 * OneCycleLR, CosineAnnealingWarmRestarts) come first, or they undo the others.
 *
 * ```ts
 * import { optim, tensor } from "@cudeno/cudeno";
 * const optimizer = new optim.SGD([tensor([1], { requiresGrad: true })], { lr: 1 });
 * const schedule = new optim.schedule.ChainedScheduler([
 *   new optim.schedule.LinearLR(optimizer, { startFactor: 0.5, totalIters: 1 }),
 *   new optim.schedule.ExponentialLR(optimizer, { gamma: 0.9 }),
 * ]);
 * schedule.step();
 * console.log(optimizer.lr); // 0.9
 * ```
 */
export class ChainedScheduler extends Schedule {
  readonly #schedules: readonly Schedule[];

  constructor(schedules: readonly Schedule[]) {
    super(checkSchedules("ChainedScheduler", schedules).optimizer);
    this.#schedules = [...schedules];
  }

  /** Goes on to the next step in each. */
  override step(metric?: number): void {
    this.moveTo(this.count + 1);
    for (const schedule of this.#schedules) schedule.step(metric);
    this.set(({ lr }) => lr);
  }

  /** Begins anew, each from the rates that the one before it has left. */
  override rewind(): void {
    this.moveTo(0);
    for (const schedule of this.#schedules) schedule.rewind();
    this.set(({ lr }) => lr);
  }

  /** @ignore */
  protected override rate(lr: number): number {
    return lr;
  }

  /** All that they need to go on from here; plain JSON. */
  override stateDict(): ScheduleState {
    return { ...super.stateDict(), schedules: this.#schedules.map((s) => s.stateDict()) };
  }

  /** Goes on from a state. */
  override loadStateDict(state: ScheduleState): void {
    super.loadStateDict(state);
    const states = state["schedules"] as ScheduleState[];
    this.#schedules.forEach((schedule, i) => schedule.loadStateDict(states[i]!));
  }

  /** Throws also for a state of other schedules. */
  override checkState(state: ScheduleState): void {
    super.checkState(state);
    checkStates("ChainedScheduler", this.#schedules, state["schedules"]);
  }
}
