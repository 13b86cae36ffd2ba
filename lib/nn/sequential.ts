import { isClass } from "../core/format.ts";
import { refuse } from "../core/options.ts";
import { CudenoError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";
import { activated, fusedActivationOf } from "./_fused.ts";
import { Module } from "./module.ts";
import { checkModule } from "./_check.ts";

/**
 * Modules one after another. Children are named 0, 1, 2, …
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * const model = new nn.Sequential(new nn.Linear(4, 8), new nn.ReLU(), new nn.Linear(8, 2));
 * console.log(model.forward(rand([1, 4])).shape); // [1, 2]
 * ```
 */
export class Sequential extends Module {
  readonly #modules: readonly Module[];

  constructor(...modules: Module[] | [modules: readonly Module[]]) {
    super();
    const list = modules.length === 1 && Array.isArray(modules[0]) ? modules[0] : modules;
    list.forEach((module: unknown, i: number) => {
      if (typeof module === "function" && !isClass(module)) {
        const { name } = module;
        refuse(
          "Sequential",
          `module ${i}`,
          module,
          `a module; write a class with forward(), or take a layer such as nn.ReLU for ${
            name || "it"
          }`,
        );
      }
      checkModule("Sequential", `module ${i}`, module);
    });
    this.#modules = [...list];
  }

  /** The modules by their number, and then those that a subclass has in properties. */
  override *namedChildren(): Generator<[string, Module]> {
    for (const [i, module] of this.#modules.entries()) yield [`${i}`, module];
    yield* super.namedChildren(); // of a subclass
  }

  /** The output of the last module. An error says which module it came from. */
  override forward(x: Tensor): Tensor {
    for (let i = 0; i < this.#modules.length; i++) {
      const module = this.#modules[i]!;
      try {
        // A linear layer takes the activation after it along.
        const activation = fusedActivationOf(this.#modules[i + 1]);
        const both = activation && activated(module, activation, x);
        x = both ?? module.forward(x);
        if (both) i++;
      } catch (error) {
        if (error instanceof CudenoError) {
          error.message = `${i}: ${module.describe()}: ${error.message}`;
        }
        throw error;
      }
    }
    return x;
  }
}
