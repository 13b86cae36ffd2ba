// Operations that memory limits, on what, and what they have to move. bench/peers/torch_memory.py
// has the same ones by name.
import {
  add,
  argsort,
  batchNorm,
  bceLoss,
  bceWithLogitsLoss,
  bernoulli,
  concat,
  crossEntropy,
  cumsum,
  dropout,
  embedding,
  exp,
  gelu,
  huberLoss,
  indexAdd,
  klDivLoss,
  l1Loss,
  layerNorm,
  logSoftmax,
  logSumExp,
  mseLoss,
  optim,
  permute,
  randLike,
  randnLike,
  relu,
  rmsNorm,
  scatterAdd,
  silu,
  slice,
  smoothL1Loss,
  softmax,
  sort,
  sum,
  swiglu,
  tanh,
  type Tensor,
  topK,
  transpose,
  variance,
  where,
} from "../../mod.ts";

/** A tensor to be made of random numbers: classes are whole numbers below `high`, a mask 0 or 1. */
export interface Input {
  shape: number[];
  kind: "normal" | "uniform" | "classes" | "mask";
  high?: number;
}

/** Something measured. */
export interface Op {
  /** Its inputs for a shape; the first and all normal ones get gradients. Default: one, normal. */
  inputs?: (shape: number[]) => Input[];
  /** Called with them. */
  run: (...x: Tensor[]) => Tensor;
  /** Makes one, whose step is measured instead. */
  optimizer?: (parameters: Tensor[]) => { step(): void };
  /**
   * How many elements must move for each of the shape's, forward, then forward and backward (which
   * is left out without it), if what is kept in between is x or y alone.
   */
  moves: [number, number?];
  /** Bytes that move besides, in one pass or both. */
  more?: (shape: number[], itemSize: number, passes: 1 | 2) => number;
  /**
   * What depends on a part of x alone: the axis of x and that of the result; without the latter a
   * part is computed by itself. The result's error is that of such a part.
   */
  parts?: [number, number?];
}

const normal = (...shape: number[]): Input => ({ shape, kind: "normal" });
const uniform = (...shape: number[]): Input => ({ shape, kind: "uniform" });
const classes = (high: number, n: number): Input => ({ shape: [n], kind: "classes", high });
/** The number of elements of a shape. */
export const size = (shape: number[]) => shape.reduce((n, extent) => n * extent, 1);
const M = 2 ** 20;
const [words, width] = [50000, 512];

const byRow: Pick<Op, "parts"> = { parts: [0, 0] };
const map = (run: Op["run"]): Op => ({ run, moves: [2, 5], ...byRow });
const twins = (shape: number[]) => [normal(...shape), normal(...shape)];
const loss = (run: Op["run"], first = normal): Op => ({
  inputs: (shape) => [first(...shape), uniform(...shape)],
  run,
  moves: [2, 5],
  parts: [0],
});
const scaled = (shape: number[]) => [normal(...shape), normal(shape[1]!), normal(shape[1]!)];
const random = (run: Op["run"]): Op => ({ run, moves: [1] });
const largest = (k: number): Op => ({ run: (x) => topK(x, k).values, moves: [1, 2] });
const copy = (run: Op["run"], ...moves: [number, number?]): Op => ({ run, moves });
const step = (optimizer: NonNullable<Op["optimizer"]>, moves: number): Op => ({
  inputs: ([count, n]) => Array.from({ length: count! }, () => normal(n!)),
  run: (x) => x,
  optimizer,
  moves: [moves],
});

