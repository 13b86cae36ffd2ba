import { record } from "../../core/autograd.ts";
import { writeLayout } from "../../core/layout.ts";
import { contiguousStrides } from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import type { Tensor } from "../../tensor.ts";
import { checkIndex, scatterSum } from "./_scatter.ts";

/**
 * Elements of x by their place along an axis: y[i][j][k] = x[i][index[i][j][k]][k] for axis 1, and
 * so for any rank. The int32 index has the rank of x and, but for the axis, at most its extents;
 * negative ones count from the end. y has the shape of the index. Any dtype; the gradient is added
 * up where elements came from. An index out of range is found on the device and reported by the
 * next read or synchronize(). As torch.gather, which takes no negative ones.
 *
 * ```ts
 * import { gather, tensor } from "@cudeno/cudeno";
 * const x = tensor([[1, 2, 3], [4, 5, 6]]);
 * const index = tensor([[2, 0], [1, -1]], { dtype: "int32" });
 * console.log(gather(x, 1, index).dataSync()); // 3, 1, 5, 6
 * ```
 */
export function gather(x: Tensor, axis: number, index: Tensor): Tensor {
  const at = checkIndex("gather", x, axis, index);
  const y = x.make(index.shape);
  const { shape } = x;
  const strides = contiguousStrides(shape);
  call(
    "cdn_take",
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
