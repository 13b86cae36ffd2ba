import {
  type FusedActivation,
  linear,
  matmul,
  matmulVariants,
  type Shape,
  type Tensor,
} from "../../mod.ts";
import {
  batchProduct,
  fusedActivations,
  type Grid,
  matrixProduct,
  permuted,
  sizeOf,
  transposed,
} from "../reference.ts";
import { type Case, type Fill, floats, roundings, rows, type Special } from "./case.ts";

/** m, n, k. */
type Extents = readonly [number, number, number];

const extents: readonly Extents[] = [
  [0, 3, 4],
  [3, 0, 4],
  [3, 4, 0], // a sum of nothing: zeros
  [1, 1, 1],
  [2, 7, 31],
  [31, 33, 2],
  [33, 31, 65],
  [64, 64, 64],
  [65, 129, 7],
  [127, 1, 257],
  [1, 257, 33],
  [129, 65, 127],
  [257, 127, 1],
  [257, 2, 129],
  [7, 257, 64],
  // Layers of a perceptron on MNIST: forward, the gradients of weights and of inputs.
  [128, 128, 784],
  [128, 10, 128],
  [128, 784, 128],
  [10, 128, 128],
];
const gradExtents: readonly Extents[] = [[1, 1, 1], [2, 3, 4], [3, 1, 2]];

// Mostly positive, so that sums are far from 0 compared with their terms.
const fill: Fill = (random, i) => (random() * 2 - 0.5) * (i % 13 === 5 ? 4 : 1);

// Kernels of tensor cores are as exact as plain sums for long k, but not for short k.
function toleranceOf(variant: string) {
  return /mma/.test(variant) ? roundings(12, 3) : undefined;
}

// Neither a zero times NaN nor a zero times inf may be skipped. Each shape is stored as the
// transposes want it.
function specials(a: (x: Grid) => Grid, b: (x: Grid) => Grid): Special[] {
  const left = rows([NaN, 0], [0, 1], [Infinity, 1], [2, 3]);
  const right = rows([0, 1], [1, Infinity]);
  return [{
    name: "zeros do not hide NaN and inf",
    inputs: [a(left), b(right)],
    expected: rows([NaN, NaN], [1, Infinity], [NaN, Infinity], [3, Infinity]),
  }];
}

function product(transposeA: boolean, transposeB: boolean): Case {
  const a = transposeA ? transposed : (x: Grid) => x;
  const b = transposeB ? transposed : (x: Grid) => x;
  const call = (variant?: string) => (x: Tensor, y: Tensor) =>
    matmul(x, y, { transposeA, transposeB, variant });
  const stored = ([m, n, k]: Extents): Shape[] => [
    transposeA ? [k, m] : [m, k],
    transposeB ? [n, k] : [k, n],
  ];
  const mark = ["a b", "a bᵀ", "aᵀ b", "aᵀ bᵀ"][2 * Number(transposeA) + Number(transposeB)];
  return {
    name: `matmul(${mark})`,
    call: call(),
    also: (device) => [
      ...matmulVariants(device).map((name) => ({
        name,
        call: call(name),
        optional: name.endsWith("blas"), // OpenBLAS, Accelerate and cuBLAS are somebody else's
        tolerance: toleranceOf(name),
      })),
      {
        name: "a.matmul(b)",
        call: (x: Tensor, y: Tensor) => x.matmul(y, { transposeA, transposeB }),
      },
    ],
    reference: (x, y) => matrixProduct(a(x!), b(y!)),
    shapes: extents.map(stored),
    gradShapes: gradExtents.map(stored),
    dtypes: floats,
    fill: [fill],
    tolerance: roundings(2, 3),
    specials: specials(a, b),
    flops: ([x], output) => 2 * sizeOf(output) * x!.at(transposeA ? 0 : 1)!,
  };
}

// A vector is a row on the left and a column on the right, and its axis is dropped.
function vectors(x: Grid, y: Grid): Grid {
  const left = x.shape.length === 1 ? { ...x, shape: [1, ...x.shape] } : x;
  const right = y.shape.length === 1 ? { ...y, shape: [...y.shape, 1] } : y;
  return {
    ...matrixProduct(left, right),
    shape: [...x.shape.slice(0, -1), ...y.shape.slice(1)],
  };
}

