import { isClass } from "../core/describe.ts";
import { autocast, type AutocastDType } from "../core/autocast.ts";
import { noGrad } from "../core/autograd.ts";
import { checkInteger, checkList, checkOptions, refuse } from "../core/options.ts";
import { scope } from "../core/scope.ts";
import { DataLoader, type Dataset } from "../data/dataset.ts";
import { checkDataset, checkedBatch } from "../data/_check.ts";
import { ArgumentError } from "../native/errors.ts";
import type { Loss } from "../nn/losses.ts";
import { type Module } from "../nn/module.ts";
import { checkModule } from "../nn/_check.ts";
import type { EMA } from "../optim/ema.ts";
import type { GradScaler } from "../optim/grad_scaler.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import type { Schedule } from "../optim/schedule/schedule.ts";
import { noted } from "../ops/loss/_loss.ts";
import { checkTensor } from "../ops/_operands.ts";
import type { Tensor } from "../tensor.ts";
import type { Callback, EpochState } from "./callbacks/callback.ts";
import { ProgressBar } from "./callbacks/progress_bar.ts";
import { type EpochResult, History, type MetricResults } from "./history.ts";
import { checkMetrics, Measures } from "./_measures.ts";
import { type Measured, Meter } from "./_metrics.ts";
import type { Metric } from "./metrics/metric.ts";
import type * as metrics from "./metrics/mod.ts";
import { checkStepOptions, stepOptions, Stepper } from "./_stepper.ts";

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
export type MetricOption =
  | MetricName
  | Metric
  | ((prediction: Tensor, target: Tensor) => Tensor);

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
export interface TrainerOptions extends StepOptions {
  /**
   * From output and target to one number, the mean over the batch: such as a CrossEntropyLoss, or a
   * function. A mean that the library's losses give, or a function makes of one of them by scaling
   * it or adding a penalty, is weighed by what it is over (targets that are not ignored, by their
   * classes' weights), and their sum is added up, so that several batches come to the same as one;
   * any other number counts as a mean over samples.
   */
  loss: Loss | Loss["forward"];
  /** Computes the model and the loss under autocast(); with `"float16"`, give a `scaler` too. */
  autocast?: AutocastDType | undefined;
  /**
   * What to measure beside the loss; default nothing. {@linkcode MetricName} says what accuracy is;
   * the others get the model's output and the target, and are in `metrics` and `valMetrics` of the
   * history, by name.
   */
  metrics?: readonly MetricOption[] | undefined;
}

/** Options of {@linkcode Trainer.fit}. */
export interface FitOptions {
  /** Passes over the data; default 1. */
  epochs?: number | undefined;
  /** Samples a step; default 32. */
  batchSize?: number | undefined;
  /** Whether each epoch has an order of its own; default true. */
  shuffle?: boolean | undefined;
  /** Data to evaluate on after each epoch. */
  validation?: Dataset | undefined;
  /** Default: a ProgressBar. */
  callbacks?: readonly Callback[] | undefined;
}

/** Options of {@linkcode Trainer.evaluate}. */
export interface EvaluateOptions {
  /** Samples a step; default 256. */
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

// How long the training loop may keep the event loop waiting.
const BREATH_MS = 100;

/**
 * Trains a model: the loop over epochs and batches, measured and shown. Everything that a step
 * makes is freed with it.
 *
 * ```ts
 * import { data, nn, optim, tensor, Trainer } from "@cudeno/cudeno";
 * const set = new data.TensorDataset(
 *   tensor([[0, 0], [0, 1], [1, 0], [1, 1]]),
 *   tensor([0, 1, 1, 1], { dtype: "int32" }),
 * );
 * const model = new nn.Sequential(new nn.Linear(2, 2));
 * const trainer = new Trainer(model, {
 *   loss: new nn.CrossEntropyLoss(),
 *   optimizer: new optim.SGD(model.parameters(), { lr: 1 }),
 *   metrics: ["accuracy"],
 * });
 * const history = await trainer.fit(set, { epochs: 20, batchSize: 4, callbacks: [] });
 * console.log(history.at(-1)!.loss < history[0]!.loss); // true
 * ```
 */
export class Trainer {
  /** The model. */
  readonly model: Module;
  readonly #options: TrainerOptions;
  readonly #loss: Loss["forward"];

