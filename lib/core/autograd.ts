import { checkFunction } from "./options.ts";
import { GradientError } from "../native/errors.ts";
import { isFloat } from "./dtype.ts";
import type { Differentiable, Gate, Node, Step } from "./node.ts";

let enabled = true;
let steps = 0;

/**
 * Whether operations are recorded now. While the backward closure of an operation runs, this says
 * whether the gradients are to be differentiated again: then they must come from operations that
 * are recorded.
 */
export function gradEnabled(): boolean {
  return enabled;
}

/**
 * Runs `fn` without recording: its results need no gradients. For evaluation, and for changing
 * parameters by hand. `fn` must be synchronous.
 *
 * ```ts
 * import { noGrad, tensor } from "@cudeno/cudeno";
 * const w = tensor([1, 2], { requiresGrad: true });
 * const y = noGrad(() => w.mul(2));
 * console.log(y.requiresGrad); // false
 * ```
 */
export function noGrad<T>(fn: () => T): T {
  checkFunction("noGrad", "fn", fn);
  const result = withRecording(false, fn);
  if (result instanceof Promise) {
    result.catch(() => {}); // or its failure would end the process
    throw new GradientError("noGrad: the function is async; await outside of it");
  }
  return result;
}

/** Runs `fn` with recording on or off. */
export function withRecording<T>(on: boolean, fn: () => T): T {
  const before = enabled;
  enabled = on;
  try {
    return fn();
  } finally {
    enabled = before;
  }
}

/** How many operations were recorded so far: the order of the next one. */
export function recordedSteps(): number {
  return steps;
}

/** What an operation read and made, and what else there is to say of it. */
export interface Made {
  readonly inputs: readonly Differentiable[];
  readonly outputs: readonly Differentiable[];
  /** Where neither shapes nor native calls tell it. */
  readonly about?: Readonly<Record<string, unknown>> | undefined;
}

/** Who looks at what operations make, and at the gradients that they give back. */
export interface Observer {
  /** An operation of this name made a tensor. */
  made(out: Differentiable, name: string, made: Made): void;
  /** The gradient of an operation is about to be computed. */
  begins?(node: Node): void;
  /** The gradients of an operation's inputs. */
  gradients(node: Node, gradients: readonly (Differentiable | null)[]): void;
  /** Whether operations of one large kernel are to be made of smaller ones. */
  readonly composes?: boolean;
}

let observer: Observer | undefined;

/**
 * Runs `fn`, to the end of its promise if it is async, with an observer, who is not told of
 * operations of their own.
 */
export function observing<T>(by: Observer, fn: () => T): T {
  const before = observer;
  const aside = (look: () => void) => {
    observer = undefined;
    try {
      withRecording(false, look);
    } finally {
      observer = own;
    }
  };
  const own: Observer = observer = {
    made: (out, name, made) => aside(() => by.made(out, name, made)),
    begins: (node) => by.begins?.(node),
    gradients: (node, gradients) => aside(() => by.gradients(node, gradients)),
    composes: by.composes ?? false,
  };
  const end = () => {
    observer = before;
  };
  let result;
  try {
    result = fn();
  } finally {
    if (!(result instanceof Promise)) end();
  }
  return result instanceof Promise ? result.finally(end) as T : result;
}

/** The observer, if there is one. */
export function observed(): Observer | undefined {
  return observer;
}

/** Records how `out` was made, when any input needs a gradient. Returns `out`. */
export function record<T extends Differentiable>(
  out: T,
  name: string,
  inputs: readonly T[],
  backward: (grad: T, step: Step) => readonly (T | null)[],
  gate?: Gate,
): T {
  if (enabled && inputs.some((x) => x.requiresGrad)) {
    out.requiresGrad = true;
    out.node = {
      name,
      order: steps++,
      inputs,
      outputs: undefined,
      backward,
      gate,
      freed: false,
    };
  }
  observer?.made(out, name, { inputs, outputs: [out] });
  return out;
}

/**
 * The same for an operation with several outputs, of which those that are no floats have no
 * gradients. `backward` gets a gradient for each, undefined where an output was not used.
 */
export function recordAll<T extends Differentiable>(
  outputs: readonly T[],
  name: string,
  inputs: readonly T[],
  backward: (...gradients: (T | undefined)[]) => readonly (T | null)[],
  about?: Made["about"],
): void {
  if (enabled && inputs.some((x) => x.requiresGrad)) {
    const node = { name, order: steps++, inputs, outputs, backward, gate: undefined, freed: false };
    for (const out of outputs) {
      if (!isFloat(out.dtype)) continue;
      out.requiresGrad = true;
      out.node = node;
    }
  }
  if (observer) { for (const out of outputs) observer.made(out, name, { inputs, outputs, about }); }
}

/** Throws where an operation without a gradient would silently cut a graph. */
export function checkNoGradient(name: string, ...inputs: Differentiable[]): void {
  if (enabled && inputs.some((x) => x.requiresGrad)) {
    throw new GradientError(
      `${name} has no gradient, and its input needs one; detach() the input or use noGrad()`,
    );
  }
}

/** Throws unless a dtype can carry gradients. */
export function checkGradDType(op: string, tensor: Pick<Differentiable, "dtype">): void {
  if (!isFloat(tensor.dtype)) {
    throw new GradientError(
      `${op}: a tensor of ${tensor.dtype} has no gradient; use a float`,
    );
  }
}

// Made once, as freedByBackward is.
const freedByZeroGrad = new Error("freed by zeroGrad()");

/** Frees the gradients of leaves: what the zeroGrad() of modules and optimizers do. */
export function zeroGrad(leaves: Iterable<Differentiable>): void {
  for (const leaf of leaves) {
    leaf.grad?.dispose(freedByZeroGrad);
    leaf.grad = null;
  }
}