const vectorCase: Case = {
  name: "matmul() of vectors",
  call: (x: Tensor, y: Tensor) => matmul(x, y),
  reference: (x, y) => vectors(x!, y!),
  shapes: [
    [[1], [1]],
    [[257], [257]],
    [[0], [0]],
    [[33], [33, 65]],
    [[65, 33], [33]],
    [[784], [784, 10]],
  ],
  gradShapes: [[[3], [3]], [[3], [3, 2]], [[2, 3], [3]]],
  dtypes: floats,
  fill: [fill],
  tolerance: roundings(2, 3),
  flops: ([x, y]) => 2 * sizeOf(x!) * sizeOf(y!) / x!.at(-1)!,
};

// Leading axes, m, n, k.
const batches: readonly (readonly [a: Shape, b: Shape, extents: Extents])[] = [
  [[1], [1], [2, 3, 4]],
  [[3], [3], [1, 1, 1]],
  [[2, 3], [2, 3], [5, 7, 6]],
  [[4], [], [33, 65, 31]], // folded into m unless a is transposed
  [[2, 2], [1], [3, 33, 5]],
  [[], [5], [31, 33, 17]],
  [[3, 1], [4], [16, 17, 18]],
  [[1, 4], [3, 1], [7, 1, 129]], // a column
  [[2, 1, 3], [2, 1], [1, 129, 33]], // a row
  [[300], [300], [4, 5, 6]], // many small ones
  [[7], [7], [128, 64, 65]],
  [[2], [2], [129, 257, 127]], // large ones
  [[2], [2], [64, 64, 1030]],
  [[0], [0], [2, 3, 4]],
  [[2, 0], [1, 1], [2, 3, 4]],
  [[2], [2], [0, 3, 4]],
  [[2], [2], [3, 0, 4]],
  [[2], [3, 1], [3, 4, 0]], // sums of nothing: zeros
];
const gradBatches: typeof batches = [
  [[2], [2], [2, 3, 2]],
  [[2], [], [2, 3, 1]],
  [[], [2], [2, 1, 3]],
  [[2, 1], [3], [1, 2, 2]],
  [[1], [2, 2], [2, 2, 1]],
];

function batched(transposeA: boolean, transposeB: boolean): Case {
  const swap = (x: Grid) => {
    const axes = x.shape.map((_, d) => d);
    return permuted(x, [...axes.slice(0, -2), ...axes.slice(-2).reverse()]);
  };
  const call = (variant?: string) => (x: Tensor, y: Tensor) =>
    matmul(x, y, { transposeA, transposeB, variant });
  const stored = ([a, b, [m, n, k]]: typeof batches[number]): Shape[] => [
    [...a, ...(transposeA ? [k, m] : [m, k])],
    [...b, ...(transposeB ? [n, k] : [k, n])],
  ];
  return {
    ...product(transposeA, transposeB),
    name: `matmul(${transposeA ? "aᵀ" : "a"} ${transposeB ? "bᵀ" : "b"}) of batches`,
    call: call(),
    also: (device) =>
      matmulVariants(device).map((name) => ({
        name,
        call: call(name),
        optional: name.endsWith("blas"),
        tolerance: toleranceOf(name),
      })),
    reference: (x, y) => batchProduct(transposeA ? swap(x!) : x!, transposeB ? swap(y!) : y!),
    shapes: batches.map(stored),
    gradShapes: gradBatches.map(stored),
    specials: [],
    flops: ([x], output) => 2 * sizeOf(output) * x!.at(transposeA ? -2 : -1)!,
  };
}

// A vector on one side of a batch.
function batchVector(left: boolean): Case {
  return {
    name: left ? "matmul() of a vector and a batch" : "matmul() of a batch and a vector",
    call: (x: Tensor, y: Tensor) => matmul(x, y),
    reference: (x, y) => {
      const column = (v: Grid) => ({ ...v, shape: left ? [1, ...v.shape] : [...v.shape, 1] });
      const c = left ? batchProduct(column(x!), y!) : batchProduct(x!, column(y!));
      return { ...c, shape: left ? c.shape.toSpliced(-2, 1) : c.shape.slice(0, -1) };
    },
    shapes: left
      ? [[[3], [2, 3, 4]], [[33], [5, 33, 129]], [[2], [0, 2, 3]], [[0], [2, 0, 3]]]
      : [[[2, 3, 4], [4]], [[5, 129, 33], [33]], [[0, 3, 2], [2]], [[2, 3, 0], [0]]],
    gradShapes: left ? [[[3], [2, 3, 2]]] : [[[2, 2, 3], [3]], [[2, 1, 2, 3], [3]]],
    dtypes: floats,
    fill: [fill],
    tolerance: roundings(2, 3),
    flops: ([x, y]) => 2 * Math.max(sizeOf(x!), sizeOf(y!)),
  };
}

