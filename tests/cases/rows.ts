import {
  crossEntropy,
  type DType,
  logSoftmax,
  mseLoss,
  type Reduction,
  type Shape,
  softmax,
  type Tensor,
} from "../../mod.ts";
import { alongAxis, broadcasted, type Grid, reduced, sizeOf, total } from "../reference.ts";
import {
  type Case,
  floats,
  line,
  roundings,
  row,
  rows,
  type Special,
  spiked,
  whole,
} from "./case.ts";

const peak = (terms: readonly number[]) =>
  terms.some(Number.isNaN) ? NaN : terms.reduce((a, b) => Math.max(a, b), -Infinity);

function probabilities(terms: readonly number[]): number[] {
  const top = peak(terms);
  const sum = total(terms.map((x) => Math.exp(x - top)));
  return terms.map((x) => Math.exp(x - top) / sum);
}

function logProbabilities(terms: readonly number[]): number[] {
  const top = peak(terms);
  const sum = total(terms.map((x) => Math.exp(x - top)));
  return terms.map((x) => x - top - Math.log(sum));
}

// x - max(x) is rounded, so a small probability is less exact in proportion.
function spread(terms: readonly number[]): number[] {
  const top = peak(terms);
  return probabilities(terms).map((p, i) => p * (1 + top - terms[i]!));
}

const lastAxis: readonly Shape[] = [
  [1],
  [5],
  [1, 1],
  [3, 2],
  [3, 31],
  [3, 32],
  [3, 33],
  [2, 127],
  [2, 128],
  [2, 129],
  [2, 255],
  [2, 256],
  [2, 257],
  [2, 1023],
  [2, 1025],
  [3, 4097],
  [2, 5000],
  [2, 8191],
  [2, 8193],
  [2, 16384],
  [2, 16387],
  [3, 50257],
  [1000, 3],
  [3000, 10],
  [4300, 131],
  [17000, 33],
  [0, 4],
  [4, 0],
  [2, 3, 4],
  [1, 2, 1, 2, 1, 2, 1, 3],
];
const otherAxis: readonly Shape[] = [[5, 3, 2], [33, 129, 1], [2, 33, 5], [1, 257, 65], [2, 0, 3]];

// As PyTorch: a row with NaN or +inf, or of -inf alone, has no probabilities; a single -inf has
// probability 0.
function specials(f: (terms: readonly number[]) => number[]): Special[] {
  return [3, 100].map((cols) => {
    const inputs = rows(
      row(cols, 1, { 1: NaN }),
      row(cols, 1, { [cols - 1]: Infinity }),
      row(cols, -Infinity),
      row(cols, 1, { [cols - 1]: -Infinity }),
      row(cols, -Infinity, { [cols - 1]: 3 }),
      row(cols, 7),
      row(cols, -1e30, { 1: 1e30 }),
      row(cols, 1e30),
    );
    return {
      name: `NaN, inf, ties and extremes in ${cols} columns`,
      inputs: [inputs],
      expected: alongAxis(inputs, 1, f),
    };
  });
}

function normalizing(name: "softmax" | "logSoftmax", axis: number): Case {
  const op = { softmax, logSoftmax }[name];
  const [f, size] = name === "softmax" ? [probabilities, spread] : [logProbabilities, undefined];
  return {
    name: axis === -1 ? `${name}()` : `${name}(axis ${axis})`,
    call: (x: Tensor) => op(x, axis),
    also: () => [
      { name: `x.${name}()`, call: (x: Tensor) => x[name](axis) },
      ...(axis === -1 ? [{ name: "by default", call: (x: Tensor) => op(x) }] : []),
    ],
    reference: (x) => alongAxis(x!, axis, f, size),
    shapes: (axis === -1 ? lastAxis : otherAxis).map((shape) => [shape]),
    gradShapes: axis === -1 ? [[[1]], [[4]], [[2, 3]], [[2, 2, 3]]] : [[[2, 3, 2]]],
    dtypes: floats,
    fill: [spiked(-2, 2, 4)],
    tolerance: roundings(8, 16),
    specials: axis === -1 ? specials(f) : undefined,
    flops: ([x]) => 5 * sizeOf(x!),
  };
}

