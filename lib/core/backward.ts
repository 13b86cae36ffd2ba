import { ArgumentError, GradientError, ShapeError } from "../native/errors.ts";
import { withoutAutocast } from "./autocast.ts";
import { type Node, record, withRecording } from "./autograd.ts";
import type { Gate, Step } from "./gate.ts";
import { writeFlat } from "./layout.ts";
import { checkList, checkOptions, isTensor, refuse } from "./options.ts";
import { ownAs, syncScope } from "./scope.ts";
import { formatShape, sameShape } from "./shape.ts";
import type { TensorBase } from "./tensor.ts";

/** Options of {@linkcode backward}. */
export interface BackwardOptions {
  /** Keep what was recorded, so that backward may be called again. Default: that of createGraph. */
  retainGraph?: boolean | undefined;
  /**
   * Record the gradients' own computation, so that they can be differentiated again. Default false.
   */
  createGraph?: boolean | undefined;
}

/** Options of {@linkcode grad}. */
export interface GradOptions<T extends TensorBase = TensorBase> extends BackwardOptions {
  /** The gradients of the outputs, of their shapes; an output of one element needs none. */
  gradOutputs?: T | readonly (T | undefined)[];
  /**
   * Give zeros for an input that the outputs do not depend on, instead of an error. Default false.
   */
  allowUnused?: boolean | undefined;
}

let watchers = 0;
let reached: readonly TensorBase[] = [];
// What grad() was asked about, to be differentiated again: a later backward() gives it a gradient
// that nobody misses.
const asked = new WeakSet<TensorBase>();

/** From now on, until unwatchLeaves(), the leaves of the last backward() are remembered. */
export function watchLeaves(): void {
  watchers++;
}

/**
 * The leaves that the last backward() gave gradients, but for inputs of grad() with createGraph,
 * while they are watched.
 */
export function lastLeaves(): readonly TensorBase[] {
  return reached;
}

/** Ends a watchLeaves(). */
export function unwatchLeaves(): void {
  if (--watchers === 0) reached = [];
}

/** Walks the tape back from `root` and adds to the `grad` of every leaf that needs one. */
export function backward(
  root: TensorBase,
  gradient?: TensorBase,
  options: BackwardOptions = {},
): void {
  checkOptions("backward", options, ["retainGraph", "createGraph"]);
  checkRecorded("backward", root);
  const pass = new Pass(options);
  pass.walk([[root, seedOf("backward", root, gradient, pass.create)]]);
  const leaves = pass.store();
  if (watchers > 0) reached = [...leaves].filter((leaf) => !asked.has(leaf));
}

/**
 * The gradients of outputs with respect to inputs, returned and not added to `grad`; as
 * torch.autograd.grad. Inputs may be leaves or results on the way. With `createGraph` the gradients
 * are recorded and can be differentiated again, for second derivatives or a penalty on gradients;
 * then all that was computed lives until its scope ends.
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
  checkList("grad", "inputs", inputs, isTensor, "an array of tensors");
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
  if (options.createGraph) { for (const input of inputs) asked.add(input); }
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
 * For the backward closure of an operation whose gradient is one native call: the gradients of its
 * inputs by way of `fn`, the same operation written with differentiable ones, so that they are
 * recorded. To be used when gradEnabled().
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
  if (!isTensor(root)) refuse(op, "what is differentiated", root, "a tensor");
  if (!root.requiresGrad) {
    throw new GradientError(
      `${op}: the tensor needs no gradient; nothing was recorded: compute it from one with requiresGrad, outside of noGrad()`,
    );
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
 * One walk back. Gradients are freed as soon as the last operation that reads them has run, unless
 * their computation is recorded.
 */
class Pass implements Step {
  /** Whether the walk itself is recorded. */
  readonly create: boolean;
  /** Whether the gradient of the operation that is run now has its gate's slope in it. */
  gated = false;
  readonly #retain: boolean;
  readonly #targets: ReadonlySet<TensorBase> | undefined;
  readonly #stop: boolean;
  #needed: ReadonlySet<TensorBase> | undefined; // undefined: all
  readonly #gradients = new Map<TensorBase, TensorBase>();
  readonly #holders = new Map<TensorBase, number>();
  readonly #gated = new Set<TensorBase>(); // by the operation that used them
  #users = new Map<TensorBase, number>();

