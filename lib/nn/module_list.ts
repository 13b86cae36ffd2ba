import { formatValue } from "../core/describe.ts";
import { refuse } from "../core/options.ts";
import { ArgumentError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";
import { type AnyModule, Module } from "./module.ts";
import { checkModule } from "./_check.ts";

/**
 * Modules in a list, named 0, 1, 2, …; as torch.nn.ModuleList. It computes nothing itself: the
 * module that holds it calls them.
 *
 * ```ts
 * import { nn, rand, type Tensor } from "@cudeno/cudeno";
 * class Deep extends nn.Module {
 *   layers = new nn.ModuleList([new nn.Linear(4, 4), new nn.Linear(4, 4)]);
 *   override forward(x: Tensor): Tensor {
 *     for (const layer of this.layers) x = layer.forward(x).tanh();
 *     return x;
 *   }
 * }
 * console.log(new Deep().forward(rand([2, 4])).shape); // [2, 4]
 * ```
 */
export class ModuleList<M extends Module = Module> extends Module implements Iterable<M> {
  readonly #modules: M[];

  constructor(modules: Iterable<M> = []) {
    super();
    if (typeof modules?.[Symbol.iterator] !== "function") {
      refuse("ModuleList", "modules", modules, "an array of modules");
    }
    this.#modules = [];
    for (const module of modules) this.append(module);
  }

  /** How many there are. */
  get length(): number {
    return this.#modules.length;
  }

  /** Module i, from the back where i is negative; throws where there is none. */
  at(i: number): M {
    const found = Number.isInteger(i) ? this.#modules.at(i) : undefined;
    if (!found) {
      throw new ArgumentError(
        `ModuleList: there is no module ${formatValue(i)} among ${this.length}`,
      );
    }
    return found;
  }

  /** Adds a module to the end. */
  append(module: M): this {
    checkModule("ModuleList", `module ${this.length}`, module);
    this.#modules.push(module);
    return this;
  }

  /** The modules in order. */
  [Symbol.iterator](): Iterator<M> {
    return this.#modules[Symbol.iterator]();
  }

  /** The modules by their number, and then those that a subclass has in properties. */
  override *namedChildren(): Generator<[string, AnyModule]> {
    for (const [i, module] of this.#modules.entries()) yield [`${i}`, module];
    yield* super.namedChildren(); // of a subclass
  }

  /** Throws: a list computes nothing. */
  override forward(_x: Tensor): Tensor {
    throw new ArgumentError(
      "ModuleList: a list has no forward(); call its modules one by one, or use Sequential",
    );
  }
}
