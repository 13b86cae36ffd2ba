import type { AutocastDType } from "../core/autocast.ts";
import type { AnyDataset } from "../data/dataset.ts";
import type { DataLoader } from "../data/data_loader.ts";
import type { EMA } from "../optim/ema.ts";
import type { GradScaler } from "../optim/grad_scaler.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import type { Schedule } from "../optim/schedule/schedule.ts";
import type { Tensor } from "../tensor.ts";
import type { Callback } from "./callbacks/callback.ts";
import type { MetricResults } from "./history.ts";
import type { Metric } from "./metrics/metric.ts";
import type * as metrics from "./metrics/mod.ts";

/**
 * A metric that trainers know by name: one of `metrics`, with its defaults, or `"accuracy"`, the
 * share of right answers among those that count.
 *
 * What is an answer, the loss says: of crossEntropy(), nllLoss() and multiMarginLoss() the highest
 * class, against a class number, where that is not its ignoreIndex, or against the highest of the
 * target's probabilities; of bceLoss(), bceWithLogitsLoss() and hingeLoss() each element, which is
 * a yes above 0.5 (of logits and scores: above 0), as its target is above 0.5. With any other loss
 * the shapes do: the highest class of [n, classes, …], or else of [n, …, classes], against class
 * numbers [n, …], where they are not -100; that of [n, classes, …] against the highest of a target
 * of that shape; and each element of [n] or [n, …, 1] above 0.5 against a target of as many. A loss
 * that was scaled, or has a penalty added, is still the loss that it was.
 */
export type MetricName = "accuracy" | keyof typeof metrics;

/**
 * What a {@linkcode Trainer} measures: a name, for `"accuracy"` as {@linkcode MetricName} says and
 * else for one of `metrics` with its defaults; a metric of that namespace, or of one's own; or a
 * function of outputs and targets, of whose results [], [n] or of any shape the mean is taken ([]
 * counts as a mean over the batch), under the function's name.
 */
export type MetricOption<Output = Tensor, Target = Tensor> =
  | MetricName
  | Metric
  | ((prediction: Output, target: Target) => Tensor);

/**
 * What samples count, for a loss that heeds it by itself: a tensor. That it has no `reduction` lets
 * the compiler take the library's losses, which have options in that place, for losses as well.
 */
export type SampleWeight = Tensor & { readonly reduction?: undefined };

/** What a {@linkcode Trainer} takes for a loss. */
export type TrainerLoss<Output = Tensor, Target = Tensor> =
  | { forward(output: Output, target: Target): Tensor }
  | ((output: Output, target: Target, weight?: SampleWeight) => Tensor);

/** What a {@linkcode Trainer} does with the gradients of a batch. */
export interface StepOptions {
  /** Needed by fit() only. */
  optimizer?: Optimizer | undefined;
  /**
   * Changes the learning rate. A ReduceLROnPlateau gets the validation loss, or without validation
   * the training loss.
   */
  schedule?: Schedule | undefined;
  /**
   * When to step the schedule: after each epoch (the default), or after each step that the
   * optimizer is asked for. One that the `scaler` leaves out counts too: that is known on the
   * device, and the schedule does not wait to hear of it.
   */
  scheduleEvery?: "epoch" | "step" | undefined;
  /** The largest norm of all gradients together; see clipGradNorm(). */
  clipGradNorm?: number | undefined;
  /** The largest absolute value in a gradient; see clipGradValue(). */
  clipGradValue?: number | undefined;
  /** How many batches make one step, as if they were one batch: less memory. Default 1. */
  accumulate?: number | undefined;
  /** Averages the parameters after each step; validation during fit() is then of the averages. */
  ema?: EMA | undefined;
  /** Scales the loss, for training in float16. */
  scaler?: GradScaler | undefined;
}

