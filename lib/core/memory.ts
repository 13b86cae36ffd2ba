import { type Backend, backendFor, type DeviceName } from "./backend.ts";

/** The figures of this isolate's allocator for one device, in bytes and counts. */
export interface MemoryInfo {
  /** Bytes in tensors that are alive, rounded up to the allocator's blocks. */
  readonly live: number;
  /** Bytes held for reuse. */
  readonly cached: number;
  /** Bytes taken from the device: live + cached. */
  readonly reserved: number;
  /** The most that `live` has been. */
  readonly peak: number;
  /** The largest block held for reuse. */
  readonly largestFree: number;
  /** The most bytes that may be taken. */
  readonly limit: number;
  /** Blocks that are alive. */
  readonly tensors: number;
  /** Allocations so far. */
  readonly allocations: number;
  /** Segments held, each one allocation of the device's own. */
  readonly segments: number;
  /** Allocations of the device's own so far. */
  readonly deviceAllocations: number;
}

// As cdn_memory_stats gives them.
const order: readonly (keyof MemoryInfo)[] = [
  "live",
  "cached",
  "reserved",
  "peak",
  "largestFree",
  "limit",
  "tensors",
  "allocations",
  "segments",
  "deviceAllocations",
];

/**
 * The memory that this isolate's tensors take on a device, by default on the one of init(). What a
 * Worker takes is its own, and is freed when it ends.
 *
 * ```ts
 * import { memory, rand } from "@cudeno/cudeno";
 * const x = rand([1000]);
 * console.log(memory().live >= 4000, memory().tensors >= 1); // true true
 * x.dispose();
 * ```
 */
export function memory(device?: DeviceName): MemoryInfo {
  const backend = backendFor(device);
  const stats = new BigInt64Array(order.length);
  backend.check(backend.functions.cdn_memory_stats(stats, backend.index));
  const values = order.map((name, i) => [name, Number(stats[i])]);
  return Object.fromEntries(values) as Record<keyof MemoryInfo, number>;
}

/**
 * Gives memory that this isolate holds for reuse back to the system.
 *
 * ```ts
 * import { emptyCache } from "@cudeno/cudeno";
 * emptyCache(); // other programs can have the memory
 * ```
 */
export function emptyCache(device?: DeviceName): void {
  const backend: Backend = backendFor(device);
  backend.check(backend.functions.cdn_memory_trim(backend.index));
}

/**
 * Lets `peak` start again from what is live now.
 *
 * ```ts
 * import { memory, resetPeakMemory } from "@cudeno/cudeno";
 * resetPeakMemory();
 * console.log(memory().peak === memory().live); // true
 * ```
 */
export function resetPeakMemory(device?: DeviceName): void {
  const backend: Backend = backendFor(device);
  backend.check(backend.functions.cdn_memory_reset_peak(backend.index));
}
