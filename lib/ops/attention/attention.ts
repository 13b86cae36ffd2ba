import { autocastRegion, withoutAutocast } from "../../core/autocast.ts";
import { dtypeInfo } from "../../core/dtype.ts";
import { checkNumber, checkOptions } from "../../core/options.ts";
import { precisionOf } from "../../core/precision.ts";
import { broadcastShapes, formatShape } from "../../core/shape.ts";
import { DTypeError, ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { mul } from "../elementwise/binary.ts";
import { dropout } from "../random/dropout.ts";
import { matmul } from "../linalg/matmul.ts";
import {
  autocasted,
  checkDType,
  checkSameDevice,
  checkSameDType,
  checkTensor,
  floats,
  inFloat32,
} from "../_operands.ts";
import { weightsOf } from "./_weights.ts";

/** Options of {@linkcode scaledDotProductAttention}. */
export interface AttentionOptions {
  /**
   * Which keys each query attends to, broadcast to the scores [..., queries, keys]: uint8, where 0
   * keeps a query from a key; or a float that is added to the scores. Default: all.
   */
  mask?: Tensor | null | undefined;
  /** Keep query i from keys after i. Default false. */
  causal?: boolean | undefined;
  /** The probability that a weight becomes 0. Default 0. */
  dropout?: number | undefined;
  /** What the scores are multiplied by. Default 1 / sqrt(features). */
  scale?: number | undefined;
}

/**
 * Attention: softmax(scale · query keyᵀ + mask) value, over queries [..., queries, features], keys
 * [..., keys, features] and values [..., keys, out]; the result is [..., queries, out]. Leading
 * axes broadcast. Floats. As torch.nn.functional.scaled_dot_product_attention. A query that is kept
 * from all keys gives 0, and gets no gradient. The scores and weights of 16-bit floats are float32.
 *
 * @throws {ShapeError} when the shapes do not go together.
 * @throws {DTypeError} when the dtypes differ, or are no floats.
 *
 * ```ts
 * import { rand, scaledDotProductAttention } from "@cudeno/cudeno";
 * const [q, k, v] = [rand([2, 4, 5, 8]), rand([2, 4, 7, 8]), rand([2, 4, 7, 3])];
 * console.log(scaledDotProductAttention(q, k, v).shape); // [2, 4, 5, 3]
 * ```
 */
export function scaledDotProductAttention(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  options: AttentionOptions = {},
): Tensor {
  checkOptions(op, options, ["mask", "causal", "dropout", "scale"]);
  checkOperands(query, key, value, options.mask);
  const features = query.shape.at(-1)!;
  const { causal = false, dropout: p = 0, scale = 1 / Math.sqrt(features || 1) } = options;
  checkNumber(op, "scale", scale);
  [query, key, value] = autocasted("lower", query, key, value);
  checkSameDType(op, query, key, value);
  const operands: [Tensor, Tensor, Tensor, Tensor?] = [query, key, value];
  if (options.mask) operands.push(options.mask);
  // 16-bit floats have no digits that this precision would lose.
  const precision = dtypeInfo(query.dtype).bytes === 2 ? "tf32" : precisionOf(op);
  const attend = (query: Tensor, key: Tensor, value: Tensor, mask?: Tensor) => {
    // The queries are fewer numbers than the scores.
    const scores = matmul(mul(query, scale), key, { transposeB: true, precision });
    if (mask) broadcastShapes(`${op}: scores and mask`, scores.shape, mask.shape);
    return matmul(dropout(weightsOf(scores, mask, causal), { p }), value, { precision });
  };
  return withoutAutocast(() => inFloat32(operands, attend));
}

const op = "scaledDotProductAttention";

function checkOperands(query: Tensor, key: Tensor, value: Tensor, mask?: Tensor | null): void {
  checkDType(op, query, floats);
  for (const x of [key, value]) checkTensor(op, x);
  checkSameDevice(op, query, key, value, ...(mask ? [mask] : []));
  const shapes = `queries are ${formatShape(query.shape)}, keys ${formatShape(key.shape)}, values ${
    formatShape(value.shape)
  }`;
  if ([query, key, value].some((x) => x.rank < 2)) {
    throw new ShapeError(`${op}: ${shapes}; each must have two axes or more`);
  }
  if (query.shape.at(-1) !== key.shape.at(-1)) {
    throw new ShapeError(`${op}: ${shapes}; queries and keys must have as many features`);
  }
  if (key.shape.at(-2) !== value.shape.at(-2)) {
    throw new ShapeError(`${op}: ${shapes}; there must be as many keys as values`);
  }
  if (!mask || mask.dtype === "uint8") return;
  if (!floats.includes(mask.dtype)) {
    throw new DTypeError(`${op}: the mask is ${mask.dtype}; it must be uint8 or a float`);
  }
  if (!autocastRegion()) checkSameDType(`${op}: mask`, query, mask);
}
