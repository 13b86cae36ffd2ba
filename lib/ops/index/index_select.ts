import { record } from "../../core/autograd.ts";
import type { Tensor } from "../../tensor.ts";
import { checkIndex, selectSlices, sumSlices } from "./_slices.ts";

/**
 * The slices of x along an axis that an int32 index [n] names: y[i][j][k] = x[i][index[j]][k] for
 * axis 1, and so for any rank; negative ones count from the end. Any dtype; the gradient is added
 * up where slices came from ({@linkcode indexAdd}). An index out of range is found on the device
 * and reported by the next read or synchronize(). As torch.index_select, which takes no negative
 * ones.
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
