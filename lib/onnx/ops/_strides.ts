// Elements on the host by strides.
import type { Shape } from "../../core/shape.ts";
import type { Value } from "../value.ts";

/** Where the elements of `shape` are, in order: from `first` on, by strides. */
export function offsets(shape: Shape, strides: readonly number[], first = 0): number[] {
  return shape.reduce(
    (list, extent, d) =>
      list.flatMap((at) => Array.from({ length: extent }, (_, i) => at + i * strides[d]!)),
    [first],
  );
}

/** The elements that are there. */
export function elementsAt(
  x: Value,
  shape: Shape,
  strides: readonly number[],
  first = 0,
): number[] {
  const data = x.numbers();
  return offsets(shape, strides, first).map((at) => data[at]!);
}
