// The steps of a fit(), captured where that is possible.
import { CapturedStep } from "../_captured_step.ts";
import { beforeReplay } from "../core/recording.ts";
import { keep } from "../core/scope.ts";
import { empty } from "../_empty.ts";
import { ArgumentError } from "../native/errors.ts";
import { call } from "../native/call.ts";
import { tensorsIn } from "../_structure.ts";
import type { Batch } from "../data/batch.ts";
import type { Loaded, Ordered } from "../data/_feed.ts";
import type { Tensor } from "../tensor.ts";
import type { StepLog } from "./_step_log.ts";

/** What a step gives, for those who look at each. */
export interface Stepped {
  loss: Tensor;
  output: unknown;
  target: unknown;
  weight?: Tensor | undefined;
}

/** How a fit() captures: as FitOptions.capture says. */
export type CaptureMode = "auto" | "graph" | false;

/** Steps done at once. */
export interface Done {
  steps: number;
  /** Of the batches of the last one, where it was a single one. */
  results: Stepped[];
}

// Epochs between which the step may become another one.
const mostChanges = 8;
// A program for each shape that batches have, but no more.
const mostShapes = 8;
/** How long replays may keep the event loop waiting. */
const pieceMs = 50;

/** The captured steps of one fit(). */
export class CapturedSteps<Input, Target> implements Disposable {
  readonly #step: (loaded: Loaded<Input, Target>) => Stepped;
  readonly #log: StepLog;
  readonly #batchSize: number | null;
  readonly #accumulate: number;
  readonly #forced: boolean;
  readonly #fed = new Map<string, CapturedStep<[Batch<Input, Target>], Stepped>>();
  #ordered: CapturedStep<[], Stepped[]> | undefined;
  #order: Tensor | undefined; // where captured steps find the numbers of samples
  #source: Ordered<Input, Target> | undefined; // whose numbers those are
  #cursor: Tensor | undefined;
  #base = NaN; // what the device takes for the step at which the order begins
  #verify = true;
  #mayChange = true;
  #changes = 0; // found so far
  /** Why it does not capture, if it does not. */
  why: string | undefined;
  /** Whether steps were done by a captured one. */
  used = false;

  /** Of the function that does a batch's part, and whose last in a step ends that. */
  constructor(
    mode: Exclude<CaptureMode, false>,
    step: (loaded: Loaded<Input, Target>) => Stepped,
    { log, batchSize, accumulate }: { log: StepLog; batchSize: number | null; accumulate: number },
  ) {
    this.#forced = mode === "graph";
    this.#step = step;
    this.#log = log;
    this.#batchSize = batchSize;
    this.#accumulate = accumulate;
  }

  /**
   * Has the next step be done as JavaScript says, to see whether it still does what was captured.
   * Between two epochs that may change, by what callbacks do; else it is JavaScript that decides.
   */
  look(mayChange: boolean): void {
    this.#verify = true;
    this.#mayChange = mayChange;
  }

  /** How many steps the device can do by itself from here on. */
  ahead(ordered: Ordered<Input, Target> | undefined): number {
    if (!ordered || this.#batchSize === null || this.why !== undefined) return 0;
    return Math.floor(ordered.ahead(this.#batchSize) / this.#accumulate);
  }

  /** Does up to so many of those. */
  take(ordered: Ordered<Input, Target>, most: number): Done {
    this.#bring(ordered);
    const step = this.#ordered ??= new CapturedStep(() => this.#ofOrder(), {
      backend: ordered.all.backend,
      tolerant: true,
    });
    let done: Done | undefined;
    if (!this.#verify && most > 1) {
      const steps = step.repeat(most, pieceMs);
      if (steps > 0) done = { steps, results: [] };
    }
    done ??= { steps: 1, results: this.#verify ? step.verify() : step.run() };
    this.#noted(step);
    return done;
  }

  /** Does a step with a batch; undefined where it is not to. */
  fed(loaded: Loaded<Input, Target>): Stepped | undefined {
    if (this.why !== undefined) return undefined;
    if (this.#accumulate > 1) return void (this.why = "batches from the host are accumulated");
    const { batch } = loaded;
    const key = tensorsIn("fit", "the batch", Object.values(batch).filter((x) => x !== undefined))
      .map(({ shape, dtype }) => `${dtype} ${shape}`).join();
    let step = this.#fed.get(key);
    if (!step) {
      if (this.#fed.size === mostShapes) {
        this.#forget();
        return void (this.why = "batches have many shapes");
      }
      const size = loaded.size;
      step = new CapturedStep((batch) => this.#step({ batch, size }), { tolerant: true });
      this.#fed.set(key, step);
    }
    const result = this.#verify ? step.verify(batch) : step.run(batch);
    this.#noted(step);
    return result;
  }

  #noted(step: Pick<CapturedStep<[], unknown>, "captured" | "refused" | "difference">): void {
    this.used ||= step.captured;
    const found = this.#verify ? step.difference : undefined;
    if (found !== undefined) this.#changes++;
    this.#verify = false;
    this.why = step.refused;
    if (found && (!this.#mayChange || this.#changes > mostChanges)) this.why ??= found;
    if (this.why === undefined) return;
    this.#forget();
    if (this.#forced) throw new ArgumentError(`fit: capture: ${this.why}`);
  }

  // The batches of a step, whose samples' numbers are where the cursor says.
  #ofOrder(): Stepped[] {
    const order = this.#order!, cursor = this.#cursor!, { dataset } = this.#source!;
    const size = this.#batchSize!, all = size * this.#accumulate;
    beforeReplay(() => void this.#bringBase());
    const results: Stepped[] = [];
    for (let at = 0; at < all; at += size) {
      const index = order.make([size]);
      call("cdn_take_at", index, order, cursor, size, order.size, all, at);
      results.push(this.#step({ batch: dataset.batch(index) as Batch<Input, Target>, size }));
    }
    return results;
  }

  // Has the device know an order, and where in it the next batch begins.
  #bring(ordered: Ordered<Input, Target>): void {
    const { all } = ordered;
    if (this.#order?.size !== all.size || this.#source?.dataset !== ordered.dataset) {
      this.#ordered?.[Symbol.dispose]();
      this.#ordered = undefined;
      this.#order?.dispose();
      this.#order = keep(empty("fit", [all.size], { dtype: "int32", device: all.device }));
      this.#source = undefined;
    }
    if (this.#source !== ordered) {
      this.#order.copyFrom(all);
      this.#source = ordered;
    }
    this.#cursor = this.#log.cursorOn(all);
    this.#bringBase();
  }

  #bringBase(): void {
    const done = this.#source!.at / (this.#batchSize! * this.#accumulate);
    const base = this.#log.total - done;
    if (base === this.#base) return;
    call("cdn_write", this.#cursor, Float64Array.of(base), 8, 8);
    this.#base = base;
  }

  #forget(): void {
    this.#ordered?.[Symbol.dispose]();
    this.#ordered = undefined;
    for (const step of this.#fed.values()) step[Symbol.dispose]();
    this.#fed.clear();
    this.#order?.dispose();
    this.#order = this.#source = undefined;
  }

  /** Frees what it holds. */
  [Symbol.dispose](): void {
    this.#forget();
  }
}
