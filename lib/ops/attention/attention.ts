import { autocastRegion, withoutAutocast } from "../../core/autocast.ts";
import { dtypeInfo } from "../../core/dtype.ts";
import { checkNumber, checkOptions, refuse } from "../../core/options.ts";
import { precisionOf } from "../../core/precision.ts";
import { broadcastShapes, formatShape, sameShape, type Shape, sizeOf } from "../../core/shape.ts";
import { DTypeError, ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { probabilityOf } from "../random/_probability.ts";
import { broadcastTo, reshape, unsqueeze } from "../shape/movement.ts";
import {
  autocasted,
  checkDType,
  checkSameDevice,
  checkSameDType,
  checkTensor,
  floats,
} from "../_operands.ts";
import { attend, type Heads, type Part } from "./_attention.ts";

/** Options of {@linkcode scaledDotProductAttention}. */
export interface AttentionOptions {
  /**
   * Which keys each query attends to, broadcast to the scores [..., queries, keys]: uint8, where 0
   * keeps a query from a key; or a float that is added to the scores, which may be float32 where
   * the others are of 16 bits. Default: all.
   */
  mask?: Tensor | null | undefined;
  /** Keep query i from keys after i + offset: window [Infinity, 0]. Default false. */
  causal?: boolean | undefined;
  /**
   * Query i attends to keys from i + offset - left to i + offset + right alone; Infinity: to all on
   * that side. Default: [Infinity, Infinity], or [Infinity, 0] with `causal`.
   */
  window?: readonly [left: number, right: number] | undefined;
  /**
   * How many keys come before that of the first query, for `causal` and `window`. "end": as many as
   * make the last query stand at the last key (the batch's own last one, with keyLengths), as when
   * keys are a cache's and queries follow them. Default 0, as in PyTorch.
   */
  offset?: number | "end" | undefined;
  /**
   * int32 [batch], with queries [batch, heads, queries, features] or [batch, queries, features]:
   * how many of the batch's keys there are; what comes after them is not looked at. Default: all.
   */
  keyLengths?: Tensor | null | undefined;
  /** The probability that a weight becomes 0, in steps of 2^-16. Default 0. */
  dropout?: number | undefined;
  /** What the scores are multiplied by. Default 1 / sqrt(features). */
  scale?: number | undefined;
}

/**
 * Attention: softmax(scale · query keyᵀ + mask) value, over queries [..., queries, features], keys
 * [..., keys, features] and values [..., keys, out]; the result is [..., queries, out]. Leading
 * axes broadcast. Floats. As torch.nn.functional.scaled_dot_product_attention, computed in one pass
 * of which no matrix of scores is made.
 *
 * The last leading axis is that of heads: keys and values may have fewer of them than queries, by a
 * whole factor, and each then serves as many heads that follow one another (grouped queries, as
 * PyTorch's enable_gqa). A query that is kept from all keys gives 0, and gets no gradient. 16-bit
 * floats are added up in float32.
 *
 * @throws {ShapeError} when the shapes do not go together.
 * @throws {DTypeError} when the dtypes differ, or are no floats.
 * @throws {ArgumentError} for an option out of range.
 *
 * ```ts
 * import { rand, scaledDotProductAttention } from "@cudeno/cudeno";
 * const [q, k, v] = [rand([2, 4, 5, 8]), rand([2, 2, 7, 8]), rand([2, 2, 7, 3])];
 * console.log(scaledDotProductAttention(q, k, v).shape); // [2, 4, 5, 3]
 * // The last 5 of 7 tokens, each of which sees itself and those before it.
 * console.log(scaledDotProductAttention(q, k, v, { causal: true, offset: 2 }).shape);
 * ```
 */
export function scaledDotProductAttention(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  options: AttentionOptions = {},
): Tensor {
  checkOptions(op, options, known);
  checkOperands(query, key, value, options);
  const features = query.shape.at(-1)!;
  const { causal = false, scale = 1 / Math.sqrt(features || 1), offset = 0 } = options;
  checkNumber(op, "scale", scale);
  if (offset !== "end" && !Number.isSafeInteger(offset)) {
    refuse(op, "offset", offset, 'a whole number or "end"');
  }
  const window = limits(options.window, causal);
  const dropout = probabilityOf(op, options.dropout ?? 0, "dropout");
  const precision = precisionOf(op);
  const [q, k, v] = autocasted("lower", query, key, value);
  checkSameDType(op, q, k, v);
  return withoutAutocast(() => {
    const { operands, plan, sizes } = arranged([q, k, v], options);
    return attend(operands, plan, {
      ...{ ...sizes, window, scale, dropout, precision },
      ...{ offset: offset === "end" ? 0 : offset, fromEnd: offset === "end" },
    });
  });
}

const op = "scaledDotProductAttention";
const known = ["mask", "causal", "window", "offset", "keyLengths", "dropout", "scale"];

function limits(window: AttentionOptions["window"], causal: boolean): readonly [number, number] {
  const limit = (name: string, x: number, most = Infinity) => {
    if (x !== Infinity && !(Number.isSafeInteger(x) && x >= 0)) {
      refuse(op, name, x, "a whole number, at least 0, or Infinity");
    }
    const least = Math.min(x, most);
    return least === Infinity ? -1 : least;
  };
  if (window !== undefined && (!Array.isArray(window) || window.length !== 2)) {
    refuse(op, "window", window, "two numbers, [left, right]");
  }
  const [left, right] = window ?? [Infinity, Infinity];
  return [limit("window's left", left), limit("window's right", right, causal ? 0 : Infinity)];
}

// Axes that tensors broadcast to one by one: batches, heads, and what follows.
const batchOf = ({ shape }: Tensor): Shape => shape.slice(0, -3);
const headsOf = ({ shape }: Tensor): number => shape.at(-3) ?? 1;

function arranged(given: [Tensor, Tensor, Tensor], options: AttentionOptions) {
  const rank = Math.max(...given.map((x) => x.rank));
  const lengths = options.keyLengths ?? undefined;
  let mask = options.mask ?? undefined, shapeOf = (shape: Shape) => shape;
  if (lengths && rank > 2 && lengths.rank === rank - 2) { // there are no heads
    const apart = (x: Tensor) => x.rank > 2 ? unsqueeze(x, x.rank - 2) : x;
    given = given.map(apart) as typeof given;
    mask &&= apart(mask);
    shapeOf = (shape) => shape.toSpliced(-3, 1);
  }
  const [q, k, v] = given;
  const all = mask ? [...given, mask] : given;
  const batches = all.map(batchOf).reduce((a, b) => broadcastShapes(op, a, b));
  const kvHeads = broadcastShapes(`${op}: heads of keys and values`, [headsOf(k)], [
    headsOf(v),
  ])[0]!;
  const heads = queryHeads(headsOf(q), kvHeads, mask ? headsOf(mask) : 1);
  const [batch, queries, keys] = [sizeOf(batches), q.shape.at(-2)!, k.shape.at(-2)!];
  if (lengths) checkLengths(lengths, batches);

  // Tensors whose batches broadcast in some axes alone are copied.
  const even = (x: Tensor) => {
    const own = batchOf(x);
    return sizeOf(own) === 1 || x.rank < 4 || sameShape(own, batches)
      ? x
      : broadcastTo(x, [...batches, ...x.shape.slice(-3)]);
  };
  const operands = given.map(even);
  const full = operands.map((
    x,
    i,
  ): Shape => [...batches, i === 0 ? heads : kvHeads, ...x.shape.slice(-2)]);
  const parts = operands.map((x, i): Part => {
    const [rows, features] = x.shape.slice(-2) as [number, number];
    const strides = (many: boolean, count: number) =>
      [many ? count * rows * features : 0, count > 1 ? rows * features : 0, features] as const;
    return {
      ...{ source: i, offset: 0, strides: strides(sizeOf(batchOf(x)) > 1, headsOf(x)) },
      grad: { offset: 0, strides: strides(batch > 1, full[i]!.at(-3)!) },
    };
  });
  const outFeatures = v.shape.at(-1)!, size = queries * outFeatures;
  const shape = [...batches, heads, queries, outFeatures];
  const plan: Heads = {
    parts: parts as unknown as Heads["parts"],
    shape: all.every((x) => x.rank < 3) ? shape.slice(1) : shapeOf(shape),
    place: { offset: 0, strides: [heads * size, size, outFeatures] },
    gradShapes: full.map((shape, i) =>
      sizeOf(shape) === operands[i]!.size ? operands[i]!.shape : shape
    ),
    parted: (sources) =>
      sources.slice(0, 3).map((x, i) => {
        const whole = full[i]!;
        return reshape(broadcastTo(x, whole), [batch, ...whole.slice(-3)]);
      }) as [Tensor, Tensor, Tensor],
    joined: (y) => reshape(y, plan.shape),
  };
  const scores = [batch, heads, queries, keys];
  return {
    operands,
    plan,
    sizes: {
      ...{ batch, heads, kvHeads, queries, keys, features: q.shape.at(-1)!, outFeatures },
      ...{ mask: mask && maskOf(even(mask), scores), lengths },
    },
  };
}

// Those of the result.
function queryHeads(own: number, kvHeads: number, masks: number): number {
  const heads = own === 1 ? kvHeads : own;
  if (heads !== kvHeads && (kvHeads === 0 || heads % kvHeads !== 0)) {
    throw new ShapeError(
      `${op}: queries have ${own} heads, keys and values ${kvHeads}; those of queries must be a ` +
        "multiple",
    );
  }
  return heads === 1 ? masks : heads;
}

// Batches as one axis, the last three as they are.
function maskOf(mask: Tensor, scores: Shape): Tensor {
  const flat = mask.rank > 3
    ? reshape(mask, [sizeOf(batchOf(mask)), ...mask.shape.slice(-3)])
    : mask;
  const name = `${op}: scores and mask`;
  if (!sameShape(broadcastShapes(name, scores, flat.shape), scores)) {
    throw new ShapeError(
      `${name}: the mask is ${formatShape(mask.shape)}; it must broadcast to ${
        formatShape(scores)
      }`,
    );
  }
  return flat;
}

function checkLengths(lengths: Tensor, batches: Shape): void {
  checkDType(`${op}: keyLengths`, lengths, ["int32"]);
  if (!sameShape(lengths.shape, batches)) {
    throw new ShapeError(
      `${op}: keyLengths is ${formatShape(lengths.shape)}; the batch is ${formatShape(batches)}`,
    );
  }
}

function checkOperands(query: Tensor, key: Tensor, value: Tensor, options: AttentionOptions): void {
  const { mask, keyLengths } = options;
  checkDType(op, query, floats);
  for (const x of [key, value]) checkTensor(op, x);
  checkSameDevice(op, query, key, value, ...[mask, keyLengths].filter((x) => x != null));
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
  const wider = mask.dtype === "float32" && dtypeInfo(query.dtype).bytes === 2;
  if (!autocastRegion() && !wider) checkSameDType(`${op}: mask`, query, mask);
}
