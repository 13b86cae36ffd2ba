import type { TensorBase } from "./tensor.ts";

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
  readonly saved: TensorBase;
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
  takeGate(input: TensorBase): Gate | undefined;
}
