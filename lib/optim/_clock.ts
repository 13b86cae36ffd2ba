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

const changed = new Float64Array(1);

/**
 * What changes from step to step, on the device: the count of steps, the learning rate, and a
 * number that some optimizers carry on. The library's clock, as in cudeno.h.
 */
export class Clock {
  readonly #tensor: Tensor;
  #lr = NaN; // as the device has it

  /** What is remembered of how many parameters it counts for. */
  users = 0;
  /** The name of the number that is carried on, where it is saved. */
  readonly name: string | undefined;

  /** On the device of a tensor. */
  constructor(like: Tensor, step = 0, extra = 0, name?: string) {
    this.#tensor = keep(like.make([8], "float64"));
    this.name = name;
    this.set(step, extra);
  }

  /** The clock as the library takes it, with this learning rate there; a captured step's too. */
  at(lr: number): Tensor {
    if (lr !== this.#lr) {
      changed[0] = lr;
      unrecorded(() => call("cdn_write", this.#tensor, changed, 8n, 8n));
      this.#lr = lr;
    }
    return this.#tensor;
  }

  /** Goes on from a step. */
  set(step: number, extra = 0): void {
    this.#tensor.copyFrom(Float64Array.of(step, 0, extra, 0, 0, 0, 0, 0));
    this.#lr = 0;
  }

  /** The count of steps and the number carried on. Waits for the device. */
  read(): { step: number; extra: number } {
    const [step, , extra] = this.#tensor.dataSync();
    return { step: step!, extra: extra! };
  }

  /** Another one that says the same. */
  copy(): Clock {
    const copy = new Clock(this.#tensor, 0, 0, this.name);
    copy.#tensor.copyFrom(this.#tensor);
    copy.#lr = this.#lr;
    return copy;
  }

  /** Frees it. */
  dispose(): void {
    this.#tensor.dispose();
  }
}
