import { GradientError, ShapeError } from "../native/errors.ts";
import { isFloat } from "./dtype.ts";
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

/** Whether operations are recorded now. */
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
  /** Keep what was recorded, so that backward may be called again. Default false. */
  retainGraph?: boolean;
}

/** Walks the tape back from `root` and adds to the `grad` of every leaf that needs one. */
export function backward(root: TensorBase, gradient?: TensorBase, options: BackwardOptions = {}) {
  if (!root.requiresGrad) {
    throw new GradientError("backward: the tensor needs no gradient; nothing was recorded");
  }
  noGrad(() => new Pass(options.retainGraph ?? false).run(root, seedOf(root, gradient)));
}

function seedOf(root: TensorBase, gradient?: TensorBase): TensorBase {
  if (!gradient) {
    if (root.size !== 1) {
      throw new GradientError(
        `backward: the tensor has shape ${formatShape(root.shape)}; only a single number has a ` +
          "gradient by itself: reduce it with sum() or mean(), or give a gradient of its shape",
      );
    }
    return root.make(root.shape, root.dtype).fill(1);
  }
  if (!sameShape(gradient.shape, root.shape) || gradient.dtype !== root.dtype) {
    throw new ShapeError(
      `backward: the gradient is ${gradient.dtype} ${formatShape(gradient.shape)}; ` +
        `the tensor is ${root.dtype} ${formatShape(root.shape)}`,
    );
  }
  return gradient.alias();
}

// Where the tape's own gradients go; made once, since a place of their own would tell nothing.
const freedByBackward = new Error("freed by backward()");

/** One walk. Gradients are freed as soon as the last operation that reads them has run. */
class Pass {
  readonly #retain: boolean;
  readonly #gradients = new Map<TensorBase, TensorBase>();
  readonly #holders = new Map<TensorBase, number>();

  constructor(retain: boolean) {
    this.#retain = retain;
  }

  run(root: TensorBase, seed: TensorBase): void {
    const made = newestFirst(root);
    this.#give(root, seed);
    for (const tensor of made) {
      const grad = this.#gradients.get(tensor);
      if (!grad) continue;
      this.#step(tensor.node!, grad);
      this.#gradients.delete(tensor);
      this.#release(grad);
    }
    for (const [leaf, grad] of this.#gradients) this.#store(leaf, grad);
    if (!this.#retain) { for (const tensor of made) free(tensor.node!); }
  }

  #step(node: Node, grad: TensorBase): void {
    const results = scope(() => node.backward(grad));
    results.forEach((result, i) => {
      const input = node.inputs[i]!;
      if (!result || !input.requiresGrad) return;
      if (!sameShape(result.shape, input.shape) || result.dtype !== input.dtype) {
        throw new GradientError(
          `${node.name}: gradient ${i} is ${result.dtype} ${formatShape(result.shape)}; ` +
            `its input is ${input.dtype} ${formatShape(input.shape)}`,
        );
      }
      this.#give(input, result);
    });
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
    const left = this.#holders.get(grad)! - 1;
    if (left > 0) {
      this.#holders.set(grad, left);
    } else {
      this.#holders.delete(grad);
      grad.dispose(freedByBackward);
    }
  }

  // A leaf's gradient lives as long as the leaf, in memory that is its own: users may write to it.
  #store(leaf: TensorBase, grad: TensorBase): void {
    const before = leaf.grad;
    const own = this.#holders.get(grad) === 1 && !grad.shared;
    const total = before ? before.plus(grad) : own ? grad : grad.make(grad.shape).copyFrom(grad);
    leaf.grad = ownAs(total, leaf);
    before?.dispose(freedByBackward);
    if (leaf.grad !== grad) this.#release(grad);
  }
}

// The tensors that an operation made, on the way from root to the leaves.
function newestFirst(root: TensorBase): TensorBase[] {
  const found = new Set<TensorBase>();
  const waiting = [root];
  for (let tensor = waiting.pop(); tensor; tensor = waiting.pop()) {
    const node = tensor.node;
    if (!node || found.has(tensor)) continue;
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
