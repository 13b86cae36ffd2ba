import { unrecorded } from "../core/recording.ts";
import { keep } from "../core/scope.ts";
import { call } from "../native/call.ts";
import type { Tensor } from "../tensor.ts";
import type { ParameterState } from "./batch.ts";

/** What is remembered of a parameter whose steps are counted on the device. */
export interface CountedState extends ParameterState {
  /** By which; then the step and the numbers are as of the last stateDict(). */
  clock?: Clock;
}

const changed = new Float64Array(2);

/**
 * What changes from step to step, on the device: the count of steps, a number that some optimizers
 * carry on, the learning rate and the momentum. The library's clock, as in cudeno.h.
 */
export class Clock {
  readonly #tensor: Tensor;
  #rates = [NaN, NaN]; // as the device has them

  /** What is remembered of how many parameters it counts for. */
  users = 0;
  /** The name of the number that is carried on, where it is saved. */
  readonly name: string | undefined;

  /** On the device of a tensor. */
  constructor(like: Tensor, step = 0, extra = 0, name?: string) {
    this.#tensor = keep(like.make([11], "float64"));
    this.name = name;
    this.set(step, extra);
  }

  /** The clock as the library takes it, with these rates there; a captured step's too. */
  at(lr: number, momentum = 0): Tensor {
    if (lr !== this.#rates[0] || momentum !== this.#rates[1]) {
      changed.set([lr, momentum]);
      unrecorded(() => call("cdn_write", this.#tensor, changed, 16n, 16n));
      this.#rates = [lr, momentum];
    }
    return this.#tensor;
  }

  /** Goes on from a step. */
  set(step: number, extra = 0): void {
    this.#tensor.copyFrom(Float64Array.of(step, extra, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    this.#rates = [0, 0];
  }

  /** Counts steps that were taken without it, after which the number to carry on may be another. */
  advance(steps: number, extra?: number): void {
    const clock = this.#tensor;
    using counted = clock.add(
      clock.make([11], "float64").copyFrom(Float64Array.of(steps, ...Array(10).fill(0))),
    );
    clock.copyFrom(counted);
    if (extra === undefined) return;
    changed[0] = extra;
    call("cdn_write", clock, changed, 8n, 8n);
  }

  /** The count of steps and the number carried on. Waits for the device. */
  read(): { step: number; extra: number } {
    const [step, extra] = this.#tensor.dataSync();
    return { step: step!, extra: extra! };
  }

  /** Another one that says the same. */
  copy(): Clock {
    const copy = new Clock(this.#tensor, 0, 0, this.name);
    copy.#tensor.copyFrom(this.#tensor);
    copy.#rates = this.#rates;
    return copy;
  }

  /** Frees it. */
  dispose(): void {
    this.#tensor.dispose();
  }
}
