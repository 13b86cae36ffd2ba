import { isClass } from "../core/describe.ts";
import { autocast } from "../core/autocast.ts";
import { noGrad } from "../core/autograd.ts";
import { checkInteger, checkList, checkNumber, checkOptions, refuse } from "../core/options.ts";
import { scope } from "../core/scope.ts";
import { checkData, isDataset, isSamples } from "../data/_check.ts";
import type { Batch } from "../data/batch.ts";
import type { AnyDataset } from "../data/dataset.ts";
import { DataLoader } from "../data/data_loader.ts";
import { randomSplit } from "../data/random_split.ts";
import type { Subset } from "../data/subset.ts";
import { loadCheckpoint, saveCheckpoint } from "../io/checkpoint.ts";
import { ArgumentError } from "../native/errors.ts";
import { type Module } from "../nn/module.ts";
import { checkModule } from "../nn/_check.ts";
import { noted, withSampleWeights } from "../ops/loss/_loss.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import type { Schedule } from "../optim/schedule/schedule.ts";
import { tensorsIn } from "../_structure.ts";
import { tensor } from "../create.ts";
import type { Tensor } from "../tensor.ts";
import { largestBatch } from "./_batch_size.ts";
import type { Callback } from "./callbacks/callback.ts";
import { ProgressBar } from "./callbacks/progress_bar.ts";
import { TerminateOnNaN } from "./callbacks/terminate_on_nan.ts";
import { BREATH_MS, breathe, checkCursor, type Cursor, Fit } from "./_fit.ts";
import { History, type HistoryJson } from "./history.ts";
import { internals } from "./_internals.ts";
import { checkMetrics, Measures } from "./_measures.ts";
import { type Measured, Meter } from "./_metrics.ts";
import type {
  EvaluateOptions,
  Evaluation,
  FitOptions,
  SampleWeight,
  StepOptions,
  TrainerLoss,
  TrainerOptions,
} from "./options.ts";
import { checkStepOptions, stepOptions } from "./_stepper.ts";
import { ClassWeights, timesWeights, weightedData } from "./_weights.ts";

const fitKeys = [
  "epochs",
  "initialEpoch",
  "resume",
  "batchSize",
  "shuffle",
  "dropLast",
  "validation",
  "validationSplit",
  "validationEvery",
  "stepsPerEpoch",
  "accumulate",
  "classWeight",
  "sampleWeight",
  "capture",
  "signal",
  "callbacks",
];

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
export class Trainer<Input = Tensor, Output = Tensor, Target = Tensor> {
  /** The model. */
  readonly model: Module<Input, Output>;
  readonly #options: TrainerOptions<Output, Target>;
  readonly #loss: (output: Output, target: Target, weight?: SampleWeight) => Tensor;
  #fit: Fit<Input, Target> | undefined; // under way
  #history = new History();
  #cursor: Cursor | undefined; // where the last one was, or what was loaded
  #loaded = false;
  #busy = ""; // what is under way that nothing else may be done beside
  #saving: Promise<void> | undefined;

  static {
    internals.optionsOf = (trainer) => trainer.#options;
  }

  constructor(model: Module<Input, Output>, options: TrainerOptions<Output, Target>) {
    checkOptions("Trainer", options, ["loss", "autocast", "metrics", ...stepOptions]);
    checkModule("Trainer", "model", model);
    this.#loss = lossOf(options.loss);
    checkStepOptions(options);
    checkMetrics(options.metrics ?? []);
    this.model = model;
    this.#options = options;
  }

  /** The optimizer that it was given. */
  get optimizer(): Optimizer | undefined {
    return this.#options.optimizer;
  }

  /** The schedule that it was given. */
  get schedule(): Schedule | undefined {
    return this.#options.schedule;
  }

  /** Steps that fit() has done, in the last one and those that it went on from. */
  get step(): number {
    return this.#fit?.steps ?? this.#cursor?.steps ?? 0;
  }

  /** What the last fit() went through, one under way or one that failed too. */
  get history(): History {
    return this.#history;
  }

  /** Ends fit() after the step under way; the reason is in the history that it returns. */
  stop(reason = "stop() was called"): void {
    this.#fit?.stop(reason);
  }

