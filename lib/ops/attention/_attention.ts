// Attention as one native call each way, on heads that lie where strides say.
import { gradEnabled, observed, record } from "../../core/autograd.ts";
import { throughOps } from "../../core/backward.ts";
import { computeDType } from "../../core/dtype.ts";
import { type MatmulPrecision, precisionCode } from "../../core/precision.ts";
import { drawRandom, type RandomBlocks } from "../../core/random.ts";
import { broadcastStrides, type Shape } from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import type { Tensor } from "../../tensor.ts";
import { cast } from "../elementwise/_cast.ts";
import { add, minimum, mul, sub } from "../elementwise/binary.ts";
import { weigh } from "../elementwise/_binary.ts";
import { ge, le, lt } from "../elementwise/compare.ts";
import { where } from "../elementwise/where.ts";
import { matmul } from "../linalg/matmul.ts";
import { sumTo } from "../reduce/_reduce.ts";
import { cumsum } from "../reduce/cumsum.ts";
import { maskedSoftmax } from "../reduce/_softmax.ts";
import { reshape } from "../shape/movement.ts";

/** Heads within a tensor: the first element, and from one batch, head and row to the next. */
export interface Place {
  readonly offset: number;
  readonly strides: readonly [batch: number, head: number, row: number];
}

/** Of one of the tensors that attention reads: where heads lie, and their gradients in theirs. */
export interface Part extends Place {
  readonly source: number;
  /** Default: the same. */
  readonly grad?: Place | undefined;
}

/** What attention is of, but for its tensors. */
export interface Attention {
  readonly batch: number;
  readonly heads: number;
  /** Of keys and values; each serves heads / kvHeads heads that follow one another. */
  readonly kvHeads: number;
  readonly queries: number;
  readonly keys: number;
  readonly features: number;
  readonly outFeatures: number;
  /** Broadcasts to [batch, heads, queries, keys]: uint8, 0 hiding a key, or added to scores. */
  readonly mask?: Tensor | undefined;
  /** int32 [batch]: keys from there on are hidden. */
  readonly lengths?: Tensor | undefined;
  /** Query i stands at key i + offset; from the end, that of query i + keys - queries. */
  readonly offset: number;
  readonly fromEnd: boolean;
  /** How far it sees to either side, -1 without a limit. */
  readonly window: readonly [left: number, right: number];
  readonly scale: number;
  readonly dropout: number;
  readonly precision: MatmulPrecision;
}

/** How to run attention: on which tensors, and what its result is. */
export interface Heads {
  /** Queries, keys and values. */
  readonly parts: readonly [Part, Part, Part];
  readonly shape: Shape;
  readonly place: Place;
  /** The shapes of the sources' gradients, where they are to be summed to the sources'. */
  readonly gradShapes?: readonly Shape[] | undefined;
  /** Queries, keys and values as [batch, heads or kvHeads, rows, features] by operations. */
  parted(sources: readonly Tensor[]): readonly [Tensor, Tensor, Tensor];
  /** The result, of [batch, heads, queries, outFeatures]. */
  joined(y: Tensor): Tensor;
}

/** The result, recorded. */
export function attend(sources: readonly Tensor[], heads: Heads, x: Attention): Tensor {
  const [first] = sources as [Tensor];
  const scores = [x.batch, x.heads, x.queries, x.keys];
  const mask = x.mask && allowed(x.mask, first);
  const inputs = mask && mask.dtype !== "uint8" ? [...sources, mask] : sources;
  const recorded = gradEnabled() && inputs.some((input) => input.requiresGrad);
  const random: RandomBlocks = x.dropout > 0
    ? drawRandom(x.batch * x.heads * Math.ceil(x.queries / 16) * Math.ceil(x.keys / 16) * 32)
    : { state: null, seed: 0n, offset: 0n };
  if (observed()?.composes) {
    return heads.joined(composedAttention(heads.parted(sources), { ...x, mask }, random));
  }
  const { state, seed, offset } = random;
  const sums = computeDType(first.dtype);

  using views = new DisposableStack();
  const [q, k, v] = heads.parts.map((part) => partOf(sources[part.source]!, part, views)) as Three;
  const places = [...heads.parts, heads.place];
  const given = [mask, x.lengths, state] as const;
  const rest = [
    ...[x.scale, x.dropout, seed, offset, first.code, mask?.code ?? first.code] as const,
    precisionCode(x.precision),
  ] as const;
  const y = first.make(heads.shape);
  const planes = mask && mask.dtype !== "uint8" ? 2 : 1;
  const lse = recorded ? first.make([planes, ...scores.slice(0, 3)], sums) : null;
  call("cdn_attention", y, lse, q, k, v, ...given, numbersOf(x, mask, scores, places), ...rest);

  return record(y, "scaledDotProductAttention", inputs, (dy) => {
    if (gradEnabled()) {
      const composed = (...of: Tensor[]) => {
        const own = of.length > sources.length ? of.at(-1) : mask;
        return heads.joined(composedAttention(heads.parted(of), { ...x, mask: own }, random));
      };
      return throughOps(composed, inputs, dy);
    }
    using views = new DisposableStack();
    const [q, k, v] = heads.parts.map((at) => partOf(sources[at.source]!, at, views)) as Three;
    const gradients = sources.map((x, i) => x.make(heads.gradShapes?.[i] ?? x.shape));
    const gradPlaces = heads.parts.map((part) => part.grad ?? part);
    const [dq, dk, dv] = heads.parts.map(({ source }, i) =>
      partOf(gradients[source]!, gradPlaces[i]!, views)
    ) as Three;
    const dscores = inputs !== sources && mask!.requiresGrad ? dy.make(scores, sums) : null;
    call(
      "cdn_attention_grad",
      ...[dq, dk, dv, dscores, dy, y, lse, q, k, v] as const,
      ...given,
      numbersOf(x, mask, scores, [...places, ...gradPlaces, heads.place]),
      ...rest,
    );
    const found = gradients.map((gradient, i) => sumTo(gradient, sources[i]!.shape));
    if (inputs === sources) return found;
    return [...found, dscores && cast(sumTo(dscores, mask!.shape), mask!.dtype)];
  });
}

