import { noGrad } from "../core/autograd.ts";
import { checkInteger, checkNumber, checkOptions, checkState, refuse } from "../core/options.ts";
import { computeDType } from "../core/dtype.ts";
import { keep, scope } from "../core/scope.ts";
import { formatShape, sameShape } from "../core/shape.ts";
import { call } from "../native/call.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";
import { Module } from "../nn/module.ts";
import { checkTensor } from "../ops/_operands.ts";
import type { Tensor } from "../tensor.ts";
import { Clock } from "./_clock.ts";
import { GradScaler } from "./grad_scaler.ts";
import { internals } from "./_internals.ts";
import { handlesOf, listOf, sizesOf } from "./_lists.ts";
import { copyLike } from "./_state.ts";

/** Options of {@linkcode EMA}. */
export interface EMAOptions {
  /** How slowly the average forgets, from 0 to 1; default 0.999. */
  decay?: number | undefined;
}

/**
 * What {@linkcode EMA.stateDict} returns: the averages by the parameters' numbers, and the count of
 * updates.
 */
export interface EMAState {
  /** The averages, the EMA's own tensors: float32 for parameters of 16 bits. */
  tensors: Record<string, Tensor>;
  /** How many updates went into them. */
  updates: number;
}

// Averages and parameters of one device and dtype, and the clock that counts their updates.
interface Part {
  averages: Tensor[];
  params: Tensor[];
  to: Uint32Array<ArrayBuffer>;
  from: Uint32Array<ArrayBuffer>;
  sizes: BigInt64Array<ArrayBuffer>;
  clock: Clock;
}

function partsOf(averages: readonly Tensor[], params: readonly Tensor[]): Part[] {
  const parts = Map.groupBy(params.keys(), (i) => `${params[i]!.device} ${params[i]!.dtype}`);
  return Array.from(parts.values(), (places) => {
    const part = (list: readonly Tensor[]) => places.map((i) => list[i]!);
    const pair = { averages: part(averages), params: part(params) };
    return {
      ...pair,
      to: handlesOf(pair.averages),
      from: handlesOf(pair.params),
      sizes: sizesOf(pair.params),
      clock: new Clock(pair.params[0]!),
    };
  });
}

/**
 * An exponential moving average of a model's parameters, which often does better than the
 * parameters themselves: average = decay average + (1 - decay) p at each update(), and p itself at
 * the first. As torch.optim.swa_utils.AveragedModel with get_ema_multi_avg_fn(decay). Buffers, such
 * as running means, are not averaged.
 *
 * The average of a parameter of 16 bits is float32, as one of 16 bits would stand still.
 *
 * apply() puts the averages into the model, for an evaluation or to save them; restore() puts the
 * trained parameters back.
 *
 * ```ts
 * import { nn, optim } from "@cudeno/cudeno";
 * const model = new nn.Linear(4, 2);
 * const ema = new optim.EMA(model, { decay: 0.99 });
 * // after each step of the optimizer:
 * ema.update();
 * ema.apply();
 * // … evaluate the model …
 * ema.restore();
 * console.log(ema.updates); // 1
 * ```
 */
export class EMA {
  readonly #parameters: readonly Tensor[];
  readonly #averages: readonly Tensor[];
  readonly #decay: number;
  readonly #parts: readonly Part[];
  #trained: readonly Tensor[] | null = null; // while the averages are applied

