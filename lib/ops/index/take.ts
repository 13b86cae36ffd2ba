import { record } from "../../core/autograd.ts";
import type { Tensor } from "../../tensor.ts";
import { checkDType, checkSameDevice } from "../_operands.ts";
import { flatten, reshape } from "../shape/movement.ts";
import { selectSlices, sumSlices } from "./_slices.ts";

/**
 * The elements of x, as one line in row-major order, that an int32 index of any shape names, in its
 * shape; negative ones count from the end. Any dtype; the gradient is added up where elements came
 * from. An index out of range is found on the device and reported by the next read or
 * synchronize(). As torch.take.
 *
 * ```ts
 * import { take, tensor } from "@cudeno/cudeno";
 * const x = tensor([[1, 2, 3], [4, 5, 6]]);
 * console.log(take(x, tensor([[0, 4], [-1, 2]], { dtype: "int32" })).dataSync()); // 1, 5, 6, 3
 * ```
 */
export function take(x: Tensor, index: Tensor): Tensor {
  checkSameDevice("take", x, index);
  checkDType("take: index", index, ["int32"]);
  const line = flatten(x);
  const y = selectSlices(line, 0, index, index.shape);
  return record(y, "take", [line], (grad) => {
    const [terms, places] = [reshape(grad, [index.size]), reshape(index, [index.size])];
    return [sumSlices(terms, line.shape, 0, places)];
  });
}