  constructor(model: Module, options: TrainerOptions) {
    checkOptions("Trainer", options, ["loss", "autocast", "metrics", ...stepOptions]);
    checkModule("Trainer", "model", model);
    this.#loss = lossOf(options.loss);
    checkStepOptions(options);
    checkMetrics(options.metrics ?? []);
    this.model = model;
    this.#options = options;
  }

  /**
   * Trains for some epochs and returns their figures. Leaves the model in the mode in which it was.
   */
  async fit(train: Dataset, options: FitOptions = {}): Promise<History> {
    checkOptions("fit", options, ["epochs", "batchSize", "shuffle", "validation", "callbacks"]);
    const { epochs = 1, batchSize = 32, shuffle = true, validation } = options;
    const callbacks: readonly Callback[] = options.callbacks ?? [new ProgressBar()];
    checkInteger("fit", "epochs", epochs, 0);
    if (!this.#options.optimizer) {
      throw new ArgumentError("fit: the Trainer was made without an optimizer");
    }
    checkDataset("fit", train);
    if (validation !== undefined) checkDataset("fit: validation", validation);
    checkList("fit", "callbacks", callbacks, (x) => Object(x) === x, "an array of callbacks");
    if (train.length === 0) throw new ArgumentError("fit: the data set is empty");
    const loader = new DataLoader(train, { batchSize, shuffle });
    if (validation?.length === 0) throw new ArgumentError("fit: the validation data set is empty");
    const restore = this.#modes();
    const history = new History();
    const fit = { trainer: this, epochs, samples: train.length, history };
    this.#stop = undefined;
    try {
      for (const callback of callbacks) await callback.onFitBegin?.(fit);
      for (let epoch = 1; epoch <= epochs && !this.#stop; epoch++) {
        const state = { ...fit, epoch };
        for (const callback of callbacks) await callback.onEpochBegin?.(state);
        const result: EpochResult = await this.#epoch(loader, state, callbacks);
        if (validation) {
          const { loss, accuracy, metrics } = await this.#validate(validation);
          result.valLoss = loss;
          if (accuracy !== undefined) result.valAccuracy = accuracy;
          if (metrics) result.valMetrics = metrics;
        }
        const { schedule, scheduleEvery = "epoch" } = this.#options;
        if (scheduleEvery === "epoch") schedule?.step(result.valLoss ?? result.loss);
        history.push(result);
        for (const callback of callbacks) await callback.onEpochEnd?.(result, state);
      }
    } finally {
      restore();
      history.stopped = this.#stop;
      for (const callback of callbacks) await callback.onEnd?.(history, fit);
    }
    return history;
  }

  #stop: string | undefined;

  /** Ends fit() after the step under way; the reason is in the history that it returns. */
  stop(reason = "stop() was called"): void {
    this.#stop = reason;
  }

  /** The optimizer that it was given. */
  get optimizer(): Optimizer | undefined {
    return this.#options.optimizer;
  }

