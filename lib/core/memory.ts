import { type Backend, backendFor, type DeviceName } from "./backend.ts";

/** The allocator's figures for one device, in bytes and counts. */
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

/** The memory that tensors take on a device, by default on the one of init(). */
export function memory(device?: DeviceName): MemoryInfo {
  const backend = backendFor(device);
  const stats = new BigInt64Array(10);
  backend.check(backend.functions.cdn_memory_stats(stats, backend.index));
  const n = Array.from(stats, Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  return {
    live: n[0],
    cached: n[1],
    reserved: n[2],
    peak: n[3],
    largestFree: n[4],
    limit: n[5],
    tensors: n[6],
    allocations: n[7],
    segments: n[8],
    deviceAllocations: n[9],
  };
}

/** Gives memory held for reuse back to the system. */
export function emptyCache(device?: DeviceName): void {
  const backend: Backend = backendFor(device);
  backend.check(backend.functions.cdn_memory_trim(backend.index));
}

/** Lets `peak` start again from what is live now. */
export function resetPeakMemory(device?: DeviceName): void {
  const backend: Backend = backendFor(device);
  backend.check(backend.functions.cdn_memory_reset_peak(backend.index));
}
