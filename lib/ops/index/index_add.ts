import { record } from "../../core/autograd.ts";
import { formatShape, sameShape } from "../../core/shape.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { autocasted, checkDType, checkSameDevice, checkSameDType, numbers } from "../_operands.ts";
import { addSlices, checkIndex } from "./_slices.ts";
import { indexSelect } from "./index_select.ts";

/**
 * x with the slices of src added to those that an int32 index [n] names: x[i][index[j]][k] +=
 * src[i][j][k] for axis 1, as a new tensor. src has the shape of x, with n along the axis. Slices
 * that meet in one place add up, in float64 and in their order, so that results repeat to the last
 * bit. Floats, int32. Negative indices count from the end; a bad one is left out and reported by
 * the next read or synchronize(). As torch.index_add.
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