function combined(losses: Grid, reduction: Reduction): Grid {
  const size = (terms: readonly number[]) => total(terms.map(Math.abs));
  if (reduction === "none") return losses;
  if (reduction === "sum") return reduced(losses, undefined, false, total, size);
  return reduced(
    losses,
    undefined,
    false,
    (terms) => total(terms) / terms.length,
    (terms) => size(terms) / terms.length,
  );
}

function crossEntropies(logits: Grid, target: Grid): Grid {
  const cols = logits.shape[1]!;
  const logs = alongAxis(logits, 1, logProbabilities);
  const values = Array.from(target.values, (t, r) => -logs.values[r * cols + t]!);
  return { shape: target.shape, values };
}

// Where the target is -inf the loss is inf, and where another is, that one does not count, as in
// PyTorch.
const awkwardLogits = rows([0, 0, -Infinity], [0, 0, -Infinity], [NaN, 0, 0], [1e30, 0, 0], [
  0,
  0,
  0,
]);
const awkwardTargets = line(0, 2, 1, 0, 1);

function entropy(reduction: Reduction, target: DType): Case {
  return {
    name: `crossEntropy(${reduction}, ${target})`,
    call: (x: Tensor, t: Tensor) => crossEntropy(x, t, { reduction }),
    also: () =>
      reduction === "mean"
        ? [{ name: "by default", call: (x: Tensor, t: Tensor) => crossEntropy(x, t) }]
        : [],
    reference: (x, t) => combined(crossEntropies(x!, t!), reduction),
    shapes: [
      [1, 1],
      [1, 2],
      [3, 10],
      [128, 10],
      [33, 31],
      [5, 33],
      [5, 129],
      [2, 1023],
      [2, 1025],
      [3, 5000],
      [2, 8191],
      [2, 8193],
      [2, 16384],
      [3, 50257],
      [0, 4],
    ].map(([n, classes]) => [[n!, classes!], [n!]]),
    gradShapes: [[[1, 2], [1]], [[3, 4], [3]]],
    dtypes: floats,
    fixed: [undefined, target],
    fill: [spiked(-2, 2, 4), (random, _, [x]) => Math.floor(random() * Math.min(x![1]!, 256))],
    tolerance: roundings(8, 16),
    specials: reduction === "none"
      ? [{
        name: "NaN, inf and extremes",
        inputs: [awkwardLogits, awkwardTargets],
        expected: line(Math.LN2, Infinity, NaN, 0, Math.log(3)),
      }]
      : undefined,
    flops: ([x]) => 5 * sizeOf(x!),
  };
}

function squared(reduction: Reduction): Case {
  return {
    name: `mseLoss(${reduction})`,
    call: (x: Tensor, t: Tensor) => mseLoss(x, t, { reduction }),
    also: () =>
      reduction === "mean"
        ? [{ name: "by default", call: (x: Tensor, t: Tensor) => mseLoss(x, t) }]
        : [],
    reference: (x, t) => combined(broadcasted(x!, t!, (a, b) => (a - b) ** 2), reduction),
    shapes: [[], [1], [33], [3, 5], [257, 129], [2, 3, 4], [0, 3]].map((shape) => [shape, shape]),
    gradShapes: [[[], []], [[2, 3], [2, 3]]],
    dtypes: floats,
    fill: [spiked(-2, 2), whole(-2, 2)],
    tolerance: roundings(4),
    flops: ([x]) => 3 * sizeOf(x!),
  };
}

const ways: readonly Reduction[] = ["mean", "sum", "none"];

export const rowCases: readonly Case[] = [
  normalizing("softmax", -1),
  normalizing("softmax", 1),
  normalizing("softmax", -3),
  normalizing("logSoftmax", -1),
  normalizing("logSoftmax", 1),
  ...ways.flatMap((way) => (["int32", "uint8"] as const).map((dtype) => entropy(way, dtype))),
  ...ways.map(squared),
];
