import type { DeviceName } from "../core/backend.ts";
import { noGrad, zeroGrad } from "../core/autograd.ts";
import { checkOptions } from "../core/options.ts";
import { keep } from "../core/scope.ts";
import { formatShape, sameShape } from "../core/shape.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";
import { Tensor } from "../tensor.ts";

/** Tensors by their PyTorch names, such as `0.weight`. */
export type StateDict = Record<string, Tensor>;

/** What {@linkcode Module.loadStateDict} did not find on one side or the other. */
export interface LoadResult {
  /** Names that the module has and the state dict lacks. */
  readonly missing: string[];
  /** Names that the state dict has and the module lacks. */
  readonly unexpected: string[];
}

/**
 * The base of layers and models. A subclass makes its tensors and child modules in the constructor, as properties, and
 * computes in forward(); properties that are tensors with requiresGrad are parameters, other tensors are buffers (saved
 * but not trained), and modules, alone or in arrays, plain objects, Maps and Sets, are children, named by their property
 * and key as in PyTorch's ModuleList and ModuleDict: `heads.0`, `blocks.left`.
 *
 * What is in a #private field cannot be found: it is not trained, saved, moved or set to evaluation mode. An optimizer
 * warns at its first step where backward() gave gradients to tensors that no optimizer has.
 *
 * ```ts
 * import { nn, Tensor } from "@cudeno/cudeno";
 * class Residual extends nn.Module {
 *   inner = new nn.Linear(8, 8);
 *   override forward(x: Tensor): Tensor {
 *     return this.inner.forward(x).relu().add(x);
 *   }
 * }
 * console.log([...new Residual().namedParameters()].map(([name]) => name)); // inner.weight, inner.bias
 * ```
 */
export abstract class Module {
  /** Whether the module is being trained; layers such as dropout behave by it. See train() and eval(). */
  training = true;

  /** The output for an input. */
  abstract forward(x: Tensor): Tensor;

  /** The modules directly inside, by name. */
  *namedChildren(): Generator<[string, Module]> {
    for (const [name, value] of Object.entries(this)) {
      if (value instanceof Module) yield [name, value];
      else if (typeof value === "object") yield* modulesIn(name, value, []);
    }
  }

  /** This module and all inside it, by name; its own name is empty. */
  *namedModules(prefix = ""): Generator<[string, Module]> {
    yield [prefix, this];
    for (const [name, child] of this.namedChildren()) {
      yield* child.namedModules(prefix ? `${prefix}.${name}` : name);
    }
  }

