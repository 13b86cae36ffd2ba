import { formatValue } from "./describe.ts";
import type { Argument } from "../native/arguments.ts";
import { ArgumentError } from "../native/errors.ts";
import { recording } from "./recording.ts";

// One stream of random numbers for the process: a seed, and how many Philox blocks were drawn from
// it.
let seed = 0n;
let drawn = 0n;
let seeded = false;

/**
 * Starts the random numbers anew: from the same seed come the same numbers, on every device. n is a
 * whole number from 0 to 2^53 - 1. Without a call the seed is drawn from the system.
 *
 * ```ts
 * import { manualSeed, rand } from "@cudeno/cudeno";
 * manualSeed(7);
 * console.log(rand([3]).dataSync());
 * ```
 */
export function manualSeed(n: number): void {
  checkSeed("manualSeed", n);
  recording()?.refuse("manualSeed() would run while the step is recorded only; call it outside");
  seed = BigInt(n);
  drawn = 0n;
  seeded = true;
}

function checkSeed(op: string, n: number): void {
  if (Number.isSafeInteger(n) && n >= 0) return;
  throw new ArgumentError(
    `${op}: the seed is ${formatValue(n)}; it must be a whole number from 0 up`,
  );
}

/** Where Philox blocks are: by seed and offset, and a device's state of those, or null. */
export interface RandomBlocks {
  readonly state: Argument;
  readonly seed: bigint;
  readonly offset: bigint;
}

/** Takes `blocks` Philox blocks for the caller alone, and says where they are. */
export function takeRandom(blocks: number): RandomBlocks {
  if (!seeded) {
    seed = BigInt(crypto.getRandomValues(new Uint32Array(1))[0]!);
    seeded = true;
  }
  let offset = drawn;
  if (held?.own) {
    offset += held.taken;
    held.taken += BigInt(blocks);
  } else drawn += BigInt(blocks);
  return { state: null, seed, offset };
}

/** The blocks of a seed that an option gives, which leave the process's alone; none without. */
export function blocksOf(op: string, seed: number | undefined): RandomBlocks | undefined {
  if (seed === undefined) return undefined;
  checkSeed(op, seed);
  return { state: null, seed: BigInt(seed), offset: 0n };
}

// While random numbers are to come from a device's state: that, and the blocks taken there. The
// host's go on there too where that stands for the process's own.
type Held = { state: Argument; taken: bigint; own: boolean };
let held: Held | null = null;

/** The same for a kernel. */
export function drawRandom(blocks: number): RandomBlocks {
  if (!held) return takeRandom(blocks);
  const offset = held.taken;
  held.taken += BigInt(blocks);
  return { state: held.state, seed: 0n, offset };
}

/**
 * Runs `fn` with kernels that draw by the seed and from the offset in device memory, two int64, so
 * that they draw other numbers when they run again. Returns how many blocks they take, by which
 * cdn_random_advance() then moves the offset on.
 */
export function withRandomState(state: Argument, fn: () => void): bigint {
  const before = held;
  const inner = held = { state, taken: 0n, own: false };
  try {
    fn();
  } finally {
    held = before;
  }
  return inner.taken;
}

/**
 * The same where the device's state is the process's own, which has to be there: drawing takes as
 * many blocks as without, and the state is to be moved on by as many as are returned.
 */
export function withRandomThere<T>(state: Argument, fn: () => T): { result: T; taken: bigint } {
  const before = held;
  const inner = held = { state, taken: 0n, own: true };
  try {
    return { result: fn(), taken: inner.taken };
  } finally {
    held = before;
    drawn += inner.taken;
  }
}

/** Where random numbers come from next. */
export type RandomPlace = Readonly<{ seed: bigint; drawn: bigint; held: Held | null }>;

/** Where they come from now. */
export function randomPlace(): RandomPlace {
  takeRandom(0); // draws the seed, if none was given
  return { seed, drawn, held: held && { ...held } };
}

/** Has them come from a place that was noted, in this process or another. */
export function setRandomPlace(place: Pick<RandomPlace, "seed" | "drawn">): void {
  ({ seed, drawn } = place);
  seeded = true;
}

/** Runs `fn` with the random numbers that come from there; afterwards they go on as before. */
export function withRandomFrom<T>(place: RandomPlace, fn: () => T): T {
  const before = { seed, drawn, held, seeded };
  ({ seed, drawn } = place);
  seeded = true;
  held = place.held && { ...place.held };
  try {
    return fn();
  } finally {
    ({ seed, drawn, held, seeded } = before);
  }
}

/** A seed for a stream of its own, from one block of the process's numbers or of those given. */
export function derivedSeed({ seed, offset }: RandomBlocks = takeRandom(1)): bigint {
  const [high, low] = philox(seed, offset);
  return BigInt(high) << 21n | BigInt(low >>> 11);
}

/** Numbers in [0, 1) on the host, from a block of a seed on. */
export function hostRandom(seed: bigint, offset: bigint): () => number {
  let words: number[] = [];
  return () => {
    if (words.length === 0) words = philox(seed, offset++);
    return words.pop()! / 2 ** 32;
  };
}

// The high and low halves of the product of two 32-bit words.
function multiply(a: number, b: number): [number, number] {
  const a0 = a & 0xffff, a1 = a >>> 16, b0 = b & 0xffff, b1 = b >>> 16;
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  const carry = (middle & 0xffff) + a0 * b1;
  return [a1 * b1 + Math.floor(middle / 0x10000) + (carry >>> 16), Math.imul(a, b)];
}

/** The four words of one block of Philox4x32-10: the same that cuda/kernel/philox.h computes. */
export function philox(seed: bigint, counter: bigint): [number, number, number, number] {
  let key0 = Number(seed & 0xffffffffn), key1 = Number((seed >> 32n) & 0xffffffffn);
  let w0 = Number(counter & 0xffffffffn), w1 = Number((counter >> 32n) & 0xffffffffn);
  let w2 = 0, w3 = 0;
  for (let round = 0; round < 10; round++) {
    const [high0, low0] = multiply(0xd2511f53, w0);
    const [high1, low1] = multiply(0xcd9e8d57, w2);
    [w0, w1, w2, w3] = [high1 ^ w1 ^ key0, low1, high0 ^ w3 ^ key1, low0];
    key0 = (key0 + 0x9e3779b9) | 0;
    key1 = (key1 + 0xbb67ae85) | 0;
  }
  return [w0 >>> 0, w1 >>> 0, w2 >>> 0, w3 >>> 0];
}

/**
 * A random order of 0..n-1, by Fisher and Yates, from the process's stream of random numbers or
 * blocks of its own.
 */
export function permutation(
  n: number,
  blocks: RandomBlocks = takeRandom(Math.ceil(n / 4)),
): Int32Array<ArrayBuffer> {
  const { seed, offset } = blocks;
  const order = Int32Array.from({ length: n }, (_, i) => i);
  let words: readonly number[] = [];
  for (let i = 0; i < n; i++) {
    if (i % 4 === 0) words = philox(seed, offset + BigInt(i / 4));
    const j = i + Math.floor(words[i % 4]! / 0x100000000 * (n - i));
    const kept = order[i]!;
    order[i] = order[j]!;
    order[j] = kept;
  }
  return order;
}
