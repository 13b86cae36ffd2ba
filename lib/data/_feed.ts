// Batches one after another, each of which lives until the next is asked for.
import type { DeviceName } from "../core/backend.ts";
import { innermost, keep, own, scope, syncScope } from "../core/scope.ts";
import { empty } from "../_empty.ts";
import { ArgumentError, OutOfMemoryError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";
import type { Batch, Sample } from "./batch.ts";
import { checkedBatch } from "./_check.ts";
import { type HostBatch, hostTensors, stacked } from "./_collate.ts";
import type { Dataset, IterableDataset, SampleDataset } from "./dataset.ts";
import { collateAt, sampleAt } from "./_samples.ts";
import { batchTensors, finished, roomAhead, sent } from "./_upload.ts";
import type { WorkerPool } from "./_workers.ts";
import { samplesIn } from "../_structure.ts";

/** A batch, and of how many samples. */
export interface Loaded<Input, Target> {
  batch: Batch<Input, Target>;
  size: number;
}

type Result<I, T> = IteratorResult<Loaded<I, T>, undefined>;

/** Batches that the device can make by itself, as it knows their order. */
export interface Ordered<Input, Target> {
  readonly dataset: Dataset<Input, Target>;
  /** The samples' numbers. */
  readonly all: Tensor;
  /** Samples given so far: where in the order the next batch begins. */
  readonly at: number;
  /** How many batches of this size come next. */
  ahead(size: number): number;
  /** Leaves out so many of them, which somebody else has made. */
  skip(batches: number): void;
}

/** Where batches come from: at once, or in time. */
export interface Feed<Input, Target> {
  /** Where the device can make them. */
  readonly ordered?: Ordered<Input, Target> | undefined;
  /** Frees the last batch, and gives the next. */
  next(): Result<Input, Target> | Promise<Result<Input, Target>>;
  /** Frees the last batch, and what was prepared. */
  close(): void | Promise<void>;
}

/** A sample function's batch on the host, or a user's collate()'s on the device. */
export type Prepared =
  | { host: HostBatch; size: number; used?: () => void } // called when it is on the device
  | { made: Batch; size: number };

const end = { done: true, value: undefined } as const;

/** What makes a batch of samples, of whatever structure. */
export type Collate = (samples: Sample[]) => Batch<unknown, unknown>;

/** The one batch that lives. */
class Shown<I, T> {
  #tensors: Tensor[] = [];

  // `stored`: some of its tensors may be the data set's own, which stay.
  show(op: string, make: () => unknown, size?: number, stored = false): Result<I, T> {
    const batch = syncScope(() => {
      const batch = checkedBatch(op, make() as Batch<I, T>);
      const made = innermost();
      this.#tensors = batchTensors(op, batch).filter((x) => !stored || x.owner === made);
      for (const x of this.#tensors) keep(x);
      return batch;
    });
    return { done: false, value: { batch, size: size ?? samplesIn(op, "input", batch.input) } };
  }

  clear(): void {
    for (const x of this.#tensors) x.dispose();
    this.#tensors = [];
  }
}

/** An order on the device, and of each batch how many of it it has. */
export interface Order {
  all: Tensor;
  sizes: number[];
}

/** The order of n samples; `batches` has the work, for which there is room on the device. */
export function orderOf(
  op: string,
  n: number,
  device: DeviceName,
  batches: () => readonly Int32Array<ArrayBuffer>[],
): Order {
  const room = keep(empty(op, [n], { dtype: "int32", device }));
  try {
    const parts = batches();
    const sizes = parts.map(({ length }) => length);
    const order = new Int32Array(sizes.reduce((sum, size) => sum + size, 0));
    parts.reduce((at, part) => (order.set(part, at), at + part.length), 0);
    // a sampler may give more numbers than there are samples, or fewer
    const fits = order.length === n;
    const all = fits ? room : keep(empty(op, [order.length], { dtype: "int32", device }));
    if (!fits) room.dispose();
    all.copyFrom(order);
    return { all, sizes };
  } catch (error) {
    room.dispose();
    throw error;
  }
}

/** Views of an order, each of which is freed when the next is asked for. */
export function* indicesOf({ all, sizes }: Order): Generator<Tensor, undefined> {
  let at = 0;
  for (const size of sizes) {
    using index = keep(all.view(at, [size]));
    at += size;
    yield index;
  }
}

/** The batches of a data set that makes them itself, on the device. */
export function batchFeed<I, T>(op: string, dataset: Dataset<I, T>, order: Order): Feed<I, T> {
  const shown = new Shown<I, T>();
  const { all, sizes } = order;
  let at = 0, next = 0; // samples and batches given
  return {
    ordered: {
      ...{ dataset, all },
      get at() {
        return at;
      },
      ahead(size) {
        let end = next;
        while (sizes[end] === size) end++;
        return end - next;
      },
      skip(batches) {
        shown.clear();
        at += batches * sizes[next]!;
        next += batches;
      },
    },
    next() {
      shown.clear();
      const size = sizes[next++];
      if (size === undefined) return end;
      using index = all.view(at, [size]);
      at += size;
      return shown.show(op, () => dataset.batch(index), size, true);
    },
    close() {
      shown.clear();
      all.dispose();
    },
  };
}

// A batch that was sent to the device before it was asked for.
interface Sent {
  sent: Batch;
  size: number;
  bytes: number;
}

function discard(op: string, item: Prepared | Sent): void {
  const batch = "sent" in item ? item.sent : "made" in item ? item.made : undefined;
  for (const x of batch ? batchTensors(op, batch) : []) x.dispose();
}

/** The batches of samples, of which some are prepared, and sent to the device, ahead. */
export function sampleFeed<I, T>(
  op: string,
  prepare: (batch: Int32Array<ArrayBuffer>) => Prepared | Promise<Prepared>,
  batches: readonly Int32Array<ArrayBuffer>[],
  { device, ahead, cancel, change = (batch) => batch }: {
    device: DeviceName | undefined;
    ahead: number;
    cancel?: (() => void) | undefined;
    change?: ((batch: Batch) => Batch) | undefined;
  },
): Feed<I, T> {
  const shown = new Shown<I, T>();
  const ready: Promise<Prepared | Sent>[] = [];
  let asked = 0, closed = false, bytesAhead = 0;
  let room: number | undefined;
  const send = ({ host, used }: Extract<Prepared, { host: HostBatch }>) => {
    const batch = sent(op, host, device);
    used?.();
    return batch;
  };
  const early = (item: Prepared): Prepared | Sent => {
    if (closed || !("host" in item)) return item;
    const bytes = hostTensors(item.host).reduce((sum, { data }) => sum + data.byteLength, 0);
    room ??= roomAhead(device);
    if (bytesAhead + bytes > room) return item;
    try {
      const batch = send(item);
      for (const x of batchTensors(op, batch)) keep(x);
      bytesAhead += bytes;
      return { sent: batch, size: item.size, bytes };
    } catch (error) {
      if (error instanceof OutOfMemoryError) return item; // there may be room when its turn comes
      throw error;
    }
  };
  const show = (item: Prepared | Sent): Result<I, T> => {
    if ("bytes" in item) bytesAhead -= item.bytes;
    try {
      if (!closed) {
        return shown.show(op, () => {
          if ("made" in item) return item.made;
          if ("host" in item) return change(finished(send(item)));
          for (const x of batchTensors(op, item.sent)) own(x); // change() may use them up
          return change(finished(item.sent));
        }, item.size);
      }
    } catch (error) {
      discard(op, item);
      throw error;
    }
    discard(op, item);
    return end;
  };
  return {
    next() {
      shown.clear();
      while (asked < batches.length && ready.length <= ahead) {
        const next = prepare(batches[asked++]!);
        // what is there at once comes one by one: there is no gain in doing more now
        if (!(next instanceof Promise) && ready.length === 0) return show(next);
        const later = Promise.resolve(next).then(early);
        later.catch(() => {}); // it is thrown when its turn comes
        ready.push(later);
      }
      const item = ready.shift();
      return item ? item.then(show) : end;
    },
    async close() {
      closed = true;
      cancel?.();
      shown.clear();
      // What never comes is not waited for.
      const rest = Promise.allSettled(ready.splice(0)).then((items) => {
        for (const item of items) if (item.status === "fulfilled") discard(op, item.value);
      });
      let timer: ReturnType<typeof setTimeout> | undefined;
      const patience = new Promise<void>((done) => timer = setTimeout(done, 1000));
      await Promise.race([rest, patience]);
      clearTimeout(timer);
    },
  };
}

/** Makes batches of samples by their numbers; of these, the order says the places. */
export function preparer(
  op: string,
  dataset: SampleDataset,
  collate: Collate | undefined,
  seed: bigint,
): (batch: Int32Array<ArrayBuffer>) => Prepared | Promise<Prepared> {
  return (batch) =>
    scope((): Prepared | Promise<Prepared> => {
      const first = placeOf(batch);
      const samples = Array.from(batch, (i, k) => sampleAt(dataset, i, first + k, seed));
      const from = collate && ((all: Sample[]) => collateAt(all, first, seed, collate));
      return samples.some((sample) => sample instanceof Promise)
        ? Promise.all(samples).then((all) => collated(op, all, from, dataset))
        : collated(op, samples as Sample[], from, dataset);
    });
}

/** The same in Workers. */
export function workersPreparer(
  pool: WorkerPool,
  numbers: Int32Array | undefined,
  seed: bigint,
  cancelled: Int32Array,
): (batch: Int32Array<ArrayBuffer>) => Promise<Prepared> {
  return (batch) => {
    const own = numbers ? batch.map((i) => numbers[i]!) : batch.slice();
    return pool.make({ numbers: own, at: placeOf(batch), seed, cancelled });
  };
}

// Where a batch is in the order that it is a part of.
const placeOf = ({ byteOffset, BYTES_PER_ELEMENT }: Int32Array) => byteOffset / BYTES_PER_ELEMENT;

function collated(
  op: string,
  samples: Sample[],
  collate: Collate | undefined,
  { classes }: { classes?: unknown },
): Prepared {
  const size = samples.length;
  if (!collate) return { host: stacked(op, samples, classes !== undefined), size };
  const made = scope(() => checkedBatch(op, collate(samples), "collate"));
  for (const x of batchTensors(op, made)) keep(x);
  return { made: made as Batch, size };
}

/** The batches of a data set that gives samples in turn, or with batchSize null batches. */
export function streamFeed<I, T>(
  op: string,
  dataset: IterableDataset<I, T>,
  { batchSize, dropLast, collate, skip }: {
    batchSize: number | null;
    dropLast: boolean;
    collate: Collate | undefined;
    skip: number;
  },
): Feed<I, T> {
  const shown = new Shown<I, T>();
  const iterator = Symbol.asyncIterator in dataset
    ? dataset[Symbol.asyncIterator]()
    : dataset[Symbol.iterator]();
  let over = false, closed = false;
  const take = async (count: number) => {
    const items: (Sample | Batch<I, T>)[] = [];
    while (items.length < count && !over) {
      const { done, value } = await iterator.next();
      if (done) over = true;
      else items.push(value);
    }
    return items;
  };
  const pass = (items: (Sample | Batch<I, T>)[]) => {
    if (batchSize !== null) return;
    for (const item of items) discard(op, { made: item as Batch, size: 0 });
  };
  let left = skip;
  return {
    async next() {
      shown.clear();
      for (; left > 0; left--) pass(await take(batchSize ?? 1));
      const items = await take(batchSize ?? 1);
      if (closed) pass(items);
      if (closed || items.length === 0 || (dropLast && items.length < (batchSize ?? 1))) return end;
      if (batchSize === null) return shown.show(op, () => items[0]);
      const made = collated(op, items as Sample[], collate, dataset);
      return shown.show(
        op,
        () => "made" in made ? made.made : finished(sent(op, made.host, dataset.device)),
        made.size,
      );
    },
    async close() {
      shown.clear();
      closed = true;
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
