import { eye, scaledDotProductAttention, type Shape, type Tensor } from "../../mod.ts";
import { alongAxis, batchProduct, elementAt, type Grid, mapped, permuted } from "../reference.ts";
import { type Case, floats, roundings, spiked } from "./case.ts";

// softmax(scale q kᵀ + mask) v; the mask is -Infinity where a query does not attend.
function attention(q: Grid, k: Grid, v: Grid, scale: number, masked: (mask: Grid) => Grid): Grid {
  const axes = k.shape.map((_, d) => d);
  const keys = permuted(k, [...axes.slice(0, -2), ...axes.slice(-2).reverse()]);
  const scores = masked(mapped(batchProduct(q, keys), (x) => x * scale));
  const weights = alongAxis(scores, -1, (line) => {
    const largest = Math.max(...line);
    if (largest === -Infinity) return line.map(() => 0);
    const powers = line.map((x) => Math.exp(x - largest));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((x) => x / sum);
  });
  const { shape, values } = batchProduct(weights, v);
  return { shape, values };
}

// f of each score, its query and its key.
function eachScore(x: Grid, f: (score: number, query: number, key: number) => number): Grid {
  const [queries, keys] = x.shape.slice(-2) as [number, number];
  const values = Float64Array.from(
    x.values,
    (score, i) => f(score, Math.floor(i / keys) % queries, i % keys),
  );
  return { shape: x.shape, values };
}

const shapes: readonly Shape[][] = [
  [[1, 1], [1, 1], [1, 1]],
  [[5, 8], [7, 8], [7, 3]],
  [[2, 3, 33, 16], [2, 3, 33, 16], [2, 3, 33, 16]],
  [[2, 4, 5, 8], [1, 7, 8], [4, 7, 8]], // keys and values that heads or batches share
  [[3, 65, 64], [3, 129, 64], [3, 129, 32]],
  [[0, 3, 4], [0, 5, 4], [0, 5, 2]],
  [[2, 0, 4], [2, 5, 4], [2, 5, 2]],
];
const gradShapes: readonly Shape[][] = [
  [[2, 3, 2], [2, 4, 2], [2, 4, 3]],
  [[2, 2, 3], [1, 2, 3], [2, 3]],
];

const common = {
  dtypes: floats,
  steps: 4, // tensor cores round queries and weights too
  fill: [spiked(-1, 1, 2)],
  // Scores are rounded, softmax is taken of them, and the sums go over all keys.
  tolerance: roundings(24),
};

export const attentionCases: readonly Case[] = [
  {
    name: "scaledDotProductAttention()",
    call: (q: Tensor, k: Tensor, v: Tensor) => scaledDotProductAttention(q, k, v),
    reference: (q, k, v) => attention(q!, k!, v!, 1 / Math.sqrt(q!.shape.at(-1)!), (x) => x),
    shapes,
    gradShapes,
    ...common,
  },
  {
    name: "scaledDotProductAttention(causal, scale)",
    call: (q: Tensor, k: Tensor, v: Tensor) =>
      scaledDotProductAttention(q, k, v, { causal: true, scale: 0.25 }),
    reference: (q, k, v) =>
      attention(
        q!,
        k!,
        v!,
        0.25,
        (x) => eachScore(x, (score, query, key) => key > query ? -Infinity : score),
      ),
    shapes,
    gradShapes,
    ...common,
  },
  {
    name: "scaledDotProductAttention(causal, without the diagonal)",
    // The first query is kept from all keys.
    call: (q: Tensor, k: Tensor, v: Tensor) => {
      const mask = eye(q.shape.at(-2)!, k.shape.at(-2)!, { device: q.device }).eq(0);
      return scaledDotProductAttention(q, k, v, { causal: true, mask });
    },
    reference: (q, k, v) =>
      attention(
        q!,
        k!,
        v!,
        1 / Math.sqrt(q!.shape.at(-1)!),
        (x) => eachScore(x, (score, query, key) => key >= query ? -Infinity : score),
      ),
    shapes: shapes.slice(1, 5),
    gradShapes,
    ...common,
  },
  {
    name: "scaledDotProductAttention(mask of floats)",
    call: (q: Tensor, k: Tensor, v: Tensor, mask: Tensor) =>
      scaledDotProductAttention(q, k, v, { mask }),
    reference: (q, k, v, mask) =>
      attention(
        q!,
        k!,
        v!,
        1 / Math.sqrt(q!.shape.at(-1)!),
        (x) => eachScore(x, (score, query, key) => score + elementAt(mask!, [query, key])),
      ),
    shapes: [[[2, 5, 8], [2, 7, 8], [2, 7, 3], [5, 7]], [[2, 5, 8], [2, 7, 8], [2, 7, 3], [7]]],
    gradShapes: [[[2, 3, 2], [2, 4, 2], [2, 4, 3], [3, 4]]],
    ...common,
  },
];
