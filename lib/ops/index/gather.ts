import { record } from "../../core/autograd.ts";
import { writeLayout } from "../../core/layout.ts";
import {
  contiguousStrides,
  formatShape,
  normalizeAxis,
  sameShape,
  type Shape,
} from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { autocasted, checkDType, checkSameDevice, checkSameDType, numbers } from "../_operands.ts";

/**
 * Elements of x by their place along an axis: y[i][j][k] = x[i][index[i][j][k]][k] for axis 1, and
 * so for any rank. The int32 index has the rank of x and, but for the axis, at most its extents; y
 * has the shape of the index. Any dtype; the gradient is added up where elements came from. An
 * index that is negative or too large is found on the device and reported by the next read or
 * synchronize(). As torch.gather.
 *
 * ```ts
 * import { gather, tensor } from "@cudeno/cudeno";
 * const x = tensor([[1, 2, 3], [4, 5, 6]]);
 * const index = tensor([[2, 0], [1, 1]], { dtype: "int32" });
 * console.log(gather(x, 1, index).dataSync()); // 3, 1, 5, 5
 * ```
 */
export function gather(x: Tensor, axis: number, index: Tensor): Tensor {
  const at = checkIndex("gather", x, axis, index);
  const y = x.make(index.shape);
  const { shape } = x;
  const strides = contiguousStrides(shape);
  call(
    "cdn_gather",
    y,
    x,
    index,
    writeLayout(index.shape, strides.with(at, 0), contiguousStrides(index.shape)),
    index.rank,
    shape[at]!,
    strides[at]!,
    x.code,
  );
  return record(y, "gather", [x], (grad) => [scatterSum(grad, shape, at, index)]);
}

/**
 * x with the elements of src added to places along an axis: x[i][index[i][j][k]][k] += src[i][j][k]
 * for axis 1, and so for any rank, as a new tensor. The int32 index has the shape of src, and but
 * for the axis at most the extents of x. Elements that meet in one place add up, in float64 and in
 * their order, so that results repeat to the last bit. Floats, int32. A bad index is left out and
 * reported by the next read or synchronize(). As torch.scatter_add.
 *
 * ```ts
 * import { scatterAdd, tensor, zeros } from "@cudeno/cudeno";
 * const index = tensor([0, 2, 0], { dtype: "int32" });
 * console.log(scatterAdd(zeros([3]), 0, index, tensor([1, 2, 3])).dataSync()); // 4, 0, 2
 * ```
 */
export function scatterAdd(x: Tensor, axis: number, index: Tensor, src: Tensor): Tensor {
  checkDType("scatterAdd", x, numbers);
  [x, src] = autocasted("widest", x, src);
  const at = checkIndex("scatterAdd", x, axis, index);
  checkSameDevice("scatterAdd", x, src);
  checkSameDType("scatterAdd", x, src);
  if (!sameShape(index.shape, src.shape)) {
    throw new ShapeError(
      `scatterAdd: index is ${formatShape(index.shape)}, src ${
        formatShape(src.shape)
      }; their shapes must be the same`,
    );
  }
  const y = scatter(x, x.shape, at, index, src, false);
  return record(y, "scatterAdd", [x, src], (grad) => [grad, gather(grad, at, index)]);
}

/**
 * Zeros of a shape with the elements of src added: the transpose of gather. `unique` promises that
 * no two elements go to one place, which saves the sorting.
 */
export function scatterSum(
  src: Tensor,
  shape: Shape,
  axis: number,
  index: Tensor,
  unique = false,
): Tensor {
  const y = scatter(null, shape, axis, index, src, unique);
  return record(y, "scatterAdd", [src], (grad) => [gather(grad, axis, index)]);
}

function scatter(
  base: Tensor | null,
  shape: Shape,
  axis: number,
  index: Tensor,
  src: Tensor,
  unique: boolean,
): Tensor {
  const y = src.make(shape);
  const strides = contiguousStrides(shape);
  call(
    "cdn_scatter_add",
    y,
    base,
    index,
    src,
    writeLayout(index.shape, strides.with(axis, 0)),
    index.rank,
    shape[axis]!,
    strides[axis]!,
    y.size,
    Number(unique),
    src.code,
  );
  return y;
}

// The axis from the front, after checking that the index fits x.
function checkIndex(op: string, x: Tensor, axis: number, index: Tensor): number {
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
