import { autocast, type AutocastDType, autocastRegion } from "./autocast.ts";
import { type RandomPlace, randomPlace, withRandomFrom } from "./random.ts";

/** What the results of a function go by, beside what it is given. */
export interface Start {
  /** Where its random numbers come from. */
  readonly random: RandomPlace;
  /** The dtype of the autocast() that it runs in. */
  readonly dtype: AutocastDType | undefined;
}

/** The present one. */
export function startOf(): Start {
  return { random: randomPlace(), dtype: autocastRegion()?.dtype };
}

/**
 * Runs `fn` in a region of autocast() of its own, if in any: with none of the casts that were made
 * around it, nor leaving its own to others.
 */
export function inRegion<T>({ dtype }: Start, fn: () => T): T {
  return dtype ? autocast(dtype, fn) : fn();
}

let again = false;

/** Whether what runs now has run before: what it counts or gathers is counted already. */
export function repeating(): boolean {
  return again;
}

/** Runs `fn` as from that start, and leaves the random numbers as they are. */
export function repeat<T>(start: Start, fn: () => T): T {
  const before = again;
  again = true;
  try {
    return withRandomFrom(start.random, () => inRegion(start, fn));
  } finally {
    again = before;
  }
}
