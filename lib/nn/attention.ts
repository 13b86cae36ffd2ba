import { formatCall } from "../core/describe.ts";
import type { DeviceName } from "../core/backend.ts";
import { computeDType, type DType } from "../core/dtype.ts";
import { checkInteger, checkOptions } from "../core/options.ts";
import { keep } from "../core/scope.ts";
import { formatShape } from "../core/shape.ts";
import { rand, zeros } from "../create.ts";
import { ArgumentError, DTypeError, ShapeError } from "../native/errors.ts";
import { type Columns, headAttention } from "../ops/attention/_heads.ts";
import { add } from "../ops/elementwise/binary.ts";
import { cast } from "../ops/elementwise/_cast.ts";
import { eq } from "../ops/elementwise/compare.ts";
import { probabilityOf } from "../ops/random/_probability.ts";
import { linear } from "../ops/linalg/linear.ts";
import { reshape } from "../ops/shape/movement.ts";
import { checkTensor, floats } from "../ops/_operands.ts";
import { slice } from "../ops/shape/slice.ts";
import { where } from "../ops/elementwise/where.ts";
import type { Tensor } from "../tensor.ts";
import { Linear } from "./linear.ts";
import { Module } from "./module.ts";

/** Options of {@linkcode MultiHeadAttention}. */
export interface MultiHeadAttentionOptions {
  /** Whether the projections have biases. Default true. */
  bias?: boolean | undefined;
  /**
   * Tensors are [batch, sequence, features] instead of [sequence, batch, features]. Default false,
   * as in PyTorch.
   */
  batchFirst?: boolean | undefined;
  /** The probability that an attention weight becomes 0 in training. Default 0. */
  dropout?: number | undefined;
  /** Default: the device of init(). */
  device?: DeviceName | undefined;
  /** Default float32. */
  dtype?: DType | undefined;
}

/** What {@linkcode MultiHeadAttention} may not look at. */
export interface AttentionMasks {
  /**
   * [queries, keys], or [batch · heads, queries, keys]: uint8, where anything but 0 keeps a query
   * from a key (the other way round than in scaledDotProductAttention(), as in PyTorch); or a float
   * that is added to the scores.
   */
  mask?: Tensor | null | undefined;
  /**
   * [batch, keys], or [keys] without a batch: uint8, where anything but 0 hides a key; or a float
   * that is added.
   */
  keyPaddingMask?: Tensor | null | undefined;
  /** Keep query i from keys after i. Default false. */
  causal?: boolean | undefined;
}

/**
 * Attention by several heads, each of embedDim / heads features of linear projections of queries,
 * keys and values, whose results are joined and projected once more; as
 * torch.nn.MultiheadAttention, of which it has the parameters: in_proj_weight [3 embedDim,
 * embedDim] (Xavier uniform), in_proj_bias [3 embedDim] (zeros), out_proj.weight and out_proj.bias
 * (zeros). The result is the output alone, without the weights of attention.
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * const attention = new nn.MultiHeadAttention(16, 4, { batchFirst: true });
 * const x = rand([2, 5, 16]);
 * console.log(attention.forward(x, x, x, { causal: true }).shape); // [2, 5, 16]
 * ```
 */
export class MultiHeadAttention extends Module {
  /** [3 embedDim, embedDim]: of queries, keys and values. */
  in_proj_weight: Tensor;
  /** [3 embedDim], or null. */
  in_proj_bias: Tensor | null;
  /** The projection of the joined heads. */
  out_proj: Linear;
  readonly #heads: number;
  readonly #batchFirst: boolean;
  readonly #dropout: number;

  constructor(embedDim: number, heads: number, options: MultiHeadAttentionOptions = {}) {
    super();
    const op = "MultiHeadAttention";
    checkInteger(op, "embedDim", embedDim, 1);
    checkInteger(op, "heads", heads, 1);
    checkOptions(op, options, ["bias", "batchFirst", "dropout", "device", "dtype"]);
    if (embedDim % heads !== 0) {
      throw new ArgumentError(`${op}: embedDim is ${embedDim}; it must be a multiple of ${heads}`);
    }
    const { bias = true, batchFirst = false, dropout = 0, ...place } = options;
    this.#heads = heads;
    this.#batchFirst = batchFirst;
    this.#dropout = probabilityOf(op, dropout);
    const learned = { ...place, requiresGrad: true };
    const high = Math.sqrt(6 / (4 * embedDim)); // of 3 embedDim outputs and embedDim inputs
    using undo = new DisposableStack(); // frees what was made, should the rest fail
    undo.defer(() => super.dispose());
    this.in_proj_weight = keep(rand([3 * embedDim, embedDim], { ...learned, low: -high, high }));
    this.in_proj_bias = bias ? keep(zeros([3 * embedDim], learned)) : null;
    this.out_proj = new Linear(embedDim, embedDim, { ...place, bias });
    this.out_proj.bias?.fill(0);
    undo.move();
  }