  async #epoch(
    loader: DataLoader,
    state: EpochState,
    callbacks: readonly Callback[],
  ): Promise<EpochResult> {
    this.model.train();
    using meter = new Meter(new Measures(this.#options.metrics ?? []));
    const { optimizer } = this.#options;
    using stepper = new Stepper(
      { ...this.#options, optimizer: optimizer! },
      loader.dataset.length,
      loader.batchSize,
    );
    const start = performance.now();
    let breath = start;
    let done = 0;
    for (const index of loader.indices()) {
      scope(() => this.#step(loader.dataset, index, stepper, meter));
      done += index.size;
      if (this.#stop) break;
      if (performance.now() - breath < BREATH_MS) continue;
      const means = { ...await meter.read(), ...stepper.lr };
      for (const callback of callbacks) await callback.onProgress?.({ ...state, ...means, done });
      breath = performance.now();
    }
    const means = { ...await meter.read(), ...stepper.lr }; // also waits for the last steps
    const seconds = (performance.now() - start) / 1000;
    for (const callback of callbacks) await callback.onProgress?.({ ...state, ...means, done });
    const metrics = await meter.metrics();
    return { epoch: state.epoch, ...means, ...metrics, seconds, samplesPerSecond: done / seconds };
  }

  #step(dataset: Dataset, index: Tensor, stepper: Stepper, meter: Meter): void {
    const measured = this.#measured(dataset, index);
    meter.add(measured, index.size);
    stepper.add(measured.loss, index.size, measured.note.divisor);
  }

  #measured(dataset: Dataset, index: Tensor): Measured {
    const { input, target } = checkedBatch("Trainer", dataset.batch(index));
    return this.#cast(() => {
      const output = this.model.forward(input);
      checkTensor("Trainer: the model's output", output);
      return { ...noted(() => this.#loss(output, target)), output, target };
    });
  }

  #cast<T>(fn: () => T): T {
    const { autocast: dtype } = this.#options;
    return dtype === undefined ? fn() : autocast(dtype, fn);
  }

  // With averaged parameters, where there are any.
  async #validate(validation: Dataset): Promise<Evaluation> {
    const { ema } = this.#options;
    if (!ema || ema.updates === 0) return await this.evaluate(validation);
    ema.apply();
    try {
      return await this.evaluate(validation);
    } finally {
      ema.restore();
    }
  }

  /** The mean loss and metrics over a data set, in evaluation mode. Changes nothing. */
  async evaluate(dataset: Dataset, options: EvaluateOptions = {}): Promise<Evaluation> {
    checkOptions("evaluate", options, ["batchSize"]);
    checkDataset("evaluate", dataset);
    if (dataset.length === 0) throw new ArgumentError("evaluate: the data set is empty");
    using meter = new Meter(new Measures(this.#options.metrics ?? []));
    this.#inEvaluation(() => {
      for (
        const index of new DataLoader(dataset, { batchSize: options.batchSize ?? 256 }).indices()
      ) {
        scope(() => {
          meter.add(this.#measured(dataset, index), index.size);
        });
      }
    });
    return { ...await meter.read(), ...await meter.metrics() };
  }

  /**
   * The model's output for inputs [n, ...] as the model takes them (test.batch(index).input, say),
   * all at once, in evaluation mode and without recording.
   */
  predict(input: Tensor): Tensor {
    return this.#inEvaluation(() => scope(() => this.#cast(() => this.model.forward(input))));
  }

  #inEvaluation<T>(fn: () => T): T {
    const restore = this.#modes();
    this.model.eval();
    try {
      return noGrad(fn);
    } finally {
      restore();
    }
  }

  // Remembers the mode of every part of the model.
  #modes(): () => void {
    const modes = Array.from(
      this.model.namedModules(),
      ([, part]) => [part, part.training] as const,
    );
    return () => modes.forEach(([part, training]) => part.training = training);
  }
}

// What is to be called as the loss: a function, or the forward() of an object.
function lossOf(loss: TrainerOptions["loss"]): Loss["forward"] {
  if (typeof loss === "function" && !isClass(loss)) return loss;
  if (typeof loss === "object" && typeof loss?.forward === "function") {
    return loss.forward.bind(loss);
  }
  const made = typeof loss === "function" ? `new ${(loss as { name: string }).name}()` : "";
  const wanted = `a loss such as ${made || "new nn.CrossEntropyLoss()"}`;
  return refuse("Trainer", "loss", loss, `${wanted}, or a function (output, target) => Tensor`);
}
