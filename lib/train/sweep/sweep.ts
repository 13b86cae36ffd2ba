import {
  checkChoice,
  checkFunction,
  checkInteger,
  checkOptions,
  refuse,
} from "../../core/options.ts";
import { hostRandom } from "../../core/random.ts";
import { Rungs } from "./_halving.ts";
import { openJournal } from "./_journal.ts";
import { dimensionsOf, type SweepParams, type SweepSpace, type SweepValue } from "./space.ts";
import { ranked } from "./_rank.ts";
import { type SweepMode, SweepResult, type SweepTrial } from "./sweep_result.ts";
import { suggest } from "./_tpe.ts";
import { runTrial, TrialWorker } from "./_trial.ts";

/** What a trial is given beside its hyper-parameters. */
export interface TrialContext {
  /** Its number, from 0. */
  readonly trial: number;
  /** Aborted when the trial is to end: by halving, or because the sweep ends. Pass it to fit(). */
  readonly signal: AbortSignal;
  /** Tells what it has come to after a number of epochs or steps, which grows. */
  report(this: void, step: number, value: number): void;
}

/** Trains with hyper-parameters; gives what is to be the least, or the most. */
export type SweepTrain<P> = (params: P, context: TrialContext) => number | Promise<number>;

/** Which trials go on: see {@linkcode SweepOptions.halving}. */
export interface HalvingOptions {
  /** Each rung is so many times as far as the one before, and takes 1 / eta of it. Default 3. */
  eta?: number | undefined;
  /** The first rung, in steps of report(). Default 1. */
  minResource?: number | undefined;
  /** The length of a whole trial: rungs are below it. */
  maxResource: number;
}

/** Options of {@linkcode sweep}. */
export interface SweepOptions<P = Record<string, SweepValue>> {
  /**
   * How trials are chosen: by a Parzen estimator after 10 random ones (Bergstra et al. 2011), at
   * random, or all combinations, the first dimension fastest. Default "tpe".
   */
  method?: "tpe" | "random" | "grid" | undefined;
  /** How many, with those in the file; default 20, of a grid all. */
  trials?: number | undefined;
  /** Whether less or more of what train() returns is better. Default "min". */
  mode?: SweepMode | undefined;
  /** Of the choices, and of the random numbers of each trial. Default 0. */
  seed?: number | undefined;
  /**
   * Successive halving (ASHA, Li et al. 2020): a trial whose report at a rung, minResource · eta^k,
   * is not among the best 1 / eta of those that came there, or not finite, is stopped by signal.
   */
  halving?: HalvingOptions | undefined;
  /**
   * A file for the trials, to go on from when the program runs again; needs read and write. One
   * sweep at a time may have it.
   */
  path?: string | URL | undefined;
  /** Whether an error in a trial ends the sweep. Default false: it is noted. */
  rethrow?: boolean | undefined;
  /**
   * Runs trials in `count` Workers at a time, by the `train` that a module exports, which should be
   * the one given. What each has on the device is its own.
   */
  workers?: { module: string | URL; count: number } | undefined;
  /** Ends the sweep: trials under way are told to end, and not noted. */
  signal?: AbortSignal | undefined;
  /** Called after each trial. */
  onTrial?: ((trial: SweepTrial<P>) => void) | undefined;
}

const STARTUP = 10; // trials before the estimator, and what share of them counts as good
const GOOD = 0.15;

/**
 * Searches for the hyper-parameters with which train() returns the least, or the most. A trial that
 * throws is noted as failed, and one that returns NaN counts as worst.
 *
 * Each trial starts from random numbers of its own, by `seed` and its number, and frees the tensors
 * it made, so that a sweep that was interrupted and runs again with the same `path` comes to what
 * it would have come to. With Workers, trials end in an order that nobody knows, on which "tpe" and
 * halving depend; and a signal comes to them once train() awaits something.
 *
 * @throws {ArgumentError} for a space that is none, and for a file of another search, which says
 * what differs.
 * @throws {DataError} when the file cannot be read or written, or another sweep has it.
 *
 * ```ts
 * import { data, models, mseLoss, optim, rand, sweep, Trainer } from "@cudeno/cudeno";
 * const x = rand([64, 2]);
 * const set = new data.TensorDataset(x, x.sum(1, { keepDims: true }));
 * const space = { lr: { min: 1e-4, max: 1, scale: "log" }, width: [4, 8] } as const;
 * const result = await sweep(space, async ({ lr, width }, { report, signal }) => {
 *   const model = models.mlp({ in: 2, hidden: [width], out: 1 });
 *   const optimizer = new optim.Adam(model.parameters(), { lr });
 *   const trainer = new Trainer(model, { loss: mseLoss, optimizer });
 *   const history = await trainer.fit(set, {
 *     epochs: 9,
 *     signal,
 *     callbacks: [{ onEpochEnd: ({ epoch, loss }) => report(epoch, loss) }],
 *   });
 *   return history.at(-1)!.loss;
 * }, { trials: 4, halving: { maxResource: 9 } });
 * console.log(result.best?.params, result.table());
 * ```
 */