type Three = [Tensor, Tensor, Tensor];

function partOf(x: Tensor, { offset }: Place, views: DisposableStack): Tensor {
  return offset === 0 || x.size === 0 ? x : views.use(x.part(offset, [x.size - offset]));
}

// A mask of a dtype that the library takes: floats of the operands', or float32 for 16-bit ones.
function allowed(mask: Tensor, { dtype }: Tensor): Tensor {
  if (mask.dtype === "uint8" || mask.dtype === dtype) return mask;
  return cast(mask, computeDType(dtype));
}

// As cudeno.h has them.
const numbers = new BigInt64Array(39);

function numbersOf(
  x: Attention,
  mask: Tensor | undefined,
  scores: Shape,
  places: readonly Place[],
): BigInt64Array<ArrayBuffer> {
  const all = [
    ...[x.batch, x.heads, x.kvHeads, x.queries, x.keys, x.features, x.outFeatures],
    ...[x.offset, Number(x.fromEnd), ...x.window],
    ...(mask ? broadcastStrides(mask.shape, scores) : [0, 0, 0, 0]),
    ...places.flatMap(({ strides }) => strides),
  ];
  all.forEach((number, i) => numbers[i] = BigInt(number));
  return numbers;
}

// The same of differentiable operations, for gradients that shall have gradients.
function composedAttention(
  given: readonly [Tensor, Tensor, Tensor],
  x: Attention,
  { state, seed, offset }: RandomBlocks,
): Tensor {
  const { batch, heads, kvHeads, queries, keys, precision } = x;
  const dtype = computeDType(given[0].dtype);
  const [q, k, v] = given.map((part) => cast(part, dtype)) as Three;
  // The heads that share keys are further rows.
  const group = kvHeads === 0 ? 0 : heads / kvHeads;
  const rows = reshape(mul(q, x.scale), [batch, kvHeads, group * queries, x.features]);
  const products = matmul(rows, k, { transposeB: true, precision });
  let scores = reshape(products, [batch, heads, queries, keys]);
  const seen = withinLimits(x, scores);
  if (seen) scores = where(seen, scores, -Infinity);
  if (x.mask?.dtype === "uint8") scores = where(x.mask, scores, -Infinity);
  else if (x.mask) scores = add(scores, cast(x.mask, dtype));
  let weights = maskedSoftmax(scores);
  if (x.dropout > 0) {
    const keep = weights.make(weights.shape);
    const sizes = [batch * heads, queries, keys] as const;
    call("cdn_attention_dropout", keep, state, ...sizes, x.dropout, seed, offset, keep.code);
    weights = weigh(weights, keep);
  }
  const y = matmul(reshape(weights, [batch, kvHeads, group * queries, keys]), v, { precision });
  return cast(reshape(y, [batch, heads, queries, x.outFeatures]), given[0].dtype);
}

// 1 where a query sees a key by offset, window and lengths; undefined where it sees all.
function withinLimits(x: Attention, like: Tensor): Tensor | undefined {
  const [left, right] = x.window;
  const counted = (shape: Shape, n: number) => sub(cumsum(like.make(shape, "int32").fill(1), n), 1);
  // more keys than there are end where those do
  const lengths = x.lengths && minimum(reshape(x.lengths, [x.batch, 1, 1, 1]), x.keys);
  const key = counted([1, x.keys], 1);
  let query = counted([x.queries, 1], 0);
  if (x.fromEnd) query = add(query, lengths ? sub(lengths, x.queries) : x.keys - x.queries);
  const beyond = sub(key, query);
  // no key is farther away than int32 goes
  const limit = (far: number) => Math.min(Math.max(x.offset + far, -(2 ** 31)), 2 ** 31 - 1);
  const limits = [
    ...(left < 0 ? [] : [ge(beyond, limit(-left))]),
    ...(right < 0 ? [] : [le(beyond, limit(right))]),
    ...(lengths ? [lt(key, lengths)] : []),
  ];
  return limits.length === 0 ? undefined : limits.reduce((a, b) => mul(a, b));
}
