import { checkInteger, checkNumber, checkOptions } from "../../core/options.ts";
import { keep, scope } from "../../core/scope.ts";
import type { StateDict } from "../../nn/module.ts";
import { copyLike } from "../../optim/_state.ts";
import type { EpochResult, History } from "../history.ts";
import type { Callback, EpochState, FitState } from "./callback.ts";
import { checkFlags, Monitor } from "./_figures.ts";

/** What a callback watches: which figure of the epochs, and which way it gets better. */
export interface MonitorOptions {
  /**
   * The figure: `"loss"`, `"valLoss"` (the default), `"accuracy"`, `"valAccuracy"`, `"lr"`, or a
   * metric by its name, as `"f1"` or `"metrics.f1"` in training and as `"valF1"` or
   * `"valMetrics.f1"` on the validation data.
   */
  monitor?: string | undefined;
  /**
   * Whether less is better (`"min"`), or more. Default `"auto"`: as the name says it, more of
   * accuracy, precision, recall, F1, AUC, R² and top k, less of losses, errors and perplexity.
   * Other names need it.
   */
  mode?: "min" | "max" | "auto" | undefined;
}

/** Options of {@linkcode EarlyStopping}. */
export interface EarlyStoppingOptions extends MonitorOptions {
  /**
   * How many epochs may pass without an improvement: training stops after as many. Default 0, which
   * is as 1.
   */
  patience?: number | undefined;
  /** A change counts as an improvement if it is larger than this; default 0. */
  minDelta?: number | undefined;
  /** A value that has to be bettered for an improvement to give new patience. Default: none. */
  baseline?: number | undefined;
  /**
   * Whether the model gets back the parameters and buffers of its best epoch when training ends,
   * for whichever reason. They are kept on the device. Default false. Averages of an EMA are not
   * among them, nor, where fit() goes on with an earlier training, what was before.
   */
  restoreBestWeights?: boolean | undefined;
  /** The first epoch, counted from 1, that is looked at; default 1. */
  startFromEpoch?: number | undefined;
}

/**
 * Stops training when a figure no longer improves: as Keras's EarlyStopping. NaN is no improvement.
 * In an epoch without validation, where others have it (`validationEvery`), nothing is counted. A
 * fit() that goes on with an earlier training counts its epochs too, by their history.
 *
 * Throws an ArgumentError for options that make no sense, and at the end of the first epoch where
 * there is no such figure; it says which there are.
 *
 * ```ts
 * import { callbacks, data, nn, optim, tensor, Trainer } from "@cudeno/cudeno";
 * const set = new data.TensorDataset(tensor([[0], [1]]), tensor([[1], [3]]));
 * const model = new nn.Linear(1, 1);
 * const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
 * const trainer = new Trainer(model, { loss: new nn.MSELoss(), optimizer });
 * const early = new callbacks.EarlyStopping({ patience: 3, restoreBestWeights: true });
 * const history = await trainer.fit(set, { epochs: 900, validation: set, callbacks: [early] });
 * console.log(early.bestEpoch, early.best, history.stopped);
 * ```
 */
export class EarlyStopping implements Callback {
  readonly #options: EarlyStoppingOptions;
  readonly #monitor: Monitor;
  #weights: StateDict | undefined; // the best epoch's
  #best: number | undefined;
  #bestEpoch = 0;
  #wait = 0;

  constructor(options: EarlyStoppingOptions = {}) {
    const op = "EarlyStopping";
    checkOptions(op, options, [
      ...["monitor", "mode", "patience", "minDelta", "baseline", "restoreBestWeights"],
      "startFromEpoch",
    ]);
    const { patience = 0, minDelta = 0, baseline = 0, startFromEpoch = 1 } = options;
    this.#monitor = new Monitor(op, options);
    checkInteger(op, "patience", patience, 0);
    checkNumber(op, "minDelta", minDelta, 0);
    checkNumber(op, "baseline", baseline);
    checkInteger(op, "startFromEpoch", startFromEpoch, 1);
    checkFlags(op, options, "restoreBestWeights");
    this.#options = { ...options };
  }

  /** The best value of the figure; undefined before there is one. */
  get best(): number | undefined {
    return this.#best;
  }

  /** The epoch that had it, counted from 1; 0 before there is one. */
  get bestEpoch(): number {
    return this.#bestEpoch;
  }

  /** Begins anew, or where a training that goes on was: with the epochs of its history. */
  onFitBegin({ history }: FitState): void {
    this.#best = undefined;
    this.#bestEpoch = this.#wait = 0;
    for (const result of history) this.#look(result, this.#monitor.find(result));
  }

  /** Looks at the figure, and stops when patience is at its end. */
  onEpochEnd(result: EpochResult, state: EpochState): void {
    const { patience = 0, baseline, restoreBestWeights } = this.#options;
    const better = this.#look(result, this.#monitor.read(result, state));
    if (better && restoreBestWeights) this.#save(state.trainer.model.stateDict());
    if (better || this.#wait === 0 || this.#wait < patience) return;
    const found = this.#reached() ? "has not improved" : `was not better than ${baseline}`;
    const best = this.#best === undefined
      ? "it never was a number"
      : `the best was ${this.#best} in epoch ${this.#bestEpoch}`;
    const epochs = `${this.#wait} epoch${this.#wait > 1 ? "s" : ""}`;
    state.trainer.stop(`EarlyStopping: ${this.#monitor.name} ${found} for ${epochs}; ${best}`);
  }

  // Counts an epoch, and says whether it is the best.
  #look({ epoch }: EpochResult, value: number | undefined): boolean {
    const { minDelta, startFromEpoch = 1 } = this.#options;
    if (value === undefined || epoch < startFromEpoch) return false;
    this.#wait++;
    if (!this.#monitor.better(value, this.#best, minDelta)) return false;
    this.#best = value;
    this.#bestEpoch = epoch;
    if (this.#reached()) this.#wait = 0;
    return true;
  }

  // Whether the best is better than the baseline.
  #reached(): boolean {
    const { baseline, minDelta } = this.#options;
    if (baseline === undefined || this.#best === undefined) return baseline === undefined;
    return this.#monitor.better(this.#best, baseline, minDelta);
  }

  #save(state: StateDict): void {
    this.#free(); // first, so that there is one copy at a time
    this.#weights = scope(() =>
      Object.fromEntries(Object.entries(state).map(([name, x]) => [name, copyLike(x, x, x.dtype)]))
    );
    Object.values(this.#weights).forEach(keep);
  }

  #free(): void {
    for (const x of Object.values(this.#weights ?? {})) x.dispose();
    this.#weights = undefined;
  }

  /** Gives the model its best weights back, when asked to. */
  onEnd(_history: History, state: FitState): void {
    try {
      if (this.#weights) state.trainer.model.loadStateDict(this.#weights);
    } finally {
      this.#free();
    }
  }
}
