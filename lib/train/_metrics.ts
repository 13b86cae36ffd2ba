import { checkTensor } from "../ops/_operands.ts";
import { isTensor } from "../core/options.ts";
import { noGrad } from "../core/autograd.ts";
import { eachReplay } from "../core/recording.ts";
import { keep, scope } from "../core/scope.ts";
import { formatShape, sameShape, type Shape } from "../core/shape.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";
import { full, zeros } from "../create.ts";
import { cast } from "../ops/elementwise/_cast.ts";
import { eq, gt, ne } from "../ops/elementwise/compare.ts";
import { mul } from "../ops/elementwise/binary.ts";
import type { Answers, LossNote } from "../ops/loss/_loss.ts";
import { argmax } from "../ops/reduce/argmax.ts";
import { sum } from "../ops/reduce/sum.ts";
import { where } from "../ops/elementwise/where.ts";
import { weigh } from "../ops/elementwise/_binary.ts";
import { broadcastTo, reshape } from "../ops/shape/movement.ts";
import type { Tensor } from "../tensor.ts";
import { classAxis } from "./metrics/_classes.ts";
import type { MetricResults } from "./history.ts";
import type { Measures } from "./_measures.ts";

/** A {@linkcode Sum} as JSON keeps it. */
export interface SumState {
  here: number;
  there?: number | undefined;
}

/** A {@linkcode Meter} as JSON keeps it. */
export interface MeterState {
  loss: SumState;
  divisor: SumState;
  right: SumState;
  counted: SumState | null;
  summed: boolean;
  measures: Record<string, unknown>;
}

/**
 * A sum of numbers of the host and of the device; those stay there, so that adding to it waits for
 * nothing.
 */
export class Sum {
  #here = 0;
  #there: Tensor | undefined;

  /** Adds a number, or the elements of a tensor. */
  add(value: Tensor | number): void {
    if (typeof value === "number") {
      this.#here += value;
      eachReplay((times) => {
        for (let i = 0; i < times; i++) this.#here += value;
      });
      return;
    }
    const there = this.#there ??= keep(zeros([], { dtype: "float64", device: value.device }));
    const wide = cast(value, "float64");
    there.accumulate(value.rank === 0 ? wide : sum(wide));
  }

  /** The sum; waits for the device. */
  async read(): Promise<number> {
    return this.#here + (await this.#there?.item() ?? 0);
  }

  /** The parts, on the host. */
  async state(): Promise<SumState> {
    const there = await this.#there?.item();
    return { here: this.#here, ...(there !== undefined && { there }) };
  }

  /** Goes on from a state. */
  load({ here, there }: SumState, device: Tensor["device"]): void {
    this.dispose();
    this.#here = here;
    if (there !== undefined) this.#there = keep(full([], there, { dtype: "float64", device }));
  }

  /** Begins anew at 0, in the same place. */
  restart(): void {
    this.#here = 0;
    this.#there?.fill(0);
  }

  /** Begins anew at 0, and frees what it holds. */
  dispose(): void {
    this.#here = 0;
    this.#there?.dispose();
    this.#there = undefined;
  }
}

/** The same where samples count by their weights, [n] or one an answer. */
function weighed(
  { right, counted }: { right: Tensor; counted: Tensor | number },
  weight: Tensor,
): { right: Tensor; counted: Tensor } {
  const wide = reshape(cast(weight, "float64"), [weight.size, 1]); // answers are sample by sample
  const each = reshape(broadcastTo(wide, [weight.size, right.size / weight.size]), right.shape);
  const counts = typeof counted === "number" ? each : weigh(each, cast(counted, "float64"));
  return { right: weigh(cast(right, "float64"), counts), counted: sum(counts) };
}

/** The right answers of a batch whose loss is a mean with this divisor, and how many count. */
function judged(
  answers: Answers,
  divisor: LossNote["divisor"],
): { right: Tensor; counted: Tensor | number } {
  const { output, target, ignoreIndex = -100, weight } = answers;
  let { axis, threshold } = answers;
  if (axis === undefined && isBinary(output.shape, target.shape)) threshold ??= 0.5;
  if (threshold !== undefined) {
    const yes = gt(cast(target.reshape(output.shape), output.dtype), 0.5);
    return { right: eq(gt(output, threshold), yes), counted: output.size };
  }
  axis ??= classAxis("accuracy", output.shape, target.shape);
  const found = argmax(output, axis);
  if (sameShape(output.shape, target.shape)) {
    return { right: eq(found, argmax(target, axis)), counted: found.size };
  }
  const wanted = cast(target, "int32");
  const right = eq(found, wanted);
  if (typeof divisor === "object" && divisor && weight === null && ignoreIndex < 0) {
    return { right, counted: divisor };
  }
  const counted = ne(wanted, ignoreIndex);
  return { right: where(counted, right, 0), counted };
}

function single(output: unknown, target: unknown): Answers {
  if (isTensor(output) && isTensor(target)) {
    return { output: output as Tensor, target: target as Tensor };
  }
  throw new ArgumentError(
    "accuracy: the model or the data has several outputs or targets; measure by a function " +
      "(output, target) => Tensor",
  );
}

function isBinary(output: Shape, target: Shape): boolean {
  const single = [output, target].some((shape) => shape.length === 1 || shape.at(-1) === 1);
  const bare = (shape: Shape) =>
    shape.at(-1) === 1 && shape.length > 1 ? shape.slice(0, -1) : shape;
  return single && sameShape(bare(output), bare(target));
}

/** A batch's loss and what it is of. */
export interface Measured {
  loss: Tensor;
  note: LossNote;
  output: unknown;
  target: unknown;
  /** What the data says that its samples count. */
  weight?: Tensor | undefined;
}

/** The sum whose mean a loss is: 0 where nothing counted, of which the mean is NaN. */
export function total(loss: Tensor, divisor: Tensor | number | null): Tensor {
  if (divisor === null) return loss;
  const mean = cast(loss, "float64");
  if (typeof divisor === "number") return mul(mean, divisor);
  const counted = cast(divisor, "float64");
  return where(eq(counted, 0), 0, mul(mean, counted));
}

/** The running mean loss and metrics over some batches. */
export class Meter {
  readonly #accuracy: boolean;
  #measures: Measures;
  readonly #loss = new Sum();
  readonly #divisor = new Sum();
  readonly #right = new Sum();
  #counted = new Sum(); // may be the divisor itself
  #summed = false;

