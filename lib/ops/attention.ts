import { autocastRegion } from "../core/autocast.ts";
import { checkNumber, checkOptions } from "../core/options.ts";
import { formatShape } from "../core/shape.ts";
import { DTypeError, ShapeError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";
import { add, mul } from "./binary.ts";
import { dropout } from "./dropout.ts";
import { matmul } from "./matmul.ts";
import { checkDType, checkSameDevice, checkSameDType, checkTensor, floats } from "./operands.ts";
import { softmax } from "./softmax.ts";
import { tril } from "./triangle.ts";
import { where } from "./where.ts";

/** Options of {@linkcode scaledDotProductAttention}. */
export interface AttentionOptions {
  /**
   * Which keys each query attends to, broadcast to the scores [..., queries, keys]: uint8, where 0 keeps a query from a key;
   * or a float that is added to the scores. Default: all.
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
 * Attention: softmax(scale · query keyᵀ + mask) value, over queries [..., queries, features], keys [..., keys, features]
 * and values [..., keys, out]; the result is [..., queries, out]. Leading axes broadcast. Floats. As
 * torch.nn.functional.scaled_dot_product_attention. A query that is kept from all keys gives NaN.
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
  const { mask, causal = false, dropout: p = 0, scale = 1 / Math.sqrt(features || 1) } = options;
  checkNumber(op, "scale", scale);
  // The queries are fewer numbers than the scores.
  let scores = matmul(mul(query, scale), key, { transposeB: true });
  if (causal) scores = where(causalMask(scores), scores, -Infinity);
  if (mask) scores = mask.dtype === "uint8" ? where(mask, scores, -Infinity) : add(scores, mask);
  return matmul(dropout(softmax(scores), { p }), value);
}

const op = "scaledDotProductAttention";

// 1 where a key does not come after the query.
function causalMask(scores: Tensor): Tensor {
  return tril(scores.make(scores.shape.slice(-2), "uint8").fill(1));
}

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
  if (!autocastRegion()) checkSameDType(op, query, key, value);
  if (mask && mask.dtype !== "uint8" && !floats.includes(mask.dtype)) {
    throw new DTypeError(`${op}: the mask is ${mask.dtype}; it must be uint8 or a float`);
  }
}
