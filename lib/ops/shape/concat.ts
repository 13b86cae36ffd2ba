import { gradEnabled, record } from "../../core/autograd.ts";
import { inMemoryOrder, type Window, writeWindow } from "../../core/layout.ts";
import {
  checkShape,
  contiguousStrides,
  formatShape,
  normalizeAxis,
  sameShape,
  type Shape,
} from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import { ArgumentError, ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { unsqueeze } from "./movement.ts";
import { autocasted, checkSameDevice, checkSameDType, checkTensor } from "../_operands.ts";
import { slice } from "./slice.ts";

function alike(op: string, tensors: readonly Tensor[]): [Tensor, ...Tensor[]] {
  if (!Array.isArray(tensors) || tensors.length === 0) {
    throw new ArgumentError(`${op}: wanted is an array of one tensor or more`);
  }
  const [first, ...others] = autocasted("widest", ...tensors as [Tensor, ...Tensor[]]);
  checkTensor(op, first);
  checkSameDevice(op, first, ...others);
  checkSameDType(op, first, ...others);
  return [first, ...others];
}

/**
 * Tensors one after another along an axis, in which alone their shapes may differ. One dtype, any.
 * Images of one memory format keep it. As torch.cat.
 *
 * ```ts
 * import { concat, tensor } from "@cudeno/cudeno";
 * const [a, b] = [tensor([[1, 2]]), tensor([[3, 4], [5, 6]])];
 * console.log(concat([a, b]).shape); // [3, 2]
 * ```
 */
export function concat(tensors: readonly Tensor[], axis = 0): Tensor {
  tensors = alike("concat", tensors);
  const first = tensors[0]!;
  const at = normalizeAxis("concat", axis, first.rank);
  for (const x of tensors) {
    if (x.rank !== first.rank || !sameShape(x.shape.with(at, 0), first.shape.with(at, 0))) {
      throw new ShapeError(
        `concat: shapes ${formatShape(first.shape)} and ${
          formatShape(x.shape)
        } differ in more than axis ${axis}`,
      );
    }
  }
  let end = 0;
  const starts = tensors.map((x) => (end += x.shape[at]!) - x.shape[at]!);
  const shape = first.shape.with(at, end);
  checkShape("concat", shape);
  // Images of one format keep it: then the axes are those of the memory.
  const format = tensors.every((x) => x.format === first.format) ? first.format : "contiguous";
  const y = first.make(shape, first.dtype, format);
  const place = inMemoryOrder(shape.map((_, d) => d), format).indexOf(at);
  const strides = contiguousStrides(inMemoryOrder(shape, format));
  const windows = tensors.map((x, i): Window => ({
    shape: inMemoryOrder(x.shape, format),
    strides,
    offset: starts[i]! * strides[place]!,
  }));
  tensors.forEach((x, i) => {
    const window = windows[i]!, rank = window.shape.length;
    call(
      "cdn_strided_write",
      y.stored(format),
      x.stored(format),
      writeWindow(window),
      rank,
      0,
      y.code,
    );
  });
  return record(y, "concat", tensors, (grad) =>
    tensors.map((x, i) => {
      if (!x.requiresGrad) return null;
      if (gradEnabled() || format === "contiguous" || grad.format !== format) {
        return slice(grad, at, starts[i], starts[i]! + x.shape[at]!);
      }
      const part = x.make(x.shape, x.dtype, format), window = windows[i]!;
      const [to, from] = [part.stored(format), grad.stored(format)];
      call("cdn_strided_copy", to, from, writeWindow(window), window.shape.length, x.code);
      return part;
    }));
}

/**
 * Tensors of one shape one after another along a new axis. One dtype, any. As torch.stack.
 *
 * ```ts
 * import { stack, tensor } from "@cudeno/cudeno";
 * console.log(stack([tensor([1, 2]), tensor([3, 4])], 1).dataSync()); // 1, 3, 2, 4
 * ```
 */
export function stack(tensors: readonly Tensor[], axis = 0): Tensor {
  tensors = alike("stack", tensors);
  const first = tensors[0]!;
  const at = normalizeAxis("stack", axis, first.rank + 1);
  const other = tensors.find((x) => !sameShape(x.shape, first.shape));
  if (other) {
    throw new ShapeError(
      `stack: shapes are ${formatShape(first.shape)} and ${
        formatShape(other.shape)
      }; they must be the same`,
    );
  }
  checkShape("stack", stacked(first.shape, at, tensors.length));
  return concat(tensors.map((x) => unsqueeze(x, at)), at);
}

const stacked = (shape: Shape, at: number, count: number) => shape.toSpliced(at, 0, count);
