// Norms, products, softmax, reductions and attention, with values worked out by hand.
import { type NodeCase, testNode } from "./_nodes.ts";

type Floats = [shape: number[], data: number[]];
const list = (...data: number[]): Floats => [[data.length], data];
const whole = (...data: number[]): [number[], number[], "int32"] => [[data.length], data, "int32"];
const pairs: Floats = [[2, 2], [1, 2, 3, 4]];

// Channels of -1, 1 and of -2, 2 about their means.
const image: Floats = [[1, 2, 2], [9, 11, 0, 4]];
const groups = (version: number, ...scale: number[]): NodeCase => ({
  name: `scales as in opset ${version}`,
  op: "GroupNormalization",
  version,
  inputs: [[[1, 4, 1], [1, 3, 10, 30]], list(...scale), list(...scale.map(() => 1))],
  attributes: { num_groups: 2, epsilon: { f: 0 } },
  outputs: [[[1, 4, 1], version < 21 ? [-1, 3, -3, 5] : [0, 3, -2, 5]]],
});

const norms: NodeCase[] = [
  groups(18, 2, 4),
  groups(21, 1, 2, 3, 4),
  {
    name: "running statistics",
    op: "BatchNormalization",
    inputs: [image, list(1, 10), list(0, 0), list(9, 1), list(4, 4)],
    attributes: { epsilon: { f: 0 } },
    outputs: [[[1, 2, 2], [0, 1, -5, 15]]],
  },
  {
    name: "in training, those of the batch move the running ones",
    op: "BatchNormalization",
    inputs: [image, list(1, 10), list(0, 0), list(0, 0), list(0, 0)],
    attributes: { training_mode: 1, momentum: { f: 0.5 }, epsilon: { f: 0 } },
    outputs: [[[1, 2, 2], [-1, 1, -10, 10]], list(5, 1), list(0.5, 2)],
  },
  {
    name: "means and inverse deviations too; a scale that broadcasts",
    op: "LayerNormalization",
    inputs: [[[1, 2, 2], [9, 11, 0, 4]], [[1], [3]], list(0, 1)],
    attributes: { epsilon: { f: 0 } },
    outputs: [[[1, 2, 2], [-3, 4, -3, 4]], [[1, 2, 1], [10, 2]], [[1, 2, 1], [1, 0.5]]],
  },
  {
    name: "an even number of channels",
    op: "LRN",
    inputs: [[[1, 3, 1], [1, 2, 3]]],
    attributes: { size: 2, alpha: { f: 2 }, beta: { f: 1 }, bias: { f: 0 } },
    outputs: [[[1, 3, 1], [1 / 5, 2 / 13, 3 / 9]]],
  },
  {
    name: "rows of zeros stay",
    op: "LpNormalization",
    inputs: [[[2, 2], [3, 4, 0, 0]]],
    outputs: [[[2, 2], [0.6, 0.8, 0, 0]]],
  },
  {
    name: "mean squares",
    op: "RMSNormalization",
    version: 23,
    inputs: [[[2, 1], [3, -4]], list(10)],
    attributes: { epsilon: { f: 0 } },
    outputs: [[[2, 1], [10, -10]]],
  },
  {
    name: "the sum comes out, too",
    op: "com.microsoft:SkipLayerNormalization",
    inputs: [[[1, 1, 2], [0, 1]], [[1, 1, 2], [1, 4]], list(2, 2), null, list(8, 6)],
    attributes: { epsilon: { f: 0 } },
    outputs: [[[1, 1, 2], [-2, 2]], [[1, 1, 1], [10]], [[1, 1, 1], [1]], [[1, 1, 2], [9, 11]]],
  },
];

const products: NodeCase[] = [
  {
    name: "both transposed, scaled, and a column added",
    op: "Gemm",
    inputs: [pairs, [[2, 2], [1, 0, 0, 1]], [[2, 1], [10, 20]]],
    attributes: { transA: 1, transB: 1, alpha: { f: 2 }, beta: { f: 0.5 } },
    outputs: [[[2, 2], [7, 11, 14, 18]]],
  },
  {
    name: "as a layer",
    op: "Gemm",
    inputs: [pairs, [[1, 2], [1, 1]], [[1], [100]]],
    attributes: { transB: 1 },
    outputs: [[[2, 1], [103, 107]]],
  },
  {
    name: "integers, of more axes",
    op: "MatMul",
    inputs: [[[2, 1, 2], [1, 2, 3, 4], "int32"], whole(10, 1)],
    outputs: [[[2, 1], [12, 34]]],
  },
  {
    name: "transposed and scaled",
    op: "com.microsoft:FusedMatMul",
    inputs: [pairs, list(1, 1)],
    attributes: { transA: 1, alpha: { f: 0.5 } },
    outputs: [list(2, 3)],
  },
];

