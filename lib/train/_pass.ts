// Where a training is in its data.
import { type RandomPlace, randomPlace, withRandomFrom } from "../core/random.ts";
import { ArgumentError } from "../native/errors.ts";
import type { DataLoader } from "../data/data_loader.ts";
import type { Feed, Loaded, Ordered } from "../data/_feed.ts";

/** As JSON keeps it. */
export interface PassState {
  /** Where random numbers came from as the pass began. */
  place: { seed: string; drawn: string };
  /** How often the loader was iterated before. */
  loaderEpoch: number;
  /** Batches taken. */
  batches: number;
}

/** One pass over the data, or the rest of one. */
export class Pass<Input, Target> {
  /** Where random numbers came from as it began. */
  readonly #place: RandomPlace;
  readonly #loaderEpoch: number;
  readonly #feed: Feed<Input, Target>;
  #batches: number;

  /** Begins, or goes on where another was. */
  constructor(loader: DataLoader<Input, Target>, from?: PassState) {
    if (from) {
      const { seed, drawn } = from.place;
      this.#place = { seed: BigInt(seed), drawn: BigInt(drawn), held: null };
      loader.epoch = from.loaderEpoch;
    } else {
      this.#place = randomPlace();
    }
    this.#loaderEpoch = loader.epoch;
    this.#batches = from?.batches ?? 0;
    this.#feed = from
      ? withRandomFrom(this.#place, () => loader.feed(this.#batches))
      : loader.feed();
  }

  /** The next batch, or undefined at the end; waits only where the data comes in time. */
  next(): Loaded<Input, Target> | undefined | Promise<Loaded<Input, Target> | undefined> {
    const result = this.#feed.next();
    if (result instanceof Promise) return result.then((found) => this.#taken(found));
    return this.#taken(result);
  }

  #taken(result: IteratorResult<Loaded<Input, Target>, undefined>) {
    if (result.done) return undefined;
    this.#batches++;
    return result.value;
  }

  /** Where the device can make the batches by itself. */
  get ordered(): Ordered<Input, Target> | undefined {
    return this.#feed.ordered;
  }

  /** Leaves out so many batches, which the device has made. */
  skip(batches: number): void {
    this.#feed.ordered!.skip(batches);
    this.#batches += batches;
  }

  /** Throws when it had nothing. */
  checkSome(): void {
    if (this.#batches > 0) return;
    throw new ArgumentError(
      "fit: the data gave no batch; a generator can be walked once only: give an object whose " +
        "[Symbol.iterator]() makes a new one each epoch",
    );
  }

  /** Where it is. */
  state(): PassState {
    const { seed, drawn } = this.#place;
    return {
      place: { seed: `${seed}`, drawn: `${drawn}` },
      loaderEpoch: this.#loaderEpoch,
      batches: this.#batches,
    };
  }

  /** Frees what it holds. */
  async close(): Promise<void> {
    await this.#feed.close();
  }
}
