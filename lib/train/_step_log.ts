import { keep } from "../core/scope.ts";
import { zeros } from "../create.ts";
import { cast } from "../ops/elementwise/_cast.ts";
import type { Tensor } from "../tensor.ts";

const room = 1024;

/** The losses of steps, kept on the device until they are read together. */
export class StepLog {
  #losses: Tensor | undefined;
  #count = 0;

  /** Whether there is no room for another. */
  get full(): boolean {
    return this.#count === room;
  }

  /** Adds a loss, one number; in a scope, without recording. */
  add(loss: Tensor): void {
    const { dtype, device } = loss;
    const wide = dtype === "float64" ? dtype : "float32";
    this.#losses ??= keep(zeros([room], { dtype: wide, device }));
    using place = this.#losses.view(this.#count++, loss.shape);
    place.copyFrom(cast(loss, this.#losses.dtype));
  }

  /** Those since the last reading, onto a list. */
  async read(onto: number[]): Promise<void> {
    const count = this.#count;
    this.#count = 0;
    if (count === 0) return;
    const data = await this.#losses!.data();
    for (let i = 0; i < count; i++) onto.push(data[i]!);
  }

  /** Frees what it holds. */
  dispose(): void {
    this.#losses?.dispose();
    this.#losses = undefined;
    this.#count = 0;
  }
}
