// The steps of a fit() by a kernel that takes many of them, where model, loss, optimizer and data
// are of a form that it knows.
import { isTensor } from "../core/options.ts";
import { keep, scope } from "../core/scope.ts";
import { TensorDataset } from "../data/dataset.ts";
import type { Ordered } from "../data/_feed.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { cast } from "../ops/elementwise/_cast.ts";
import { min } from "../ops/reduce/max.ts";
import type { Tensor } from "../tensor.ts";
import { full } from "../create.ts";
import { fitsMlp, type Mlp, stepsAtOnce, trainMlp, trainsMlp } from "./_mlp.ts";

/** What the steps are of. */
export interface Trained {
  model: unknown;
  loss: unknown;
  optimizer: Optimizer;
  dataset: unknown;
  batchSize: number | null;
}

/** What steps came to, on the device. */
export interface Taken {
  steps: number;
  /** The learning rate of the last. */
  lr: number;
  /** The mean loss of each [steps], and how many answers were right. */
  losses: Tensor;
  correct: Tensor;
}

/** Steps of a perceptron of two layers. */
export class PersistentSteps implements Disposable {
  readonly #mlp: Mlp;
  readonly #batchSize: number;
  readonly #x: Tensor;
  readonly #target: Tensor;
  readonly #scale: Tensor | undefined;
  readonly #shift: Tensor | undefined;

  private constructor(mlp: Mlp, set: TensorDataset, batchSize: number) {
    const { scale, shift } = set.scaling;
    const [x, target] = [set.inputs, set.targets];
    const place = { device: x.device } as const;
    this.#mlp = mlp;
    this.#batchSize = batchSize;
    this.#x = x;
    this.#target = keep(cast(target, "int32").alias());
    if (scale !== 1) this.#scale = keep(full([1], scale, place));
    if (shift !== 0) this.#shift = keep(full([1], shift, place));
  }

  /** Those of this training, if it is of that form. Waits for the device. */
  static of({ model, loss, optimizer, dataset, batchSize }: Trained): PersistentSteps | undefined {
    if (batchSize === null || Object.getPrototypeOf(dataset) !== TensorDataset.prototype) {
      return undefined;
    }
    const set = dataset as TensorDataset;
    const { inputs, targets, weights } = set;
    if (weights || !isTensor(inputs) || !isTensor(targets)) return undefined;
    if (!["float32", "uint8"].includes(inputs.dtype) || inputs.format !== "contiguous") {
      return undefined;
    }
    if (!["int32", "uint8"].includes(targets.dtype) || targets.rank !== 1) return undefined;
    const mlp = trainsMlp(model, loss, optimizer);
    if (!mlp || mlp.params[0]!.backend !== inputs.backend) return undefined;
    if (inputs.size / set.length !== mlp.params[0]!.shape[1]) return undefined;
    // one that is ignored would make batches count differently
    if (targets.dtype === "int32" && scope(() => min(targets).itemSync()) < 0) return undefined;
    const steps = scope(() => new PersistentSteps(mlp, set, batchSize));
    const fits = scope(() => fitsMlp(mlp, steps.#data(targets.make([0], "int32"))));
    if (fits) return steps;
    steps[Symbol.dispose]();
    return undefined;
  }

  /**
   * Takes up to so many steps, each at the rate of the optimizer; `next` sets that of the next one,
   * if it may change.
   */
  take(ordered: Ordered<unknown, unknown>, most: number, next?: () => void): Taken {
    const { optimizer } = this.#mlp, [group] = optimizer.groups, { momentum } = group!;
    const steps = Math.min(most, stepsAtOnce(this.#mlp, this.#batchSize));
    const rates: number[] = [];
    if (!next) { for (let i = 0; i < steps; i++) rates.push(optimizer.lr); }
    while (next && rates.length < steps && group!.momentum === momentum) {
      rates.push(optimizer.lr);
      next();
    }
    // which the schedule may have changed for the step after these
    const after = group!.momentum;
    group!.momentum = momentum;
    try {
      const size = rates.length * this.#batchSize;
      const order = ordered.all.view(ordered.at, [size]);
      const data = { ...this.#data(order), rates: Float32Array.from(rates) };
      return { steps: rates.length, lr: rates.at(-1)!, ...trainMlp(this.#mlp, data) };
    } finally {
      group!.momentum = after;
    }
  }

  #data(order: Tensor) {
    return {
      ...{ x: this.#x, target: this.#target, order, batchSize: this.#batchSize },
      ...{ scale: this.#scale, shift: this.#shift },
    };
  }

  /** Whether it still is of that form: callbacks may have changed it. */
  holds(model: unknown, loss: unknown): boolean {
    return trainsMlp(model, loss, this.#mlp.optimizer) !== undefined;
  }

  /** Frees what it holds. */
  [Symbol.dispose](): void {
    for (const x of [this.#target, this.#scale, this.#shift]) x?.dispose();
  }
}
