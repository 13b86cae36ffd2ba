import type { Backend } from "../core/backend.ts";
import { computeDType } from "../core/dtype.ts";
import { beforeReplay } from "../core/recording.ts";
import { keep } from "../core/scope.ts";
import type { Tensor } from "../tensor.ts";
import { Clock, type CountedState } from "./_clock.ts";
import { handlesOf, sizesOf } from "./_lists.ts";

/** What an optimizer remembers of one parameter. */
export interface ParameterState {
  /**
   * How many steps it has taken: those in which it had a gradient. Optimizers whose steps are
   * counted on the device set it in stateDict().
   */
  step: number;
  /**
   * Tensors of the parameter's shape, by name; float32 for parameters of 16 bits, else of their
   * dtype.
   */
  readonly tensors: Record<string, Tensor>;
  /** Numbers, by name. */
  readonly numbers: Record<string, number>;
}

// What a group has of what may change at each step.
interface Rates {
  lr: number;
  momentum?: number;
  betas?: readonly [number, number];
}

/**
 * Parameters of one group that take the same step: of one device and dtype, and after the same
 * steps. It serves for as many steps as the same parameters have gradients, and fills the same
 * lists at each.
 */
export class Batch<G> {
  /** The options they are trained with. */
  readonly group: G;
  /** The parameters; each has a gradient. */
  readonly params: readonly Tensor[];
  /** What is remembered of each. */
  readonly states: readonly ParameterState[];
  /** A flag on the device, one float64: where it is not 0, the step is to be left out. */
  skip: Tensor | null = null;

  readonly #handles: Uint32Array<ArrayBuffer>;
  readonly #grads: Uint32Array<ArrayBuffer>;
  readonly #sizes: BigInt64Array<ArrayBuffer>;
  #clock: Clock | undefined;
  readonly #named = new Map<string, { tensors: Tensor[]; handles: Uint32Array<ArrayBuffer> }>();

  /** Used by Optimizer.step(). */
  constructor(group: G, params: readonly Tensor[], states: readonly ParameterState[]) {
    this.group = group;
    this.params = params;
    this.states = states;
    this.#handles = new Uint32Array(params.length);
    this.#grads = new Uint32Array(params.length);
    this.#sizes = sizesOf(params);
  }

  /** The number of this step, from 1. */
  get step(): number {
    return this.states[0]!.step + 1;
  }

  /** The device as operations see it. */
  get backend(): Backend {
    return this.params[0]!.backend;
  }

  /**
   * The clock that counts the batch's steps, with the group's learning rate: one made
   * before for these parameters alone, or else a new one. `extra` is the number to be carried on
   * from there, or the one that was saved under a name.
   */
  clock(extra = 0, name?: string): Tensor {
    if (!this.#clock) {
      const states = this.states as CountedState[];
      const first = states[0]!;
      const before = first.clock;
      const saved = name === undefined ? undefined : first.numbers[name];
      const clock = !before
        ? new Clock(this.params[0]!, first.step, saved ?? extra, name)
        : before.users > states.length
        ? before.copy()
        : before;
      if (clock !== before) {
        clock.users = states.length;
        if (before) before.users -= clock.users;
        for (const state of states) state.clock = clock;
      }
      this.#clock = clock;
    }
    const own = this.#clock, { group } = this as { group: Rates };
    const now = () => own.at(group.lr, group.betas?.[0] ?? group.momentum);
    beforeReplay(() => void now());
    return now();
  }

  /** The dtype as the library numbers it. */
  get code(): number {
    return this.params[0]!.code;
  }

  /** The parameters' handles. */
  handles(): Uint32Array<ArrayBuffer> {
    return handlesOf(this.params, this.#handles);
  }

  /** The gradients' handles. */
  grads(): Uint32Array<ArrayBuffer> {
    const { params } = this;
    for (let i = 0; i < params.length; i++) {
      this.#grads[i] = params[i]!.grad!.stored(params[i]!.format).handle;
    }
    return this.#grads;
  }

  /** The element counts. */
  sizes(): BigInt64Array<ArrayBuffer> {
    return this.#sizes;
  }

  /**
   * The state tensors of this name; where one is not there yet, one filled with `initial` is made.
   */
  tensors(name: string, initial = 0): Tensor[] {
    return this.#stateOf(name, initial).tensors;
  }

  /** Their handles. */
  state(name: string, initial = 0): Uint32Array<ArrayBuffer> {
    const { tensors, handles } = this.#stateOf(name, initial);
    return handlesOf(tensors, handles);
  }

  #stateOf(name: string, initial: number) {
    let state = this.#named.get(name);
    if (!state) {
      const tensors = this.params.map((p, i) =>
        this.states[i]!.tensors[name] ??= keep(
          p.make(p.shape, computeDType(p.dtype), p.format).fill(initial),
        )
      );
      this.#named.set(name, state = { tensors, handles: new Uint32Array(tensors.length) });
    }
    return state;
  }
}
