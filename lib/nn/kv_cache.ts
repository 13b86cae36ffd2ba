import { gradEnabled, noGrad } from "../core/autograd.ts";
import { checkInteger, checkOptions } from "../core/options.ts";
import { keep } from "../core/scope.ts";
import { formatShape } from "../core/shape.ts";
import { GradientError, ShapeError } from "../native/errors.ts";
import { indexSelect } from "../ops/index/index_select.ts";
import { checkSameDevice, checkSameDType, checkTensor } from "../ops/_operands.ts";
import type { Tensor } from "../tensor.ts";

/**
 * The keys and values of an attention layer for the positions that it has seen, so that what is
 * generated one by one is not computed anew each time. They lie one position after another,
 * [positions, batch, features], in memory that grows by doubling: to append writes the new ones
 * only, and all of them are read where they lie. A cache is one layer's; its memory stays until
 * dispose().
 *
 * ```ts
 * import { nn, noGrad, rand } from "@cudeno/cudeno";
 * const attention = new nn.MultiHeadAttention(16, 4, { batchFirst: true });
 * using cache = new nn.KVCache();
 * for (let i = 0; i < 3; i++) {
 *   const x = rand([2, 1, 16]); // one position more of each sequence
 *   noGrad(() => attention.forward(x, x, x, { causal: true, cache }));
 * }
 * console.log(cache.length); // 3
 * ```
 */
export class KVCache implements Disposable {
  #stored: { key: Tensor; value: Tensor } | undefined;
  #length = 0;
  readonly #capacity: number;

  /** `capacity`: for how many positions there is room at first. Default 64. */
  constructor(options: { capacity?: number | undefined } = {}) {
    checkOptions("KVCache", options, ["capacity"]);
    const { capacity = 64 } = options;
    checkInteger("KVCache", "capacity", capacity, 1);
    this.#capacity = capacity;
  }

  /** How many positions it has. */
  get length(): number {
    return this.#length;
  }

  /**
   * Puts keys and values [positions, batch, features] behind those that are there, and gives all: a
   * view of the cache, which later calls leave as it is up to its own length.
   *
   * @throws {ShapeError} when they are of another batch or other features than those before.
   * @throws {GradientError} where gradients are wanted, which do not go through a cache.
   */
  append(key: Tensor, value: Tensor): { key: Tensor; value: Tensor } {
    checkTensor("KVCache", key);
    checkTensor("KVCache", value);
    if (gradEnabled() && (key.requiresGrad || value.requiresGrad)) {
      throw new GradientError("KVCache: gradients do not go through a cache; use noGrad(() => …)");
    }
    const before = this.#stored ?? { key, value };
    for (const [x, old] of [[key, before.key], [value, before.value]] as const) {
      checkSameDevice("KVCache", old, x);
      checkSameDType("KVCache", old, x);
      const fits = x.rank === 3 && x.shape[0] === key.shape[0] && x.shape[1] === old.shape[1] &&
        x.shape[2] === old.shape[2] && x.shape[1] === key.shape[1];
      if (!fits) {
        throw new ShapeError(
          `KVCache: keys are ${formatShape(key.shape)}, values ${formatShape(value.shape)}; they ` +
            `must be [positions, ${before.key.shape.slice(1).join(", ")}] and [positions, ` +
            `${before.value.shape.slice(1).join(", ")}], with as many positions`,
        );
      }
    }
    const start = this.#length, end = start + key.shape[0]!;
    const room = this.#stored?.key.shape[0] ?? 0;
    if (end > room) this.#move(Math.max(end, 2 * room, this.#capacity), (x) => x);
    const stored = this.#stored ??= {
      key: keep(key.make([Math.max(end, this.#capacity), ...key.shape.slice(1)])),
      value: keep(value.make([Math.max(end, this.#capacity), ...value.shape.slice(1)])),
    };
    for (const [to, from] of [[stored.key, key], [stored.value, value]] as const) {
      using place = to.part(start * to.shape[1]! * to.shape[2]!, from.shape);
      place.copyFrom(from);
    }
    this.#length = end;
    return { key: this.#used(stored.key), value: this.#used(stored.value) };
  }

  /**
   * Keeps the sequences of the batch that an int32 index [n] names, in its order; one may be there
   * several times.
   */
  select(rows: Tensor): void {
    checkTensor("KVCache", rows);
    const room = this.#stored?.key.shape[0] ?? 0;
    if (room > 0) this.#move(room, (x) => indexSelect(x, 1, rows));
  }

  /** Frees the memory; the cache is empty then, and may be used again. */
  dispose(): void {
    this.#stored?.key.dispose();
    this.#stored?.value.dispose();
    this.#stored = undefined;
    this.#length = 0;
  }

  /** `using cache = …` frees it at the end of its block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #used(x: Tensor): Tensor {
    return x.part(0, x.shape.with(0, this.#length));
  }

  // To memory for so many positions, changed on the way.
  #move(room: number, change: (x: Tensor) => Tensor): void {
    const old = this.#stored;
    if (!old) return;
    const moved = { ...old };
    noGrad(() => {
      for (const name of ["key", "value"] as const) {
        using used = this.#used(old[name]);
        const x = change(used);
        moved[name] = keep(x.make(x.shape.with(0, room)));
        using place = moved[name].part(0, x.shape);
        place.copyFrom(x);
        if (x !== used) x.dispose();
      }
    });
    this.#stored = moved;
    old.key.dispose();
    old.value.dispose();
  }
}