const cube: Floats = [[1, 2, 2], [0, 0, 0, 0]];
const softmaxes: NodeCase[] = [12, 13].map((version) => ({
  name: `opset ${version}`,
  op: "Softmax",
  version,
  inputs: [cube],
  outputs: [[[1, 2, 2], Array(4).fill(version < 13 ? 1 / 4 : 1 / 2)]],
}));
softmaxes.push({
  name: "the first of equal ones",
  op: "Hardmax",
  inputs: [[[2, 3], [1, 5, 5, 7, 0, 7]]],
  outputs: [[[2, 3], [0, 1, 0, 1, 0, 0]]],
}, {
  name: "slopes of channels, up to opset 6",
  op: "PRelu",
  version: 6,
  inputs: [[[1, 2, 2], [-1, 1, -1, 1]], list(2, 3)],
  outputs: [[[1, 2, 2], [-2, 1, -3, 1]]],
});

const reductions: NodeCase[] = [
  {
    name: "axes as an attribute",
    op: "ReduceMax",
    inputs: [pairs],
    attributes: { axes: [-1], keepdims: 0 },
    outputs: [list(2, 4)],
  },
  {
    name: "axes as an input",
    op: "ReduceMax",
    version: 18,
    inputs: [pairs, whole(0)],
    outputs: [[[1, 2], [3, 4]]],
  },
  {
    name: "no axes, all",
    op: "ReduceSum",
    inputs: [pairs],
    outputs: [[[1, 1], [10]]],
  },
  {
    name: "no axes, none",
    op: "ReduceSum",
    inputs: [pairs],
    attributes: { noop_with_empty_axes: 1 },
    outputs: [pairs],
  },
  {
    name: "integers, without the fraction",
    op: "ReduceMean",
    inputs: [whole(1, 2)],
    attributes: { keepdims: 0 },
    outputs: [[[], [1]]],
  },
  {
    name: "of nothing",
    op: "ReduceLogSumExp",
    version: 18,
    inputs: [[[2, 0], []], whole(1)],
    outputs: [[[2, 1], [-Infinity, -Infinity]]],
  },
  {
    name: "the last of equal ones",
    op: "ArgMax",
    inputs: [[[2, 3], [1, 5, 5, 7, 0, 7]]],
    attributes: { axis: 1, keepdims: 0, select_last_index: 1 },
    outputs: [list(2, 2)],
  },
];

// Queries of 0 weigh all keys alike.
const zeros = (...shape: number[]): Floats => [shape, Array(shape.reduce((a, b) => a * b)).fill(0)];
const attentions: NodeCase[] = [
  {
    name: "heads share keys; what came before is seen by all",
    op: "Attention",
    version: 23,
    inputs: [
      ...[zeros(1, 2, 2, 1), zeros(1, 1, 2, 1), [[1, 1, 2, 1], [6, 9]] as Floats],
      ...[null, zeros(1, 1, 1, 1), [[1, 1, 1, 1], [0]] as Floats],
    ],
    attributes: { is_causal: 1 },
    outputs: [[[1, 2, 2, 1], [3, 5, 3, 5]], zeros(1, 1, 3, 1), [[1, 1, 3, 1], [0, 6, 9]]],
  },
  {
    name: "flat, masked, and with the scores",
    op: "Attention",
    version: 23,
    inputs: [zeros(1, 1, 1), zeros(1, 3, 1), [[1, 3, 1], [2, 4, 90]], [[1, 2], [1, 1], "uint8"]],
    attributes: { q_num_heads: 1, kv_num_heads: 1, qk_matmul_output_mode: 3 },
    outputs: [
      ...[[[1, 1, 1], [3]] as Floats, zeros(1, 1, 3, 1), [[1, 1, 3, 1], [2, 4, 90]] as Floats],
      [[1, 1, 1, 3], [0.5, 0.5, 0]],
    ],
  },
  {
    name: "a quarter turn of what is to turn",
    op: "RotaryEmbedding",
    version: 23,
    inputs: [
      ...[[[1, 1, 1, 4], [1, 2, 3, 4]] as Floats, [[2, 1], [1, 0]] as Floats],
      ...[[[2, 1], [0, 1]] as Floats, [[1, 1], [1], "int32"] as [number[], number[], "int32"]],
    ],
    attributes: { rotary_embedding_dim: 2 },
    outputs: [[[1, 1, 1, 4], [-2, 1, 3, 4]]],
  },
];

[...norms, ...products, ...softmaxes, ...reductions, ...attentions].forEach(testNode);
