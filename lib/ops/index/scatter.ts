import { record } from "../../core/autograd.ts";
import { checkValue } from "../../core/dtype.ts";
import { formatShape, sameShape } from "../../core/shape.ts";
import { calls } from "../../native/calls.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { autocasted, checkSameDevice, checkSameDType } from "../_operands.ts";
import { eq } from "../elementwise/compare.ts";
import { where } from "../elementwise/where.ts";
import { reshape } from "../shape/movement.ts";
import { checkIndex, counting, scattered } from "./_scatter.ts";
import { gather } from "./gather.ts";

/**
 * x with the elements of src put in their places along an axis: x[i][index[i][j][k]][k] =
 * src[i][j][k] for axis 1, and so for any rank, as a new tensor. The int32 index has the shape of
 * src, or src is a number, and but for the axis at most the extents of x; negative ones count from
 * the end. Of elements that meet in one place the last one, in row-major order, stays, and it alone
 * gets the gradient. Any dtype. A bad index is left out and reported by the next read or
 * synchronize(). As torch.scatter, which leaves open who wins; for sums there is {@linkcode
 * scatterAdd}.
 *
 * ```ts
 * import { scatter, tensor, zeros } from "@cudeno/cudeno";
 * const index = tensor([0, 2, 0], { dtype: "int32" });
 * console.log(scatter(zeros([3]), 0, index, tensor([1, 2, 3])).dataSync()); // 3, 0, 2
 * console.log(scatter(zeros([3]), 0, index, 7).dataSync()); // 7, 0, 7
 * ```
 */
export function scatter(x: Tensor, axis: number, index: Tensor, src: Tensor | number): Tensor {
  [x, src] = autocasted("widest", x, src);
  const at = checkIndex("scatter", x, axis, index);
  const kernel = calls.cdn_scatter;
  if (typeof src === "number") {
    checkValue("scatter", src, x.dtype);
    const from = x.make(index.shape).fill(src);
    // Who comes last does not matter.
    const y = scattered(kernel, x, x.shape, at, index, from, 1);
    return record(y, "scatter", [x], (grad) => [scatter(grad, at, index, 0)]);
  }
  checkSameDevice("scatter", x, src);
  checkSameDType("scatter", x, src);
  if (!sameShape(index.shape, src.shape)) {
    throw new ShapeError(
      `scatter: index is ${formatShape(index.shape)}, src ${
        formatShape(src.shape)
      }; their shapes must be the same`,
    );
  }
  const y = scattered(kernel, x, x.shape, at, index, src, 0);
  return record(y, "scatter", [x, src], (grad) => {
    // Which of those that name a place came last: the one whose number stays there.
    const own = reshape(counting(index, index.size), index.shape);
    const winners = scattered(kernel, null, x.shape, at, index, own, 0);
    const won = eq(gather(winners, at, index), own);
    const rest = x.requiresGrad ? scatter(grad, at, index, 0) : null;
    return [rest, where(won, gather(grad, at, index), 0)];
  });
}
