import { formatValue } from "../core/describe.ts";
import { checkInteger, checkNumber, refuse } from "../core/options.ts";
import { noGrad } from "../core/autograd.ts";
import { eachReplay } from "../core/recording.ts";
import { keep } from "../core/scope.ts";
import { ArgumentError } from "../native/errors.ts";
import { div, mul } from "../ops/elementwise/binary.ts";
import { cast } from "../ops/elementwise/_cast.ts";
import { eq } from "../ops/elementwise/compare.ts";
import { where } from "../ops/elementwise/where.ts";
import { clipGradNorm, clipGradValue } from "../optim/clip_grad.ts";
import { EMA } from "../optim/ema.ts";
import { internals } from "../optim/_internals.ts";
import { GradScaler } from "../optim/grad_scaler.ts";
import { type Optimizer } from "../optim/optimizer.ts";
import { checkOptimizer } from "../optim/_check.ts";
import { ReduceLROnPlateau } from "../optim/schedule/reduce_lr_on_plateau.ts";
import { Schedule } from "../optim/schedule/schedule.ts";
import type { Tensor } from "../tensor.ts";
import type { Guard } from "./_guard.ts";
import type { StepOptions } from "./options.ts";

/** The names of {@linkcode StepOptions}. */
export const stepOptions: readonly (keyof StepOptions)[] = [
  "optimizer",
  "schedule",
  "scheduleEvery",
  "clipGradNorm",
  "clipGradValue",
  "accumulate",
  "ema",
  "scaler",
];

/** Throws for options that make no sense. */
export function checkStepOptions(options: StepOptions): void {
  const { schedule, scheduleEvery = "epoch", accumulate = 1 } = options;
  for (const name of ["clipGradNorm", "clipGradValue"] as const) {
    if (options[name] !== undefined) checkNumber("Trainer", name, options[name], 0);
  }
  checkInteger("Trainer", "accumulate", accumulate, 1);
  if (scheduleEvery !== "epoch" && scheduleEvery !== "step") {
    throw new ArgumentError(
      `Trainer: scheduleEvery is ${formatValue(scheduleEvery)}; it must be epoch or step`,
    );
  }
  if (options.optimizer !== undefined) checkOptimizer("Trainer", options.optimizer);
  const kinds = { schedule: Schedule, ema: EMA, scaler: GradScaler } as const;
  for (const [name, Class] of Object.entries(kinds)) {
    const given = options[name as keyof typeof kinds];
    if (given !== undefined && !(given instanceof Class)) {
      refuse(
        "Trainer",
        name,
        given,
        `an object of optim.${name === "schedule" ? name : Class.name}`,
      );
    }
  }
  if (schedule && schedule.optimizer !== options.optimizer) {
    throw new ArgumentError("Trainer: the schedule is of another optimizer");
  }
  if (schedule instanceof ReduceLROnPlateau && scheduleEvery === "step") {
    throw new ArgumentError(
      'Trainer: a ReduceLROnPlateau needs the loss of an epoch; leave out scheduleEvery: "step"',
    );
  }
}

/** From the losses of an epoch's batches to steps of the optimizer. */
export class Stepper {
  readonly #options: StepOptions;
  readonly #optimizer: Optimizer;
  readonly #guard: Guard | undefined; // not with a scaler, which has steps left out by itself
  readonly #accumulate: number;
  readonly #batchSize: number | null;
  #group = 0; // samples that the group is to have
  #batches = 0; // that it has
  #here = 0; // the sum of the weights of the group's losses: what the host knows of it
  #there: Tensor | undefined; // and the device
  #unit: number | undefined; // what a sample counts, where that is known
  #lr: number | undefined;

  /** `batchSize` samples at a time; null where batches have any size. */
  constructor(
    options: StepOptions & { optimizer: Optimizer },
    batchSize: number | null,
    guard?: Guard,
  ) {
    this.#options = options;
    this.#guard = guard;
    this.#optimizer = options.optimizer;
    this.#accumulate = options.accumulate ?? 1;
    this.#batchSize = batchSize;
  }

  /** Begins an epoch, or goes on in one at the rate of its last step. */
  begin(lr: number = this.#optimizer.lr): void {
    this.#lr = lr;
  }

