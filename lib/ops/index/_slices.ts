import { record } from "../../core/autograd.ts";
import { writeLayout } from "../../core/layout.ts";
import { formatShape, normalizeAxis, type Shape, sizeOf } from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import { calls } from "../../native/calls.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { checkDType, checkSameDevice } from "../_operands.ts";
import { indexSelect } from "./index_select.ts";

/** Zeros of a shape with the slices of src added: the transpose of indexSelect. */
export function sumSlices(src: Tensor, shape: Shape, axis: number, index: Tensor): Tensor {
  const y = addSlices(null, shape, axis, index, src, -1);
  return record(y, "indexAdd", [src], (grad) => [indexSelect(grad, axis, index)]);
}

/**
 * Unrecorded: the slices that the elements of the index name, whatever its shape, as `shape`; also
 * from the end, unless the kernel is cdn_gather.
 */
export function selectSlices(
  x: Tensor,
  axis: number,
  index: Tensor,
  shape: Shape,
  kernel: typeof calls.cdn_take = calls.cdn_take,
): Tensor {
  const y = x.make(shape);
  const extent = x.shape[axis]!;
  const inner = sizeOf(x.shape.slice(axis + 1));
  kernel(
    y,
    x,
    index,
    writeLayout(
      [sizeOf(x.shape.slice(0, axis)), index.size, inner],
      [extent * inner, 0, 1],
      [0, 1, 0],
    ),
    3,
    extent,
    inner,
    x.code,
  );
  return y;
}

/**
 * Unrecorded: x (by its handle, 0 for zeros) and the slices of src, but for those whose index is
 * `skip`.
 */
export function addSlices(
  base: Tensor | null,
  shape: Shape,
  axis: number,
  index: Tensor,
  src: Tensor,
  skip: number,
): Tensor {
  const y = src.make(shape);
  call(
    "cdn_index_add",
    y,
    base,
    index,
    src,
    sizeOf(shape.slice(0, axis)),
    shape[axis]!,
    sizeOf(shape.slice(axis + 1)),
    index.size,
    skip,
    src.code,
  );
  return y;
}

/** The axis from the front, after checking the index. */
export function checkIndex(op: string, x: Tensor, axis: number, index: Tensor): number {
  checkSameDevice(op, x, index);
  checkDType(`${op}: index`, index, ["int32"]);
  const at = normalizeAxis(op, axis, x.rank);
  if (index.rank !== 1) {
    throw new ShapeError(`${op}: index is ${formatShape(index.shape)}; it must have one axis`);
  }
  return at;
}
