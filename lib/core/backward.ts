import { ArgumentError, GradientError, ShapeError } from "../native/errors.ts";
import { withoutAutocast } from "./autocast.ts";
import { gradEnabled, observed, record, withRecording } from "./autograd.ts";
import type { BackwardOptions, Differentiable, Gate, Node, Step } from "./node.ts";
import { checkList, checkOptions, isTensor, refuse } from "./options.ts";
import { recording } from "./recording.ts";
import { ownAs, syncScope } from "./scope.ts";
import { formatShape, sameShape } from "./shape.ts";

/** Options of {@linkcode grad}. */
export interface GradOptions<T extends Differentiable = Differentiable> extends BackwardOptions {
  /** The gradients of the outputs, of their shapes; an output of one element needs none. */
  gradOutputs?: T | readonly (T | undefined)[];
  /**
   * Give zeros for an input that the outputs do not depend on, instead of an error. Default false.
   */
  allowUnused?: boolean | undefined;
}

let watchers = 0;
let reached: readonly Differentiable[] = [];
// What grad() was asked about, to be differentiated again: a later backward() gives it a gradient
// that nobody misses.
const asked = new WeakSet<Differentiable>();

/** From now on, until unwatchLeaves(), the leaves of the last backward() are remembered. */
export function watchLeaves(): void {
  watchers++;
}

/**
 * The leaves that the last backward() gave gradients, but for inputs of grad() with createGraph,
 * while they are watched.
 */
export function lastLeaves(): readonly Differentiable[] {
  return reached;
}

/** Ends a watchLeaves(). */
export function unwatchLeaves(): void {
  if (--watchers === 0) reached = [];
}

