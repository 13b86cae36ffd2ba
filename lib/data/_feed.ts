// Batches one after another, each of which lives until the next is asked for.
import type { DeviceName } from "../core/backend.ts";
import { keep, scope } from "../core/scope.ts";
import { empty } from "../_empty.ts";
import { ArgumentError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";
import type { Batch, Sample } from "./batch.ts";
import { checkedBatch } from "./_check.ts";
import { type HostBatch, stacked, uploaded } from "./_collate.ts";
import type { Dataset, IterableDataset, SampleDataset } from "./dataset.ts";
import { samplesIn, tensorsIn } from "../_structure.ts";

/** A batch, and of how many samples. */
export interface Loaded<Input, Target> {
  batch: Batch<Input, Target>;
  size: number;
}

type Result<I, T> = IteratorResult<Loaded<I, T>, undefined>;

/** Where batches come from: at once, or in time. */
export interface Feed<Input, Target> {
  /** Frees the last batch, and gives the next. */
  next(): Result<Input, Target> | Promise<Result<Input, Target>>;
  /** Frees the last batch, and what was prepared. */
  close(): void | Promise<void>;
}

/** A sample function's batch on the host, or a user's collate()'s on the device. */
export type Prepared = { host: HostBatch; size: number } | { made: Batch; size: number };

const end = { done: true, value: undefined } as const;

/** The one batch that lives. */
class Shown<I, T> {
  #tensors: Tensor[] = [];

  show(op: string, make: () => unknown, size?: number): Result<I, T> {
    const batch = scope(() => checkedBatch(op, make() as Batch<I, T>));
    const { input, target, weight } = batch;
    this.#tensors = [...tensorsIn(op, "input", input), ...tensorsIn(op, "target", target)];
    if (weight) this.#tensors.push(weight);
    for (const x of this.#tensors) keep(x);
    return { done: false, value: { batch, size: size ?? samplesIn(op, "input", input) } };
  }

  clear(): void {
    for (const x of this.#tensors) x.dispose();
    this.#tensors = [];
  }
}

/** Views of one order on the device, each of which is freed when the next is asked for. */
export function* indicesOf(
  op: string,
  device: DeviceName,
  batches: readonly Int32Array<ArrayBuffer>[],
): Generator<Tensor, undefined> {
  const n = batches.reduce((sum, batch) => sum + batch.length, 0);
  // asks for room before the work
  using all = keep(empty(op, [n], { dtype: "int32", device }));
  const order = new Int32Array(n);
  batches.reduce((at, batch) => (order.set(batch, at), at + batch.length), 0);
  all.copyFrom(order);
  let at = 0;
  for (const { length } of batches) {
    using index = keep(all.view(at, [length]));
    at += length;
    yield index;
  }
}

/** The batches of a data set that makes them itself, on the device. */
export function batchFeed<I, T>(
  op: string,
  dataset: Dataset<I, T>,
  batches: readonly Int32Array<ArrayBuffer>[],
): Feed<I, T> {
  const shown = new Shown<I, T>();
  const indices = indicesOf(op, dataset.device, batches);
  return {
    next() {
      shown.clear();
      const { done, value: index } = indices.next();
      return done ? end : shown.show(op, () => dataset.batch(index), index.size);
    },
    close() {
      shown.clear();
      indices.return(undefined);
    },
  };
}

/** The batches of samples, of which some are prepared ahead. */
export function sampleFeed<I, T>(
  op: string,
  prepare: (batch: Int32Array<ArrayBuffer>) => Prepared | Promise<Prepared>,
  batches: readonly Int32Array<ArrayBuffer>[],
  { device, ahead, close }: {
    device: DeviceName | undefined;
    ahead: number;
    close?: (() => Promise<void>) | undefined;
  },
): Feed<I, T> {
  const shown = new Shown<I, T>();
  const ready: (Prepared | Promise<Prepared>)[] = [];
  let asked = 0;
  const fill = () => {
    while (asked < batches.length && ready.length <= ahead) {
      const next = prepare(batches[asked++]!);
      ready.push(next);
      if (!(next instanceof Promise)) break; // there is no gain in doing more now
      next.catch(() => {}); // it is thrown when its turn comes
    }
  };
  const show = (item: Prepared) =>
    shown.show(op, () => "made" in item ? item.made : uploaded(item.host, device), item.size);
  return {
    next() {
      shown.clear();
      fill();
      const item = ready.shift();
      if (!item) return end;
      if (!(item instanceof Promise)) return show(item);
      fill();
      return item.then(show);
    },
    async close() {
      shown.clear();
      const rest = await Promise.allSettled(ready.splice(0));
      for (const item of rest) {
        if (item.status !== "fulfilled" || !("made" in item.value)) continue;
        const { input, target, weight } = item.value.made;
        for (const x of [...tensorsIn(op, "input", input), ...tensorsIn(op, "target", target)]) {
          x.dispose();
        }
        weight?.dispose();
      }
      await close?.();
    },
  };
}

/** Makes batches of samples by their numbers. */
export function preparer(
  op: string,
  dataset: SampleDataset,
  collate: ((samples: Sample[]) => Batch) | undefined,
): (batch: Int32Array<ArrayBuffer>) => Prepared | Promise<Prepared> {
  return (batch) => {
    const samples = Array.from(batch, (i) => dataset.get(i));
    return samples.some((sample) => sample instanceof Promise)
      ? Promise.all(samples).then((all) => collated(op, all, collate, dataset))
      : collated(op, samples as Sample[], collate, dataset);
  };
}

function collated(
  op: string,
  samples: Sample[],
  collate: ((samples: Sample[]) => Batch) | undefined,
  { classes }: { classes?: unknown },
): Prepared {
  const size = samples.length;
  if (!collate) return { host: stacked(op, samples, classes !== undefined), size };
  const made = scope(() => checkedBatch(op, collate(samples), "collate"));
  for (
    const x of [...tensorsIn(op, "input", made.input), ...tensorsIn(op, "target", made.target)]
  ) {
    keep(x);
  }
  if (made.weight) keep(made.weight);
  return { made, size };
}

/** The batches of a data set that gives samples in turn, or with batchSize null batches. */
export function streamFeed<I, T>(
  op: string,
  dataset: IterableDataset<I, T>,
  { batchSize, dropLast, collate, skip }: {
    batchSize: number | null;
    dropLast: boolean;
    collate: ((samples: Sample[]) => Batch) | undefined;
    skip: number;
  },
): Feed<I, T> {
  const shown = new Shown<I, T>();
  const iterator = Symbol.asyncIterator in dataset
    ? dataset[Symbol.asyncIterator]()
    : dataset[Symbol.iterator]();
  let over = false;
  const take = async (count: number) => {
    const items: (Sample | Batch<I, T>)[] = [];
    while (items.length < count && !over) {
      const { done, value } = await iterator.next();
      if (done) over = true;
      else items.push(value);
    }
    return items;
  };
  let left = skip;
  return {
    async next() {
      shown.clear();
      for (; left > 0; left--) await take(batchSize ?? 1);
      const items = await take(batchSize ?? 1);
      if (items.length === 0 || (dropLast && items.length < (batchSize ?? 1))) return end;
      if (batchSize === null) return shown.show(op, () => items[0]);
      const made = collated(op, items as Sample[], collate, dataset);
      return shown.show(
        op,
        () => "made" in made ? made.made : uploaded(made.host, dataset.device),
        made.size,
      );
    },
    async close() {
      shown.clear();
      if (!over) await iterator.return?.();
      over = true;
    },
  };
}

/** Refuses what comes in time, where only what is there at once can be used. */
export function atOnce<R extends Result<unknown, unknown>>(op: string, result: R | Promise<R>): R {
  if (!(result instanceof Promise)) return result;
  result.catch(() => {});
  throw new ArgumentError(
    `${op}: the data comes in time (async get(), workers, or iterable data); write \`for await\``,
  );
}