/** What a {@linkcode Trainer} trains with. */
export interface TrainerOptions<Output = Tensor, Target = Tensor> extends StepOptions {
  /**
   * From output and target to one number, the mean over the batch: such as a CrossEntropyLoss, or a
   * function. A mean that the library's losses give, or a function makes of one of them by scaling
   * it or adding a penalty, is weighed by what it is over (targets that are not ignored, by their
   * classes' weights), and their sum is added up, so that several batches come to the same as one;
   * any other number counts as a mean over samples. Where samples have weights, the library's
   * losses heed them by themselves; a function that is made of others takes them as a third one.
   */
  loss: TrainerLoss<Output, Target>;
  /** Computes the model and the loss under autocast(); with `"float16"`, give a `scaler` too. */
  autocast?: AutocastDType | undefined;
  /**
   * What to measure beside the loss; default nothing. {@linkcode MetricName} says what accuracy is;
   * the others get the model's output and the target, and are in `metrics` and `valMetrics` of the
   * history, by name. Where the data has weights of samples, all but functions that give one number
   * count samples by them; weights of classes are for the loss alone.
   */
  metrics?: readonly MetricOption<Output, Target>[] | undefined;
}

/** Options of {@linkcode Trainer.fit}. */
export interface FitOptions<Input = Tensor, Target = Tensor> {
  /** The number of the last epoch; default 1, or after loadCheckpoint() that of its fit(). */
  epochs?: number | undefined;
  /** How many epochs count as done: the first one is the next. Default 0. */
  initialEpoch?: number | undefined;
  /** Go on where the last fit() was stopped, in the midst of an epoch too. Default false. */
  resume?: boolean | undefined;
  /**
   * Samples a batch; default 32. `"auto"`: as many as there is memory for, found by doubling.
   */
  batchSize?: number | "auto" | undefined;
  /** Whether each epoch has an order of its own; default true, but of iterable data. */
  shuffle?: boolean | undefined;
  /** Whether to leave out a last batch that is not full; default false. */
  dropLast?: boolean | undefined;
  /** Data to evaluate on after each epoch. */
  validation?: AnyDataset<Input, Target> | DataLoader<Input, Target> | undefined;
  /**
   * In place of validation: the share of the data that is kept for it, picked at random, but the
   * same each time.
   */
  validationSplit?: number | undefined;
  /** Evaluate after every so many epochs, and after the last; default 1. */
  validationEvery?: number | undefined;
  /**
   * Steps of the optimizer in an epoch. The next one goes on in the data where this one ended; data
   * that has an end begins anew. Default: as many as it takes to see all of the data.
   */
  stepsPerEpoch?: number | undefined;
  /** How many batches make one step; default: what the Trainer was given. */
  accumulate?: number | undefined;
  /**
   * What samples of each class count in the loss: an array by class number, or an object that names
   * some classes, `{ 1: 5 }`; others count 1. In training only.
   */
  classWeight?: readonly number[] | Readonly<Record<number, number>> | undefined;
  /** What each sample of the training data counts in the loss: n numbers, or a tensor [n]. */
  sampleWeight?: ArrayLike<number> | Tensor | undefined;
  /**
   * Whether steps are captured, so that the device repeats them without JavaScript: the same
   * results, bit for bit, in less time where steps are short. `"auto"` (the default, or what the
   * checkpoint says that is resumed): where that is possible; `history.path` says whether it was,
   * `history.notCaptured` why not. `"graph"`: or else an error. false: never, for models whose
   * forward() must run each time, as it decides by counting, say.
   */
  capture?: "auto" | "graph" | false | undefined;
  /** Stops training after the step under way when it is aborted; fit() returns what there is. */
  signal?: AbortSignal | undefined;
  /** Default: a ProgressBar. */
  callbacks?: readonly Callback[] | undefined;
}

/** Options of {@linkcode Trainer.evaluate}. */
export interface EvaluateOptions {
  /** Samples a batch; default 256. */
  batchSize?: number | undefined;
}

/** What {@linkcode Trainer.evaluate} measured. */
export interface Evaluation {
  /** The mean loss. */
  loss: number;
  /** The share of right answers, when asked for. */
  accuracy?: number | undefined;
  /** The other metrics, when asked for. */
  metrics?: MetricResults | undefined;
}
