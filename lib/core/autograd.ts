import { ArgumentError, GradientError, ShapeError } from "../native/errors.ts";
import { withoutAutocast } from "./autocast.ts";
import { isFloat } from "./dtype.ts";
import { checkOptions } from "./options.ts";
import { ownAs, scope } from "./scope.ts";
import { formatShape, sameShape } from "./shape.ts";
import type { TensorBase } from "./tensor.ts";

/** One step of the tape: the operation that made a tensor, and how gradients go back through it. */
export interface Node {
  /** The operation, for messages. */
  readonly name: string;
  /** Counts up with every operation, so that sorting by it is a topological order. */
  readonly order: number;
  /** What the operation read. */
  readonly inputs: readonly TensorBase[];
  /** From the gradient of the output to those of the inputs, null for an input that needs none. */
  readonly backward: (grad: TensorBase) => readonly (TensorBase | null)[];
  /** Set when a backward pass has used it up. */
  freed: boolean;
}

let enabled = true;
let steps = 0;

/**
 * Whether operations are recorded now. While the backward closure of an operation runs, this says whether the gradients
 * are to be differentiated again: then they must come from operations that are recorded.
 */
export function gradEnabled(): boolean {
  return enabled;
}

/**
 * Runs `fn` without recording: its results need no gradients. For evaluation, and for changing parameters by hand.
 * `fn` must be synchronous.
 *
 * ```ts
 * import { noGrad, tensor } from "@cudeno/cudeno";
 * const w = tensor([1, 2], { requiresGrad: true });
 * const y = noGrad(() => w.mul(2));
 * console.log(y.requiresGrad); // false
 * ```
 */
export function noGrad<T>(fn: () => T): T {
  const before = enabled;
  enabled = false;
  try {
    const result = fn();
    if (result instanceof Promise) {
      result.catch(() => {}); // or its failure would end the process
      throw new GradientError("noGrad: the function is async; await outside of it");
    }
    return result;
  } finally {
    enabled = before;
  }
}

/** Records how `out` was made, when any input needs a gradient. Returns `out`. */
export function record<T extends TensorBase>(
  out: T,
  name: string,
  inputs: readonly T[],
  backward: (grad: T) => readonly (T | null)[],
): T {
  if (!enabled || !inputs.some((x) => x.requiresGrad)) return out;
  out.requiresGrad = true;
  out.node = {
    name,
    order: steps++,
    inputs,
    backward: backward as Node["backward"],
    freed: false,
  };
  return out;
}

/** Throws where an operation without a gradient would silently cut a graph. */
export function checkNoGradient(name: string, ...inputs: TensorBase[]): void {
  if (enabled && inputs.some((x) => x.requiresGrad)) {
    throw new GradientError(
      `${name} has no gradient, and its input needs one; detach() the input or use noGrad()`,
    );
  }
}

/** Options of {@linkcode backward}. */
export interface BackwardOptions {
  /** Keep what was recorded, so that backward may be called again. Default: that of createGraph. */
  retainGraph?: boolean;
  /** Record the gradients' own computation, so that they can be differentiated again. Default false. */
  createGraph?: boolean;
}

/** Options of {@linkcode grad}. */
export interface GradOptions<T extends TensorBase = TensorBase> extends BackwardOptions {
  /** The gradients of the outputs, of their shapes; an output of one element needs none. */
  gradOutputs?: T | readonly (T | undefined)[];
  /** Give zeros for an input that the outputs do not depend on, instead of an error. Default false. */
  allowUnused?: boolean;
}

/** Walks the tape back from `root` and adds to the `grad` of every leaf that needs one. */
export function backward(root: TensorBase, gradient?: TensorBase, options: BackwardOptions = {}) {
  checkOptions("backward", options, ["retainGraph", "createGraph"]);
  checkRecorded("backward", root);
  const pass = new Pass(options);
  pass.walk([[root, seedOf("backward", root, gradient, pass.create)]]);
  pass.store();
}

/**
 * The gradients of outputs with respect to inputs, returned and not added to `grad`; as torch.autograd.grad. Inputs may be
 * leaves or results on the way. With `createGraph` the gradients are recorded and can be differentiated again, for second
 * derivatives or a penalty on gradients; then all that was computed lives until its scope ends.
 *
 * @throws {GradientError} when an output was not recorded, or does not depend on an input.
 *
 * ```ts
 * import { grad, tensor } from "@cudeno/cudeno";
 * const x = tensor([1, 2, 3], { requiresGrad: true });
 * const [first] = grad(x.mul(x).mul(x).sum(), [x], { createGraph: true }); // 3 x^2
 * const [second] = grad(first!.sum(), [x]); // 6 x
 * console.log(second!.dataSync()); // 6, 12, 18
 * ```
 */
