import { formatCall } from "../core/describe.ts";
import type { DeviceName } from "../core/backend.ts";
import { computeDType, type DType } from "../core/dtype.ts";
import { checkInteger, checkOptions } from "../core/options.ts";
import { keep } from "../core/scope.ts";
import { formatShape } from "../core/shape.ts";
import { rand, zeros } from "../create.ts";
import { ArgumentError, DTypeError, ShapeError } from "../native/errors.ts";
import type { Columns } from "../ops/attention/_heads.ts";
import { cast } from "../ops/elementwise/_cast.ts";
import { eq } from "../ops/elementwise/compare.ts";
import { probabilityOf } from "../ops/random/_probability.ts";
import { linear } from "../ops/linalg/linear.ts";
import { mean } from "../ops/reduce/mean.ts";
import { reshape } from "../ops/shape/movement.ts";
import { checkTensor, floats } from "../ops/_operands.ts";
import { slice } from "../ops/shape/slice.ts";
import type { Tensor } from "../tensor.ts";
import { attend, attendWeighing, joined } from "./_attend.ts";
import type { KVCache } from "./kv_cache.ts";
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
  /** Features of keys. Default embedDim. */
  kdim?: number | undefined;
  /** Features of values. Default embedDim. */
  vdim?: number | undefined;
  /**
   * Heads of keys and values, each of which serves heads / kvHeads heads of queries: grouped-query
   * attention (Ainslie et al. 2023). Default: as many as heads.
   */
  kvHeads?: number | undefined;
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

/** What {@linkcode MultiHeadAttention} is told beside its inputs. */
export interface AttentionForwardOptions extends AttentionMasks {
  /**
   * Has the keys and values of the calls before; those of this one are appended. Masks then are for
   * all keys, and `causal` keeps the first of these queries from keys after its own.
   */
  cache?: KVCache | null | undefined;
}

/** What {@linkcode MultiHeadAttention.run} gives. */
export interface AttentionResult {
  /** What forward() gives. */
  output: Tensor;
  /** [batch, queries, keys], the mean over the heads; or [batch, heads, queries, keys]. */
  weights: Tensor;
}

/**
 * Attention by several heads, each of embedDim / heads features of linear projections of queries,
 * keys and values, whose results are joined and projected once more; as
 * torch.nn.MultiheadAttention, of which it has the parameters: in_proj_weight [3 embedDim,
 * embedDim] (Xavier uniform), or with kdim or vdim q_proj_weight, k_proj_weight and v_proj_weight;
 * in_proj_bias [3 embedDim] (zeros), out_proj.weight and out_proj.bias (zeros). With kvHeads there
 * are fewer rows for keys and values. The result is the output alone; run() gives weights too.
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * const attention = new nn.MultiHeadAttention(16, 4, { batchFirst: true });
 * const x = rand([2, 5, 16]);
 * console.log(attention.forward(x, x, x, { causal: true }).shape); // [2, 5, 16]
 * ```
 */
export class MultiHeadAttention extends Module {
  /** [3 embedDim, embedDim]: of queries, keys and values. Not there with kdim or vdim. */
  in_proj_weight!: Tensor;
  /** [embedDim, embedDim] with kdim or vdim, or null. */
  q_proj_weight: Tensor | null = null;
  /** [embedDim, kdim] with kdim or vdim, or null. */
  k_proj_weight: Tensor | null = null;
  /** [embedDim, vdim] with kdim or vdim, or null. */
  v_proj_weight: Tensor | null = null;
  /** [3 embedDim], or null. */
  in_proj_bias: Tensor | null;
  /** The projection of the joined heads. */
  out_proj: Linear;
  readonly #heads: number;
  readonly #kvHeads: number;
  readonly #features: readonly [query: number, key: number, value: number];
  readonly #batchFirst: boolean;
  readonly #dropout: number;

