import { record } from "../../core/autograd.ts";
import { writeLayout } from "../../core/layout.ts";
import { contiguousStrides, formatShape, normalizeAxis, type Shape } from "../../core/shape.ts";
import { calls } from "../../native/calls.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { checkDType, checkSameDevice } from "../_operands.ts";
import { cumsum } from "../reduce/cumsum.ts";
import { gather } from "./gather.ts";

/**
 * Zeros of a shape with the elements of src added: the transpose of gather. `unique`: 1 promises
 * that no two elements go to one place, which saves the sorting, 2 that one goes to each.
 */
export function scatterSum(
  src: Tensor,
  shape: Shape,
  axis: number,
  index: Tensor,
  unique: 0 | 1 | 2 = 0,
): Tensor {
  const y = scattered(calls.cdn_scatter_add, null, shape, axis, index, src, unique);
  return record(y, "scatterAdd", [src], (grad) => [gather(grad, axis, index)]);
}

/** Unrecorded: the base, or zeros, to which a kernel brings src where the index says. */
export function scattered(
  kernel: typeof calls.cdn_scatter,
  base: Tensor | null,
  shape: Shape,
  axis: number,
  index: Tensor,
  src: Tensor,
  unique: 0 | 1 | 2,
): Tensor {
  const y = src.make(shape);
  const strides = contiguousStrides(shape);
  kernel(
    y,
    base,
    index,
    src,
    writeLayout(index.shape, strides.with(axis, 0)),
    index.rank,
    shape[axis]!,
    strides[axis]!,
    y.size,
    unique,
    src.code,
  );
  return y;
}

/** 0, 1, … as int32 [n], on the device of x. */
export function counting(x: Tensor, n: number): Tensor {
  return cumsum(x.make([n], "int32").fill(1), 0, { exclusive: true });
}

/** int32 numbers of the host on the device of x. */
export function indexOf(x: Tensor, numbers: readonly number[]): Tensor {
  return x.make([numbers.length], "int32").copyFrom(Int32Array.from(numbers));
}

/** The axis from the front, after checking that the index fits x. */
export function checkIndex(op: string, x: Tensor, axis: number, index: Tensor): number {
  checkSameDevice(op, x, index);
  checkDType(`${op}: index`, index, ["int32"]);
  const at = normalizeAxis(op, axis, x.rank);
  const fits = index.rank === x.rank &&
    index.shape.every((extent, d) => d === at || extent <= x.shape[d]!);
  if (!fits) {
    throw new ShapeError(
      `${op}: x is ${formatShape(x.shape)}, index ${
        formatShape(index.shape)
      }; their ranks must be the same, and but for axis ${at} no extent of the index larger`,
    );
  }
  return at;
}
