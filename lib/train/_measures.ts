import { isClass } from "../core/describe.ts";
import { checkList } from "../core/options.ts";
import type { NestedNumbers } from "../create.ts";
import { ArgumentError } from "../native/errors.ts";
import { checkTensor } from "../ops/_operands.ts";
import { TensorBase } from "../core/tensor.ts";
import type { Tensor } from "../tensor.ts";
import type { MetricResults } from "./history.ts";
import { weightOf } from "./metrics/_weights.ts";
import { weigh } from "../ops/elementwise/_binary.ts";
import { cast } from "../ops/elementwise/_cast.ts";
import { Sum, type SumState } from "./_metrics.ts";
import * as known from "./metrics/mod.ts";
import type { Metric } from "./metrics/metric.ts";
import type { MetricOption } from "./options.ts";

const factories: Record<string, () => Metric> = { ...known };

function isMetric(x: unknown): x is Metric {
  const metric = x as Metric | null;
  return typeof metric === "object" && typeof metric?.name === "string" &&
    [metric.update, metric.compute, metric.reset].every((part) => typeof part === "function");
}

/** Throws for what is no metric, and for two of one name. */
export function checkMetrics(metrics: readonly MetricOption<never, never>[]): void {
  const wanted = `"${Object.keys(factories).join('", "')}", metrics.f1(…) and the like, ` +
    "objects with name, update(), compute() and reset(), functions (prediction, target) => Tensor";
  checkList("Trainer", "metrics", metrics, (x) => {
    if (typeof x === "string") return Object.hasOwn(factories, x);
    if (typeof x !== "function") return isMetric(x);
    const factory = Object.entries(factories).find(([, known]) => known === x);
    if (factory) {
      throw new ArgumentError(`Trainer: metrics: write metrics.${factory[0]}() to make one`);
    }
    return !isClass(x);
  }, wanted);
  const names = metrics.map(nameOf);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice === undefined) return;
  throw new ArgumentError(
    `Trainer: metrics: two have the name ${twice}; give one another: metrics.f1({ name: "…" })`,
  );
}

function nameOf(metric: MetricOption<never, never>, i: number): string {
  return typeof metric === "string" ? metric : metric.name || `metric${i}`;
}

/** A function's mean over samples, or over the elements it gives. */
class MeanOf {
  readonly name: string;
  readonly #fn: (prediction: never, target: never) => Tensor;
  readonly #sum = new Sum();
  readonly #counted = new Sum();

  constructor(name: string, fn: (prediction: never, target: never) => Tensor) {
    this.name = name;
    this.#fn = fn;
  }

  update(prediction: unknown, target: unknown, samples: number, weight?: Tensor): void {
    const value = this.#fn(prediction as never, target as never);
    checkTensor(`Trainer: metric ${this.name}`, value);
    if (weight && value.rank > 0) {
      const counts = weightOf(this.name, weight, value.shape)!;
      this.#sum.add(weigh(cast(value, "float64"), counts));
      this.#counted.add(counts);
      return;
    }
    this.#sum.add(value.rank === 0 ? value.to("float64").mul(samples) : value);
    this.#counted.add(value.rank === 0 ? samples : value.size);
  }

  async compute(): Promise<number> {
    return await this.#sum.read() / await this.#counted.read();
  }

  reset(): void {
    this.#sum.dispose();
    this.#counted.dispose();
  }

  async state(): Promise<unknown> {
    return { sum: await this.#sum.state(), counted: await this.#counted.state() };
  }

  load(state: unknown, device: Tensor["device"]): void {
    const { sum, counted } = state as { sum: SumState; counted: SumState };
    this.#sum.load(sum, device);
    this.#counted.load(counted, device);
  }
}

const busy = new WeakSet<object>();

/** What a trainer measures over some batches beside the loss. */
export class Measures {
  /** Whether that has the accuracy of which the loss tells. */
  readonly accuracy: boolean;
  readonly #metrics: readonly (Metric | MeanOf)[];

  /** Begins anew. */
  constructor(metrics: readonly MetricOption<never, never>[]) {
    this.accuracy = metrics.includes("accuracy");
    this.#metrics = metrics.flatMap((metric, i) => {
      if (metric === "accuracy") return [];
      if (typeof metric === "string") return [factories[metric]!()];
      return [typeof metric === "function" ? new MeanOf(nameOf(metric, i), metric) : metric];
    });
    const taken = this.#metrics.find((metric) => busy.has(metric));
    if (taken) {
      throw new ArgumentError(
        `Trainer: metric ${taken.name} is being added up elsewhere; await fit() and evaluate() ` +
          "before the next, or name metrics by strings",
      );
    }
    for (const metric of this.#metrics) metric.reset();
    for (const metric of this.#metrics) busy.add(metric);
  }

  /** Whether there are any. */
  get some(): boolean {
    return this.#metrics.length > 0;
  }

  /** Adds a batch of so many samples. */
  update(prediction: unknown, target: unknown, samples: number, weight?: Tensor): void {
    for (const metric of this.#metrics) {
      if (metric instanceof MeanOf) metric.update(prediction, target, samples, weight);
      else metric.update(prediction as Tensor, target as Tensor, weight);
    }
  }

  /** What they come to, by name; undefined where there are none. */
  async compute(): Promise<MetricResults | undefined> {
    const found: MetricResults = {};
    for (const metric of this.#metrics) {
      found[metric.name] = await numbersOf(await metric.compute());
    }
    return this.#metrics.length > 0 ? found : undefined;
  }

  /** Everything so far, of those that can be asked; waits for the device. */
  async state(): Promise<Record<string, unknown>> {
    const found: Record<string, unknown> = {};
    for (const metric of this.#metrics) found[metric.name] = await metric.state?.();
    return found;
  }

  /** Goes on from a state. */
  load(state: Record<string, unknown>, device: Tensor["device"]): void {
    for (const metric of this.#metrics) {
      const own = state[metric.name];
      if (own !== undefined) metric.load?.(own, device);
    }
  }

  /** Frees what they hold. */
  dispose(): void {
    for (const metric of this.#metrics) {
      busy.delete(metric);
      metric.reset();
    }
  }
}

async function numbersOf(value: NestedNumbers | Tensor): Promise<NestedNumbers> {
  if (!(value instanceof TensorBase)) return value;
  const flat = Array.from(await value.data(), Number);
  value.dispose();
  const nested = ([extent, ...inner]: readonly number[], from: number): NestedNumbers => {
    if (extent === undefined) return flat[from]!;
    const step = inner.reduce((a, b) => a * b, 1);
    return Array.from({ length: extent }, (_, i) => nested(inner, from + i * step));
  };
  return nested(value.shape, 0);
}
