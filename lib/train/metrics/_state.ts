import type { DeviceName } from "../../core/backend.ts";
import { keep } from "../../core/scope.ts";
import type { DType } from "../../core/dtype.ts";
import { formatShape, sameShape, type Shape } from "../../core/shape.ts";
import { tensor } from "../../create.ts";
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

  /** Everything, on the host. */
  async save(): Promise<SavedState> {
    const saved = async (x: Tensor): Promise<Saved> => {
      return { shape: x.shape, dtype: x.dtype, data: Array.from(await x.data(), Number) };
    };
    const sums: Record<string, Saved> = {}, rows: Record<string, Saved> = {};
    for (const [name, x] of this.#sums) sums[name] = await saved(x);
    for (const [name, parts] of this.#rows) {
      const whole = concat(parts);
      rows[name] = await saved(whole).finally(() => whole.dispose());
    }
    return { sums, rows };
  }

  /** Goes on from what save() gave. */
  load({ sums, rows }: SavedState, device: DeviceName): void {
    this.clear();
    const made = ({ data, shape, dtype }: Saved) =>
      keep(reshape(tensor(data, { dtype, device }), shape));
    for (const [name, x] of Object.entries(sums)) this.#sums.set(name, made(x));
    for (const [name, x] of Object.entries(rows)) this.#rows.set(name, [made(x)]);
    this.device = device;
  }

  /** Frees everything. */
  clear(): void {
    for (const x of [...this.#sums.values(), ...[...this.#rows.values()].flat()]) x.dispose();
    this.#sums.clear();
    this.#rows.clear();
    this.#next.clear();
  }
}

interface Saved {
  shape: Shape;
  dtype: DType;
  data: number[];
}

/** A {@linkcode State} as JSON keeps it. */
export interface SavedState {
  sums: Record<string, Saved>;
  rows: Record<string, Saved>;
}

/** A state as it was read. */
export type Numbers = Record<string, number[]>;