  /**
   * What the queries find. query: [queries, batch, embedDim], or without a batch [queries,
   * embedDim]; key and value likewise with as many keys. Default: key is query, and value is key.
   */
  override forward(
    query: Tensor,
    key: Tensor = query,
    value: Tensor = key,
    masks: AttentionMasks = {},
  ): Tensor {
    checkOptions("MultiHeadAttention", masks, ["mask", "keyPaddingMask", "causal"]);
    this.#check(query, key, value);
    if (query.rank === 2) return this.#unbatched(query, key, value, masks);
    const [batchAxis, axis] = this.#batchFirst ? [0, 1] : [1, 0];
    const sizes = {
      ...{ batch: query.shape[batchAxis]!, heads: this.#heads },
      ...{ queries: query.shape[axis]!, keys: key.shape[axis]! },
    };
    const parts = this.#projected(query, key, value);
    const { x } = parts[0]!;
    const found = headAttention(parts, {
      ...{ heads: this.#heads, width: query.shape[2]!, batchFirst: this.#batchFirst },
      mask: joined(
        attentionMask(x, sizes, masks.mask),
        paddingMask(x, sizes, masks.keyPaddingMask),
      ),
      causal: masks.causal ?? false,
      dropout: this.training ? this.#dropout : 0,
    });
    return this.out_proj.forward(found);
  }

  #unbatched(query: Tensor, key: Tensor, value: Tensor, masks: AttentionMasks): Tensor {
    const axis = this.#batchFirst ? 0 : 1;
    const batch = (x: Tensor) => x.unsqueeze(axis);
    const [q, k] = [batch(query), key === query ? undefined : batch(key)];
    const v = value === key ? undefined : batch(value);
    const padding = masks.keyPaddingMask?.unsqueeze(0);
    return this.forward(q, k, v, { ...masks, keyPaddingMask: padding }).squeeze(axis);
  }

  // Queries, keys and values, those of the same tensor by one product.
  #projected(query: Tensor, key: Tensor, value: Tensor): Columns[] {
    const { in_proj_weight: weight, in_proj_bias: bias } = this;
    const size = query.shape.at(-1)!;
    const project = (x: Tensor, from: number, to: number) => {
      const rows = (of: Tensor) => slice(of, 0, from * size, to * size);
      const y = linear(x, rows(weight), bias && rows(bias));
      return Array.from({ length: to - from }, (_, i) => ({ x: y, column: i * size }));
    };
    if (key !== value) {
      return [query, key, value].flatMap((x, i) => project(x, i, i + 1));
    }
    return query === key ? project(query, 0, 3) : [...project(query, 0, 1), ...project(key, 1, 3)];
  }

  #check(query: Tensor, key: Tensor, value: Tensor): void {
    for (const x of [query, key, value]) checkTensor("MultiHeadAttention", x);
    const [, size] = this.in_proj_weight.shape;
    const batch = (x: Tensor) => (x.rank === 3 ? x.shape[this.#batchFirst ? 0 : 1] : 0);
    const length = (x: Tensor) => x.shape[x.rank === 3 && this.#batchFirst ? 1 : 0];
    const fits = (x: Tensor) =>
      (x.rank === 2 || x.rank === 3) && x.rank === query.rank && x.shape.at(-1) === size &&
      batch(x) === batch(query);
    if (![query, key, value].every(fits) || length(key) !== length(value)) {
      const order = this.#batchFirst ? "[batch, sequence, " : "[sequence, batch, ";
      throw new ShapeError(
        `MultiHeadAttention: query is ${formatShape(query.shape)}, key ${
          formatShape(key.shape)
        }, ` +
          `value ${formatShape(value.shape)}; wanted is ${order}${size}] with one batch, and as ` +
          "many keys as values",
      );
    }
  }

  /** `MultiHeadAttention(embedDim, heads)`. */
  override describe(): string {
    return formatCall("MultiHeadAttention", [this.in_proj_weight.shape[1], this.#heads], {
      bias: this.in_proj_bias ? undefined : false,
      batchFirst: this.#batchFirst || undefined,
      dropout: this.#dropout || undefined,
    });
  }
}

interface Sizes {
  readonly batch: number;
  readonly heads: number;
  readonly queries: number;
  readonly keys: number;
}

// uint8 masks become those that say where to attend.
function attentionMask(
  x: Tensor,
  { batch, heads, queries, keys }: Sizes,
  mask: Tensor | null | undefined,
): Tensor | undefined {
  if (!mask) return undefined;
  checkMask("mask", mask);
  const wanted = mask.rank === 3 ? [batch * heads, queries, keys] : [queries, keys];
  checkShape("mask", mask, wanted);
  return attended(x, reshape(mask, mask.rank === 3 ? [batch, heads, queries, keys] : wanted));
}

function paddingMask(
  x: Tensor,
  { batch, keys }: Sizes,
  mask: Tensor | null | undefined,
): Tensor | undefined {
  if (!mask) return undefined;
  checkMask("keyPaddingMask", mask);
  checkShape("keyPaddingMask", mask, [batch, keys]);
  return attended(x, reshape(mask, [batch, 1, 1, keys]));
}

// PyTorch's uint8 mask says what to leave out, scaledDotProductAttention()'s what to take. Floats
// become the scores' dtype, so that two can be added.
const attended = (x: Tensor, mask: Tensor) =>
  mask.dtype === "uint8" ? eq(mask, 0) : cast(mask, computeDType(x.dtype));

function joined(a: Tensor | undefined, b: Tensor | undefined): Tensor | undefined {
  if (!a || !b) return a ?? b;
  const [first, second] = a.dtype === "uint8" ? [a, b] : [b, a];
  if (first.dtype !== "uint8") return add(first, second);
  return where(first, second, second.dtype === "uint8" ? 0 : -Infinity);
}

function checkMask(name: string, mask: Tensor): void {
  checkTensor(`MultiHeadAttention: ${name}`, mask);
  if (mask.dtype !== "uint8" && !floats.includes(mask.dtype)) {
    throw new DTypeError(
      `MultiHeadAttention: ${name} is ${mask.dtype}; it must be uint8 or a float`,
    );
  }
}

function checkShape(name: string, mask: Tensor, wanted: readonly number[]): void {
  if (mask.rank !== wanted.length || mask.shape.some((extent, d) => extent !== wanted[d])) {
    throw new ShapeError(
      `MultiHeadAttention: ${name} is ${formatShape(mask.shape)}; it must be ${
        formatShape(wanted)
      }`,
    );
  }
}
