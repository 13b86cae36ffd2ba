import { record } from "../../core/autograd.ts";
import { formatShape, sameShape } from "../../core/shape.ts";
import { calls } from "../../native/calls.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { autocasted, checkDType, checkSameDevice, checkSameDType, numbers } from "../_operands.ts";
import { checkIndex, scattered } from "./_scatter.ts";
import { gather } from "./gather.ts";

/**
 * x with the elements of src added to places along an axis: x[i][index[i][j][k]][k] += src[i][j][k]
 * for axis 1, and so for any rank, as a new tensor. The int32 index has the shape of src, and but
 * for the axis at most the extents of x. Elements that meet in one place add up, in float64 and in
 * their order, so that results repeat to the last bit. Floats, int32. Negative indices count from
 * the end; a bad one is left out and reported by the next read or synchronize(). As
 * torch.scatter_add.
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
  const y = scattered(calls.cdn_scatter_add, x, x.shape, at, index, src, 0);
  return record(y, "scatterAdd", [x, src], (grad) => [grad, gather(grad, at, index)]);
}