  constructor(model: Module | Iterable<Tensor>, options: EMAOptions = {}) {
    checkOptions("EMA", options, ["decay"]);
    const { decay = 0.999 } = options;
    checkNumber("EMA", "decay", decay, 0);
    if (decay > 1) throw new ArgumentError(`EMA: decay is ${decay}; it must be at most 1`);
    this.#parameters = model instanceof Module
      ? model.parameters()
      : listOf("EMA", "what is averaged", model);
    if (this.#parameters.length === 0) throw new ArgumentError("EMA: there are no parameters");
    for (const p of this.#parameters) checkTensor("EMA", p);
    this.#averages = scope(() =>
      this.#parameters.map((p) => copyLike(p, p, computeDType(p.dtype)))
    );
    this.#averages.forEach(keep);
    try {
      this.#parts = partsOf(this.#averages, this.#parameters);
    } catch (error) { // no memory for a clock
      for (const average of this.#averages) average.dispose();
      throw error;
    }
    this.#decay = decay;
  }

  /** How many updates there were. Waits for the device, which counts them. */
  get updates(): number {
    return this.#parts[0]!.clock.read().step;
  }

  /** The averages, in the parameters' order. */
  get averages(): readonly Tensor[] {
    return this.#averages;
  }

  /** Whether the model holds the averages now. */
  get applied(): boolean {
    return this.#trained !== null;
  }

  /**
   * Takes the parameters as they are now into the averages. Given a scaler, after its update(),
   * only if no step was left out there.
   */
  update(scaler?: GradScaler): void {
    if (this.applied) {
      throw new ArgumentError("EMA: the averages are applied to the model; restore() it first");
    }
    if (scaler !== undefined && !(scaler instanceof GradScaler)) {
      refuse("EMA", "the scaler", scaler, "the optim.GradScaler that steps");
    }
    for (const { averages, params, to, from, sizes, clock } of this.#parts) {
      const { backend, code } = params[0]!;
      call(
        "cdn_list_lerp",
        handlesOf(averages, to),
        handlesOf(params, from),
        sizes,
        params.length,
        clock.at(0),
        scaler && internals.skippedBy(scaler, backend),
        1 - this.#decay,
        1,
        code,
      );
    }
  }

  /** Puts the averages into the model, and keeps the parameters aside. */
  apply(): void {
    if (this.applied) {
      throw new ArgumentError("EMA: the averages are applied to the model already");
    }
    this.#trained = scope(() => this.#parameters.map((p) => copyLike(p, p, p.dtype)));
    this.#trained.forEach(keep);
    this.#fill(this.#averages);
  }

  /** Puts the parameters back. */
  restore(): void {
    const trained = this.#trained;
    if (!trained) throw new ArgumentError("EMA: the averages are not applied to the model");
    this.#fill(trained);
    for (const x of trained) x.dispose();
    this.#trained = null;
  }

  #fill(values: readonly Tensor[]): void {
    noGrad(() =>
      scope(() => this.#parameters.forEach((p, i) => p.copyFrom(values[i]!.to(p.dtype))))
    );
  }

  /** The averages and the count of updates, to go on from later; not while they are applied. */
  stateDict(): EMAState {
    if (this.applied) throw new ArgumentError("EMA: restore() the model before stateDict()");
    const tensors = Object.fromEntries(this.#averages.map((x, i) => [`${i}`, x]));
    return { tensors, updates: this.updates };
  }

  /** Copies the averages of another EMA, over parameters of the same shapes. */
  loadStateDict(state: EMAState): void {
    if (this.applied) throw new ArgumentError("EMA: restore() the model before loadStateDict()");
    checkState("EMA", state);
    const { tensors, updates } = state;
    checkState("EMA: tensors", tensors);
    checkInteger("EMA", "updates", updates, 0);
    const found = Object.keys(tensors).length;
    if (found !== this.#averages.length) {
      throw new ArgumentError(
        `EMA: the state has ${found} tensors; the model has ${this.#averages.length} parameters`,
      );
    }
    this.#averages.forEach((average, i) => {
      const x = tensors[i];
      checkTensor(`EMA: the state's ${i}`, x);
      if (!sameShape(x.shape, average.shape)) {
        throw new ShapeError(
          `EMA: the state's ${i} is ${formatShape(x.shape)}; the parameter is ${
            formatShape(average.shape)
          }`,
        );
      }
      void x.handle; // throws for one that was disposed
    });
    scope(() => {
      const copies = this.#averages.map((average, i) =>
        copyLike(tensors[i]!, average, average.dtype)
      );
      this.#averages.forEach((average, i) => average.copyFrom(copies[i]!));
    });
    for (const { clock } of this.#parts) clock.set(updates);
  }

  /** Frees the averages. */
  dispose(): void {
    for (const x of [...this.#averages, ...this.#trained ?? []]) x.dispose();
    for (const { clock } of this.#parts) clock.dispose();
  }
}
