import type { DeviceName } from "../../core/backend.ts";
import { keep } from "../../core/scope.ts";
import { formatShape, sameShape } from "../../core/shape.ts";
import { ShapeError } from "../../native/errors.ts";
import { cast } from "../../ops/elementwise/_cast.ts";
import { concat } from "../../ops/shape/concat.ts";
import { reshape } from "../../ops/shape/movement.ts";
import { sum } from "../../ops/reduce/sum.ts";
import type { Tensor } from "../../tensor.ts";

/** What a metric holds on the device, by name: sums in float64, and rows one after another. */
export class State {
  /** Where it is, once something was added. */
  device: DeviceName | undefined;
  readonly #op: string;
  readonly #sums = new Map<string, Tensor>();
  readonly #rows = new Map<string, Tensor[]>();
  #next = new Map<string, Tensor>();
  #pushed: [name: string, rows: Tensor][] = [];

  /** Named in messages. */
  constructor(op: string) {
    this.#op = op;
  }

  /** Runs `add`, and takes over what it adds: all, or nothing where it throws. */
  batch(add: () => void): void {
    this.#next = new Map(this.#sums);
    this.#pushed = [];
    add();
    for (const [name, x] of this.#next) {
      const before = this.#sums.get(name);
      if (before === x) continue;
      this.#sums.set(name, keep(x));
      this.device = x.device;
      before?.dispose();
    }
    for (const [name, x] of this.#pushed) {
      this.#rows.set(name, [...this.#rows.get(name) ?? [], keep(x)]);
    }
  }

  /** Adds element by element. */
  add(name: string, value: Tensor): void {
    const before = this.#next.get(name);
    const wide = cast(value, "float64");
    if (before && !sameShape(before.shape, wide.shape)) {
      throw new ShapeError(
        `${this.#op}: there were ${formatShape(before.shape)} classes or columns, now ` +
          `${formatShape(wide.shape)}; call reset() in between`,
      );
    }
    this.#next.set(name, before ? before.plus(wide) : wide.clone());
  }

  /** Adds the sum of all elements. */
  addSum(name: string, value: Tensor): void {
    this.add(name, sum(cast(value, "float64")));
  }

  /** The sum so far, within batch(). */
  sum(name: string): Tensor | undefined {
    return this.#next.get(name);
  }

  /** Keeps all elements. */
  push(name: string, value: Tensor): void {
    this.#pushed.push([name, reshape(value, [-1]).clone()]);
  }

  /** All elements kept. */
  rows(name: string): Tensor | undefined {
    const rows = this.#rows.get(name);
    return rows && concat(rows);
  }

  /** Everything as of now, and what `more` makes of it; waits for the device. */
  async read(more: Record<string, Tensor>): Promise<Numbers> {
    const all = [...this.#sums, ...Object.entries(more)];
    const read = await Promise.all(all.map(async ([name, x]) => [name, await x.data()] as const));
    return Object.fromEntries(read.map(([name, data]) => [name, Array.from(data, Number)]));
  }

  /** Frees everything. */
  clear(): void {
    for (const x of [...this.#sums.values(), ...[...this.#rows.values()].flat()]) x.dispose();
    this.#sums.clear();
    this.#rows.clear();
    this.#next.clear();
  }
}

/** A state as it was read. */
export type Numbers = Record<string, number[]>;