  /**
   * Trains for some epochs and returns their figures, also where it is stopped: by stop() or by the
   * signal. After loadCheckpoint() it goes on from there. Leaves the model in the mode in which it
   * was.
   *
   * The data is a data set, of which it makes batches, or a DataLoader. What waits is the program,
   * never for long: others get their turn at least every tenth of a second.
   */
  async fit(
    data: AnyDataset<Input, Target> | DataLoader<Input, Target>,
    options: FitOptions<Input, Target> = {},
  ): Promise<History> {
    const op = "fit";
    checkOptions(op, options, fitKeys);
    const { optimizer } = this.#options;
    if (!optimizer) throw new ArgumentError(`${op}: the Trainer was made without an optimizer`);
    this.#checkFree(op);
    const from = this.#start(options);
    const epochs = options.epochs ?? from?.wanted ?? 1;
    const { initialEpoch = 0, stepsPerEpoch, validationEvery = 1, signal } = options;
    checkInteger(op, "epochs", epochs, 0);
    checkInteger(op, "initialEpoch", initialEpoch, 0);
    checkInteger(op, "validationEvery", validationEvery, 1);
    if (stepsPerEpoch !== undefined) checkInteger(op, "stepsPerEpoch", stepsPerEpoch, 1);
    const accumulate = options.accumulate ?? this.#options.accumulate;
    if (accumulate !== undefined) checkInteger(op, "accumulate", accumulate, 1);
    const { capture = "auto" } = options;
    if (capture !== false && capture !== "auto" && capture !== "graph") {
      refuse(op, "capture", capture, '"auto", "graph" or false');
    }
    if (signal !== undefined && !(signal instanceof AbortSignal)) {
      refuse(op, "signal", signal, "an AbortSignal, such as AbortSignal.timeout(60_000)");
    }
    const callbacks: readonly Callback[] = options.callbacks ?? [new ProgressBar()];
    checkList(op, "callbacks", callbacks, isObject, "callbacks, objects such as new ProgressBar()");
    const restore = this.#modes();
    using made = new DisposableStack();
    this.#busy = "another fit()";
    made.defer(() => this.#busy = "");
    const { train, validation } = this.#data(data, options, made);
    const classWeights = made.use(new ClassWeights(options.classWeight));
    const batchSize = options.batchSize === "auto" && !(data instanceof DataLoader)
      ? await largestBatch(this.model, train as AnyDataset<Input, Target>, (batch) => {
        return this.#measured(batch, classWeights).loss;
      })
      : options.batchSize;
    const loader = train instanceof DataLoader ? train : new DataLoader(train, {
      batchSize: batchSize as number ?? 32,
      shuffle: options.shuffle ?? (isDataset(train) || isSamples(train)),
      dropLast: options.dropLast,
    });
    if (loader.length === 0) {
      throw new ArgumentError(
        `${op}: there is no batch; dropLast leaves out those of less than ${loader.batchSize}`,
      );
    }
    this.#loaded = false;
    const history = from ? this.#history : new History();
    this.#history = history;
    const { metrics = [], ...others } = this.#options;
    const fit = new Fit<Input, Target>({
      trainer: this as unknown as Trainer<Input, never, Target>,
      options: { ...others, optimizer, ...(accumulate && { accumulate }) } as StepOptions & {
        optimizer: Optimizer;
      },
      metrics,
      loader,
      callbacks,
      history,
      epochs,
      initialEpoch,
      stepsPerEpoch,
      validationEvery,
      from,
      measure: (batch) => this.#measured(batch, classWeights),
      validation: validation && this.#validation(validation),
      busy: () => this.#saving,
      capture: options.capture ?? from?.capture ?? "auto",
      loss: options.classWeight || this.#options.autocast ? undefined : this.#options.loss,
      guard: callbacks.some((callback) => callback instanceof TerminateOnNaN),
    });
    this.#fit = fit;
    const abort = () => this.stop(`aborted: ${signal!.reason?.message ?? signal!.reason}`);
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort);
    try {
      await fit.run();
      return history;
    } finally {
      signal?.removeEventListener("abort", abort);
      restore();
      try {
        this.#cursor = await fit.cursor();
      } finally {
        this.#fit = undefined;
        await fit.close();
      }
    }
  }

  #checkFree(op: string): void {
    if (!this.#busy) return;
    throw new ArgumentError(`${op}: ${this.#busy} is under way; await it first`);
  }

  // Where to go on from, if not from the beginning.
  #start({ resume = false, initialEpoch }: FitOptions<Input, Target>): Cursor | undefined {
    if (resume && !this.#cursor) {
      throw new ArgumentError("fit: there is nothing to resume; fit() or loadCheckpoint() first");
    }
    return (resume || this.#loaded) && initialEpoch === undefined ? this.#cursor : undefined;
  }