  /** Towards `targets`, or all leaves; with `stop` not past the targets. */
  constructor(options: BackwardOptions, targets?: ReadonlySet<TensorBase>, stop = false) {
    this.create = options.createGraph ?? false;
    this.#retain = options.retainGraph ?? this.create;
    this.#targets = targets;
    this.#stop = stop;
  }

  walk(seeds: readonly (readonly [root: TensorBase, seed: TensorBase])[]): void {
    withRecording(this.create, () => withoutAutocast(() => this.#walk(seeds)));
  }

  #walk(seeds: readonly (readonly [root: TensorBase, seed: TensorBase])[]): void {
    const stops = this.#stop ? this.#targets : undefined;
    let made = newestFirst(seeds.map(([root]) => root), stops);
    if (this.#targets) {
      made = leadingTo(made, this.#targets);
      this.#needed = new Set([...made, ...this.#targets]);
    }
    for (const [root, seed] of seeds) this.#give(root, seed);
    if (!this.create) this.#users = usersOf(made, seeds.map(([root]) => root));
    for (const tensor of made) {
      const grad = this.#gradients.get(tensor);
      if (!grad) continue;
      this.gated = this.#gated.has(tensor);
      this.#step(tensor.node!, grad);
      if (this.#targets?.has(tensor)) continue;
      this.#gradients.delete(tensor);
      this.#release(grad);
    }
    if (!this.#retain) { for (const tensor of made) free(tensor.node!); }
  }

  #step(node: Node, grad: TensorBase): void {
    const results = this.create
      ? node.backward(grad, this)
      : syncScope(() => node.backward(grad, this));
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

  /**
   * As {@linkcode Step} says; nothing is fused where the walk is recorded, and targets get what is
   * theirs.
   */
  takeGate(input: TensorBase): Gate | undefined {
    const gate = input.node?.gate;
    if (!gate || this.#users.get(input) !== 1 || this.#targets?.has(input)) return undefined;
    this.#gated.add(input);
    return gate;
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
    const own = withRecording(this.create, () => this.#own(grad));
    this.#gradients.set(target, own);
    this.#holders.set(own, 1);
    return own;
  }

  /** Adds to the gradients of the leaves, which live as long as the leaves; returns those. */
  store(): Iterable<TensorBase> {
    withRecording(this.create, () => {
      for (const [leaf, grad] of this.#gradients) {
        const before = leaf.grad;
        if (before && !this.create && addInPlace(before, grad)) {
          this.#release(grad);
          continue;
        }
        const total = before ? before.plus(grad) : this.#own(grad);
        leaf.grad = ownAs(total, leaf);
        if (!this.create) before?.dispose(freedByBackward);
        if (before) this.#release(grad);
      }
    });
    return this.#gradients.keys();
  }

  // Users may write to a gradient, so it must not be the memory of another one or of what they
  // gave.
  #own(grad: TensorBase): TensorBase {
    if (!this.create && this.#holders.get(grad) === 1 && !grad.shared) return grad;
    if (this.create && grad.node) return grad;
    const copy = record(grad.make(grad.shape).copyFrom(grad), "clone", [grad], (g) => [g]);
    this.#release(grad);
    return copy;
  }
}

// Adds to a gradient where it is, unless that is memory of another tensor too; a captured step finds
// it in its place.
function addInPlace(y: TensorBase, x: TensorBase): boolean {
  if (y.shared || y.requiresGrad || y.dtype !== x.dtype || !sameShape(y.shape, x.shape)) {
    return false;
  }
  const { backend, handle } = y;
  const at = writeFlat(y.size);
  backend.check(backend.functions.cdn_add(handle, handle, x.handle, at, 1, 0, y.code));
  return true;
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

// How many gradients each tensor with a gate gets: from the operations that read it, and as a root.
function usersOf(
  made: readonly TensorBase[],
  roots: readonly TensorBase[],
): Map<TensorBase, number> {
  const users = new Map<TensorBase, number>();
  for (const read of [roots, ...made.map((tensor) => tensor.node!.inputs)]) {
    for (const tensor of read) {
      if (tensor.node?.gate) users.set(tensor, (users.get(tensor) ?? 0) + 1);
    }
  }
  return users;
}

// Lets go of what the node had saved, but leaves its name for the message above.
function free(node: Node): void {
  node.freed = true;
  const gone = node as { -readonly [Key in keyof Node]: Node[Key] };
  gone.inputs = [];
  gone.backward = () => [];
  gone.gate = undefined;
}