/** Walks the tape back from `root` and adds to the `grad` of every leaf that needs one. */
export function backward(
  root: Differentiable,
  gradient?: Differentiable,
  options: BackwardOptions = {},
): void {
  checkOptions("backward", options, ["retainGraph", "createGraph"]);
  checkRecorded("backward", root);
  const pass = new Pass(options);
  pass.walk([[root, seedOf("backward", root, gradient, pass.create)]]);
  const leaves = pass.store();
  const step = recording();
  if (step) { for (const leaf of leaves) step.leaves.add(leaf); }
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
export function grad<T extends Differentiable>(
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
 * recorded when gradEnabled(); otherwise what `fn` records is used up. An operation of several
 * outputs has a gradient for each, undefined for one that was not used.
 */
export function throughOps<T extends Differentiable>(
  fn: (...inputs: T[]) => T | readonly T[],
  inputs: readonly T[],
  ...gradients: (T | undefined)[]
): (T | null)[] {
  const wanted = new Set<Differentiable>(inputs.filter((input) => input.requiresGrad));
  const pass = new Pass({ createGraph: gradEnabled() }, wanted, true);
  const outputs = [withRecording(true, () => fn(...inputs))].flat() as T[];
  // Aliases, as a pass frees the gradients that it has used up.
  const seeds = pass.create ? gradients : gradients.map((gradient) => gradient?.alias());
  pass.walk(outputs.flatMap((out, i) => seeds[i] ? [[out, seeds[i]]] : []));
  return inputs.map((input) => {
    const found = wanted.delete(input) ? pass.take(input) : undefined; // once, if it is there twice
    return (found ?? null) as T | null;
  });
}

function checkRecorded(op: string, root: Differentiable): void {
  if (!isTensor(root)) refuse(op, "what is differentiated", root, "a tensor");
  if (!root.requiresGrad) {
    throw new GradientError(
      `${op}: the tensor needs no gradient; nothing was recorded: compute it from one with ` +
        "requiresGrad, outside of noGrad()",
    );
  }
}

function seedOf(
  op: string,
  root: Differentiable,
  gradient: Differentiable | undefined,
  create: boolean,
): Differentiable {
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

// Results that nobody but the tape holds.
const left = new WeakSet<Differentiable>();

/**
 * Leaves a result on the way to the tape: backward() frees it as soon as the gradient has passed
 * it. For layers that know that nobody else holds it.
 */
export function leaveToTape(tensor: Differentiable): void {
  left.add(tensor);
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
  readonly #targets: ReadonlySet<Differentiable> | undefined;
  readonly #stop: boolean;
  #needed: ReadonlySet<Differentiable> | undefined; // undefined: all
  readonly #gradients = new Map<Differentiable, Differentiable>();
  readonly #holders = new Map<Differentiable, number>();
  readonly #gated = new Set<Differentiable>(); // by the operation that used them
  #users = new Map<Differentiable, number>();

  /** Towards `targets`, or all leaves; with `stop` not past the targets. */
  constructor(options: BackwardOptions, targets?: ReadonlySet<Differentiable>, stop = false) {
    this.create = options.createGraph ?? false;
    this.#retain = options.retainGraph ?? this.create;
    this.#targets = targets;
    this.#stop = stop;
  }

  walk(seeds: readonly (readonly [root: Differentiable, seed: Differentiable])[]): void {
    withRecording(this.create, () => withoutAutocast(() => this.#walk(seeds)));
  }

  #walk(seeds: readonly (readonly [root: Differentiable, seed: Differentiable])[]): void {
    const stops = this.#stop ? this.#targets : undefined;
    let made = newestFirst(seeds.map(([root]) => root), stops);
    if (this.#targets) {
      made = leadingTo(made, this.#targets);
      this.#needed = new Set([...made, ...this.#targets]);
    }
    for (const [root, seed] of seeds) this.#give(root, seed);
    if (!this.create) this.#users = usersOf(made, seeds.map(([root]) => root));
    let last: Node | undefined;
    for (const tensor of made) {
      const node = tensor.node!;
      // Several outputs come one after another, and are done with the first.
      if (!node.outputs) {
        this.#one(node, tensor);
        if (!this.#retain && !this.#targets && left.has(tensor)) tensor.dispose(freedByBackward);
      } else if (node !== last) this.#all(node, node.outputs);
      last = node;
    }
    if (!this.#retain) { for (const tensor of made) free(tensor.node!); }
  }

  #one(node: Node, output: Differentiable): void {
    const grad = this.#gradients.get(output);
    if (!grad) return;
    this.gated = this.#gated.has(output);
    this.#step(node, () => node.backward(grad, this));
    this.#done(output, grad);
  }

  #all(node: Node, outputs: readonly Differentiable[]): void {
    const past = (output: Differentiable) => !(this.#stop && this.#targets?.has(output));
    const grads = outputs.map((x) => past(x) ? this.#gradients.get(x) : undefined);
    if (grads.every((grad) => !grad)) return;
    this.#step(node, () => node.backward(...grads));
    outputs.forEach((output, i) => grads[i] && this.#done(output, grads[i]));
  }

  #done(output: Differentiable, grad: Differentiable): void {
    if (this.#targets?.has(output)) return;
    this.#gradients.delete(output);
    this.#release(grad);
  }

  #step(node: Node, gradients: () => ReturnType<Node["backward"]>): void {
    observed()?.begins?.(node);
    const results = this.create ? gradients() : syncScope(gradients);
    observed()?.gradients(node, results);
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
      if (result && !this.#holders.has(result)) result.dispose(freedByBackward);
    }
  }

  /**
   * As {@linkcode Step} says; nothing is fused where the walk is recorded, and targets get what is
   * theirs.
   */
  takeGate(input: Differentiable): Gate | undefined {
    const gate = input.node?.gate;
    if (!gate || this.#users.get(input) !== 1 || this.#targets?.has(input)) return undefined;
    this.#gated.add(input);
    return gate;
  }

  #give(target: Differentiable, grad: Differentiable): void {
    const before = this.#gradients.get(target);
    const total = before ? before.plus(grad) : grad;
    this.#gradients.set(target, total);
    this.#holders.set(total, (this.#holders.get(total) ?? 0) + 1);
    if (before) this.#release(before);
  }

  #release(grad: Differentiable): void {
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
  take(target: Differentiable): Differentiable | undefined {
    const grad = this.#gradients.get(target);
    if (!grad || this.#stop) return grad;
    const own = withRecording(this.create, () => this.#own(grad));
    this.#gradients.set(target, own);
    this.#holders.set(own, 1);
    return own;
  }

  /** Adds to the gradients of the leaves, which live as long as the leaves; returns those. */
  store(): Iterable<Differentiable> {
    withRecording(this.create, () => {
      for (const [leaf, grad] of this.#gradients) {
        const before = leaf.grad;
        if (before && !this.create && before.accumulate(grad)) {
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
  #own(grad: Differentiable): Differentiable {
    if (!this.create && this.#holders.get(grad) === 1 && !grad.shared) return grad;
    if (this.create && grad.node) return grad;
    const copy = record(grad.make(grad.shape).copyFrom(grad), "clone", [grad], (g) => [g]);
    this.#release(grad);
    return copy;
  }
}

// The tensors that an operation made, on the way from the roots to the leaves, or to `stops`.
function newestFirst(
  roots: readonly Differentiable[],
  stops: ReadonlySet<Differentiable> | undefined,
): Differentiable[] {
  const found = new Set<Differentiable>();
  const waiting = [...roots];
  for (let tensor = waiting.pop(); tensor; tensor = waiting.pop()) {
    const node = tensor.node;
    if (!node || found.has(tensor) || stops?.has(tensor)) continue;
    if (node.freed) {
      throw new GradientError(
        `backward: the graph through ${node.name} was used up by an earlier backward; ` +
          "pass { retainGraph: true } there to use it twice, or detach() what is carried over " +
          "from there, such as a recurrent layer's state",
      );
    }
    found.add(tensor);
    for (const input of node.inputs) if (input.requiresGrad) waiting.push(input);
  }
  return [...found].sort((a, b) => b.node!.order - a.node!.order);
}

// Those of them from which a target is reached.
function leadingTo(made: Differentiable[], targets: ReadonlySet<Differentiable>): Differentiable[] {
  const leading = new Set<Differentiable>();
  const leads = (tensor: Differentiable) => targets.has(tensor) || leading.has(tensor);
  for (const tensor of made.toReversed()) {
    if (tensor.node!.inputs.some(leads)) leading.add(tensor);
  }
  return made.filter((tensor) => leading.has(tensor));
}

// How many gradients each tensor with a gate gets: from the operations that read it, and as a root.
function usersOf(
  made: readonly Differentiable[],
  roots: readonly Differentiable[],
): Map<Differentiable, number> {
  const users = new Map<Differentiable, number>();
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
  gone.outputs = undefined;
  gone.backward = () => [];
  gone.gate = undefined;
}
