import { formatValue, isClass } from "../core/describe.ts";
import { refuse } from "../core/options.ts";
import { ArgumentError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";
import { inOrder, isChain } from "./_fused.ts";
import { type AnyModule, Module } from "./module.ts";
import { checkModule } from "./_check.ts";

/** Modules by name, in order; undefined is left out. */
export type NamedModules = Readonly<Record<string, Module | undefined>>;

/**
 * Modules one after another. Children are named 0, 1, 2, …, or as the keys of an object say, where
 * PyTorch takes an OrderedDict.
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * const model = new nn.Sequential(new nn.Linear(4, 8), new nn.ReLU(), new nn.Linear(8, 2));
 * console.log(model.forward(rand([1, 4])).shape); // [1, 2]
 * const named = new nn.Sequential({ inner: model, head: new nn.Linear(2, 5) });
 * console.log(Object.keys(named.stateDict())); // inner.0.weight, …, head.weight, head.bias
 * ```
 */
export class Sequential extends Module {
  readonly #modules: [name: string, module: Module][];

  constructor(...modules: Module[] | [modules: readonly Module[] | NamedModules]) {
    super();
    const [first] = modules;
    const list = modules.length > 1 || first instanceof Module || !isPlain(first) ? modules : first;
    this.#modules = Object.entries(list)
      .filter(([, module]) => Array.isArray(list) || module !== undefined);
    for (const [name, module] of this.#modules as [string, unknown][]) {
      if (typeof module === "function" && !isClass(module)) {
        const { name: called } = module;
        refuse(
          "Sequential",
          `module ${name}`,
          module,
          `a module; write a class with forward(), or take a layer such as nn.ReLU for ${
            called || "it"
          }`,
        );
      }
      checkModule("Sequential", `module ${name}`, module);
      if (name === "" || name.includes(".")) {
        refuse("Sequential", "a module's name", name, "a text that is not empty and has no dot");
      }
    }
  }

  /** The modules by their name, and then those that a subclass has in properties. */
  override *namedChildren(): Generator<[string, AnyModule]> {
    for (const [name, module] of this.#modules) yield [name, module];
    yield* super.namedChildren(); // of a subclass
  }

  /** The modules with their names, in order, without those that a subclass has in properties. */
  entries(): [name: string, module: Module][] {
    return this.#modules.map(([name, module]) => [name, module]);
  }

  /** The output of the last module. An error says which module it came from. */
  override forward(x: Tensor): Tensor {
    return inOrder(this.#modules, x);
  }

  /**
   * Puts another module in the place of one, which is returned: `model.replace("fc", head)` for
   * new classes, or `model.replace("classifier.1", head)` of a Sequential within. Its parameters
   * are not freed; an optimizer that has them is to be made anew.
   *
   * ```ts
   * import { models, nn } from "@cudeno/cudeno";
   * const model = models.resnet18(); // with weights that were loaded, say
   * model.replace("fc", new nn.Linear(512, 10)).dispose();
   * ```
   */
  replace(name: string | number, module: Module): Module {
    checkModule("replace", "module", module);
    const [outer, ...rest] = `${name}`.split(".");
    const entry = this.#modules.find(([own]) => own === outer);
    if (rest.length > 0 && entry?.[1] instanceof Sequential) {
      return entry[1].replace(rest.join("."), module);
    }
    if (!entry || rest.length > 0) {
      throw new ArgumentError(
        `replace: there is no module ${formatValue(name)}; there are ${
          this.#modules.map(([own]) => own).join(", ") || "none"
        }`,
      );
    }
    const before = entry[1];
    entry[1] = module;
    return before;
  }
}

isChain(Sequential);

// Whether it is a list or an object of modules, rather than one that is wrong.
function isPlain(list: unknown): list is readonly Module[] | NamedModules {
  if (Array.isArray(list)) return true;
  const kind = typeof list === "object" && list !== null ? Object.getPrototypeOf(list) : undefined;
  return kind === Object.prototype || kind === null;
}
