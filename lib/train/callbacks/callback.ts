import type { Tensor } from "../../tensor.ts";
import type { EpochResult, History } from "../history.ts";
import type { Trainer } from "../trainer.ts";

/** What callbacks are told of a training. */
export interface FitState {
  /** Who trains: its model and optimizer, stop() and saveCheckpoint(). */
  readonly trainer: Trainer;
  /** The number of the last epoch, if nothing stops training earlier. */
  readonly epochs: number;
  /** Samples in an epoch, where the data set knows. */
  readonly samples?: number | undefined;
  /** After how many epochs there is validation, if at all; by default after each. */
  readonly validationEvery?: number | undefined;
  /** What there is so far. */
  readonly history: History;
}

/** What callbacks are told about an epoch under way. */
export interface EpochState extends FitState {
  /** Counted from 1. */
  readonly epoch: number;
}

/** What callbacks are told after each step of the optimizer. */
export interface StepState extends EpochState {
  /** Counted from 1, over all epochs. */
  readonly step: number;
  /** The loss of the step's last batch, for as long as the callback runs; reading it waits. */
  readonly loss: Tensor;
}

/** What callbacks are told from time to time within an epoch. */
export interface ProgressState extends EpochState {
  /** Samples done. */
  readonly done: number;
  /** The mean training loss so far. */
  readonly loss: number;
  /** The share of right answers so far, when asked for. */
  readonly accuracy?: number | undefined;
  /** The learning rate of the last step, when a schedule changes it. */
  readonly lr?: number | undefined;
}

/**
 * Hooks into Trainer.fit(), called in the order of the list; training waits for those that return a
 * promise. `state.trainer.stop()` in any of them ends training.
 *
 * ```ts
 * import type { Callback } from "@cudeno/cudeno";
 * const patience: Callback = {
 *   onEpochEnd(result, { trainer }) {
 *     if (result.loss < 0.01) trainer.stop("the loss is low enough");
 *   },
 * };
 * console.log(Object.keys(patience)); // ["onEpochEnd"]
 * ```
 */
export interface Callback {
  /** Before the first epoch. */
  onFitBegin?(state: FitState): void | Promise<void>;
  /** Before an epoch. */
  onEpochBegin?(state: EpochState): void | Promise<void>;
  /** After each step of the optimizer. */
  onStepEnd?(state: StepState): void | Promise<void>;
  /** About ten times a second. */
  onProgress?(state: ProgressState): void | Promise<void>;
  /** After an epoch and its validation; what it adds to `result` is in the history. */
  onEpochEnd?(result: EpochResult, state: EpochState): void | Promise<void>;
  /** After the last epoch, after stop(), and after an error. */
  onEnd?(history: History, state: FitState): void | Promise<void>;
}
