import { addHook, type ForwardHook, type ForwardPreHook, type HookHandle } from "./_hooks.ts";
import {
  checkFound,
  frozen,
  type GroupPattern,
  groupsOf,
  matcherOf,
  type NamePattern,
} from "./_names.ts";
import { checkStateDict, mismatch } from "./_state_dict.ts";
import { summaryOf, treeOf } from "./_summary.ts";
import type { DeviceName } from "../core/backend.ts";
import { noGrad } from "../core/autograd.ts";
import { checkOptions, refuse } from "../core/options.ts";
import { keep, scope } from "../core/scope.ts";
import { formatShape, sameShape, type Shape } from "../core/shape.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";
import { zeroGradients } from "../optim/_lists.ts";
import type { ZeroGradOptions } from "../optim/optimizer.ts";
import { checkTensor } from "../ops/_operands.ts";
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

/** Options of {@linkcode Module.summary}: one of them, for the shapes that modules give. */
export interface SummaryOptions {
  /**
   * The shape of an input, with the batch: `[1, 784]`. The input is zeros, of the parameters' dtype
   * and device.
   */
  inputShape?: Shape | undefined;
  /** An input, for a model of whole numbers or of several inputs, say. */
  input?: unknown;
}

/** A module, whatever it takes and gives. */
// deno-lint-ignore no-explicit-any -- neither never nor unknown stands for both
export type AnyModule = Module<any, any>;

/**
 * The base of layers and models. A subclass makes its tensors and child modules in the constructor,
 * as properties, and computes in forward(); properties that are tensors with requiresGrad are
 * parameters, other tensors are buffers (saved but not trained), and modules, alone or in arrays,
 * plain objects, Maps and Sets, are children, named by their property and key as in PyTorch's
 * ModuleList and ModuleDict: `heads.0`, `blocks.left`.
 *
 * A model of several inputs or outputs says so: forward() takes and gives structures of tensors, as
 * `Module<{ image: Tensor; age: Tensor }, Tensor[]>`.
 *
 * What is in a #private field cannot be found: it is not trained, saved, moved or set to evaluation
 * mode. An optimizer warns at its first step where backward() gave gradients to tensors that no
 * optimizer has.
 *
 * ```ts
 * import { nn, Tensor } from "@cudeno/cudeno";
 * class Residual extends nn.Module {
 *   inner = new nn.Linear(8, 8);
 *   override forward(x: Tensor): Tensor {
 *     return this.inner.forward(x).relu().add(x);
 *   }
 * }
 * console.log([...new Residual().namedParameters()].map(([name]) => name));
 * // inner.weight, inner.bias
 * ```
 */
export abstract class Module<Input = Tensor, Output = Tensor> {
  /**
   * Whether the module is being trained; layers such as dropout behave by it. See train() and
   * eval().
   */
  training = true;

  /** The output for an input. */
  abstract forward(x: Input): Output;

  /** The modules directly inside, by name. */
  *namedChildren(): Generator<[string, AnyModule]> {
    for (const [name, value] of Object.entries(this)) {
      if (value instanceof Module) yield [name, value];
      else if (typeof value === "object") yield* containedIn(name, value, []);
    }
  }

  /**
   * This module and all inside it, by name; its own name is empty. One that is there twice comes
   * once, as in PyTorch.
   */
  *namedModules(prefix = ""): Generator<[string, AnyModule]> {
    if (typeof prefix !== "string") refuse("namedModules", "prefix", prefix, "a string");
    const seen = new Set<AnyModule>();
    for (const [name, module] of modulesIn(this, prefix, seen)) {
      seen.add(module);
      yield [name, module];
    }
  }