/** All of them. */
export const ops: Record<string, Op> = {
  softmax: map((x) => softmax(x)),
  logSoftmax: map((x) => logSoftmax(x)),
  layerNorm: {
    ...map((x, weight, bias) => layerNorm(x!, x!.shape[1]!, { weight, bias })),
    inputs: scaled,
  },
  rmsNorm: {
    ...map((x, weight) => rmsNorm(x!, x!.shape[1]!, { weight })),
    inputs: (shape) => scaled(shape).slice(0, 2),
  },
  crossEntropy: {
    inputs: ([n, c]) => [normal(n!, c!), classes(c!, n!)],
    run: (x, target) => crossEntropy(x!, target!),
    moves: [1, 3],
    parts: [0],
  },
  "sum of columns": { run: (x) => sum(x, 0), moves: [1], parts: [1, 0] },
  "sum of rows": { run: (x) => sum(x, 1), moves: [1], ...byRow },
  variance: { run: (x) => variance(x, 1), moves: [1, 3], ...byRow },
  logSumExp: { run: (x) => logSumExp(x, 1), moves: [1, 3], ...byRow },
  gelu: map((x) => gelu(x)),
  silu: map(silu),
  tanh: map(tanh),
  exp: map(exp),
  relu: map(relu),
  add: { inputs: twins, run: (a, b) => add(a!, b!), moves: [3], ...byRow },
  where: {
    inputs: (shape) => [{ shape, kind: "mask" }, ...twins(shape)],
    run: (condition, a, b) => where(condition!, a!, b!),
    moves: [3, 6],
    more: (shape, _, passes) => passes * size(shape),
    ...byRow,
  },
  dropout: { run: (x) => dropout(x, { p: 0.1 }), moves: [2, 4] },
  randn: random((x) => randnLike(x)),
  rand: random((x) => randLike(x)),
  bernoulli: random(({ shape, dtype, device }) => bernoulli(shape, { p: 0.1, dtype, device })),
  batchNorm: {
    inputs: scaled,
    run: (x, weight, bias) => batchNorm(x!, { weight, bias, training: true }),
    moves: [3, 8],
    parts: [1, 1],
  },
  AdamW: step((parameters) => new optim.AdamW(parameters, { lr: 1e-3 }), 7),
  "SGD, momentum": step((x) => new optim.SGD(x, { lr: 1e-3, momentum: 0.9 }), 5),
  cumsum: { run: (x) => cumsum(x, -1), moves: [2, 4], ...byRow },
  "topK 5": largest(5),
  "topK 10": largest(10),
  "topK 50": largest(50),
  sort: {
    ...copy((x) => sort(x).values, 2, 4),
    more: (shape, _, passes) => 4 * passes * size(shape),
  },
  argsort: { ...copy((x) => argsort(x), 1), more: (shape) => 4 * size(shape) },
  scatterAdd: {
    inputs: ([n]) => [normal(M), classes(M, n!), normal(n!)],
    run: (x, index, source) => scatterAdd(x!, 0, index!, source!),
    moves: [1, 2],
    more: ([n], itemSize, passes) => 2 * M * itemSize + 4 * passes * n!,
  },
  indexAdd: {
    inputs: ([n]) => [normal(words, width), classes(words, n!), normal(n!, width)],
    run: (x, index, source) => indexAdd(x!, 0, index!, source!),
    moves: [1, 3],
    more: (_, itemSize) => 2 * words * width * itemSize,
  },
  embedding: {
    inputs: ([n]) => [normal(words, width), classes(words, n!)],
    run: (weight, index) => embedding(index!, weight!),
    moves: [2, 3],
    more: ([n], itemSize, passes) => 4 * passes * n! + (passes - 1) * words * width * itemSize,
  },
  "slice ::2": copy((x) => slice(x, 0, 0, undefined, 2), 1.5, 3),
  "slice of columns": copy((x) => slice(x, 1, x.shape[1]! / 4, x.shape[1]! / 2), 0.5, 1.75),
  transpose: copy((x) => transpose(x), 2),
  "permute 0,2,3,1": copy((x) => permute(x, [0, 2, 3, 1]), 2),
  ...Object.fromEntries([0, 1].map((axis) => [`concat of 4, axis ${axis}`, {
    inputs: (shape: number[]) => [...twins(shape), ...twins(shape)],
    run: (...x: Tensor[]) => concat(x, axis),
    moves: [8] as [number],
  }])),
  mseLoss: loss((x, y) => mseLoss(x!, y!)),
  l1Loss: loss((x, y) => l1Loss(x!, y!)),
  smoothL1Loss: loss((x, y) => smoothL1Loss(x!, y!)),
  huberLoss: loss((x, y) => huberLoss(x!, y!)),
  bceLoss: loss((x, y) => bceLoss(x!, y!), uniform),
  bceWithLogitsLoss: loss((x, y) => bceWithLogitsLoss(x!, y!)),
  klDivLoss: loss((x, y) => klDivLoss(x!, y!)),
  "bias, gelu": {
    inputs: (shape) => scaled(shape).slice(0, 2),
    run: (x, bias) => gelu(add(x!, bias!)),
    moves: [2, 5],
    ...byRow,
  },
  "dropout, residual, layerNorm": {
    inputs: (shape) => [...scaled(shape), normal(...shape)],
    run: (x, weight, bias, residual) =>
      layerNorm(dropout(x!, { p: 0.1, residual }), x!.shape[1]!, { weight, bias }),
    moves: [3, 8],
  },
  "SwiGLU": {
    inputs: twins,
    run: (gate, x) => swiglu(gate!, x!),
    moves: [3, 8],
    ...byRow,
  },
};

/** Which operations are measured on which shapes. */
export const table: [string[], number[][]][] = [
  [
    [
      ...["softmax", "logSoftmax", "layerNorm", "rmsNorm", "crossEntropy", "sum of columns"],
      "sum of rows",
    ],
    [[16384, 16384], [16384, 1024], [1048576, 128], [65536, 10], [4096, 50257]],
  ],
  [["variance", "logSumExp"], [[16384, 1024]]],
  [
    [
      ...["gelu", "silu", "tanh", "exp", "relu", "add", "where", "dropout", "randn", "rand"],
      ...["bernoulli", "slice ::2"],
    ],
    [[64 * M]],
  ],
  [["batchNorm"], [[65536, 256], [256, 64, 112, 112]]],
  [["cumsum"], [[16384, 1024], [16 * M], [1, M]]],
  [["topK 5"], [[4096, 1000]]],
  [["topK 50"], [[256, 50000]]],
  [["topK 10"], [[1, M]]],
  [["sort"], [[M], [16384, 1024]]],
  [["argsort"], [[M]]],
  [["scatterAdd"], [[4 * M]]],
  [["indexAdd", "embedding"], [[16384, width]]],
  [["slice of columns"], [[16384, 4096]]],
  [["transpose"], [[8192, 8192]]],
  [["permute 0,2,3,1"], [[256, 64, 112, 112]]],
  [["concat of 4, axis 0", "concat of 4, axis 1"], [[4096, 4096]]],
  [
    [
      ...["mseLoss", "l1Loss", "smoothL1Loss", "huberLoss", "bceLoss", "bceWithLogitsLoss"],
      "klDivLoss",
    ],
    [[16 * M]],
  ],
  [["bias, gelu", "SwiGLU"], [[16384, 4096]]],
  [["dropout, residual, layerNorm"], [[16384, 1024]]],
  [["AdamW"], [[16, 4 * M], [100, 1000]]],
  [["SGD, momentum"], [[16, 4 * M]]],
];
