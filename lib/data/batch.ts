import type { NestedNumbers } from "../create.ts";
import type { Tensor } from "../tensor.ts";

/**
 * Samples together: what goes to the model, and what to the loss. Each is a tensor [n, ...] or a
 * structure of such tensors: arrays and plain objects, however deep, as a model of several inputs
 * or outputs takes them.
 */
export interface Batch<Input = Tensor, Target = Tensor> {
  /** For forward(). */
  readonly input: Input;
  /** For the loss. */
  readonly target: Target;
  /** How much each sample counts in the loss: [n]. Default 1 each. */
  readonly weight?: Tensor | undefined;
}

/**
 * One sample: numbers, nested arrays of numbers, typed arrays and tensors, in the structure that
 * the batch will have. Typed arrays and tensors keep their dtype. Plain numbers become float32;
 * those of the target of a data set that has `classes` are class numbers, and become int32.
 */
export interface Sample<Input = unknown, Target = unknown> {
  /** For forward(). */
  readonly input: Input;
  /** For the loss. */
  readonly target: Target;
  /** How much the sample counts in the loss. Default 1. */
  readonly weight?: number | undefined;
}

/** What samples of a type become in a batch: a tensor in the place of each leaf. */
export type Collated<T> = T extends Tensor | NestedNumbers | boolean | ArrayBufferView ? Tensor
  : T extends object ? { [K in keyof T]: Collated<T[K]> }
  : never;
