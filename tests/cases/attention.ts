import { eye, scaledDotProductAttention, type Shape, type Tensor, tensor } from "../../mod.ts";
import { alongAxis, batchProduct, type Grid, mapped, permuted } from "../reference.ts";
import { type Case, floats, halves, roundings, spiked, whole } from "./case.ts";

type Options = Parameters<typeof scaledDotProductAttention>[3];
type Score = (score: number, at: { query: number; key: number; batch: number }) => number;

// softmax(scale q kᵀ) v of scores that `masked` changes: -Infinity where a query does not attend.
// Heads of k and v serve several of q's where they are fewer.
function attention([q, k, v]: readonly Grid[], masked: Score, scale?: number): Grid {
  const heads = q!.shape.at(-3) ?? 1;
  const [keys, values] = [k!, v!].map((x) => {
    const own = x.shape.at(-3) ?? 1;
    return own > 1 && own < heads ? repeated(x, heads / own) : x;
  }) as [Grid, Grid];
  const axes = keys.shape.map((_, d) => d);
  const turned = permuted(keys, [...axes.slice(0, -2), ...axes.slice(-2).reverse()]);
  const products = batchProduct(q!, turned);
  const by = scale ?? 1 / Math.sqrt(q!.shape.at(-1)! || 1);
  const scores = eachScore(mapped(products, (x) => x * by), masked);
  const weights = alongAxis(scores, -1, (line) => {
    const largest = Math.max(...line);
    if (largest === -Infinity) return line.map(() => 0);
    const powers = line.map((x) => Math.exp(x - largest));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((x) => x / sum);
  });
  const { shape, values: found } = batchProduct(weights, values);
  return { shape, values: found };
}

// Each head `times` times, one after another.
function repeated(x: Grid, times: number): Grid {
  const size = x.shape.slice(-2).reduce((a, b) => a * b, 1);
  const { length } = x.values;
  const values = Float64Array.from(
    { length: length * times },
    (_, i) => x.values[Math.floor(i / size / times) * size + i % size]!,
  );
  return { shape: x.shape.with(-3, x.shape.at(-3)! * times), values };
}

// f of each score, and where it is; the batch is the first axis.
function eachScore(x: Grid, f: Score): Grid {
  const [queries, keys] = x.shape.slice(-2) as [number, number];
  const per = x.values.length / x.shape[0]!;
  const values = Float64Array.from(
    x.values,
    (score, i) =>
      f(score, {
        query: Math.floor(i / keys) % queries,
        key: i % keys,
        batch: Math.floor(i / per),
      }),
  );
  return { shape: x.shape, values };
}

// A mask's element, where it meets a score of a head or of all.
function maskAt(mask: Grid, { query, key }: { query: number; key: number }): number {
  const [rows, cols] = [mask.shape.at(-2) ?? 1, mask.shape.at(-1)!];
  return mask.values[(rows === 1 ? 0 : query) * cols + (cols === 1 ? 0 : key)]!;
}

const shapes: readonly Shape[][] = [
  [[1, 1], [1, 1], [1, 1]],
  [[5, 8], [7, 8], [7, 3]],
  [[2, 3, 33, 16], [2, 3, 33, 16], [2, 3, 33, 16]],
  [[2, 4, 5, 8], [1, 7, 8], [4, 7, 8]], // keys and values that heads or batches share
  [[2, 1, 2, 5, 8], [3, 1, 7, 8], [3, 2, 7, 8]], // batches that broadcast in one axis alone
  [[3, 65, 64], [3, 129, 64], [3, 129, 32]],
  [[0, 3, 4], [0, 5, 4], [0, 5, 2]],
  [[2, 0, 4], [2, 5, 4], [2, 5, 2]],
  [[2, 3, 0], [2, 5, 0], [2, 5, 2]],
];
// Lengths and features around the sizes of blocks, of all kernels.
const edges: readonly Shape[][] = [
  ...[[1, 64, 1], [2, 33, 8], [31, 1, 16], [63, 65, 17], [64, 64, 40], [65, 127, 80]],
  ...[[127, 31, 96], [129, 192, 128], [192, 129, 64], [1, 129, 200], [2, 63, 130]],
].map(([queries, keys, features]) => [
  [1, 2, queries!, features!],
  [1, 2, keys!, features!],
  [1, 2, keys!, features!],
]);
// One head of keys for several of queries.
const groups: readonly Shape[][] = [
  [[2, 4, 5, 8], [2, 2, 7, 8], [2, 2, 7, 3]],
  [[1, 8, 65, 16], [1, 1, 130, 16], [1, 1, 130, 16]],
  [[1, 6, 33, 64], [1, 2, 33, 64], [1, 2, 33, 64]],
];
const gradShapes: readonly Shape[][] = [
  [[2, 3, 2], [2, 4, 2], [2, 4, 3]],
  [[2, 2, 3], [1, 2, 3], [2, 3]],
];
const gradGroups: readonly Shape[][] = [[[1, 4, 3, 2], [1, 2, 4, 2], [1, 2, 4, 3]]];

const common = {
  dtypes: floats,
  steps: 4, // tensor cores round queries and weights too
  fill: [spiked(-1, 1, 2)],
  // Scores are rounded, softmax is taken of them, and the sums go over all keys.
  tolerance: roundings(24),
  gradRoundings: 64, // float32 is cut in two on tensor cores
};

