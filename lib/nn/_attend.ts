// What layers of attention have in common: heads of keys and values that are fewer, and a cache.
import { eye } from "../create.ts";
import { cast } from "../ops/elementwise/_cast.ts";
import { eq } from "../ops/elementwise/compare.ts";
import { where } from "../ops/elementwise/where.ts";
import { add } from "../ops/elementwise/binary.ts";
import { type Columns, headAttention } from "../ops/attention/_heads.ts";
import { scaledDotProductAttention } from "../ops/attention/attention.ts";
import { matmul } from "../ops/linalg/matmul.ts";
import { flatten, permute, reshape, transpose } from "../ops/shape/movement.ts";
import { repeatInterleave } from "../ops/shape/repeat_interleave.ts";
import { slice } from "../ops/shape/slice.ts";
import type { Tensor } from "../tensor.ts";
import type { KVCache } from "./kv_cache.ts";

/** How heads attend, and to what. */
export interface Attending {
  readonly heads: number;
  readonly kvHeads: number;
  /** Features of all heads of queries. */
  readonly width: number;
  readonly batchFirst: boolean;
  /** As scaledDotProductAttention() takes it. */
  readonly mask: Tensor | undefined;
  readonly causal: boolean;
  readonly cache?: KVCache | null | undefined;
}

/** Queries, keys and values as headAttention() takes them, and how it is to read them. */
export interface Attended {
  readonly columns: readonly Columns[];
  readonly batchFirst: boolean;
  /** How many keys come before that of the first query. */
  readonly offset: number;
}

/** With the keys and values of the cache. */
export function attended(columns: readonly Columns[], attending: Attending): Attended {
  const { heads, kvHeads, width, batchFirst, cache } = attending;
  if (!cache) return { columns, batchFirst, offset: 0 };
  let [q, k, v] = columns.map(({ x, column }, i) => {
    const own = slice(x, 2, column, column + (i > 0 ? width / heads * kvHeads : width));
    return batchFirst ? turned(own) : own;
  }) as [Tensor, Tensor, Tensor];
  const offset = cache.length;
  ({ key: k, value: v } = cache.append(k, v));
  return { columns: [q, k, v].map((x) => ({ x, column: 0 })), batchFirst: false, offset };
}

/** What the heads find, [batch, queries, width] with batchFirst, else [queries, batch, width]. */
export function attend(
  columns: readonly Columns[],
  attending: Attending & { readonly dropout: number },
): Tensor {
  const { columns: read, ...how } = attended(columns, attending);
  const found = headAttention(read, { ...attending, ...how });
  return how.batchFirst === attending.batchFirst ? found : turned(found);
}

/** The same, and the weights [batch, heads, queries, keys] that it is the sum by. */
export function attendWeighing(
  columns: readonly Columns[],
  attending: Attending & { readonly dropout: number },
): { output: Tensor; weights: Tensor } {
  const { heads, kvHeads, width, dropout, batchFirst, mask: wide, causal } = attending;
  const { columns: read, batchFirst: first, offset } = attended(columns, attending);
  const features = width / heads;
  const [q, k, v] = read.map(({ x, column }, i) => {
    const count = i > 0 ? kvHeads : heads;
    const own = slice(x, 2, column, column + count * features);
    const split = reshape(own, [...x.shape.slice(0, 2), count, features]);
    return permute(split, first ? [0, 2, 1, 3] : [1, 2, 0, 3]);
  }) as [Tensor, Tensor, Tensor];
  const mask = wide && (wide.dtype === "uint8" ? wide : cast(wide, q.dtype));
  // Weights are what is found among the rows of the identity.
  const unit = eye(k.shape[2]!, undefined, { device: k.device, dtype: k.dtype });
  const weights = scaledDotProductAttention(q, k, unit, { mask, causal, offset, dropout });
  const own = kvHeads < heads ? repeatInterleave(v, heads / kvHeads, 1) : v;
  const found = permute(matmul(weights, own), batchFirst ? [0, 2, 1, 3] : [2, 0, 1, 3]);
  return { output: flatten(found, 2), weights };
}

/** With the first two axes exchanged. */
export function turned(x: Tensor): Tensor {
  const [a, b, ...rest] = x.shape as [number, number];
  return a === 1 || b === 1 ? reshape(x, [b, a, ...rest]) : transpose(x, 0, 1);
}

/** A mask of keys to hide, [batch, keys], as one of what to attend to. */
export function seen(hidden: Tensor): Tensor {
  return reshape(eq(hidden, 0), [hidden.shape[0]!, 1, 1, hidden.shape[1]!]);
}

/** Both masks: uint8 says where to attend, floats are added. */
export function joined(a: Tensor | undefined, b: Tensor | undefined): Tensor | undefined {
  if (!a || !b) return a ?? b;
  const [first, second] = a.dtype === "uint8" ? [a, b] : [b, a];
  if (first.dtype !== "uint8") return add(first, second);
  return where(first, second, second.dtype === "uint8" ? 0 : -Infinity);
}