  // What to train on and to validate on, checked.
  #data(
    data: AnyDataset<Input, Target> | DataLoader<Input, Target>,
    options: FitOptions<Input, Target>,
    made: DisposableStack,
  ) {
    const op = "fit";
    const { batchSize, shuffle, dropLast, validationSplit, sampleWeight } = options;
    if (batchSize !== undefined && batchSize !== "auto") {
      checkInteger(op, "batchSize", batchSize, 1);
    }
    let validation = options.validation;
    if (validation !== undefined && !(validation instanceof DataLoader)) {
      checkData(`${op}: validation`, validation);
    }
    if (data instanceof DataLoader) {
      const others = { batchSize, shuffle, dropLast, validationSplit, sampleWeight };
      for (const [name, value] of Object.entries(others)) {
        if (value !== undefined) refuse(op, name, value, "left out where a DataLoader is given");
      }
      return { train: data, validation };
    }
    checkData(op, data);
    let train: AnyDataset<Input, Target> = data;
    const mapped = isDataset(data) || isSamples(data);
    if (mapped && data.length === 0) throw new ArgumentError(`${op}: the data set is empty`);
    if (!mapped && (validationSplit ?? sampleWeight ?? shuffle) !== undefined) {
      throw new ArgumentError(
        `${op}: validationSplit, sampleWeight and shuffle are not for iterable data`,
      );
    }
    if (sampleWeight !== undefined) train = weightedData(train, sampleWeight, made);
    if (validationSplit !== undefined) {
      checkNumber(op, "validationSplit", validationSplit, 0);
      if (validationSplit >= 1) refuse(op, "validationSplit", validationSplit, "below 1");
      if (validation) {
        throw new ArgumentError(`${op}: give validation or validationSplit, not both`);
      }
      if (validationSplit > 0) {
        const parts = randomSplit(train as Subset<Input, Target>, [
          1 - validationSplit,
          validationSplit,
        ], { seed: 0 });
        for (const part of parts) made.use({ [Symbol.dispose]: () => part.dispose() });
        [train, validation] = parts as [Subset<Input, Target>, Subset<Input, Target>];
      }
    }
    if (isEmpty(train)) throw new ArgumentError(`${op}: the data set is empty`);
    if (isEmpty(validation)) throw new ArgumentError(`${op}: the validation data set is empty`);
    return { train, validation };
  }

  #measured(
    given: Batch<Input, Target>,
    classWeights?: ClassWeights,
  ): Measured & { output: Output; target: Target } {
    const { input, target, weight: own } = given;
    return this.#cast(() => {
      const output = this.model.forward(input);
      tensorsIn("Trainer", "the model's output", output);
      const classes = classWeights?.of(target);
      const weight = own && classes ? timesWeights(own, classes) : own ?? classes;
      const loss = () => {
        if (!weight) return this.#loss(output, target);
        if (this.#loss.length > 2) return this.#loss(output, target, weight as SampleWeight);
        return withSampleWeights(weight, () => this.#loss(output, target));
      };
      return { ...noted(loss), output, target, weight: own };
    });
  }

  #cast<T>(fn: () => T): T {
    const { autocast: dtype } = this.#options;
    return dtype === undefined ? fn() : autocast(dtype, fn);
  }

  // With averaged parameters, where there are any; ends early where training is to stop.
  #validation(validation: AnyDataset<Input, Target> | DataLoader<Input, Target>) {
    const { ema } = this.#options;
    const loader = this.#loader("fit: validation", validation);
    const evaluate = () => this.#evaluate("fit: validation", loader, () => this.#fit?.stopped);
    const run = async (): Promise<Evaluation | undefined> => {
      if (!ema || ema.updates === 0) return await evaluate();
      ema.apply();
      try {
        return await evaluate();
      } finally {
        ema.restore();
      }
    };
    return { loader, run };
  }

  #loader(
    op: string,
    data: AnyDataset<Input, Target> | DataLoader<Input, Target>,
    batchSize = 256,
  ): DataLoader<Input, Target> {
    if (!(data instanceof DataLoader)) checkData(op, data);
    const loader = data instanceof DataLoader ? data : new DataLoader(data, { batchSize });
    if (loader.length === 0) throw new ArgumentError(`${op}: the data set is empty`);
    return loader;
  }

  /** The mean loss and metrics over a data set, in evaluation mode. Changes nothing. */
  async evaluate(
    data: AnyDataset<Input, Target> | DataLoader<Input, Target>,
    options: EvaluateOptions = {},
  ): Promise<Evaluation> {
    checkOptions("evaluate", options, ["batchSize"]);
    const loader = this.#loader("evaluate", data, options.batchSize);
    return (await this.#evaluate("evaluate", loader))!;
  }

  // The figures; none where `stopped` says in the midst of it that they are not wanted any more.
  async #evaluate(
    op: string,
    loader: DataLoader<Input, Target>,
    stopped: () => string | undefined = () => undefined,
  ): Promise<Evaluation | undefined> {
    using meter = new Meter(new Measures(this.#options.metrics ?? []));
    const feed = loader.feed();
    try {
      let breath = performance.now(), batches = 0;
      for (;; batches++) {
        const taken = feed.next();
        const { done, value } = taken instanceof Promise ? await taken : taken;
        if (done) break;
        const { batch, size } = value;
        this.#inEvaluation(() =>
          scope(() => {
            const measured = this.#measured(batch);
            meter.add(measured, size);
            meter.measure(measured, size);
          })
        );
        if (stopped() !== undefined) return undefined;
        if (performance.now() - breath < BREATH_MS) continue;
        await breathe();
        await meter.read(); // so that it does not run too far ahead
        if (stopped() !== undefined) return undefined;
        breath = performance.now();
      }
      if (batches === 0) throw new ArgumentError(`${op}: the data set is empty`);
    } finally {
      await feed.close();
    }
    return { ...await meter.read(), ...await meter.metrics() };
  }

  /**
   * The model's output for inputs [n, ...] as the model takes them (test.batch(index).input, say),
   * all at once, in evaluation mode and without recording.
   */
  predict(input: Input): Output {
    return this.#inEvaluation(() => scope(() => this.#cast(() => this.model.forward(input))));
  }

  /**
   * Saves the whole training to one .safetensors file: the model, the optimizer, schedule, scaler
   * and averages, random numbers, history, and where in the data fit() is; between two steps, as
   * callbacks are called, or after fit(). The file is written beside its place, synced and renamed:
   * whatever happens, there is the old one or the new one.
   */
  async saveCheckpoint(path: string | URL): Promise<void> {
    while (this.#saving || this.#fit?.open) { // from a timer, say, in the midst of a step
      await (this.#saving?.catch(() => {}) ?? new Promise((done) => setTimeout(done, 1)));
    }
    const saving = this.#save(path);
    this.#saving = saving.catch(() => {}).finally(() => this.#saving = undefined);
    await saving;
  }

  async #save(path: string | URL): Promise<void> {
    const cursor = this.#fit ? await this.#fit.cursor() : this.#cursor;
    const { stepLosses: _, ...history } = this.#history.toJSON();
    const { stepLosses } = this.#history;
    const losses = tensor(Float64Array.from(stepLosses), { device: "cpu" });
    try {
      const state = { cursor: cursor ?? null, history };
      await saveCheckpoint(path, { ...this.#parts(), state, tensors: { stepLosses: losses } });
    } finally {
      losses.dispose();
    }
  }

  /**
   * Loads what saveCheckpoint() saved, into a trainer that is made alike. The next fit() goes on
   * where the saved one was, with the same data: what comes is what would have come, bit for bit.
   */
  async loadCheckpoint(path: string | URL): Promise<void> {
    this.#checkFree("loadCheckpoint");
    this.#busy = "a loadCheckpoint()";
    try {
      const { state, tensors } = await loadCheckpoint(path, this.#parts(), (state) => {
        checkCursor(Object(state).cursor);
      });
      const { cursor, history } = state as { cursor: Cursor | null; history: HistoryJson };
      const { stepLosses } = tensors;
      this.#history = History.fromJSON({
        ...history,
        stepLosses: stepLosses ? Array.from(stepLosses.dataSync()) : [],
      });
      for (const x of Object.values(tensors)) x.dispose();
      this.#history.stopped = undefined;
      this.#cursor = cursor ?? undefined;
      this.#loaded = cursor !== null;
    } finally {
      this.#busy = "";
    }
  }

  #parts() {
    const { optimizer, schedule, scaler, ema } = this.#options;
    return {
      model: this.model as unknown as Module,
      ...(optimizer && { optimizer }),
      ...(schedule && { schedule }),
      ...(scaler && { scaler }),
      ...(ema && { ema }),
    };
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
function lossOf<Output, Target>(
  loss: TrainerLoss<Output, Target>,
): (output: Output, target: Target, weight?: SampleWeight) => Tensor {
  if (typeof loss === "function" && !isClass(loss)) return loss;
  if (typeof loss === "object" && typeof loss?.forward === "function") {
    return (output, target) => loss.forward(output, target);
  }
  const made = typeof loss === "function" ? `new ${(loss as { name: string }).name}()` : "";
  const wanted = `a loss such as ${made || "new nn.CrossEntropyLoss()"}`;
  return refuse("Trainer", "loss", loss, `${wanted}, or a function (output, target) => Tensor`);
}

const isObject = (x: unknown) => typeof x === "object" && x !== null;
const isEmpty = (data: unknown) => (isDataset(data) || isSamples(data)) && data.length === 0;