  *#namedTensors(
    modules = this.namedModules(),
  ): Generator<[name: string, tensor: Tensor, owner: AnyModule, key: string]> {
    for (const [prefix, owner] of modules) {
      for (const [key, value] of Object.entries(owner)) {
        if (value instanceof Tensor) yield [prefix ? `${prefix}.${key}` : key, value, owner, key];
      }
    }
  }

  /**
   * The parameters with their names, such as `0.weight`. One that several modules share comes once.
   */
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

  /**
   * Takes parameters from training, by default all: they have no requiresGrad any more, and no
   * gradient, and parameters() leaves them out; they are still saved, loaded and moved. Returns
   * their names. Norms go on to follow batches while they are in training mode.
   *
   * @throws {ArgumentError} when none matches.
   *
   * ```ts
   * import { models, nn, optim } from "@cudeno/cudeno";
   * const model = models.resnet18(); // with weights that were loaded, say
   * model.replace("fc", new nn.Linear(512, 10)).dispose();
   * model.freeze((name) => !name.startsWith("fc"));
   * const optimizer = new optim.Adam(model.parameters()); // fc.weight and fc.bias
   * model.unfreeze("layer4"); // later, with optimizer.addGroup()
   * ```
   */
  freeze(pattern: NamePattern = "*"): string[] {
    const found = this.#matching("freeze", pattern);
    zeroGradients(found.map(([, x]) => x), {});
    for (const [, x] of found) {
      x.requiresGrad = false;
      frozen.add(x);
    }
    return found.map(([name]) => name);
  }

  /**
   * Gives back to training what freeze() took from it, by default all. Returns the names.
   *
   * @throws {ArgumentError} when none matches.
   */
  unfreeze(pattern: NamePattern = "*"): string[] {
    const found = this.#matching("unfreeze", pattern);
    for (const [, x] of found) x.requiresGrad = true;
    return found.map(([name]) => name);
  }

  // Of a tensor that modules share each name counts.
  #matching(op: string, pattern: NamePattern): [name: string, parameter: Tensor][] {
    const matches = matcherOf(op, pattern);
    const all = Array.from(
      this.#namedTensors(modulesIn(this)),
      ([name, x]): [string, Tensor] => [name, x],
    ).filter(([, x]) => x.requiresGrad || frozen.has(x));
    const found = all.filter(([name]) => matches(name));
    checkFound(op, pattern, found.length, all.map(([name]) => name));
    return found;
  }

  /**
   * Groups of the parameters for an optimizer, by patterns of their names: each is in the group of
   * the first pattern that matches, and the rest in a last one, which has the optimizer's own
   * options.
   *
   * @throws {ArgumentError} when a pattern matches none, but for those of the groups before it.
   *
   * ```ts
   * import { nn, optim } from "@cudeno/cudeno";
   * const model = new nn.Sequential(new nn.Linear(4, 8), new nn.LayerNorm(8), new nn.Linear(8, 2));
   * const groups = model.parameterGroups([
   *   { match: "2.weight", lr: 1e-4 },
   *   { match: /bias|^1/, weightDecay: 0 },
   * ]);
   * const optimizer = new optim.AdamW(groups, { lr: 1e-3, weightDecay: 0.01 });
   * console.log(optimizer.groups.map(({ params }) => params.length)); // 1, 4, 1
   * ```
   */
  parameterGroups<O extends object>(
    groups: readonly GroupPattern<O>[],
  ): (Omit<GroupPattern<O>, "match"> & { params: Tensor[] })[] {
    return groupsOf(this.namedParameters(), groups);
  }

  /**
   * Runs a function after each forward() of this module, whoever calls it: to look at what layers
   * give, or to put another tensor in its place. It gets the module, the first argument and the
   * output, which are freed as without it: keep() or clone() what is to stay. The layer is not
   * fused with those around it meanwhile. Of recurrent layers run() is not seen.
   *
   * ```ts
   * import { nn, ones } from "@cudeno/cudeno";
   * const layer = new nn.Linear(3, 4);
   * const model = new nn.Sequential(layer, new nn.ReLU());
   * const handle = layer.registerForwardHook((_, x, y) => console.log(x.shape, y.shape));
   * model.forward(ones([2, 3])); // [2, 3] [2, 4]
   * handle.remove();
   * ```
   */
  registerForwardHook(hook: ForwardHook<this, Input, Output>): HookHandle {
    return addHook(this, "after", hook as ForwardHook<AnyModule, unknown, unknown>);
  }

  /**
   * Runs a function before each forward() of this module, as
   * {@linkcode Module.registerForwardHook} after it: it may return another input.
   */
  registerForwardPreHook(hook: ForwardPreHook<this, Input>): HookHandle {
    return addHook(this, "before", hook as ForwardPreHook<AnyModule, unknown>);
  }

  /** Frees the gradients of all parameters, or with `{ setToNone: false }` fills them with 0. */
  zeroGrad(options: ZeroGradOptions = {}): void {
    zeroGradients(this.parameters(), options);
  }

  /** All parameters and buffers by name: the tensors themselves, not copies. */
  stateDict(): StateDict {
    const all = this.#namedTensors(modulesIn(this));
    return Object.fromEntries(Array.from(all, ([name, tensor]) => [name, tensor]));
  }

  /**
   * Copies values into parameters and buffers of the same names, from any device and float dtype.
   * With `strict` (the default), throws when names are missing or unexpected; shapes must be equal.
   * Nothing is changed if it throws.
   */
  loadStateDict(state: StateDict, options: { strict?: boolean | undefined } = {}): LoadResult {
    checkOptions("loadStateDict", options, ["strict"]);
    checkStateDict("loadStateDict", state);
    const own = this.stateDict();
    const missing = Object.keys(own).filter((name) => !Object.hasOwn(state, name));
    const unexpected = Object.keys(state).filter((name) => !Object.hasOwn(own, name));
    const { strict = true } = options;
    const none = unexpected.length > 0 && missing.length === Object.keys(own).length;
    if (missing.length + unexpected.length > 0 && (strict || none)) {
      throw new ArgumentError(`loadStateDict: ${mismatch(missing, unexpected)}`);
    }
    const pairs = Object.entries(own).filter(([name]) => Object.hasOwn(state, name));
    for (const [name, tensor] of pairs) {
      checkTensor(`loadStateDict: ${name}`, state[name]);
      const { shape, format } = state[name];
      state[name].stored(format); // throws for one that was disposed
      if (!sameShape(shape, tensor.shape)) {
        throw new ShapeError(
          `loadStateDict: ${name} is ${formatShape(shape)}; the module has ${
            formatShape(tensor.shape)
          }`,
        );
      }
    }
    scope(() => {
      const others = pairs.filter(([name, tensor]) => state[name] !== tensor);
      // All of them, before any is written: there may be no room for one.
      const values = others.map(([name, tensor]) => {
        const given = state[name]!;
        // What shares memory may be this very tensor's, in another place.
        const source = given.shared ? given.detach().clone() : given.detach();
        return source.to(tensor.dtype).to(tensor.device);
      });
      others.forEach(([, tensor], i) => tensor.copyFrom(values[i]!));
    });
    return { missing, unexpected };
  }

  /** Sets training mode here and in all children. */
  train(mode = true): this {
    if (typeof mode !== "boolean") refuse("train", "mode", mode, "true or false");
    for (const [, module] of this.namedModules()) module.training = mode;
    return this;
  }

  /** Sets evaluation mode: train(false). */
  eval(): this {
    return this.train(false);
  }

  /** Moves all parameters and buffers to a device. Do it before making an optimizer. */
  to(device: DeviceName): this {
    const own = [...this.#namedTensors()];
    // a tensor that modules share stays shared
    const all = new Set(own.map(([, tensor]) => tensor));
    // all or none
    const moved = scope(() => noGrad(() => new Map([...all].map((x) => [x, x.to(device)]))));
    for (const [tensor, there] of moved) {
      if (there === tensor) moved.delete(tensor);
      else {
        keep(there).requiresGrad = tensor.requiresGrad;
        if (frozen.has(tensor)) frozen.add(there);
      }
    }
    for (const [, tensor, owner, key] of own) {
      const there = moved.get(tensor);
      if (there) (owner as unknown as Record<string, Tensor>)[key] = there;
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

  // What console.log and notebooks show. Names of methods have to be plain for an importer's
  // isolatedDeclarations.
  static {
    Object.defineProperty(this.prototype, Symbol.for("Deno.customInspect"), {
      value(this: Module): string {
        return `${this}`;
      },
    });
  }

  /**
   * One line for summary(): the call that makes such a layer, as `Linear(784, 128)`, or the name of
   * one made of others.
   */
  describe(): string {
    return this.constructor.name;
  }

  /** The module and all in it, indented, as PyTorch prints them; console.log shows that. */
  toString(): string {
    return treeOf(this);
  }

  /**
   * A table of the modules with the shapes, counts and bytes of their parameters (bytes with
   * buffers). With the shape of an input, or an input, also the shapes of what they give, its bytes
   * for modules without others inside, and FLOPs: 2 m n k for a product of matrices, whatever layer
   * makes it, and likewise for convolutions; the rest is not counted, as by PyTorch's
   * FlopCounterMode. What is called twice counts twice, but parameters once. The model then runs in
   * evaluation mode, which leaves it, its gradients and random numbers as they were.
   *
   * ```ts
   * import { nn } from "@cudeno/cudeno";
   * const model = new nn.Sequential(new nn.Linear(784, 10), new nn.ReLU());
   * console.log(model.summary({ inputShape: [1, 784] }));
   * console.log(model);
   * ```
   */
  summary(options: SummaryOptions | Tensor = {}): string {
    return summaryOf(this, options);
  }
}

const DEEPEST = 1000;

// All modules under all their names, but for `skipped` ones and what is in them. Not by recursion,
// which ends sooner.
function* modulesIn(
  root: AnyModule,
  prefix = "",
  skipped: ReadonlySet<AnyModule> = new Set(),
): Generator<[string, AnyModule]> {
  const path = [{ name: prefix, module: root, children: root.namedChildren() }];
  const around = new Set<AnyModule>([root]);
  yield [prefix, root];
  for (let level = path.at(-1); level; level = path.at(-1)) {
    const next = level.children.next();
    if (next.done) {
      path.pop();
      around.delete(level.module);
      continue;
    }
    const [key, module] = next.value;
    const name = level.name ? `${level.name}.${key}` : key;
    if (around.has(module)) {
      throw new ArgumentError(
        `${module.constructor.name}: ${name} is a module that it is in itself; keep a reference ` +
          "to a module around in a #private field, where it is not looked for",
      );
    }
    if (path.length === DEEPEST) {
      throw new ArgumentError(`${root.constructor.name}: modules are nested ${DEEPEST} deep`);
    }
    if (skipped.has(module)) continue;
    yield [name, module];
    path.push({ name, module, children: module.namedChildren() });
    around.add(module);
  }
}

// The modules in a container, which stands within those `around` it. What is nested deeper than any
// model is data.
function* containedIn(
  name: string,
  value: object | null,
  around: readonly unknown[],
): Generator<[string, AnyModule]> {
  if (value === null || value instanceof Tensor || around.includes(value)) return;
  for (const [key, item] of entriesOf(value)) {
    if (item instanceof Module) yield [`${name}.${key}`, item];
    else if (typeof item === "object" && around.length < DEEPEST / 10) {
      yield* containedIn(`${name}.${key}`, item, [...around, value]);
    }
  }
}

function entriesOf(value: object): Iterable<[key: unknown, item: unknown]> {
  if (Array.isArray(value) || value instanceof Map) return value.entries();
  if (value instanceof Set) return [...value].entries();
  const kind = Object.getPrototypeOf(value);
  return kind === Object.prototype || kind === null ? Object.entries(value) : [];
}
