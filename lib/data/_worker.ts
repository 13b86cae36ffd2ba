/// <reference lib="deno.worker" />
// What runs in the Workers of a DataLoader: batches, on the host, of a module's data set.
import { preferCpu } from "../core/backend.ts";
import { isTensor, refuse } from "../core/options.ts";
import { scope } from "../core/scope.ts";
import { ArgumentError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";
import type { Batch, Sample } from "./batch.ts";
import { checkedBatch, isSamples } from "./_check.ts";
import { fresh, type HostBatch, hostTensors, type Make, stacked } from "./_collate.ts";
import type { SampleDataset } from "./dataset.ts";
import { collateAt, sampleAt } from "./_samples.ts";
import type { Begin, Job, Reply } from "./_workers.ts";
import { mapLeaves } from "../_structure.ts";

/** A data set of the library's that makes whole batches on the host. */
export interface HostDataset {
  /** How many samples there are. */
  readonly length: number;
  /** Those of these numbers. */
  hostBatch(numbers: ArrayLike<number>, make?: Make): HostBatch;
}

// Arrays that came back from the main thread: for large ones new memory costs more than filling it.
const spare: ArrayBuffer[] = [];
const SPARE = 16;

const take: Make = (dtype, size) => {
  const none = fresh(dtype, 0), bytes = size * none.BYTES_PER_ELEMENT;
  const at = spare.findIndex(({ byteLength }) => byteLength === bytes);
  if (at < 0) return fresh(dtype, size);
  const Kind = none.constructor as new (buffer: ArrayBuffer) => typeof none;
  return new Kind(spare.splice(at, 1)[0]!);
};

const isHostDataset = (x: unknown): x is HostDataset => "hostBatch" in Object(x);

interface Loaded {
  dataset: SampleDataset | HostDataset;
  collate: ((samples: Sample[]) => Batch) | undefined;
}

async function load({ op, module, args, length }: Begin): Promise<Loaded> {
  const found = await import(module);
  const exported = found.default ?? found.dataset;
  const dataset = await (typeof exported === "function" ? exported(args) : exported);
  if (!isSamples(dataset) && !isHostDataset(dataset)) {
    refuse(
      op,
      "the default export, or the export dataset,",
      dataset,
      "a data set with length and get(), or a function that gives one",
    );
  }
  if (dataset.length === length) return { dataset, collate: found.collate };
  throw new ArgumentError(
    `${op}: the module's data set has ${dataset.length} samples, the loader's ${length}; they ` +
      "must be the same",
  );
}

class SampleError extends Error {
  readonly sample: number;
  constructor(sample: number, cause: unknown) {
    super(undefined, { cause });
    this.sample = sample;
  }
}

async function make(begin: Begin, loading: Promise<Loaded>, job: Job): Promise<Reply> {
  const { id, numbers, at, seed, cancelled } = job;
  const { op, classes, stop } = begin;
  const { dataset, collate } = await loading;
  if (isHostDataset(dataset)) return { id, host: dataset.hostBatch(numbers, take) };
  const one = async (i: number, at: number) => {
    try {
      return await sampleAt(dataset, i, at, seed);
    } catch (error) {
      throw new SampleError(i, error);
    }
  };
  const waiting: Promise<Sample>[] = [];
  for (const [k, i] of numbers.entries()) {
    if (Atomics.load(cancelled, 0) || Atomics.load(stop, 0)) {
      await Promise.allSettled(waiting);
      return { id };
    }
    waiting.push(one(i, at + k));
  }
  const samples = await Promise.all(waiting);
  if (!collate) return { id, host: stacked(op, samples, classes, take) };
  return { id, host: hostOf(checkedBatch(op, collateAt(samples, at, seed, collate), "collate")) };
}

function hostOf({ input, target, weight }: Batch): HostBatch {
  const read = (x: unknown) => {
    const { shape, dtype } = x as Tensor;
    return { data: (x as Tensor).dataSync(), shape, dtype };
  };
  return {
    input: mapLeaves(input, isTensor, read),
    target: mapLeaves(target, isTensor, read),
    ...(weight && { weight: read(weight) }),
  };
}

function failure(id: number, error: unknown): Reply {
  const sample = error instanceof SampleError ? error.sample : undefined;
  const thrown = sample === undefined ? error : (error as Error).cause;
  const { message = String(thrown), stack } = thrown instanceof Error ? thrown : {} as Error;
  return { id, error: { message, stack, sample } };
}

function serve(begin: Begin): void {
  preferCpu();
  const loading = load(begin);
  loading.catch(() => {}); // each batch hears of it
  let last = Promise.resolve();
  self.onmessage = ({ data: job }: MessageEvent<Job>) => {
    spare.push(...job.spare);
    spare.splice(0, spare.length - SPARE);
    last = last.then(async () => {
      let reply: Reply;
      try {
        reply = await scope(() => make(begin, loading, job));
        const arrays = reply.host ? hostTensors(reply.host).map(({ data }) => data.buffer) : [];
        self.postMessage(reply, arrays);
      } catch (error) {
        self.postMessage(failure(job.id, error));
      }
    });
  };
}

self.onmessage = ({ data }: MessageEvent<Begin>) => serve(data);