  constructor(embedDim: number, heads: number, options: MultiHeadAttentionOptions = {}) {
    super();
    const op = "MultiHeadAttention";
    checkInteger(op, "embedDim", embedDim, 1);
    checkInteger(op, "heads", heads, 1);
    const own = ["bias", "batchFirst", "dropout", "kdim", "vdim", "kvHeads", "device", "dtype"];
    checkOptions(op, options, own);
    const { bias = true, batchFirst = false, dropout = 0, ...others } = options;
    const { kdim = embedDim, vdim = embedDim, kvHeads = heads, ...place } = others;
    for (const [name, n] of Object.entries({ kdim, vdim, kvHeads })) checkInteger(op, name, n, 1);
    if (embedDim % heads !== 0) {
      throw new ArgumentError(`${op}: embedDim is ${embedDim}; it must be a multiple of ${heads}`);
    }
    if (heads % kvHeads !== 0) {
      throw new ArgumentError(`${op}: kvHeads is ${kvHeads}; it must divide heads, ${heads}`);
    }
    this.#heads = heads;
    this.#kvHeads = kvHeads;
    this.#features = [embedDim, kdim, vdim];
    this.#batchFirst = batchFirst;
    this.#dropout = probabilityOf(op, dropout, "dropout");
    const learned = { ...place, requiresGrad: true };
    using undo = new DisposableStack(); // frees what was made, should the rest fail
    undo.defer(() => super.dispose());
    const xavier = (rows: number, columns: number) => {
      const high = Math.sqrt(6 / (rows + columns));
      return keep(rand([rows, columns], { ...learned, low: -high, high }));
    };
    const end = this.#rows.at(-1)!, width = embedDim / heads * kvHeads;
    if (kdim === embedDim && vdim === embedDim) this.in_proj_weight = xavier(end, embedDim);
    else {
      this.q_proj_weight = xavier(embedDim, embedDim);
      this.k_proj_weight = xavier(width, kdim);
      this.v_proj_weight = xavier(width, vdim);
    }
    this.in_proj_bias = bias ? keep(zeros([end], learned)) : null;
    this.out_proj = new Linear(embedDim, embedDim, { ...place, bias });
    this.out_proj.bias?.fill(0);
    undo.move();
  }

