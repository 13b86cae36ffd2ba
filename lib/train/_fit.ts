// The loop over epochs and batches.
import { type RandomPlace, randomPlace, setRandomPlace } from "../core/random.ts";
import { keep, scope } from "../core/scope.ts";
import { DataError } from "../native/errors.ts";
import type { DataLoader } from "../data/data_loader.ts";
import { isDataset, isSamples } from "../data/_check.ts";
import type { Batch } from "../data/batch.ts";
import type { Loaded } from "../data/_feed.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { ReduceLROnPlateau } from "../optim/schedule/reduce_lr_on_plateau.ts";
import type { Tensor } from "../tensor.ts";
import type { Callback, EpochState, FitState } from "./callbacks/callback.ts";
import type { EpochResult, History } from "./history.ts";
import type { Evaluation, StepOptions } from "./options.ts";
import { advised, warnOfLoss } from "./_advice.ts";
import { diagnose } from "./_diagnose.ts";
import { CapturedSteps, type CaptureMode, type Stepped } from "./_captured_steps.ts";
import { Guard } from "./_guard.ts";
import { Measures } from "./_measures.ts";
import { type Measured, Meter, type MeterState, total } from "./_metrics.ts";
import type { MetricOption } from "./options.ts";
import { Pass, type PassState } from "./_pass.ts";
import { StepLog } from "./_step_log.ts";
import { PersistentSteps } from "./_persistent_steps.ts";
import { Stepper } from "./_stepper.ts";
import type { Trainer } from "./trainer.ts";

/** How long a loop may keep the event loop waiting. */
export const BREATH_MS = 100;
/**
 * Lets timers, signals and requests have their turn, which reading alone may not: what comes back
 * at once is taken before the event loop looks at them.
 */
export const breathe = (): Promise<void> => new Promise((go) => setTimeout(go));

/** Where a training is, as JSON keeps it. */
export interface Cursor {
  /** Epochs that are over. */
  epochs: number;
  /** How many there were to be. */
  wanted: number;
  /** Steps of the optimizer, over all epochs. */
  steps: number;
  /** Where it is in its data; null between two passes. */
  pass: PassState | null;
  /** How often the loaders of training and of validation were iterated. */
  loaderEpoch: number;
  validationEpoch: number;
  /** What the epoch under way has come to; null between two. */
  /** As FitOptions.capture; not in older files. */
  capture?: CaptureMode | undefined;
  epoch: {
    samples: number;
    steps: number;
    seconds: number;
    lr: number | undefined;
    meter: MeterState;
  } | null;
}

/** What a fit() is to do. */
export interface FitPlan<Input, Target> {
  trainer: Trainer<Input, never, Target>;
  options: StepOptions & { optimizer: Optimizer };
  metrics: readonly MetricOption<never, never>[];
  loader: DataLoader<Input, Target>;
  callbacks: readonly Callback[];
  history: History;
  epochs: number;
  initialEpoch: number;
  stepsPerEpoch: number | undefined;
  validationEvery: number;
  from: Cursor | undefined;
  /** A batch's loss, recorded. */
  measure(batch: Batch<Input, Target>): Measured;
  /** The loader of the data for validation, and its figures; none where it was stopped. */
  validation:
    | { loader: DataLoader<Input, Target>; run(): Promise<Evaluation | undefined> }
    | undefined;
  /** What training is to wait for between two steps: a checkpoint that is being saved. */
  busy(): Promise<void> | undefined;
  /** Whether to look for steps that are not finite. */
  guard: boolean;
  /** Whether steps are captured. */
  capture: CaptureMode;
  /** The loss as it was given; none where more than that makes the step. */
  loss: unknown;
}

// For which capturing, of which the first ones are part, does not pay.
const fewSteps = 16;

/** How to have a batch again, or one of several steps. */
interface Trace {
  step: number;
  steps: number;
  pass: PassState;
  place: RandomPlace;
  /** How many random blocks were drawn when all were done. */
  end?: bigint;
}