// A row of the table, of options and what they make of a score.
function row(
  name: string,
  options: (q: Tensor, k: Tensor, mask?: Tensor) => Options,
  score: (inputs: readonly Grid[]) => Score,
  more: Partial<Case> = {},
): Case {
  return {
    name: `scaledDotProductAttention(${name})`,
    call: (q: Tensor, k: Tensor, v: Tensor, mask?: Tensor) =>
      scaledDotProductAttention(q, k, v, options(q, k, mask)),
    reference: (...inputs) => attention(inputs, score(inputs)),
    shapes: [...shapes.slice(1, 4), ...edges, ...groups],
    gradShapes: [...gradShapes, ...gradGroups],
    ...common,
    ...more,
  };
}

const hide = -Infinity;
const lengthsOf = (batch: number) => Array.from({ length: batch }, (_, b) => [3, 0, 70][b % 3]!);
const within = (low: number, x: number, high: number) => low <= x && x <= high;
const ends = ([q, k]: readonly Grid[]) => k!.shape.at(-2)! - q!.shape.at(-2)!;
const masks = (mask: (shape: Shape[]) => Shape) =>
  [...shapes.slice(1, 4), ...edges, ...groups].map((of) => [...of, mask([...of])]);

export const attentionCases: readonly Case[] = [
  row("", () => ({}), () => (score) => score, { shapes: [...shapes, ...edges, ...groups] }),
  {
    ...row("causal, scale", () => ({ causal: true, scale: 0.25 }), () => (score) => score),
    reference: (...inputs) =>
      attention(inputs, (score, { query, key }) => key > query ? hide : score, 0.25),
    shapes: [...shapes, ...edges, ...groups],
  },
  row(
    "causal, without the diagonal",
    // The first query is kept from all keys.
    (q, k) => {
      const mask = eye(q.shape.at(-2)!, k.shape.at(-2)!, { device: q.device }).eq(0);
      return { causal: true, mask };
    },
    () => (score, { query, key }) => key >= query ? hide : score,
  ),
  row(
    "causal from the end",
    () => ({ causal: true, offset: "end" }),
    (inputs) => (score, { query, key }) => key > query + ends(inputs) ? hide : score,
  ),
  row(
    "window, offset",
    () => ({ window: [40, 1], offset: -3 }),
    () => (score, { query, key }) => within(query - 43, key, query - 2) ? score : hide,
  ),
  row(
    "causal, window from the end",
    () => ({ causal: true, window: [2, 9], offset: "end" }),
    (inputs) => (score, { query, key }) =>
      within(query + ends(inputs) - 2, key, query + ends(inputs)) ? score : hide,
  ),
  row(
    "keyLengths, causal from the end",
    (q) => ({
      causal: true,
      offset: "end",
      keyLengths: tensor(lengthsOf(q.shape[0]!), { dtype: "int32", device: q.device }),
    }),
    (inputs) => (score, { query, key, batch }) => {
      const [queries, keys] = inputs.map(({ shape }) => shape.at(-2)!);
      const length = Math.min(lengthsOf(batch + 1)[batch]!, keys!);
      return key < length && key <= query + length - queries! ? score : hide;
    },
    {
      shapes: [...edges, ...groups, [[3, 2, 65, 8], [3, 2, 70, 8], [3, 2, 70, 8]]],
      gradShapes: [[[2, 3, 2], [2, 4, 2], [2, 4, 3]]],
    },
  ),
  row(
    "mask of floats",
    (_q, _k, mask) => ({ mask: mask! }),
    ([, , , mask]) => (score, at) => score + maskAt(mask!, at),
    {
      shapes: [
        ...masks(([q, k]) => [q!.at(-2)!, k!.at(-2)!]),
        [[2, 5, 8], [2, 7, 8], [2, 7, 3], [7]],
        [[2, 5, 8], [2, 7, 8], [2, 7, 3], [5, 1]],
      ],
      gradShapes: [
        [[2, 3, 2], [2, 4, 2], [2, 4, 3], [3, 4]],
        [[1, 2, 3, 2], [1, 1, 4, 2], [1, 1, 4, 3], [1, 1, 1, 4]],
      ],
    },
  ),
  row(
    "mask of uint8",
    (_q, _k, mask) => ({ mask: mask! }),
    ([, , , mask]) => (score, at) => maskAt(mask!, at) ? score : hide,
    {
      shapes: masks(([q, k]) => [q!.at(-2)!, k!.at(-2)!]),
      fill: [spiked(-1, 1, 2), spiked(-1, 1, 2), spiked(-1, 1, 2), whole(0, 1)],
      fixed: [undefined, undefined, undefined, "uint8"],
      gradShapes: undefined,
    },
  ),
  row("float16's extremes", () => ({ scale: 1 }), () => (score) => score, {
    dtypes: halves,
    reference: (...inputs) => attention(inputs, (score) => score, 1),
    fill: [spiked(200, 250, 1), spiked(200, 250, 1), spiked(-60000, 60000, 1)],
    shapes: [[[5, 64], [1, 64], [1, 8]]],
    gradShapes: undefined,
  }),
];