export async function sweep<const S extends SweepSpace>(
  space: S,
  train: SweepTrain<SweepParams<S>>,
  options: SweepOptions<SweepParams<S>> = {},
): Promise<SweepResult<SweepParams<S>>> {
  type Trial = SweepTrial<SweepParams<S>>;
  const op = "sweep";
  const dimensions = dimensionsOf(op, space);
  checkFunction(op, "train", train);
  checkOptions(op, options, [
    ...["method", "trials", "mode", "seed", "halving", "path", "rethrow", "workers", "signal"],
    "onTrial",
  ]);
  const { method = "tpe", mode = "min", seed = 0, path, rethrow, signal, workers } = options;
  checkChoice(op, "method", method, { tpe: 0, random: 0, grid: 0 });
  checkChoice(op, "mode", mode, { min: 0, max: 0 });
  checkInteger(op, "seed", seed, 0);
  const grids = method === "grid" ? dimensions.map(({ grid }) => grid()) : [];
  const most = grids.length > 0 ? grids.reduce((n, { length }) => n * length, 1) : Infinity;
  const { trials: wanted = Number.isFinite(most) ? most : 20 } = options;
  checkInteger(op, "trials", wanted, 1);
  const count = Math.min(most, wanted);
  if (workers) checkWorkers(op, workers);
  if (options.onTrial !== undefined) checkFunction(op, "onTrial", options.onTrial);
  if (options.halving) new Rungs(op, options.halving, mode, []); // throws before a file is made
  const { eta = 3, minResource = 1, maxResource } = options.halving ?? { maxResource: 0 };
  const halving = options.halving && { eta, minResource, maxResource };

  const search = { space, method, mode, seed, halving };
  const journal = path === undefined ? undefined : await openJournal(op, path, search);
  const trials: Trial[] = journal?.trials ?? [];
  const rungs = halving && new Rungs(op, halving, mode, trials);
  const taken = new Set(trials.map(({ trial }) => trial));
  const ending = new AbortController();
  const end = signal ? AbortSignal.any([signal, ending.signal]) : ending.signal;

  const choose = (trial: number): SweepParams<S> => {
    const random = hostRandom(BigInt(seed), BigInt(trial + 1) << 32n);
    const order = ranked(trials, mode), good = Math.ceil(GOOD * order.length);
    const estimate = method === "tpe" && trial >= STARTUP && order.length > 1;
    let rest = trial;
    const values = dimensions.map((dimension, i) => {
      const { name, at, placeOf } = dimension, grid = grids[i];
      if (grid) {
        const place = rest % grid.length;
        rest = Math.floor(rest / grid.length);
        return [name, grid[place]];
      }
      if (!estimate) return [name, at(random())];
      const places = order.map(({ params }) => placeOf(params[name] as SweepValue));
      return [name, suggest(dimension, places.slice(0, good), places.slice(good), random)];
    });
    return Object.fromEntries(values);
  };

  // Runs one and notes it.
  const run = async (trial: number, worker: TrialWorker | undefined): Promise<void> => {
    const job = { params: choose(trial), trial, seed };
    const own = new AbortController();
    const reports: Trial["reports"] = [];
    let stopped = false, value = NaN, failure: { thrown: unknown } | undefined;
    const report = (...at: [step: number, value: number]) => {
      if (stopped) return;
      reports.push(at);
      stopped = rungs !== undefined && !rungs.passes(reports);
      if (stopped) own.abort(new DOMException("stopped by halving", "AbortError"));
    };
    const both = AbortSignal.any([own.signal, end]);
    const start = performance.now();
    try {
      value = await (worker?.run(job, both, report) ??
        runTrial(train as SweepTrain<never>, job, both, report));
    } catch (thrown) {
      failure = { thrown };
    }
    if (worker?.broken) throw worker.broken;
    if (end.aborted) return;
    if (stopped) [value, failure] = [reports.at(-1)![1], undefined];
    const ended: Trial = {
      trial,
      params: job.params,
      value,
      status: failure ? "failed" : stopped ? "stopped" : "done",
      ...(failure && { error: String(Object(failure.thrown).message ?? failure.thrown) }),
      reports,
      seconds: (performance.now() - start) / 1000,
    };
    trials.push(ended);
    await journal?.add(ended);
    options.onTrial?.(ended);
    if (rethrow && failure) throw failure.thrown;
  };

  let next = 0;
  const errors: unknown[] = [];
  const work = async () => {
    using worker = workers && new TrialWorker(new URL(workers.module).href);
    try {
      while (!end.aborted) {
        while (taken.has(next)) next++;
        if (next >= count) return;
        await run(next++, worker);
      }
    } catch (error) {
      errors.push(error);
      ending.abort();
    }
  };
  try {
    await Promise.all(Array.from({ length: workers?.count ?? 1 }, work));
  } finally {
    journal?.close();
  }
  if (errors.length > 0) throw errors[0];
  return new SweepResult(trials, mode);
}

function checkWorkers(op: string, workers: NonNullable<SweepOptions["workers"]>): void {
  checkOptions(`${op}: workers`, workers, ["module", "count"]);
  const { module, count } = workers;
  checkInteger(op, "workers.count", count, 1);
  if (module instanceof URL || (typeof module === "string" && URL.canParse(module))) return;
  refuse(op, "workers.module", module, 'a URL, as new URL("./train.ts", import.meta.url)');
}