  /** Measures the loss, and with it other things. */
  constructor(measures: Measures) {
    this.#accuracy = measures.accuracy;
    this.#measures = measures;
  }

  /** Adds a batch of so many samples. */
  add({ loss, output, target, note, weight }: Measured, samples: number): void {
    checkTensor("Trainer: the loss", loss);
    if (loss.size !== 1) {
      throw new ShapeError(
        `Trainer: the loss is ${
          formatShape(loss.shape)
        }; it must be one number, the mean over the batch`,
      );
    }
    const { divisor = samples, losses } = note;
    noGrad(() =>
      scope(() => {
        const answers = this.#accuracy ? note.answers ?? single(output, target) : undefined;
        const found = !answers
          ? undefined
          : weight
          ? weighed(judged(answers, undefined), weight)
          : judged(answers, note.weighed ? undefined : divisor);
        if (divisor === null) this.#summed = true;
        else this.#divisor.add(divisor);
        this.#loss.add(losses ?? total(loss, divisor));
        if (!found) return;
        this.#right.add(found.right);
        if (found.counted === divisor) this.#counted = this.#divisor;
        else this.#counted.add(found.counted);
      })
    );
  }

  /** Adds steps of batches of this many samples, all of which count. */
  addSteps(losses: Tensor, correct: Tensor, samples: number): void {
    noGrad(() =>
      scope(() => {
        const counted = losses.size * samples;
        this.#divisor.add(counted);
        this.#loss.add(mul(cast(losses, "float64"), samples));
        if (!this.#accuracy) return;
        this.#right.add(correct);
        if (this.#counted !== this.#divisor) this.#counted.add(counted);
      })
    );
  }

  /** Whether there are metrics beside loss and accuracy, of which measure() has to be told. */
  get measures(): boolean {
    return this.#measures.some;
  }

  /** Adds the same batch to those. */
  measure({ output, target, weight }: Omit<Measured, "loss" | "note">, samples: number): void {
    noGrad(() => scope(() => this.#measures.update(output, target, samples, weight)));
  }

  /** The means so far; waits for the device. */
  async read(): Promise<{ loss: number; accuracy?: number }> {
    const loss = await this.#loss.read() / (this.#summed ? 1 : await this.#divisor.read());
    if (!this.#accuracy) return { loss };
    return { loss, accuracy: await this.#right.read() / await this.#counted.read() };
  }

  /** Whether anything has counted; waits for the device. */
  async some(): Promise<boolean> {
    return this.#summed || await this.#divisor.read() !== 0;
  }

  /** The metrics that are no running means, if there are any; waits for the device. */
  async metrics(): Promise<{ metrics?: MetricResults }> {
    const metrics = await this.#measures.compute();
    return metrics ? { metrics } : {};
  }

  /** Everything so far; waits for the device. */
  async state(): Promise<MeterState> {
    const shared = this.#counted === this.#divisor;
    return {
      loss: await this.#loss.state(),
      divisor: await this.#divisor.state(),
      right: await this.#right.state(),
      counted: shared ? null : await this.#counted.state(),
      summed: this.#summed,
      measures: await this.#measures.state(),
    };
  }

  /** Goes on from a state. */
  load(state: MeterState, device: Tensor["device"]): void {
    this.#loss.load(state.loss, device);
    this.#divisor.load(state.divisor, device);
    this.#right.load(state.right, device);
    if (state.counted) this.#counted.load(state.counted, device);
    else this.#counted = this.#divisor;
    this.#summed = state.summed;
    this.#measures.load(state.measures, device);
  }

  get #sums(): Sum[] {
    return [this.#loss, this.#divisor, this.#right, this.#counted];
  }

  /** Ends an epoch: the metrics are free for others. */
  end(): void {
    this.#measures.dispose();
  }

  /** Begins anew, where a step that was captured finds it. */
  restart(measures: Measures): void {
    this.#measures = measures;
    for (const sum of this.#sums) sum.restart();
  }

  /** Frees the sums. */
  dispose(): void {
    this.#measures.dispose();
    for (const sum of this.#sums) sum.dispose();
  }

  /** As dispose(). */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
