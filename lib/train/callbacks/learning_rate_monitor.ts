import { checkChoice, optionsOf } from "../../core/options.ts";
import type { EpochResult } from "../history.ts";
import type { Callback, EpochState, FitState, StepState } from "./callback.ts";
import { checkFlags } from "./_figures.ts";

/** Options of {@linkcode LearningRateMonitor}. */
export interface LearningRateMonitorOptions {
  /** When to take values down: as each epoch begins (the default), or at each step. */
  every?: "epoch" | "step" | undefined;
  /** Whether to take down the momentum too, where the optimizer has one. Default false. */
  momentum?: boolean | undefined;
}

/** What a {@linkcode LearningRateMonitor} took down. */
export interface LearningRates {
  /** Counted from 1. */
  epoch: number;
  /** The step, counted from 1 over all epochs, with `every: "step"`. */
  step?: number | undefined;
  /** The learning rate of each group of parameters. */
  lrs: number[];
  /** The momentum of each group, or the first beta; NaN where there is none. */
  momenta?: number[] | undefined;
}

/**
 * Takes down the learning rate of each group of parameters: in `values`, and in the history as
 * `lrs`, those of the epoch's beginning, or with `every: "step"` of its last step. From there
 * CSVLogger and TensorBoard have them, as lr, or lr0, lr1, … of several groups. As Lightning's
 * LearningRateMonitor.
 *
 * A callback that changes rates must stand before it in the list, and one that writes `lrs` after
 * it.
 *
 * ```ts
 * import { callbacks, data, nn, optim, tensor, Trainer } from "@cudeno/cudeno";
 * const set = new data.TensorDataset(tensor([[0], [1]]), tensor([[1], [3]]));
 * const model = new nn.Linear(1, 1);
 * const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
 * const schedule = new optim.schedule.ExponentialLR(optimizer, { gamma: 0.5 });
 * const trainer = new Trainer(model, { loss: new nn.MSELoss(), optimizer, schedule });
 * const rates = new callbacks.LearningRateMonitor();
 * await trainer.fit(set, { epochs: 3, callbacks: [rates] });
 * console.log(rates.values.map(({ lrs }) => lrs)); // [0.1], [0.05], [0.025]
 * ```
 */
export class LearningRateMonitor implements Callback {
  /** What was taken down in the last fit(). */
  readonly values: LearningRates[] = [];
  readonly #options: LearningRateMonitorOptions;
  /** Takes down the rates of a step, with `every: "step"` alone. */
  readonly onStepEnd?: (state: StepState) => void;
  #last: Pick<LearningRates, "lrs" | "momenta"> = { lrs: [] }; // of the last step
  #next: Pick<LearningRates, "lrs" | "momenta"> = { lrs: [] };

  constructor(options: LearningRateMonitorOptions = {}) {
    const op = "LearningRateMonitor";
    const { every } = this.#options = optionsOf(op, options, { every: "epoch", momentum: false });
    checkChoice(op, "every", every, { epoch: 1, step: 1 });
    checkFlags(op, this.#options, "momentum");
    if (every === "step") this.onStepEnd = (state) => this.#step(state);
  }

  /** Forgets an earlier fit(). */
  onFitBegin(): void {
    this.values.length = 0;
  }

  /** Reads the rates that the first step will use. */
  onEpochBegin(state: EpochState): void {
    this.#last = this.#next = this.#read(state);
    if (this.#options.every === "epoch") this.values.push({ epoch: state.epoch, ...this.#last });
  }

  // A schedule may have changed them for the next step.
  #step(state: StepState): void {
    this.#last = this.#next;
    this.#next = this.#read(state);
    this.values.push({ epoch: state.epoch, step: state.step, ...this.#last });
  }

  /** Adds the rates to the history. */
  onEpochEnd(result: EpochResult): void {
    result.lrs = this.#last.lrs;
  }

  #read({ trainer }: FitState): Pick<LearningRates, "lrs" | "momenta"> {
    const groups: readonly { lr?: number; momentum?: number; betas?: readonly number[] }[] =
      trainer.optimizer?.groups ?? [];
    const lrs = groups.map(({ lr = NaN }) => lr);
    if (!this.#options.momentum) return { lrs };
    return { lrs, momenta: groups.map(({ momentum, betas }) => momentum ?? betas?.[0] ?? NaN) };
  }
}