export function grad<T extends TensorBase>(
  outputs: T | readonly T[],
  inputs: readonly T[],
  options: GradOptions<T> = {},
): T[] {
  checkOptions("grad", options, ["gradOutputs", "allowUnused", "retainGraph", "createGraph"]);
  const roots = Array.isArray(outputs) ? outputs as readonly T[] : [outputs as T];
  const { gradOutputs, allowUnused = false } = options;
  const given = Array.isArray(gradOutputs) ? gradOutputs : [gradOutputs];
  if (given.length > roots.length) {
    throw new ArgumentError(
      `grad: ${given.length} gradOutputs are given for ${roots.length} outputs`,
    );
  }
  for (const root of roots) checkRecorded("grad", root);
  for (const input of inputs) {
    if (!input.requiresGrad) {
      throw new GradientError("grad: an input has no requiresGrad, so nothing was recorded of it");
    }
  }
  const pass = new Pass(options, new Set(inputs));
  pass.walk(roots.map((root, i) => [root, seedOf("grad", root, given[i], pass.create)]));
  return inputs.map((input, i) => {
    const found = pass.take(input);
    if (found) return found as T;
    if (!allowUnused) {
      throw new GradientError(
        `grad: the outputs do not depend on input ${i}; pass { allowUnused: true } to get zeros`,
      );
    }
    return input.make(input.shape).fill(0);
  });
}

/**
 * For the backward closure of an operation whose gradient is one native call: the gradients of its inputs by way of `fn`,
 * the same operation written with differentiable ones, so that they are recorded. To be used when gradEnabled().
 */
export function throughOps<T extends TensorBase>(
  fn: (...inputs: T[]) => T,
  inputs: readonly T[],
  gradient: T,
): (T | null)[] {
  const wanted = new Set<TensorBase>(inputs.filter((input) => input.requiresGrad));
  const pass = new Pass({ createGraph: true }, wanted, true);
  pass.walk([[fn(...inputs), gradient]]);
  return inputs.map((input) => {
    const found = wanted.delete(input) ? pass.take(input) : undefined; // once, if it is there twice
    return (found ?? null) as T | null;
  });
}

function checkRecorded(op: string, root: TensorBase): void {
  if (!root.requiresGrad) {
    throw new GradientError(`${op}: the tensor needs no gradient; nothing was recorded`);
  }
}

function seedOf(
  op: string,
  root: TensorBase,
  gradient: TensorBase | undefined,
  create: boolean,
): TensorBase {
  if (!gradient) {
    if (root.size !== 1) {
      throw new GradientError(
        `${op}: the tensor has shape ${formatShape(root.shape)}; only a single number has a ` +
          "gradient by itself: reduce it with sum() or mean(), or give a gradient of its shape",
      );
    }
    return root.make(root.shape, root.dtype).fill(1);
  }
  if (!sameShape(gradient.shape, root.shape) || gradient.dtype !== root.dtype) {
    throw new ShapeError(
      `${op}: the gradient is ${gradient.dtype} ${formatShape(gradient.shape)}; ` +
        `the tensor is ${root.dtype} ${formatShape(root.shape)}`,
    );
  }
  return create ? gradient : gradient.alias();
}

// Where the tape's own gradients go; made once, since a place of their own would tell nothing.
const freedByBackward = new Error("freed by backward()");

/**
 * One walk back. Gradients are freed as soon as the last operation that reads them has run, unless their computation is
 * recorded.
 */
class Pass {
  /** Whether the walk itself is recorded. */
  readonly create: boolean;
  readonly #retain: boolean;
  readonly #targets: ReadonlySet<TensorBase> | undefined;
  readonly #stop: boolean;
  #needed: ReadonlySet<TensorBase> | undefined; // undefined: all
  readonly #gradients = new Map<TensorBase, TensorBase>();
  readonly #holders = new Map<TensorBase, number>();

  /** Towards `targets`, or all leaves; with `stop` not past the targets. */
  constructor(options: BackwardOptions, targets?: ReadonlySet<TensorBase>, stop = false) {
    this.create = options.createGraph ?? false;
    this.#retain = options.retainGraph ?? this.create;
    this.#targets = targets;
    this.#stop = stop;
  }

  walk(seeds: readonly (readonly [root: TensorBase, seed: TensorBase])[]): void {
    this.#withMode(() => withoutAutocast(() => this.#walk(seeds)));
  }