  // Where the rows of queries, keys and values begin, and end.
  get #rows(): [number, number, number, number] {
    const [size] = this.#features, width = size / this.#heads * this.#kvHeads;
    return [0, size, size + width, size + 2 * width];
  }

  /**
   * What the queries find. query: [queries, batch, embedDim], or without a batch [queries,
   * embedDim]; key and value likewise with as many keys. Default: key is query, and value is key.
   */
  override forward(
    query: Tensor,
    key: Tensor = query,
    value: Tensor = key,
    options: AttentionForwardOptions = {},
  ): Tensor {
    return this.#run(query, key, value, options).output;
  }

  /**
   * As forward(), with the weights of attention: after dropout, as in PyTorch, and those of each
   * head with `averageWeights: false`. They take memory and time that forward() does without.
   *
   * ```ts
   * import { nn, rand } from "@cudeno/cudeno";
   * const attention = new nn.MultiHeadAttention(16, 4, { batchFirst: true });
   * const x = rand([2, 5, 16]);
   * console.log(attention.run(x, x, x, { causal: true }).weights.shape); // [2, 5, 5]
   * ```
   */
  run(
    query: Tensor,
    key: Tensor = query,
    value: Tensor = key,
    options: AttentionForwardOptions & { averageWeights?: boolean | undefined } = {},
  ): AttentionResult {
    const { averageWeights = true, ...masks } = options;
    const { output, weights } = this.#run(query, key, value, masks, true);
    return { output, weights: averageWeights ? mean(weights!, -3) : weights! };
  }

  // Weights are [batch, heads, queries, keys].
  #run(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    options: AttentionForwardOptions,
    weighed = false,
  ): { output: Tensor; weights?: Tensor } {
    checkOptions("MultiHeadAttention", options, ["mask", "keyPaddingMask", "causal", "cache"]);
    this.#check(query, key, value);
    const batchFirst = this.#batchFirst;
    const [batchAxis, axis] = batchFirst ? [0, 1] : [1, 0];
    if (query.rank === 2) {
      const batch = (x: Tensor) => x.unsqueeze(batchAxis);
      const [q, k] = [batch(query), key === query ? undefined : batch(key)];
      const v = value === key ? undefined : batch(value);
      const keyPaddingMask = options.keyPaddingMask?.unsqueeze(0);
      const all = { ...options, keyPaddingMask };
      const { output, weights } = this.#run(q, k ?? q, v ?? k ?? q, all, weighed);
      return {
        output: output.squeeze(batchAxis),
        ...(weights && { weights: weights.squeeze(0) }),
      };
    }
    const { cache, causal = false, mask, keyPaddingMask } = options;
    const sizes = {
      ...{ batch: query.shape[batchAxis]!, heads: this.#heads, queries: query.shape[axis]! },
      keys: key.shape[axis]! + (cache?.length ?? 0),
    };
    const columns = this.#projected(query, key, value);
    const { x } = columns[0]!;
    const attending = {
      ...{ heads: this.#heads, kvHeads: this.#kvHeads, width: this.#features[0], batchFirst },
      mask: joined(attentionMask(x, sizes, mask), paddingMask(x, sizes, keyPaddingMask)),
      ...{ causal, cache, dropout: this.training ? this.#dropout : 0 },
    };
    if (!weighed) return { output: this.out_proj.forward(attend(columns, attending)) };
    const { output, weights } = attendWeighing(columns, attending);
    return { output: this.out_proj.forward(output), weights };
  }

  // Queries, keys and values, those of the same tensor by one product.
  #projected(query: Tensor, key: Tensor, value: Tensor): Columns[] {
    const { in_proj_bias: bias } = this, weight: Tensor | undefined = this.in_proj_weight;
    const rows = this.#rows;
    const project = (x: Tensor, from: number, to: number) => {
      const part = (of: Tensor) => slice(of, 0, rows[from], rows[to]);
      const own = [this.q_proj_weight, this.k_proj_weight, this.v_proj_weight][from];
      const y = linear(x, weight ? part(weight) : own!, bias && part(bias));
      return rows.slice(from, to).map((row) => ({ x: y, column: row - rows[from]! }));
    };
    if (key !== value || !weight) {
      return [query, key, value].flatMap((x, i) => project(x, i, i + 1));
    }
    return query === key ? project(query, 0, 3) : [...project(query, 0, 1), ...project(key, 1, 3)];
  }

  #check(query: Tensor, key: Tensor, value: Tensor): void {
    for (const x of [query, key, value]) checkTensor("MultiHeadAttention", x);
    const batch = (x: Tensor) => (x.rank === 3 ? x.shape[this.#batchFirst ? 0 : 1] : 0);
    const length = (x: Tensor) => x.shape[x.rank === 3 && this.#batchFirst ? 1 : 0];
    const fits = (x: Tensor, i: number) =>
      (x.rank === 2 || x.rank === 3) && x.rank === query.rank &&
      x.shape.at(-1) === this.#features[i] && batch(x) === batch(query);
    if (![query, key, value].every(fits) || length(key) !== length(value)) {
      const order = this.#batchFirst ? "[batch, sequence, " : "[sequence, batch, ";
      const [size, kdim, vdim] = this.#features;
      const others = kdim === size && vdim === size ? "" : `, of keys ${kdim}, of values ${vdim},`;
      throw new ShapeError(
        `MultiHeadAttention: query is ${formatShape(query.shape)}, key ${
          formatShape(key.shape)
        }, ` +
          `value ${
            formatShape(value.shape)
          }; wanted is ${order}${size}]${others} with one batch, ` +
          "and as many keys as values",
      );
    }
  }

  /** `MultiHeadAttention(embedDim, heads)`. */
  override describe(): string {
    const [size, kdim, vdim] = this.#features;
    return formatCall("MultiHeadAttention", [size, this.#heads], {
      kdim: kdim === size ? undefined : kdim,
      vdim: vdim === size ? undefined : vdim,
      kvHeads: this.#kvHeads === this.#heads ? undefined : this.#kvHeads,
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
  return kept(x, reshape(mask, mask.rank === 3 ? [batch, heads, queries, keys] : wanted));
}

function paddingMask(
  x: Tensor,
  { batch, keys }: Sizes,
  mask: Tensor | null | undefined,
): Tensor | undefined {
  if (!mask) return undefined;
  checkMask("keyPaddingMask", mask);
  checkShape("keyPaddingMask", mask, [batch, keys]);
  return kept(x, reshape(mask, [batch, 1, 1, keys]));
}

// PyTorch's uint8 mask says what to leave out, scaledDotProductAttention()'s what to take. Floats
// become the scores' dtype, so that two can be added.
const kept = (x: Tensor, mask: Tensor) =>
  mask.dtype === "uint8" ? eq(mask, 0) : cast(mask, computeDType(x.dtype));

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
