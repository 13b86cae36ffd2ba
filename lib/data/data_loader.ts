import { checkFunction, checkInteger, checkOptions, refuse } from "../core/options.ts";
import { blocksOf, derivedSeed, permutation } from "../core/random.ts";
import type { DeviceName } from "../core/backend.ts";
import { keep } from "../core/scope.ts";
import { blocksOfOrder, randomOrder } from "../_random_order.ts";
import { ArgumentError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";
import type { Batch, Sample } from "./batch.ts";
import { checkData, isDataset, isSamples } from "./_check.ts";
import type {
  AnyDataset,
  Dataset,
  IterableDataset,
  SampleDataset,
  WorkerModule,
} from "./dataset.ts";
import {
  atOnce,
  batchFeed,
  type Feed,
  indicesOf,
  type Order,
  orderOf,
  preparer,
  sampleFeed,
  streamFeed,
  workersPreparer,
} from "./_feed.ts";
import { checkWorkers, defaultCount } from "./_check_workers.ts";
import { type Origin, originOf } from "./_origin.ts";
import { WorkerPool } from "./_workers.ts";

/** Options of {@linkcode DataLoader}. */
export interface DataLoaderOptions<Input = Tensor, Target = Tensor> {
  /**
   * Samples a batch; default 1, as in PyTorch. null: the data is iterable, and gives ready batches.
   */
  batchSize?: number | null | undefined;
  /** Whether to draw a new order each time; default false. */
  shuffle?: boolean | undefined;
  /** Whether to leave out a last batch that is not full; default false. */
  dropLast?: boolean | undefined;
  /** For the same orders each time. Default: the library's random numbers, as manualSeed() says. */
  seed?: number | undefined;
  /**
   * The numbers of the samples in the order of an epoch, or a function that gives them for each
   * epoch; in place of shuffle.
   */
  sampler?: Iterable<number> | (() => Iterable<number>) | undefined;
  /**
   * Makes a batch of samples, of sequences of several lengths say; default: each place of the
   * samples is stacked. For data sets that give samples.
   */
  collate?: ((samples: Sample[]) => Batch<Input, Target>) | undefined;
  /**
   * How many batches to prepare ahead where samples come in time: by a get() that gives a Promise,
   * or from Workers. They wait on the device, as far as a quarter of its free memory goes. Default
   * 2, or 2 for each Worker.
   */
  prefetch?: number | undefined;
  /**
   * Has Workers make the batches of a data set with get(), or read the pictures of imageFolder(),
   * whose transforms stay on the device. Default: the main thread does.
   */
  workers?: WorkersOptions | undefined;
}

/**
 * What Workers are to do. Functions do not travel, so that each imports a module that has the data
 * set; it may be the one from which the main thread has it. `collate` must be an export of the
 * module, then.
 */
export interface WorkersOptions extends Partial<WorkerModule> {
  /** How many; default one less than there are processors, at most 8. */
  count?: number | undefined;
}

const keys = [
  "batchSize",
  "shuffle",
  "dropLast",
  "seed",
  "sampler",
  "collate",
  "prefetch",
  "workers",
];

/**
 * Batches of a data set, in order or shuffled anew at each iteration. A batch is freed when the
 * next is asked for, or the loop is left; clone() what is to stay. `for await` is for any data;
 * `for` is for data that is there at once: a {@linkcode Dataset}, or samples that get() gives
 * without a promise.
 *
 * ```ts
 * import { data, rand, zeros } from "@cudeno/cudeno";
 * const set = new data.TensorDataset(rand([10, 3]), zeros([10]));
 * for (const { input } of new data.DataLoader(set, { batchSize: 4 })) {
 *   console.log(input.shape); // [4, 3], [4, 3], [2, 3]
 * }
 * const lines = {
 *   length: 4,
 *   classes: 2,
 *   get: (i: number) => ({ input: [i, i * i], target: i % 2 }),
 * };
 * for await (const { input, target } of new data.DataLoader(lines, { batchSize: 4 })) {
 *   console.log(input.shape, target.dtype); // [4, 2] int32
 * }
 * ```
 */
export class DataLoader<Input = Tensor, Target = Tensor> {
  /** Samples a batch; null of ready batches. */
  readonly batchSize: number | null;
  /** The data. */
  readonly dataset: AnyDataset<Input, Target>;
  /** How often it was iterated: with a seed, which order comes next. */
  epoch = 0;
  /** Seconds that loops over it have waited for batches so far, sending them to the device too. */
  waited = 0;
  readonly #options: DataLoaderOptions<Input, Target>;
  #pool: WorkerPool | undefined;

  constructor(dataset: AnyDataset<Input, Target>, options: DataLoaderOptions<Input, Target> = {}) {
    const op = "DataLoader";
    checkOptions(op, options, keys);
    const { batchSize = 1, shuffle, seed, sampler, collate, prefetch = 2, workers } = options;
    checkData(op, dataset);
    const samples = isSamples(dataset), mapped = samples || isDataset(dataset);
    if (batchSize !== null) checkInteger(op, "batchSize", batchSize, 1);
    else if (mapped) refuse(op, "batchSize", null, "a number, for data that is not iterable");
    checkInteger(op, "prefetch", prefetch, 0);
    if (seed !== undefined) blocksOf(op, seed);
    if (collate !== undefined) checkFunction(op, "collate", collate);
    if (collate && (!samples && mapped || batchSize === null)) {
      throw new ArgumentError(`${op}: collate is for data sets that give samples, by get() say`);
    }
    if (workers !== undefined) checkWorkers(op, workers, dataset, collate);
    if (!mapped && (shuffle || sampler !== undefined)) {
      throw new ArgumentError(
        `${op}: iterable data comes in its own order; shuffle and sampler are for data sets with ` +
          "length and get() or batch()",
      );
    }
    if (sampler !== undefined && (shuffle || seed !== undefined)) {
      throw new ArgumentError(`${op}: give a sampler, or shuffle and seed, not both`);
    }
    this.dataset = dataset;
    this.batchSize = batchSize;
    this.#options = options;
  }

  /** The number of batches; of iterable data and with a sampler that nobody knows: NaN. */
  get length(): number {
    const { dataset, batchSize } = this;
    if (!("length" in dataset) || !(isSamples(dataset) || isDataset(dataset))) return NaN;
    if (this.#options.sampler !== undefined) return NaN;
    const batches = dataset.length / batchSize!;
    return this.#options.dropLast ? Math.floor(batches) : Math.ceil(batches);
  }

  #order(n: number): Int32Array<ArrayBuffer> {
    const { shuffle, seed, sampler } = this.#options, { dataset } = this;
    if (shuffle && isDataset(dataset) && !isSamples(dataset)) {
      using order = this.#shuffled(n, dataset.device);
      return Int32Array.from(order.dataSync()); // for its Workers
    }
    const blocks = blocksOf("DataLoader", seed);
    const epoch = this.epoch++;
    if (sampler !== undefined) {
      const order = Array.from(typeof sampler === "function" ? sampler() : sampler);
      const wrong = order.findIndex((i) => !Number.isInteger(i) || i < 0 || i >= n);
      if (wrong >= 0) {
        refuse("DataLoader", `the sampler's number ${wrong}`, order[wrong], `below ${n}`);
      }
      return Int32Array.from(order);
    }
    if (!shuffle) return Int32Array.from({ length: n }, (_, i) => i);
    const offset = BigInt(epoch) * BigInt(Math.ceil(n / 4));
    return permutation(n, blocks && { ...blocks, offset });
  }

  // The numbers of each batch's samples.
  #batches(n: number, skip: number): Int32Array<ArrayBuffer>[] {
    const order = this.#order(n), size = this.batchSize!;
    const end = order.length - (this.#options.dropLast ? order.length % size : 0);
    const batches: Int32Array<ArrayBuffer>[] = [];
    for (let at = skip * size; at < end; at += size) batches.push(order.subarray(at, at + size));
    return batches;
  }

  // The order of a data set with batch(), of which the first batches are left out.
  #orderOn({ length: n, device }: Pick<Dataset, "length" | "device">, skip: number): Order {
    const op = "DataLoader", { shuffle, sampler, dropLast } = this.#options, size = this.batchSize!;
    if (!shuffle || sampler !== undefined) {
      return orderOf(op, n, device, () => this.#batches(n, skip));
    }
    using order = this.#shuffled(n, device);
    const first = Math.min(skip * size, n), last = dropLast ? n - n % size : n;
    const sizes: number[] = [];
    for (let at = first; at < last; at += size) sizes.push(Math.min(size, last - at));
    return { all: keep(order.view(first, [n - first])), sizes };
  }

  // An order that is made on the device.
  #shuffled(n: number, device: DeviceName): Tensor {
    const blocks = blocksOf("DataLoader", this.#options.seed);
    const offset = BigInt(this.epoch++) * BigInt(blocksOfOrder(n));
    return randomOrder("DataLoader", n, device, blocks && { ...blocks, offset });
  }

  /**
   * The numbers of each batch's samples, int32 on the device, for a data set with batch(): views of
   * one order; each is freed when the next is asked for.
   */
  *indices(): Generator<Tensor, undefined> {
    const op = "DataLoader", { dataset } = this;
    if (!isDataset(dataset)) {
      throw new ArgumentError(`${op}: indices() are for data sets with batch(); iterate over it`);
    }
    const { length, device } = dataset;
    const order = this.#orderOn({ length, device }, 0);
    using _all = order.all;
    yield* indicesOf(order);
  }

  /**
   * The batches of an epoch but the first ones, for a trainer.
   *
   * @ignore
   */
  feed(skip = 0): Feed<Input, Target> {
    checkInteger("DataLoader", "skip", skip, 0);
    const feed = this.#feed(skip);
    const { ordered } = feed;
    return { ordered, next: () => this.#next(feed), close: () => feed.close() };
  }

  #feed(skip: number): Feed<Input, Target> {
    const op = "DataLoader";
    const { dropLast = false, collate, workers } = this.#options;
    const { dataset, batchSize } = this;
    if (isSamples(dataset) || (workers && isDataset(dataset))) return this.#samples(dataset, skip);
    if (isDataset(dataset)) {
      const set = dataset as Dataset<Input, Target>;
      return batchFeed(op, set, this.#orderOn(set, skip));
    }
    const stream = dataset as IterableDataset<Input, Target>;
    return streamFeed(op, stream, { batchSize, dropLast, collate, skip });
  }

  #samples(dataset: Origin["dataset"], skip: number): Feed<Input, Target> {
    const op = "DataLoader", { collate, workers, prefetch } = this.#options;
    const seed = isSamples(dataset) ? this.#sampleSeed() : 0n;
    const batches = this.#batches(dataset.length, skip), { device } = dataset;
    if (isSamples(dataset) && !workers) {
      const prepare = preparer(op, dataset, collate, seed);
      return sampleFeed(op, prepare, batches, { device, ahead: prefetch ?? 2 });
    }
    const { dataset: whole, numbers, change } = originOf(dataset);
    const { module, args = whole.worker?.args, count = defaultCount() } = workers!;
    this.#pool ??= new WorkerPool({
      op,
      module: `${module ?? whole.worker!.module}`,
      args,
      length: whole.length,
      classes: (whole as SampleDataset).classes !== undefined,
    }, count);
    const cancelled = new Int32Array(new SharedArrayBuffer(4));
    return sampleFeed(op, workersPreparer(this.#pool, numbers, seed, cancelled), batches, {
      device,
      ahead: prefetch ?? 2 * count,
      cancel: () => Atomics.store(cancelled, 0, 1),
      change,
    });
  }

  // For the samples' own random numbers: of a seed's blocks those that no order comes to.
  #sampleSeed(): bigint {
    const blocks = blocksOf("DataLoader", this.#options.seed);
    return derivedSeed(blocks && { ...blocks, offset: (1n << 62n) + BigInt(this.epoch) });
  }

  // The next batch, while the clock runs.
  #next(feed: Feed<Input, Target>): ReturnType<Feed<Input, Target>["next"]> {
    const start = performance.now();
    const over = <R>(result: R) => {
      this.waited += (performance.now() - start) / 1000;
      return result;
    };
    const result = feed.next();
    return result instanceof Promise ? result.then(over) : over(result);
  }

  /** Ends its Workers. Another iteration starts new ones; those that are idle end by themselves. */
  dispose(): void {
    this.#pool?.dispose();
  }

  /** The same, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** The batches. */
  *[Symbol.iterator](): Generator<Batch<NoInfer<Input>, NoInfer<Target>>, undefined> {
    const feed = this.feed();
    try {
      for (;;) {
        const { done, value } = atOnce("DataLoader", feed.next());
        if (done) return;
        yield value.batch;
      }
    } finally { // also where the loop is left early
      feed.close();
    }
  }

  /** The batches, as they come. */
  async *[Symbol.asyncIterator](): AsyncGenerator<
    Batch<NoInfer<Input>, NoInfer<Target>>,
    undefined
  > {
    const feed = this.feed();
    try {
      for (;;) {
        const { done, value } = await feed.next();
        if (done) return;
        yield value.batch;
      }
    } finally {
      await feed.close();
    }
  }
}
