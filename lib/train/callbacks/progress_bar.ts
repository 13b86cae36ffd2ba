import type { EpochResult } from "../history.ts";
import type { Callback, EpochState, ProgressState } from "./callback.ts";
import { type ProgressFields, ProgressLine } from "./_progress.ts";

/** Where a {@linkcode ProgressBar} draws: `Deno.stderr`, or a stand-in. */
export interface ProgressStream {
  /** Whether a person is looking. */
  isTerminal(): boolean;
  /** Writes the bytes, or the first of them; returns how many. */
  writeSync(bytes: Uint8Array): number;
}

/** Options of {@linkcode ProgressBar}. */
export interface ProgressBarOptions {
  /** Where to draw; default standard error. */
  stream?: ProgressStream | undefined;
  /** What the samples are, in the plural; default `"samples"`. */
  unit?: string | undefined;
}

/**
 * Shows training as it goes: a bar on a terminal, one plain line an epoch elsewhere. Colours are
 * left out where NO_COLOR is set. Needs no permission.
 *
 * ```ts
 * import { data, nn, optim, ProgressBar, tensor, Trainer } from "@cudeno/cudeno";
 * const set = new data.TensorDataset(tensor([[0], [1]]), tensor([0, 1], { dtype: "int32" }));
 * const model = new nn.Linear(1, 2);
 * const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
 * const trainer = new Trainer(model, { loss: new nn.CrossEntropyLoss(), optimizer });
 * await trainer.fit(set, { callbacks: [new ProgressBar({ unit: "points" })] });
 * ```
 */
export class ProgressBar implements Callback {
  readonly #options: ProgressBarOptions;
  #line: ProgressLine | undefined;

  constructor(options: ProgressBarOptions = {}) {
    this.#options = options;
  }

  /** Starts a line. */
  onEpochBegin(state: EpochState): void {
    this.#line = new ProgressLine({
      total: state.samples,
      label: `Epoch ${state.epoch}/${state.epochs}`,
      ...this.#options,
    });
  }

  /** Redraws it. */
  onProgress(state: ProgressState): void {
    this.#line?.update(state.done, fields(state));
  }

  /** Ends it with the epoch's figures. */
  onEpochEnd(result: EpochResult): void {
    this.#line?.finish(fields(result));
    this.#line = undefined;
  }

  /** Ends a line that an error cut off. */
  onEnd(): void {
    this.#line?.finish();
    this.#line = undefined;
  }
}

function fields(state: Partial<EpochResult>): ProgressFields {
  const shown: ProgressFields = {};
  if (state.loss !== undefined) shown["loss"] = state.loss;
  if (state.accuracy !== undefined) shown["accuracy"] = percent(state.accuracy);
  if (state.valLoss !== undefined) shown["val loss"] = state.valLoss;
  if (state.valAccuracy !== undefined) shown["val accuracy"] = percent(state.valAccuracy);
  for (const [prefix, metrics] of [["", state.metrics], ["val ", state.valMetrics]] as const) {
    for (const [name, value] of Object.entries(metrics ?? {})) {
      if (typeof value === "number") shown[prefix + name] = value;
    }
  }
  if (state.lr !== undefined) shown["lr"] = state.lr;
  return shown;
}

const percent = (share: number) => `${(100 * share).toFixed(2)}%`;
