// Attention and rotary positions.
import { ones } from "../../create.ts";
import { scaledDotProductAttention } from "../../ops/attention/mod.ts";
import { add, div, eq, mul, sub, tanh, where } from "../../ops/elementwise/mod.ts";
import { indexSelect } from "../../ops/index/mod.ts";
import { matmul } from "../../ops/linalg/mod.ts";
import { max, softmax } from "../../ops/reduce/mod.ts";
import {
  concat,
  pad,
  permute,
  repeatInterleave,
  reshape,
  slice,
  split,
  stack,
  tril,
  unsqueeze,
} from "../../ops/shape/mod.ts";
import type { Tensor } from "../../tensor.ts";
import type { Family, Operator } from "./_operator.ts";

/** [n, positions, heads * features] as [n, heads, positions, features], and back. */
const headsOf = (x: Tensor, heads: number) =>
  x.rank === 4 ? x : permute(reshape(x, [x.shape[0]!, x.shape[1]!, heads, -1]), [0, 2, 1, 3]);
const joined = (x: Tensor) =>
  reshape(permute(x, [0, 2, 1, 3]), [x.shape[0]!, x.shape[2]!, x.shape[1]! * x.shape[3]!]);

/** Both masks: 0 and 1, or a float that is added to the scores. */
function allowed(mask: Tensor | undefined, more: Tensor | undefined): Tensor | undefined {
  if (!mask || !more) return mask ?? more;
  return mask.dtype === "uint8" ? mul(mask, more) : where(more, mask, -Infinity);
}

// Queries see the keys up to their own place, the first query's being after `past` keys.
function causalMask(query: Tensor, key: Tensor, past: number): Tensor {
  const shape = [query.shape[2]!, key.shape[2]!];
  return tril(ones(shape, { dtype: "uint8", device: query.device }), past);
}

// The scores by themselves: as they are, limited, masked, or as weights.
function inSteps(
  [q, k, v]: [Tensor, Tensor, Tensor],
  { mask, scale, limit, kind }: { mask?: Tensor; scale: number; limit: number; kind: number },
): [Tensor, Tensor] {
  const scores = matmul(mul(q, scale), k, { transposeB: true });
  const limited = limit > 0 ? mul(tanh(div(scores, limit)), limit) : scores;
  const masked = !mask
    ? limited
    : mask.dtype === "uint8"
    ? where(mask, limited, -Infinity)
    : add(limited, mask);
  const none = eq(max(masked, 3, { keepDims: true }), -Infinity);
  const weights = where(none, 0, softmax(masked));
  return [matmul(weights, v), [scores, limited, masked, weights][kind]!];
}

const attention: Operator = (c) => {
  const flat = c.x.rank === 3;
  const heads = (i: number, name: string) => headsOf(c.tensor(i), flat ? c.int(name) : 0);
  const q = heads(0, "q_num_heads");
  const with_ = (i: number, x: Tensor) => c.has(i) ? concat([c.tensor(i), x], 2) : x;
  const [key, value] = [
    with_(4, heads(1, "kv_num_heads")),
    with_(5, heads(2, "kv_num_heads")),
  ];
  const repeated = (x: Tensor) => repeatInterleave(x, q.shape[1]! / x.shape[1]!, 1);
  const [k, v] = q.shape[1] === key.shape[1] ? [key, value] : [repeated(key), repeated(value)];
  let mask = c.maybe(3);
  const missing = mask ? k.shape[2]! - mask.shape.at(-1)! : 0;
  if (mask && missing > 0) {
    const pads = mask.shape.map((_, d) => [0, d === mask!.rank - 1 ? missing : 0] as const);
    mask = pad(mask, pads, { value: mask.dtype === "uint8" ? 0 : -Infinity });
  }
  const causal = c.int("is_causal", 0) > 0;
  if (causal) mask = allowed(mask, causalMask(q, k, key.shape[2]! - c.value(1).shape.at(-2)!));
  const scale = c.float("scale", 1 / Math.sqrt(q.shape[3]!));
  const [limit, kind] = [c.float("softcap", 0), c.int("qk_matmul_output_mode", 0)];
  const [y, scores] = limit > 0 || c.wants(3)
    ? inSteps([q, k, v], { ...(mask ? { mask } : {}), scale, limit, kind })
    : [scaledDotProductAttention(q, k, v, { mask, scale })];
  return [flat ? joined(y) : y, key, value, scores];
};

// The key's mask is of the lengths, or of the keys of each sequence.
const multiHead: Operator = (c) => {
  const heads = c.int("num_heads");
  if (c.x.rank !== 3 || !c.has(1) || !c.has(2)) c.fail("packed queries, keys and values");
  let [q, k, v] = [c.x, c.tensor(1), c.tensor(2)];
  if (c.has(3)) {
    const width = c.x.shape[2]!;
    const [bq, bk, bv] = split(c.tensor(3), [width, width, c.tensor(3).size - 2 * width]);
    [q, k, v] = [add(q, bq!), k.rank === 3 ? add(k, bk!) : k, v.rank === 3 ? add(v, bv!) : v];
  }
  q = headsOf(q, heads);
  const with_ = (i: number, x: Tensor) => c.has(i) ? concat([c.tensor(i), x], 2) : x;
  const fresh = headsOf(k, heads);
  [k, v] = [with_(6, fresh), with_(7, headsOf(v, heads))];
  const keys = c.maybe(4);
  if (keys && (keys.rank !== 2 || keys.shape[1] !== k.shape[2])) c.fail("a mask of another kind");
  let mask = allowed(c.maybe(5), keys && reshape(keys, [-1, 1, 1, keys.shape[1]!]).ne(0));
  if (c.int("unidirectional", 0)) {
    mask = allowed(mask, causalMask(q, k, k.shape[2]! - fresh.shape[2]!));
  }
  const scale = c.float("scale", 0) || 1 / Math.sqrt(q.shape[3]!);
  return [joined(scaledDotProductAttention(q, k, v, { mask, scale })), k, v];
};

// Pairs of features turn by angles of their positions; what is behind `rotary_embedding_dim` stays.
const rotary: Operator = (c) => {
  const x = headsOf(c.x, c.x.rank === 3 ? c.int("num_heads") : 0);
  const [n, heads, positions, features] = x.shape as [number, number, number, number];
  const width = c.int("rotary_embedding_dim", 0) || features;
  const half = width / 2;
  const table = (i: number) => {
    const all = c.tensor(i);
    const rows = c.has(3) ? indexSelect(all, 0, reshape(c.tensor(3), [c.value(3).size])) : all;
    return unsqueeze(reshape(rows, [n, positions, half]), 1);
  };
  const [cos, sin] = [table(1), table(2)];
  const at = c.int("interleaved", 0) ? 4 : 3;
  const pairs = reshape(slice(x, 3, 0, width), [n, heads, positions, half].toSpliced(at, 0, 2));
  const [a, b] = [0, 1].map((i) =>
    reshape(slice(pairs, at, i, i + 1), [n, heads, positions, half])
  );
  const turned = [sub(mul(a!, cos), mul(b!, sin)), add(mul(a!, sin), mul(b!, cos))];
  const whole = reshape(stack(turned, at), [n, heads, positions, width]);
  const y = width < features ? concat([whole, slice(x, 3, width, features)], 3) : whole;
  return c.x.rank === 3 ? joined(y) : y;
};

/** Attention. */
export const attentions: Family = {
  Attention: attention,
  RotaryEmbedding: rotary,
  "com.microsoft:MultiHeadAttention": multiHead,
};