/** One fit() under way. */
export class Fit<Input, Target> {
  readonly #plan: FitPlan<Input, Target>;
  readonly #state: FitState;
  readonly #stepHooks: readonly Callback[];
  readonly #log = new StepLog();
  readonly #guard: Guard | undefined;
  #trace: Trace[] = []; // of the batches since the last look, where there is a guard
  #last: Tensor | undefined; // the last batch's loss
  #pass: Pass<Input, Target> | undefined;
  readonly #stepper: Stepper;
  readonly #captured: CapturedSteps<Input, Target> | undefined;
  #persistent: PersistentSteps | undefined;
  #meter: Meter | undefined;
  #inEpoch = false;
  #epochs: number;
  #steps: number;
  #samples = 0; // of the epoch under way
  #epochSteps = 0;
  #start = 0;
  #whenStopped: () => void = () => {};
  /** Why it is to end, if it is. */
  stopped: string | undefined;

  /** Prepares it. */
  constructor(plan: FitPlan<Input, Target>) {
    this.#plan = plan;
    const { trainer, epochs, history, loader: { dataset }, from } = plan;
    if (from) {
      plan.loader.epoch = from.loaderEpoch;
      if (plan.validation) plan.validation.loader.epoch = from.validationEpoch;
    }
    this.#epochs = plan.from?.epochs ?? plan.initialEpoch;
    this.#steps = plan.from?.steps ?? 0;
    const known = isDataset(dataset) || isSamples(dataset);
    this.#state = {
      trainer: trainer as unknown as Trainer,
      epochs,
      history,
      validationEvery: plan.validationEvery,
      ...(known && plan.stepsPerEpoch === undefined && { samples: dataset.length }),
    };
    const { optimizer, scaler } = plan.options;
    if (plan.guard && !scaler) this.#guard = new Guard(optimizer);
    this.#stepHooks = plan.callbacks.filter(({ onStepEnd }) => onStepEnd);
    this.#stepper = new Stepper(plan.options, plan.loader.batchSize, this.#guard);
    const { capture, loader: { batchSize } } = plan, { accumulate = 1 } = plan.options;
    if (capture === false) return;
    const { loss } = plan, { optimizer: by, ema, clipGradNorm, clipGradValue } = plan.options;
    const plain = !ema && !scaler && clipGradNorm === undefined && clipGradValue === undefined &&
      accumulate === 1 && !plan.guard && this.#stepHooks.length === 0 &&
      plan.metrics.every((metric) => metric === "accuracy");
    if (capture === "auto" && plain && loss) {
      const { model } = trainer;
      this.#persistent = PersistentSteps.of({ model, loss, optimizer: by, dataset, batchSize });
    }
    this.#captured = new CapturedSteps(capture, (loaded) => this.#step(loaded), {
      ...{ log: this.#log, batchSize, accumulate },
    });
    const steps = (plan.stepsPerEpoch ?? plan.loader.length / accumulate) * plan.epochs;
    if (capture === "auto" && steps < fewSteps) this.#captured.why = "there are few steps";
    if (capture === "auto" && this.#stepHooks.length > 0) {
      this.#captured.why = "a callback's onStepEnd may change what the next step does";
    }
  }

  /** Whether a step is under way, of which a part of the batches was seen. */
  get open(): boolean {
    return this.#stepper.open;
  }

  /** Steps done, over all epochs. */
  get steps(): number {
    return this.#steps;
  }

  /** Trains. Throws the first error, when all callbacks have heard of the end. */
  async run(): Promise<void> {
    const { callbacks, epochs, history } = this.#plan;
    const errors: unknown[] = [];
    const attempt = async (part: () => void | Promise<void>) => {
      try {
        await part();
      } catch (error) {
        errors.push(error);
      }
    };
    await attempt(async () => {
      await this.#tell((callback) => callback.onFitBegin?.(this.#state));
      while (this.#epochs < epochs && this.stopped === undefined) await this.#epoch();
    });
    await attempt(() => this.#log.read(history.stepLosses));
    this.#captured?.[Symbol.dispose]();
    this.#persistent?.[Symbol.dispose]();
    this.#stepper[Symbol.dispose]();
    this.#log.dispose();
    this.#guard?.dispose();
    this.#last?.dispose();
    this.#last = undefined;
    history.stopped = this.stopped;
    const captured = this.#captured?.used ? "captured" : "eager";
    history.path = this.#persistent ? "persistent" : captured;
    history.notCaptured = this.#captured?.why;
    for (const callback of callbacks) {
      await attempt(() => callback.onEnd?.(history, this.#state));
    }
    if (errors.length > 0) throw errors[0];
  }

  /** Frees what is held for going on. */
  async close(): Promise<void> {
    this.#meter?.dispose();
    this.#meter = undefined;
    await this.#pass?.close();
    this.#pass = undefined;
  }

  /** Where it is; between two steps. Waits for the device. */
  async cursor(): Promise<Cursor> {
    await this.#log.read(this.#plan.history.stepLosses);
    const epoch = this.#inEpoch && {
      samples: this.#samples,
      steps: this.#epochSteps,
      seconds: this.#seconds(),
      lr: this.#stepper.lr.lr,
      meter: await this.#meter!.state(),
    };
    return {
      epochs: this.#epochs,
      wanted: this.#plan.epochs,
      steps: this.#steps,
      pass: this.#pass?.state() ?? null,
      loaderEpoch: this.#plan.loader.epoch,
      validationEpoch: this.#plan.validation?.loader.epoch ?? 0,
      epoch: epoch || null,
      capture: this.#plan.capture,
    };
  }

  #seconds(): number {
    return (performance.now() - this.#start) / 1000;
  }

  async #tell(call: (callback: Callback) => void | Promise<void>): Promise<void> {
    for (const callback of this.#plan.callbacks) await call(callback);
  }

  async #epoch(): Promise<void> {
    const plan = this.#plan;
    const { trainer, history, options } = plan, stepper = this.#stepper;
    const state = { ...this.#state, epoch: this.#epochs + 1 };
    await this.#tell((callback) => callback.onEpochBegin?.(state));
    if (this.stopped !== undefined) return;
    trainer.model.train();
    stepper.begin(this.#begin());
    const meter = this.#meter!;
    const whole = await this.#train(state);
    const means = { ...await meter.read(), ...stepper.lr }; // also waits for the last steps
    const good = await this.#look();
    const seconds = this.#seconds(), done = this.#samples;
    await this.#tell((callback) => callback.onProgress?.({ ...state, ...means, done }));
    if (!whole || !good) return;
    const metrics = await meter.metrics();
    meter.end();
    this.#inEpoch = false;
    const result: EpochResult = {
      epoch: state.epoch,
      ...means,
      ...metrics,
      seconds,
      samplesPerSecond: done / seconds,
    };
    this.#epochs++;
    if (!Number.isFinite(result.loss)) warnOfLoss(trainer.model, result.loss, this.#guard);
    const due = this.#epochs % plan.validationEvery === 0 || this.#epochs === plan.epochs;
    let failed: { error: unknown } | undefined; // the epoch counts all the same
    try {
      const found = due ? await plan.validation?.run() : undefined;
      if (found) {
        result.valLoss = found.loss;
        if (found.accuracy !== undefined) result.valAccuracy = found.accuracy;
        if (found.metrics) result.valMetrics = found.metrics;
      }
    } catch (error) {
      failed = { error };
    }
    const { schedule, scheduleEvery = "epoch" } = options;
    // A plateau is of one loss: that of validation, where there is validation.
    const blind = schedule instanceof ReduceLROnPlateau && plan.validation &&
      result.valLoss === undefined;
    if (scheduleEvery === "epoch" && !blind) schedule?.step(result.valLoss ?? result.loss);
    history.push(result);
    if (failed) throw failed.error;
    await this.#tell((callback) => callback.onEpochEnd?.(result, state));
  }

  // Counts from 0, or from what a cursor says; returns the rate of the last step there.
  #begin(): number | undefined {
    const { from, metrics, trainer, loader, loss } = this.#plan;
    const measures = new Measures(metrics);
    if (this.#meter) this.#meter.restart(measures);
    else this.#meter = new Meter(measures);
    this.#inEpoch = true;
    this.#captured?.look(true);
    if (this.#persistent && !this.#persistent.holds(trainer.model, loss)) {
      this.#persistent[Symbol.dispose]();
      this.#persistent = undefined;
    }
    this.#start = performance.now();
    this.#samples = this.#epochSteps = 0;
    if (!from) return undefined;
    this.#plan.from = undefined;
    if (from.pass) this.#pass = new Pass(loader, from.pass);
    if (!from.epoch) return undefined;
    const { samples, steps, seconds, lr, meter } = from.epoch;
    this.#samples = samples;
    this.#epochSteps = steps;
    this.#start -= seconds * 1000;
    const [parameter] = trainer.model.parameters();
    this.#meter.load(meter, parameter!.device);
    return lr;
  }

  // The steps of an epoch; whether it came to its end.
  async #train(state: EpochState): Promise<boolean> {
    const plan = this.#plan, meter = this.#meter!, stepper = this.#stepper;
    let breath = performance.now();
    for (;;) {
      if (this.#epochSteps === plan.stepsPerEpoch) break;
      const busy = this.#plan.busy();
      if (busy) await busy;
      let steps = this.#several();
      if (steps === 0) {
        const taken = this.#take();
        const loaded = taken instanceof Promise ? await this.#orStopped(taken) : taken;
        if (this.stopped !== undefined && !stepper.open) return false;
        if (!loaded) break;
        steps = this.#one(loaded);
      }
      const told = steps > 0 && this.#stepped(state, steps);
      if (told) await told;
      if (stepper.open) continue; // what follows is between two steps
      if (this.stopped !== undefined) return false;
      const long = performance.now() - breath >= BREATH_MS;
      if (!long && this.#log.left > 0) continue;
      this.#captured?.look(false);
      if (long) await breathe(); // the device has work meanwhile
      const means = { ...await meter.read(), ...stepper.lr };
      if (!await this.#look()) return false;
      const done = this.#samples;
      if (!Number.isNaN(means.loss) || await meter.some()) { // else it is the mean of nothing yet
        await this.#tell((callback) => callback.onProgress?.({ ...state, ...means, done }));
      }
      if (this.stopped !== undefined) return false;
      breath = performance.now();
    }
    if (stepper.finish()) {
      this.#log.add(this.#last!);
      stepper.afterStep?.();
      await this.#stepped(state, 1);
    }
    return true;
  }

  // Whether the step at hand is looked at for mistakes.
  get #early(): boolean {
    return this.#epochSteps === 0 && this.#epochs < 2 && !this.#plan.options.scaler;
  }

  // A batch; how many steps ended with it.
  #one(loaded: Loaded<Input, Target>): number {
    const { trainer: { model }, options } = this.#plan;
    const before = this.#log.total;
    const eager = () => [this.#step(loaded)];
    this.#done(loaded.size, () => {
      if (this.#early) {
        return advised(model, loaded.batch, options.clipGradNorm !== undefined, eager);
      }
      const fed = this.#pass!.ordered ? undefined : this.#captured?.fed(loaded);
      return fed ? [fed] : eager();
    });
    this.#samples += loaded.size;
    const steps = this.#log.total - before;
    if (steps > 0) this.#stepper.afterStep?.();
    return steps;
  }

  // Steps that the device does by itself, where it can: how many.
  #several(): number {
    const captured = this.#captured, { loader, options, stepsPerEpoch = Infinity } = this.#plan;
    if (!captured || this.#early || this.open) return 0;
    const pass = this.#pass ??= new Pass(loader);
    const ahead = captured.ahead(pass.ordered);
    if (ahead === 0) return 0;
    const looked = this.#stepHooks.length > 0 || this.#meter!.measures || this.#stepper.afterStep;
    const most = looked ? 1 : Math.min(ahead, stepsPerEpoch - this.#epochSteps, this.#log.left);
    if (this.#persistent) return this.#persisted(pass, ahead);
    const trace = { step: this.#steps, steps: 0, pass: pass.state(), place: randomPlace() };
    const { accumulate = 1 } = options, size = loader.batchSize!;
    let steps = 1;
    this.#done(size, () => {
      const done = captured.take(pass.ordered!, most);
      steps = done.steps;
      return done.results;
    });
    if (this.#guard) this.#trace.push({ ...trace, steps, end: randomPlace().drawn });
    pass.skip(steps * accumulate);
    this.#samples += steps * accumulate * size;
    this.#stepper.afterStep?.();
    return steps;
  }

  // The same by a kernel that takes many steps.
  #persisted(pass: Pass<Input, Target>, ahead: number): number {
    const { loader, stepsPerEpoch = Infinity } = this.#plan, size = loader.batchSize!;
    const most = Math.min(ahead, stepsPerEpoch - this.#epochSteps, this.#log.left);
    return scope(() => {
      const next = this.#stepper.afterStep;
      const { steps, lr, losses, correct } = this.#persistent!.take(pass.ordered!, most, next);
      this.#stepper.begin(lr);
      this.#meter!.addSteps(losses, correct, size);
      this.#log.addAll(losses);
      pass.skip(steps);
      this.#samples += steps * size;
      return steps;
    });
  }

  // Does something with batches of so many samples each, and keeps of it what is wanted.
  #done(size: number, run: () => Stepped[]): void {
    this.#last?.dispose();
    this.#last = undefined;
    scope(() => {
      const results = run(), last = results.at(-1);
      if (this.#meter!.measures) { for (const x of results) this.#meter!.measure(x, size); }
      if (last && (this.open || this.#stepHooks.length > 0)) {
        this.#last = keep(last.loss.detach().clone());
      }
    });
  }

  // What comes in time, unless it is to stop meanwhile and no step is under way.
  async #orStopped<R>(taken: Promise<R>): Promise<R | undefined> {
    if (this.open) return await taken;
    const stop = new Promise<undefined>((resolve) => this.#whenStopped = () => resolve(undefined));
    if (this.stopped !== undefined) this.#whenStopped();
    taken.catch(() => {}); // it may fail when nobody waits any more
    return await Promise.race([taken, stop]);
  }

  /** Has it end after the step under way, for a reason. */
  stop(reason: string): void {
    this.stopped ??= reason;
    this.#whenStopped();
  }

  // Reads the losses; false where there was a step that is not finite: says which, and stops.
  async #look(): Promise<boolean> {
    const { history: { stepLosses } } = this.#plan;
    const before = stepLosses.length;
    await this.#log.read(stepLosses);
    const trace = this.#trace.splice(0);
    if (!this.#guard) return true;
    const bad = await this.#guard.read();
    if (bad === undefined) {
      this.#guard.restart();
      return true;
    }
    this.#guard.dispose(); // or the look at the epoch's end would find it again
    const first = this.#steps - (stepLosses.length - before) + bad; // steps before it
    stepLosses.length = before + bad + 1;
    this.#steps = first;
    const cause = await this.#cause(
      trace.filter(({ step, steps }) => step <= first && first < step + steps),
      first,
    );
    const loss = stepLosses.at(-1);
    this.stopped = `TerminateOnNaN: step ${first + 1}, in epoch ${this.#epochs + 1}, ` +
      (Number.isFinite(loss) ? "has a gradient that is not finite" : `has the loss ${loss}`) +
      (cause ? `: ${cause}` : ", though not when it is done again");
    return false;
  }

  // Does a step again that is not finite; what is the first thing in it.
  async #cause(trace: readonly Trace[], step: number): Promise<string | undefined> {
    const { trainer, loader, measure, options: { accumulate = 1 } } = this.#plan;
    const now = randomPlace(), { epoch } = loader;
    await this.#pass?.close();
    this.#pass = undefined;
    try {
      for (const { step: first, steps, pass, place, end = place.drawn } of trace) {
        const before = step - first; // steps
        const again = new Pass(loader, {
          ...pass,
          batches: pass.batches + before * accumulate,
        });
        try {
          const { drawn } = place, each = (end - drawn) / BigInt(steps);
          setRandomPlace({ ...place, drawn: drawn + each * BigInt(before) });
          const loaded = await again.next();
          const cause = loaded &&
            scope(() =>
              diagnose(
                trainer.model,
                loaded.batch,
                (batch) => measure(batch as Batch<Input, Target>).loss,
              )
            );
          if (cause) return cause;
        } finally {
          await again.close();
        }
      }
    } finally {
      setRandomPlace(now);
      loader.epoch = epoch;
    }
    return undefined;
  }

  // The next batch; undefined where the epoch ends with the data.
  #take(): Loaded<Input, Target> | undefined | Promise<Loaded<Input, Target> | undefined> {
    const pass = this.#pass ??= new Pass(this.#plan.loader);
    if (this.#guard) {
      this.#trace.push({ step: this.#steps, steps: 1, pass: pass.state(), place: randomPlace() });
    }
    const taken = pass.next();
    if (taken instanceof Promise) return taken.then((found) => found ?? this.#turn());
    return taken ?? this.#turn();
  }

  async #turn(): Promise<Loaded<Input, Target> | undefined> {
    this.#pass!.checkSome();
    await this.#pass!.close();
    this.#pass = undefined;
    return this.#plan.stepsPerEpoch === undefined ? undefined : await this.#take();
  }

  // Does a batch's part of a step.
  #step({ batch, size }: Loaded<Input, Target>): Stepped {
    const measured = this.#plan.measure(batch);
    const { loss, note } = measured;
    this.#meter!.add(measured, size);
    // a mean of nothing is NaN, and changes nothing
    const counted = this.#guard && total(loss.detach(), note.divisor ?? size);
    const stepped = this.#stepper.add(loss, size, note.divisor, counted);
    if (stepped) this.#log.add(loss);
    const { output, target, weight } = measured;
    return this.#meter!.measures
      ? { loss, output, target, weight }
      : { loss, output: null, target: null };
  }

  // Counts steps, and tells of them.
  #stepped(state: EpochState, steps: number): void | Promise<void> {
    this.#steps += steps;
    this.#epochSteps += steps;
    return this.#stepHooks.length > 0 ? this.#tellStep(state) : undefined;
  }

  async #tellStep(state: EpochState): Promise<void> {
    const told = { ...state, step: this.#steps, loss: this.#last! };
    for (const callback of this.#stepHooks) await callback.onStepEnd!(told);
  }
}

/** Throws for a cursor that is none. */
export function checkCursor(cursor: unknown): asserts cursor is Cursor | null {
  if (cursor === null) return;
  const { epochs, wanted, steps, pass, loaderEpoch, validationEpoch, epoch } = Object(cursor);
  const counts = [epochs, wanted, steps, loaderEpoch, validationEpoch];
  if (pass) counts.push(pass.batches, pass.loaderEpoch);
  if (epoch) counts.push(epoch.samples, epoch.steps);
  const whole = counts.every((n) => Number.isSafeInteger(n) && n >= 0);
  const places = !pass || [pass.place?.seed, pass.place?.drawn].every((n) => /^\d+$/.test(n));
  if (whole && places && (!epoch || Object(epoch.meter) === epoch.meter)) return;
  throw new DataError("loadCheckpoint: the file holds no place in a training of a Trainer");
}