  *#namedTensors(): Generator<[name: string, tensor: Tensor, owner: Module, key: string]> {
    for (const [prefix, owner] of this.namedModules()) {
      for (const [key, value] of Object.entries(owner)) {
        if (value instanceof Tensor) yield [prefix ? `${prefix}.${key}` : key, value, owner, key];
      }
    }
  }

  /** The parameters with their names, such as `0.weight`. One that several modules share comes once. */
  *namedParameters(): Generator<[string, Tensor]> {
    const seen = new Set<Tensor>();
    for (const [name, tensor] of this.#namedTensors()) {
      if (tensor.requiresGrad && !seen.has(tensor)) yield [name, tensor];
      seen.add(tensor);
    }
  }

  /** The parameters: what an optimizer trains. */
  parameters(): Tensor[] {
    return Array.from(this.namedParameters(), ([, tensor]) => tensor);
  }

  /** Frees the gradients of all parameters. */
  zeroGrad(): void {
    zeroGrad(this.parameters());
  }

  /** All parameters and buffers by name: the tensors themselves, not copies. */
  stateDict(): StateDict {
    return Object.fromEntries(Array.from(this.#namedTensors(), ([name, tensor]) => [name, tensor]));
  }

  /**
   * Copies values into parameters and buffers of the same names, from any device and float dtype. With `strict` (the
   * default), throws when names are missing or unexpected; shapes must be equal. Nothing is changed if it throws.
   */
  loadStateDict(state: StateDict, options: { strict?: boolean } = {}): LoadResult {
    checkOptions("loadStateDict", options, ["strict"]);
    const own = this.stateDict();
    const missing = Object.keys(own).filter((name) => !Object.hasOwn(state, name));
    const unexpected = Object.keys(state).filter((name) => !Object.hasOwn(own, name));
    if ((options.strict ?? true) && missing.length + unexpected.length > 0) {
      throw new ArgumentError(
        `loadStateDict: missing are [${missing.join(", ")}], unexpected are [${
          unexpected.join(", ")
        }]; pass { strict: false } to load what fits`,
      );
    }
    const pairs = Object.entries(own).filter(([name]) => Object.hasOwn(state, name));
    for (const [name, tensor] of pairs) {
      const { shape, handle: _alive } = state[name]!; // throws for one that was disposed
      if (!sameShape(shape, tensor.shape)) {
        throw new ShapeError(
          `loadStateDict: ${name} is ${formatShape(shape)}; the module has ${
            formatShape(tensor.shape)
          }`,
        );
      }
    }
    for (const [name, tensor] of pairs) {
      if (state[name] === tensor) continue;
      const source = state[name]!.detach();
      const cast = source.to(tensor.dtype);
      const here = cast.to(tensor.device);
      tensor.copyFrom(here);
      for (const temporary of new Set([source, cast, here])) temporary.dispose();
    }
    return { missing, unexpected };
  }

  /** Sets training mode here and in all children. */
  train(mode = true): this {
    for (const [, module] of this.namedModules()) module.training = mode;
    return this;
  }

  /** Sets evaluation mode: train(false). */
  eval(): this {
    return this.train(false);
  }

  /** Moves all parameters and buffers to a device. Do it before making an optimizer. */
  to(device: DeviceName): this {
    const moved = new Map<Tensor, Tensor>(); // a tensor that modules share stays shared
    for (const [, tensor, owner, key] of [...this.#namedTensors()]) {
      const there = moved.get(tensor) ?? noGrad(() => tensor.to(device));
      if (there === tensor) continue;
      there.requiresGrad = tensor.requiresGrad;
      (owner as unknown as Record<string, Tensor>)[key] = keep(there);
      moved.set(tensor, there);
    }
    for (const tensor of moved.keys()) {
      tensor.grad?.dispose();
      tensor.dispose();
    }
    return this;
  }

  /** Frees all parameters, buffers and gradients. */
  dispose(): void {
    for (const [, tensor] of this.#namedTensors()) {
      tensor.grad?.dispose();
      tensor.dispose();
    }
  }

  /** What console.log shows. */
  [Symbol.for("Deno.customInspect")](): string {
    return this.summary();
  }

  /** One line for summary(), such as `Linear(784, 128)`. */
  describe(): string {
    return this.constructor.name;
  }

  /** A table of the modules with the shapes and counts of their parameters. */
  summary(): string {
    const rows: string[][] = [["module", "parameters", "shapes"]];
    const total = this.parameters().reduce((n, tensor) => n + tensor.size, 0);
    for (const [name, module] of this.namedModules()) {
      const own = Object.entries(module).filter(([, value]) => value instanceof Tensor) as [
        string,
        Tensor,
      ][];
      const count = own.reduce((n, [, tensor]) => n + (tensor.requiresGrad ? tensor.size : 0), 0);
      const shapes = own.map(([key, tensor]) => `${key} ${formatShape(tensor.shape)}`).join(", ");
      rows.push([
        `${name ? `${name}: ` : ""}${module.describe()}`,
        count ? count.toLocaleString("en") : "",
        shapes,
      ]);
    }
    rows.push(["total", total.toLocaleString("en"), ""]);
    const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
    return rows.map(([module, count, shapes]) =>
      `${module!.padEnd(widths[0]!)}  ${count!.padStart(widths[1]!)}  ${shapes}`.trimEnd()
    ).join("\n");
  }
}

// The modules in a container, which stands within those `around` it.
function* modulesIn(
  name: string,
  value: object | null,
  around: readonly unknown[],
): Generator<[string, Module]> {
  if (value === null || value instanceof Tensor || around.includes(value)) return;
  for (const [key, item] of entriesOf(value)) {
    if (item instanceof Module) yield [`${name}.${key}`, item];
    else if (typeof item === "object") yield* modulesIn(`${name}.${key}`, item, [...around, value]);
  }
}

function entriesOf(value: object): Iterable<[key: unknown, item: unknown]> {
  if (Array.isArray(value) || value instanceof Map) return value.entries();
  if (value instanceof Set) return [...value].entries();
  const kind = Object.getPrototypeOf(value);
  return kind === Object.prototype || kind === null ? Object.entries(value) : [];
}
