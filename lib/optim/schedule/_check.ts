import { checkNumber, refuse } from "../../core/options.ts";
import { ArgumentError } from "../../native/errors.ts";
import { Schedule } from "./schedule.ts";

export { optionsOf } from "../../core/options.ts";

/** Throws unless each value is a finite number, at least 0. */
export function checkAtLeast0(op: string, values: Record<string, number>): void {
  for (const [name, value] of Object.entries(values)) checkNumber(op, name, value, 0);
}

/** Stands for an option that must be given. */
export const missing = undefined as unknown as number;

/** Throws unless there are schedules, all of one optimizer; returns the first. */
export function checkSchedules(op: string, schedules: readonly Schedule[]): Schedule {
  if (!Array.isArray(schedules)) refuse(op, "schedules", schedules, "an array of schedules");
  const first = schedules[0];
  if (!first) throw new ArgumentError(`${op}: there are no schedules`);
  for (const schedule of schedules) {
    if (!(schedule instanceof Schedule) || schedule.optimizer !== first.optimizer) {
      throw new ArgumentError(`${op}: all must be schedules, and of the same optimizer`);
    }
  }
  return first;
}

/** Throws unless there is a state for each schedule. */
export function checkStates(
  op: string,
  schedules: readonly Schedule[],
  states: unknown,
): void {
  if (!Array.isArray(states) || states.length !== schedules.length) {
    throw new ArgumentError(
      `${op}: the state is not one of ${schedules.length} schedules, as this is`,
    );
  }
  schedules.forEach((schedule, i) => schedule.checkState(states[i]));
}