interface LayerOptions {
  bias?: boolean | undefined;
  residual?: boolean | undefined;
  activation?: FusedActivation | undefined;
  transposeWeight?: boolean | undefined;
}

// With what is fused into it.
function layer(options: LayerOptions = {}): Case {
  const { bias = true, residual = false, activation, transposeWeight = false } = options;
  const shapes: Shape[][] = [
    [[1, 1], [1, 1]],
    [[3], [2, 3]],
    [[33, 65], [31, 65]],
    [[2, 3, 4], [5, 4]],
    [[0, 3], [2, 3]],
    [[2, 0], [3, 0]],
    [[2, 3], [0, 3]],
  ];
  const large: Shape[][] = [[[128, 784], [128, 784]], [[128, 128], [10, 128]]];
  const plain = bias && !residual && !activation && !transposeWeight;
  const complete = (list: Shape[][]) =>
    list.map(([x, w]) => {
      const out = w![0]!;
      const weight = transposeWeight ? w!.toReversed() : w!;
      return [
        x!,
        weight,
        ...(bias ? [[out]] : []),
        ...(residual ? [[...x!.slice(0, -1), out]] : []),
      ];
    });
  const f = activation ? fusedActivations[activation].of : (x: number) => x;
  const asked = [bias ? "" : "no bias", activation ?? "", residual ? "residual" : ""];
  if (transposeWeight) asked.push("transposeWeight");
  return {
    name: `linear(${asked.filter((word) => word).join(", ")})`,
    call: (x: Tensor, w: Tensor, ...rest: Tensor[]) => {
      const b = bias ? rest.shift()! : null;
      if (plain) return linear(x, w, b);
      return linear(x, w, b, { activation, residual: rest[0], transposeWeight });
    },
    reference: (x, w, ...rest) => {
      const b = bias ? rest.shift() : undefined;
      const [added] = rest;
      if (transposeWeight) w = transposed(w!);
      const features = w!.shape[1]!;
      const rows = x!.shape.slice(0, -1);
      const y = matrixProduct({ ...x!, shape: [sizeOf(rows), features] }, transposed(w!));
      const shape = [...rows, w!.shape[0]!];
      const shift = (i: number) => b?.values[i % b.values.length] ?? 0;
      const more = (i: number) => added?.values[i] ?? 0;
      return {
        shape,
        values: Array.from(y.values, (sum, i) => f(sum + shift(i)) + more(i)),
        magnitudes: Array.from(
          y.magnitudes!,
          (size, i) => size + Math.abs(shift(i)) + Math.abs(more(i)),
        ),
      };
    },
    shapes: complete(activation || residual ? shapes : [...shapes, ...large]),
    gradShapes: complete([[[3], [2, 3]], [[2, 3], [4, 3]], [[2, 1, 3], [2, 3]]]),
    dtypes: floats,
    fill: [fill],
    tolerance: activation && activation !== "relu" ? roundings(4) : roundings(2, 3),
    flops: ([, w], output) => 2 * sizeOf(output) * w!.at(transposeWeight ? 0 : 1)!,
  };
}

const layers = ([undefined, "relu", "gelu", "geluTanh", "silu"] as const).flatMap((activation) =>
  [true, false].flatMap((bias) =>
    [false, true].map((residual) => layer({ bias, residual, activation }))
  )
);

export const matmulCases: readonly Case[] = [
  product(false, false),
  product(false, true),
  product(true, false),
  product(true, true),
  vectorCase,
  batched(false, false),
  batched(false, true),
  batched(true, false),
  batched(true, true),
  batchVector(true),
  batchVector(false),
  ...layers,
  layer({ transposeWeight: true }),
  layer({ transposeWeight: true, bias: false }),
  layer({ transposeWeight: true, activation: "geluTanh", residual: true }),
];