  #walk(seeds: readonly (readonly [root: TensorBase, seed: TensorBase])[]): void {
    const stops = this.#stop ? this.#targets : undefined;
    let made = newestFirst(seeds.map(([root]) => root), stops);
    if (this.#targets) {
      made = leadingTo(made, this.#targets);
      this.#needed = new Set([...made, ...this.#targets]);
    }
    for (const [root, seed] of seeds) this.#give(root, seed);
    for (const tensor of made) {
      const grad = this.#gradients.get(tensor);
      if (!grad) continue;
      this.#step(tensor.node!, grad);
      if (this.#targets?.has(tensor)) continue;
      this.#gradients.delete(tensor);
      this.#release(grad);
    }
    if (!this.#retain) { for (const tensor of made) free(tensor.node!); }
  }

  #step(node: Node, grad: TensorBase): void {
    const results = this.create ? node.backward(grad) : scope(() => node.backward(grad));
    results.forEach((result, i) => {
      const input = node.inputs[i]!;
      if (!result || !input.requiresGrad) return;
      if (!sameShape(result.shape, input.shape) || result.dtype !== input.dtype) {
        throw new GradientError(
          `${node.name}: gradient ${i} is ${result.dtype} ${formatShape(result.shape)}; ` +
            `its input is ${input.dtype} ${formatShape(input.shape)}`,
        );
      }
      if (this.#needed?.has(input) ?? true) this.#give(input, result);
    });
    if (this.create) return;
    for (const result of results) {
      if (result && !this.#holders.has(result) && result !== grad) result.dispose(freedByBackward);
    }
  }

  #give(target: TensorBase, grad: TensorBase): void {
    const before = this.#gradients.get(target);
    const total = before ? before.plus(grad) : grad;
    this.#gradients.set(target, total);
    this.#holders.set(total, (this.#holders.get(total) ?? 0) + 1);
    if (before) this.#release(before);
  }

  #release(grad: TensorBase): void {
    if (this.create) return;
    const left = this.#holders.get(grad)! - 1;
    if (left > 0) {
      this.#holders.set(grad, left);
    } else {
      this.#holders.delete(grad);
      grad.dispose(freedByBackward);
    }
  }

  /** The gradient of a target, in memory that is its own. */
  take(target: TensorBase): TensorBase | undefined {
    const grad = this.#gradients.get(target);
    if (!grad || this.#stop) return grad;
    const own = this.#withMode(() => this.#own(grad));
    this.#gradients.set(target, own);
    this.#holders.set(own, 1);
    return own;
  }

  /** Adds to the gradients of the leaves, which live as long as the leaves. */
  store(): void {
    this.#withMode(() => {
      for (const [leaf, grad] of this.#gradients) {
        const before = leaf.grad;
        const total = before ? before.plus(grad) : this.#own(grad);
        leaf.grad = ownAs(total, leaf);
        if (!this.create) before?.dispose(freedByBackward);
        if (before) this.#release(grad);
      }
    });
  }

  // Users may write to a gradient, so it must not be the memory of another one or of what they gave.
  #own(grad: TensorBase): TensorBase {
    if (!this.create && this.#holders.get(grad) === 1 && !grad.shared) return grad;
    if (this.create && grad.node) return grad;
    const copy = record(grad.make(grad.shape).copyFrom(grad), "clone", [grad], (g) => [g]);
    this.#release(grad);
    return copy;
  }

  #withMode<T>(fn: () => T): T {
    const before = enabled;
    enabled = this.create;
    try {
      return fn();
    } finally {
      enabled = before;
    }
  }
}

// The tensors that an operation made, on the way from the roots to the leaves, or to `stops`.
function newestFirst(
  roots: readonly TensorBase[],
  stops: ReadonlySet<TensorBase> | undefined,
): TensorBase[] {
  const found = new Set<TensorBase>();
  const waiting = [...roots];
  for (let tensor = waiting.pop(); tensor; tensor = waiting.pop()) {
    const node = tensor.node;
    if (!node || found.has(tensor) || stops?.has(tensor)) continue;
    if (node.freed) {
      throw new GradientError(
        `backward: the graph through ${node.name} was used up by an earlier backward; ` +
          "pass { retainGraph: true } there to use it twice",
      );
    }
    found.add(tensor);
    for (const input of node.inputs) if (input.requiresGrad) waiting.push(input);
  }
  return [...found].sort((a, b) => b.node!.order - a.node!.order);
}

// Those of them from which a target is reached.
function leadingTo(made: TensorBase[], targets: ReadonlySet<TensorBase>): TensorBase[] {
  const leading = new Set<TensorBase>();
  const leads = (tensor: TensorBase) => targets.has(tensor) || leading.has(tensor);
  for (const tensor of made.toReversed()) {
    if (tensor.node!.inputs.some(leads)) leading.add(tensor);
  }
  return made.filter((tensor) => leading.has(tensor));
}

// Lets go of what the node had saved, but leaves its name for the message above.
function free(node: Node): void {
  node.freed = true;
  const gone = node as { inputs: Node["inputs"]; backward: Node["backward"] };
  gone.inputs = [];
  gone.backward = () => [];
}

/** Throws unless a dtype can carry gradients. */
export function checkGradDType(op: string, tensor: TensorBase): void {
  if (!isFloat(tensor.dtype)) {
    throw new GradientError(
      `${op}: a ${tensor.dtype} tensor has no gradient; use a float`,
    );
  }
}

// Made once, as freedByBackward is.
const freedByZeroGrad = new Error("freed by zeroGrad()");

/** Frees the gradients of leaves: what the zeroGrad() of modules and optimizers do. */
export function zeroGrad(leaves: Iterable<TensorBase>): void {
  for (const leaf of leaves) {
    leaf.grad?.dispose(freedByZeroGrad);
    leaf.grad = null;
  }
}
