// Sequences of tokens that a model goes on with.
import { autocast, type AutocastDType } from "../core/autocast.ts";
import { noGrad } from "../core/autograd.ts";
import { formatValue } from "../core/describe.ts";
import { scope } from "../core/scope.ts";
import { formatShape, sameShape } from "../core/shape.ts";
import { tensor } from "../create.ts";
import { GPT } from "../models/gpt.ts";
import { ShapeError } from "../native/errors.ts";
import type { KVCache } from "../nn/kv_cache.ts";
import type { Module } from "../nn/module.ts";
import { cast } from "../ops/elementwise/_cast.ts";
import { gather } from "../ops/index/gather.ts";
import { broadcastTo, reshape } from "../ops/shape/movement.ts";
import type { Tensor } from "../tensor.ts";

interface Settings {
  /** The most tokens that the model is shown: the last ones. */
  readonly contextLength: number;
  readonly cache: boolean;
  readonly autocast: AutocastDType | undefined;
}

/** Sequences, and what the model knows of them. */
export class Continuation implements Disposable {
  /** Each with its prompt. */
  rows: number[][];
  readonly #model: Module;
  readonly #settings: Settings;
  #caches: KVCache[] | undefined;
  #padding: number[];

  /** The prompts are not written to. */
  constructor(model: Module, prompts: readonly ArrayLike<number>[], settings: Settings) {
    this.#model = model;
    this.#settings = settings;
    this.rows = prompts.map((prompt) => Array.from(prompt));
    if (model instanceof GPT && settings.cache) this.#caches = model.cache();
    // on the left, so that all sequences go on at the same place of the cache
    const longest = this.#longest();
    this.#padding = this.rows.map(({ length }) => longest - length);
  }

  #longest(): number {
    return Math.max(...this.rows.map(({ length }) => length));
  }

  /** What `use` makes of the scores of what comes next, float32 [rows, tokens]. */
  step<T>(use: (scores: Tensor) => T): T {
    const { autocast: dtype } = this.#settings;
    const busy = [...this.#model.namedModules()].map(([, module]) => module)
      .filter(({ training }) => training);
    for (const module of busy) module.training = false;
    try {
      return scope(() =>
        noGrad(() => {
          const scores = dtype ? autocast(dtype, () => this.#scores()) : this.#scores();
          return use(scores.dtype === "float64" ? scores : cast(scores, "float32"));
        })
      );
    } finally {
      for (const module of busy) module.training = true;
    }
  }

  #scores(): Tensor {
    if (this.#longest() > this.#settings.contextLength) this.dispose();
    return this.#caches ? this.#fromCache(this.#caches) : this.#anew();
  }

  #fromCache(cache: readonly KVCache[]): Tensor {
    const past = cache[0]!.length, end = this.#longest();
    const columns = Array.from({ length: end - past }, (_, i) => past + i);
    const each = (f: (row: number[], column: number, padding: number) => number, of = columns) =>
      this.#ints(this.rows.map((row, i) => of.map((at) => f(row, at, this.#padding[i]!))));
    const padded = this.#padding.some((n) => n > 0);
    const all = Array.from({ length: end }, (_, at) => at);
    const scores = (this.#model as GPT).forward(each((row, at, n) => row[at - n] ?? 0), {
      ...{ cache, last: true },
      ...(padded && {
        positions: each((_, at, n) => Math.max(0, at - n)),
        keyPaddingMask: each((_, at, n) => Number(at < n), all).to("uint8"),
      }),
    });
    return reshape(scores, [this.rows.length, scores.shape[2]!]);
  }

  // Zeros on the right are seen by none before them.
  #anew(): Tensor {
    const shown = this.rows.map((row) => row.slice(-this.#settings.contextLength));
    const longest = Math.max(...shown.map(({ length }) => length));
    const tokens = this.#ints(
      shown.map((row) => [...row, ...new Array<number>(longest - row.length).fill(0)]),
    );
    const scores = this.#model.forward(tokens);
    if (scores?.rank !== 3 || !sameShape(scores.shape.slice(0, 2), tokens.shape)) {
      throw new ShapeError(
        `generate: of tokens ${formatShape(tokens.shape)} the model makes ` +
          `${formatValue(scores)}; it must give scores [batch, positions, tokens]`,
      );
    }
    const [n, , classes] = scores.shape as [number, number, number];
    const ends = this.#ints(shown.map(({ length }) => [length - 1]));
    const index = broadcastTo(reshape(ends, [n, 1, 1]), [n, 1, classes]);
    return reshape(gather(scores, 1, index), [n, classes]);
  }

  #ints(rows: number[][]): Tensor {
    const device = this.#model.parameters()[0]?.device;
    return tensor(rows, { dtype: "int32", device });
  }

  /** Puts a token behind each sequence. */
  push(tokens: ArrayLike<number>): void {
    this.rows.forEach((row, i) => row.push(tokens[i]!));
  }

  /** Goes on with these sequences, of which some may be there several times. */
  select(rows: readonly number[]): void {
    this.rows = rows.map((i) => [...this.rows[i]!]);
    this.#padding = rows.map((i) => this.#padding[i]!);
    if (!this.#caches) return;
    scope(() => {
      const index = reshape(this.#ints([[...rows]]), [rows.length]);
      for (const cache of this.#caches!) cache.select(index);
    });
  }

  /** Frees the caches; what comes after is computed anew. */
  dispose(): void {
    for (const cache of this.#caches ?? []) cache.dispose();
    this.#caches = undefined;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