  /** Whether a group of batches is under way. */
  get open(): boolean {
    return this.#batches > 0;
  }

  /** The learning rate of the last step, where a schedule changes it. */
  get lr(): { lr?: number | undefined } {
    return this.#options.schedule ? { lr: this.#lr } : {};
  }

  /**
   * Adds the gradients of a batch's loss, a mean with this divisor (null: a sum); steps when there
   * are enough of them, and says so. `counted` is what a guard is to look at for the loss.
   */
  add(
    loss: Tensor,
    samples: number,
    divisor: Tensor | number | null = samples,
    counted?: Tensor,
  ): boolean {
    const { scaler } = this.#options;
    if (this.#batches === 0) {
      this.#optimizer.zeroGrad();
      this.#group = (this.#batchSize ?? samples) * this.#accumulate;
      this.#unit = undefined;
    }
    const share = this.#accumulate === 1 || divisor === null
      ? loss
      : this.#share(loss, samples, divisor);
    (scaler ? scaler.scale(share) : share).backward();
    if (counted) this.#guard?.checkLoss(counted);
    return ++this.#batches === this.#accumulate && this.finish();
  }

  /** Steps with what there is of a group, if there is something. */
  finish(): boolean {
    if (this.#batches === 0) return false;
    this.#batches = 0;
    this.#level();
    this.#step();
    return true;
  }

  // By what was counted, as if that were as much in each sample; #level() sets right what was not.
  #share(loss: Tensor, samples: number, divisor: Tensor | number): Tensor {
    if (typeof divisor === "number") {
      this.#unit ??= divisor / samples;
      const weight = divisor / this.#unit / this.#group;
      this.#here += weight;
      return mul(loss, weight);
    }
    const weight = mul(divisor, 1 / this.#group);
    noGrad(() => {
      const before = this.#there, wide = cast(weight, "float64");
      this.#there = keep(before ? before.plus(wide) : wide.clone());
      before?.dispose();
    });
    return mul(cast(loss, weight.dtype), weight);
  }

  // Divides the gradients of a group by the sum of its weights, where that is not 1.
  #level(): void {
    const here = this.#here, there = this.#there;
    if (there || (here > 0 && Math.abs(here - 1) > 1e-9)) {
      noGrad(() => {
        // of nothing the gradients are 0
        const weight = there ? where(eq(there, 0), 1, there) : here;
        for (const { grad } of internals.parametersOf(this.#optimizer)) {
          if (!grad) continue;
          const wide = grad.dtype === "float64" ? "float64" : "float32";
          const divisor = typeof weight === "number" ? weight : cast(weight, wide);
          (grad as Tensor).copyFrom(cast(div(cast(grad as Tensor, wide), divisor), grad.dtype));
        }
      });
    }
    this.#clear();
  }

  #clear(): void {
    this.#here = 0;
    this.#there?.dispose();
    this.#there = undefined;
  }

  /** Where rates change at each step: what follows one, whether or not the device left it out. */
  get afterStep(): (() => void) | undefined {
    const { schedule, scheduleEvery } = this.#options;
    return schedule && scheduleEvery === "step" ? () => schedule.step() : undefined;
  }

  /** Frees what a group under way holds, where an error has ended it. */
  [Symbol.dispose](): void {
    this.#clear();
    this.#options.scaler?.reset();
  }

  #step(): void {
    const { ema, scaler } = this.#options;
    const noteRate = () => void (this.#lr = this.#optimizer.lr);
    noteRate();
    eachReplay(noteRate);
    this.#guard?.check();
    this.#clip();
    if (scaler) {
      scaler.step(this.#optimizer);
      scaler.update();
    } else {
      (this.#guard ?? this.#optimizer).step();
    }
    ema?.update(scaler);
  }

  #clip(): void {
    const { clipGradNorm: maxNorm, clipGradValue: value, scaler } = this.#options;
    if (maxNorm === undefined && value === undefined) return;
    scaler?.unscale(this.#optimizer);
    const parameters = internals.parametersOf(this.#optimizer);
    if (value !== undefined) clipGradValue(parameters, value);
    if (maxNorm !== undefined) clipGradNorm(parameters, maxNorm).dispose();
  }
}
