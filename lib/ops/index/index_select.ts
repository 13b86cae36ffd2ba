import { record } from "../../core/autograd.ts";
import { writeLayout } from "../../core/layout.ts";
import { formatShape, normalizeAxis, sameShape, type Shape, sizeOf } from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { autocasted, checkDType, checkSameDevice, checkSameDType, numbers } from "../_operands.ts";

/**
 * The slices of x along an axis that an int32 index [n] names: y[i][j][k] = x[i][index[j]][k] for
 * axis 1, and so for any rank. Any dtype; the gradient is added up where slices came from
 * ({@linkcode indexAdd}). An index that is negative or too large is found on the device and
 * reported by the next read or synchronize(). As torch.index_select.
 *
 * ```ts
 * import { indexSelect, tensor } from "@cudeno/cudeno";
 * const x = tensor([[1, 2], [3, 4], [5, 6]]);
 * const index = tensor([2, 0], { dtype: "int32" });
 * console.log(indexSelect(x, 0, index).dataSync()); // 5, 6, 1, 2
 * ```
 */
export function indexSelect(x: Tensor, axis: number, index: Tensor): Tensor {
  const at = checkIndex("indexSelect", x, axis, index);
  const y = selectSlices(x, at, index, x.shape.with(at, index.size));
  return record(y, "indexSelect", [x], (grad) => [sumSlices(grad, x.shape, at, index)]);
}

/**
 * x with the slices of src added to those that an int32 index [n] names: x[i][index[j]][k] +=
 * src[i][j][k] for axis 1, as a new tensor. src has the shape of x, with n along the axis. Slices
 * that meet in one place add up, in float64 and in their order, so that results repeat to the last
 * bit. Floats, int32. A bad index is left out and reported by the next read or synchronize(). As
 * torch.index_add.
 *
 * ```ts
 * import { indexAdd, tensor, zeros } from "@cudeno/cudeno";
 * const index = tensor([1, 1], { dtype: "int32" });
 * const src = tensor([[1, 2], [3, 4]]);
 * console.log(indexAdd(zeros([3, 2]), 0, index, src).dataSync()); // 0, 0, 4, 6, 0, 0
 * ```
 */
export function indexAdd(x: Tensor, axis: number, index: Tensor, src: Tensor): Tensor {
  checkDType("indexAdd", x, numbers);
  [x, src] = autocasted("widest", x, src);
  const at = checkIndex("indexAdd", x, axis, index);
  checkSameDevice("indexAdd", x, src);
  checkSameDType("indexAdd", x, src);
  const wanted = x.shape.with(at, index.size);
  if (!sameShape(src.shape, wanted)) {
    throw new ShapeError(
      `indexAdd: src is ${formatShape(src.shape)}; for x ${
        formatShape(x.shape)
      } and ${index.size} ` +
        `indices along axis ${at} it must be ${formatShape(wanted)}`,
    );
  }
  const y = addSlices(x, x.shape, at, index, src, -1);
  return record(y, "indexAdd", [x, src], (grad) => [grad, indexSelect(grad, at, index)]);
}

/** Zeros of a shape with the slices of src added: the transpose of indexSelect. */
export function sumSlices(src: Tensor, shape: Shape, axis: number, index: Tensor): Tensor {
  const y = addSlices(null, shape, axis, index, src, -1);
  return record(y, "indexAdd", [src], (grad) => [indexSelect(grad, axis, index)]);
}

/** Unrecorded: the slices that the elements of the index name, whatever its shape, as `shape`. */
export function selectSlices(x: Tensor, axis: number, index: Tensor, shape: Shape): Tensor {
  const y = x.make(shape);
  const extent = x.shape[axis]!;
  const inner = sizeOf(x.shape.slice(axis + 1));
  call(
    "cdn_gather",
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

// The axis from the front, after checking the index.
function checkIndex(op: string, x: Tensor, axis: number, index: Tensor): number {
  checkSameDevice(op, x, index);
  checkDType(`${op}: index`, index, ["int32"]);
  const at = normalizeAxis(op, axis, x.rank);
  if (index.rank !== 1) {
    throw new ShapeError(`${op}: index is ${formatShape(index.shape)}; it must have one axis`);
  }
  return at;
}
