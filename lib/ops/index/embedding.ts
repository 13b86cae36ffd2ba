import { gradEnabled, record } from "../../core/autograd.ts";
import { checkOptions } from "../../core/options.ts";
import { checkShape, formatShape } from "../../core/shape.ts";
import { calls } from "../../native/calls.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { checkDType, checkSameDevice, numbers } from "../_operands.ts";
import { weigh } from "../elementwise/_binary.ts";
import { ne } from "../elementwise/compare.ts";
import { checkPadding } from "./_padding.ts";
import { addSlices, selectSlices, sumSlices } from "./_slices.ts";
import { reshape } from "../shape/movement.ts";

/** Options of {@linkcode embedding}. */
export interface EmbeddingOptions {
  /**
   * The row of the weight that gets no gradient; negative ones count from the back. Default: none.
   */
  paddingIndex?: number | undefined;
}

/**
 * The rows of weight [num, dim] that an int32 index of any shape names: y [...index, dim]. Floats,
 * int32. The gradient of a row is the sum over the places that name it, in their order, so that
 * training repeats to the last bit; the row `paddingIndex` gets none. An index that is negative or
 * too large is found on the device and reported by the next read or synchronize(). As
 * torch.nn.functional.embedding, but with the index first there too.
 *
 * ```ts
 * import { embedding, randn, tensor } from "@cudeno/cudeno";
 * const index = tensor([[1, 2, 0], [4, 1, 0]], { dtype: "int32" });
 * console.log(embedding(index, randn([5, 8]), { paddingIndex: 0 }).shape); // [2, 3, 8]
 * ```
 */
export function embedding(index: Tensor, weight: Tensor, options: EmbeddingOptions = {}): Tensor {
  checkOptions("embedding", options, ["paddingIndex"]);
  checkDType("embedding: weight", weight, numbers);
  checkSameDevice("embedding", weight, index);
  checkDType("embedding: index", index, ["int32"]);
  if (weight.rank !== 2) {
    throw new ShapeError(
      `embedding: weight is ${formatShape(weight.shape)}; it must be [num, dim]`,
    );
  }
  const [num, dim] = weight.shape as [number, number];
  const skip = checkPadding("embedding", options.paddingIndex, num);
  const shape = [...index.shape, dim];
  checkShape("embedding", shape);
  const y = selectSlices(weight, 0, index, shape, calls.cdn_gather);
  return record(y, "embedding", [weight], (grad) => {
    const rows = reshape(grad, [index.size, dim]);
    if (!gradEnabled()) return [addSlices(null, weight.shape, 0, index, rows, skip)];
    const flat = reshape(index, [index.size]);
    const counted = skip < 0
      ? rows
      : weigh(rows, reshape(ne(flat, skip).to(rows.dtype), [index.size, 1]));
    return [sumSlices(counted, weight.shape, 0, flat)];
  });
}
