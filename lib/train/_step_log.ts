import { eachReplay } from "../core/recording.ts";
import { keep } from "../core/scope.ts";
import { zeros } from "../create.ts";
import { call } from "../native/call.ts";
import { cast } from "../ops/elementwise/_cast.ts";
import type { Tensor } from "../tensor.ts";

const room = 1024;

/** The losses of steps, kept in a ring on the device until they are read together. */
export class StepLog {
  #losses: Tensor | undefined;
  #cursor: Tensor | undefined;
  #count = 0; // since the last reading
  #total = 0;

  /** How many there is room for until the next reading. */
  get left(): number {
    return room - this.#count;
  }

  /** How many there were, since it was made. */
  get total(): number {
    return this.#total;
  }

  /** The device's cursor that counts them: two float64, the second one for others; cursor.cu. */
  cursorOn(like: Tensor): Tensor {
    return this.#cursor ??= keep(zeros([2], { dtype: "float64", device: like.device }));
  }

  /** Adds a loss, one number; in a scope, without recording. */
  add(loss: Tensor): void {
    const { dtype, device } = loss;
    const wide = dtype === "float64" ? dtype : "float32";
    const losses = this.#losses ??= keep(zeros([room], { dtype: wide, device }));
    const value = cast(loss, losses.dtype);
    call("cdn_ring_put", losses, this.cursorOn(loss), value, room, losses.code);
    this.added(1);
    eachReplay((times) => this.added(times));
  }

  /** Adds several, no more than are left; in a scope, without recording. */
  addAll(losses: Tensor): void {
    const place = { dtype: losses.dtype, device: losses.device } as const;
    const ring = this.#losses ??= keep(zeros([room], place));
    const wide = cast(losses, ring.dtype), count = losses.size;
    const first = Math.min(count, room - this.#total % room);
    ring.view(this.#total % room, [first]).copyFrom(wide.view(0, [first]));
    if (count > first) ring.view(0, [count - first]).copyFrom(wide.view(first, [count - first]));
    this.added(count);
    call("cdn_write", this.cursorOn(losses), Float64Array.of(this.#total), 0, 8);
  }

  /** Counts those that the device has added. */
  added(times: number): void {
    this.#count += times;
    this.#total += times;
  }

  /** Those since the last reading, onto a list. */
  async read(onto: number[]): Promise<void> {
    const count = this.#count, first = this.#total - count;
    this.#count = 0;
    if (count === 0) return;
    const data = await this.#losses!.data();
    for (let i = 0; i < count; i++) onto.push(data[(first + i) % room]!);
  }

  /** Frees what it holds. */
  dispose(): void {
    this.#losses?.dispose();
    this.#cursor?.dispose();
    this.#losses = this.#cursor = undefined;
    this.#count = this.#total = 0;
  }
}
