// What the tape is made of. Types alone, so that tensors, which name them, and the tape, which
// names tensors, need not know one another.
import type { DType } from "./dtype.ts";
import type { Owned } from "./scope.ts";
import type { Shape } from "./shape.ts";

/** What the tape knows of a tensor. */
export interface Differentiable extends Owned {
  /** The extents, outermost first. */
  readonly shape: Shape;
  /** The type of the elements. */
  readonly dtype: DType;
  /** The number of elements. */
  readonly size: number;
  /** Whether operations on it are recorded. */
  requiresGrad: boolean;
  /** How it was made, when a gradient has to go back there; null for a leaf. */
  node: Node | null;
  /** The gradient that was added up; only leaves have one. */
  grad: this | null;
  /** Whether another tensor has, or has had, its memory too. */
  readonly shared: boolean;
  /** Whether the memory is gone. */
  readonly disposed: boolean;
  /** An uninitialised tensor of the same class on the same device. */
  make(shape: Shape, dtype?: DType): this;
  /** The same memory and shape under a handle of its own. Not recorded. */
  alias(): this;
  /** Sets every element. */
  fill(value: number): this;
  /** Overwrites the elements. */
  copyFrom(source: this | ArrayBufferView): this;
  /** The sum with a tensor of the same shape and dtype. */
  plus(other: this): this;
  /** Adds a gradient to this one where it is; false, and nothing is done, where that cannot be. */
  accumulate(gradient: this): boolean;
  /** The elements. */
  dataSync(): ArrayLike<number> & ArrayBufferView;
  /** Adds the gradients of what it was made from to theirs. */
  backward(gradient?: this, options?: BackwardOptions): void;
}

/** Options of {@linkcode Differentiable.backward}. */
export interface BackwardOptions {
  /** Keep what was recorded, so that backward may be called again. Default: that of createGraph. */
  retainGraph?: boolean | undefined;
  /**
   * Record the gradients' own computation, so that they can be differentiated again. Default false.
   */
  createGraph?: boolean | undefined;
}

/** One step of the tape: the operation that made tensors, and how gradients go back through it. */
export interface Node {
  /** The operation, for messages. */
  readonly name: string;
  /** Counts up with every operation, so that sorting by it is a topological order. */
  readonly order: number;
  /** What the operation read. */
  readonly inputs: readonly Differentiable[];
  /** What it made, if that is several tensors. */
  readonly outputs?: readonly Differentiable[] | undefined;
  /**
   * From the gradients of the outputs, undefined for those that were not used, to those of the
   * inputs, null for an input that needs none. With one output a {@linkcode Step} comes second.
   */
  // deno-lint-ignore no-explicit-any -- as many parameters as there are outputs
  readonly backward: (...gradients: any[]) => readonly (Differentiable | null)[];
  /** The activation that it ends with, if that is one whose slope another operation may apply. */
  readonly gate?: Gate | undefined;
  /** Set when a backward pass has used it up. */
  freed: boolean;
}

/**
 * The activations that a product can end with, in one kernel. `"geluTanh"` is gelu's approximation
 * by tanh.
 */
export type FusedActivation = "relu" | "gelu" | "geluTanh" | "silu";

/**
 * The activation that an operation ends with. Its gradient begins with a product with the
 * activation's slope, which the one operation that reads the result may do instead, in the kernel
 * of its own gradient: see {@linkcode Step}.
 */
export interface Gate {
  /** Which it is. */
  readonly activation: FusedActivation;
  /**
   * What the slope is computed from: relu's result, or what the others were given. Of the result's
   * shape and dtype.
   */
  readonly saved: Differentiable;
}

/** What the backward closure of an operation is told, and may ask, while a pass runs it. */
export interface Step {
  /**
   * Whether the gradient that it is given has the slope of the operation's own gate in it already.
   */
  readonly gated: boolean;
  /**
   * The gate of an input, if there is one and the input gets a gradient from nowhere else in this
   * pass. Who takes it must multiply the gradient of the input by the slope; the operation that
   * made the input is then told so.
   */
  takeGate(input: Differentiable): Gate | undefined;
}
