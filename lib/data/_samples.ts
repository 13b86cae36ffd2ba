// Samples of a data set, with random numbers that depend on their place in an epoch alone: not on
// the thread that makes them, nor on what was made before.
import { hostRandom, withRandomFrom } from "../core/random.ts";
import type { Sample } from "./batch.ts";
import type { SampleDataset } from "./dataset.ts";

// Each sample has 2^32 Philox blocks of the pass's seed: the library's numbers, the batch's, the
// host's.
const BATCH = 1n << 30n, HOST = 1n << 31n;
const start = (at: number) => BigInt(at) << 32n;

/** Sample i, which comes at a place of the epoch's order. */
export function sampleAt(
  dataset: SampleDataset,
  i: number,
  at: number,
  seed: bigint,
): Sample | Promise<Sample> {
  const drawn = start(at);
  const random = hostRandom(seed, drawn + HOST);
  return withRandomFrom({ seed, drawn, held: null }, () => dataset.get(i, random));
}

/** What fn makes of the samples from a place on. */
export function collateAt<B>(
  samples: Sample[],
  at: number,
  seed: bigint,
  fn: (samples: Sample[]) => B,
): B {
  return withRandomFrom({ seed, drawn: start(at) + BATCH, held: null }, () => fn(samples));
}
