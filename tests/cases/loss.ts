import {
  bceLoss,
  bceWithLogitsLoss,
  cosineEmbeddingLoss,
  crossEntropy,
  type DType,
  hingeLoss,
  huberLoss,
  klDivLoss,
  l1Loss,
  multiMarginLoss,
  nllLoss,
  type Reduction,
  type Shape,
  smoothL1Loss,
  type Tensor,
  tensor,
} from "../../mod.ts";
import { broadcasted, build, type Grid, reduced, sizeOf, total } from "../reference.ts";
import {
  type Case,
  type Fill,
  floats,
  line,
  roundings,
  type Special,
  spiked,
  whole,
} from "./case.ts";

const ways: readonly Reduction[] = ["mean", "sum", "none"];

/** Losses reduced; `weights` are what the mean divides by the sum of. */
export function combined(losses: Grid, reduction: Reduction, weights?: ArrayLike<number>): Grid {
  if (reduction === "none") return losses;
  const count = weights ? total(Array.from(weights)) : losses.values.length;
  const divisor = reduction === "mean" ? count : 1;
  const sizes = losses.magnitudes ?? Array.from(losses.values, (x) => Math.abs(x) + 1);
  return {
    shape: [],
    values: [total(Array.from(losses.values)) / divisor],
    magnitudes: [total(Array.from(sizes)) / divisor],
  };
}

// ---- one number against another

interface Formula {
  name: string;
  call(x: Tensor, target: Tensor, options: { reduction: Reduction }): Tensor;
  loss(x: number, target: number): number;
  fill?: readonly Fill[];
  specials?: readonly Special[];
}

const between = (low: number, high: number): Fill => (random) => low + (high - low) * random();
const sign: Fill = (random) => random() < 0.5 ? -1 : 1;
const softplus = (x: number) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

function table(name: string, entries: readonly (readonly number[])[]): Special {
  const column = (c: number) => line(...entries.map((entry) => entry[c]!));
  return { name, inputs: [column(0), column(1)], expected: column(2) };
}

const formulas: readonly Formula[] = [
  {
    name: "l1Loss",
    call: l1Loss,
    loss: (x, t) => Math.abs(x - t),
    specials: [table("NaN and infinity", [[NaN, 1, NaN], [1, Infinity, Infinity], [2, 2, 0]])],
  },
  {
    name: "smoothL1Loss(0.75)",
    call: (x, t, options) => smoothL1Loss(x, t, { ...options, beta: 0.75 }),
    loss: (x, t) => {
      const d = Math.abs(x - t);
      return d < 0.75 ? d * d / 1.5 : d - 0.375;
    },
    specials: [table("NaN and infinity", [[NaN, 1, NaN], [1, Infinity, Infinity], [2, 2, 0]])],
  },
  {
    name: "huberLoss(1.5)",
    call: (x, t, options) => huberLoss(x, t, { ...options, delta: 1.5 }),
    loss: (x, t) => {
      const d = Math.abs(x - t);
      return d <= 1.5 ? d * d / 2 : 1.5 * (d - 0.75);
    },
    specials: [table("NaN and infinity", [[NaN, 1, NaN], [1, Infinity, Infinity], [2, 2, 0]])],
  },
  {
    name: "bceLoss",
    call: bceLoss,
    loss: (x, t) => -(t * Math.max(Math.log(x), -100) + (1 - t) * Math.max(Math.log1p(-x), -100)),
    fill: [between(0.05, 0.95), between(0, 1)],
    specials: [
      table("0, 1, and what is no probability", [
        [0, 0, 0],
        [1, 1, 0],
        [0, 1, 100],
        [1, 0, 100],
        [0, 0.5, 50],
        [NaN, 1, NaN],
        [-0.5, 1, NaN],
        [1.5, 0, NaN],
      ]),
    ],
  },
  {
    name: "bceWithLogitsLoss",
    call: bceWithLogitsLoss,
    loss: (x, t) => softplus(x) - t * x,
    fill: [spiked(-2, 2), between(0, 1)],
    specials: [
      table("extremes", [[1e4, 1, 0], [-1e4, 0, 0], [1e4, 0, 1e4], [-1e4, 1, 1e4], [NaN, 0, NaN]]),
      table("infinity", [[Infinity, 1, 0], [-Infinity, 0, 0], [Infinity, 0.5, Infinity]]),
    ],
  },
  {
    name: "hingeLoss(1.5)",
    call: (x, t, options) => hingeLoss(x, t, { ...options, margin: 1.5 }),
    loss: (x, t) => Math.max(0, 1.5 - x * t),
    fill: [spiked(-2, 2), sign],
    specials: [
      table("NaN and infinity", [[NaN, 1, NaN], [Infinity, 1, 0], [Infinity, -1, Infinity]]),
    ],
  },
  {
    name: "klDivLoss",
    call: klDivLoss,
    loss: (x, t) => t === 0 ? 0 : t * (Math.log(t) - x),
    fill: [spiked(-4, 0), between(0.05, 1)],
    specials: [table("probabilities of 0", [[-1e4, 0, 0], [-Infinity, 0, 0], [-3, 1, 3]])],
  },
  {
    name: "klDivLoss(logTarget)",
    call: (x, t, options) => klDivLoss(x, t, { ...options, logTarget: true }),
    loss: (x, t) => Math.exp(t) * (t - x),
    fill: [spiked(-4, 0), between(-4, 0)],
    specials: [table("probabilities of 0", [[-5, -1e4, 0], [-Infinity, -Infinity, 0], [-3, 0, 3]])],
  },
];

const shapes: readonly Shape[] = [[], [1], [33], [3, 5], [257, 129], [2, 3, 4], [0, 3], [
  4,
  5001,
]];

function pointwise({ name, call, loss, fill, specials }: Formula): Case[] {
  return ways.map((reduction): Case => ({
    name: `${name}(${reduction})`,
    call: (x: Tensor, t: Tensor) => call(x, t, { reduction }),
    also: () =>
      reduction === "mean"
        ? [{ name: "by default", call: (x: Tensor, t: Tensor) => call(x, t, {} as never) }]
        : [],
    reference: (x, t) => {
      const losses = broadcasted(x!, t!, loss);
      // Where a large product is taken from a large logarithm, both are rounded.
      const sizes = broadcasted(x!, t!, (x, t) => Math.abs(loss(x, t)) + Math.abs(x) + Math.abs(t));
      return combined({ ...losses, magnitudes: sizes.values }, reduction);
    },
    shapes: shapes.map((shape) => [shape, shape]),
    gradShapes: [[[], []], [[2, 3], [2, 3]]],
    dtypes: floats,
    fill: fill ?? [spiked(-2, 2), whole(-2, 2)],
    tolerance: roundings(4),
    ...(reduction === "none" && specials ? { specials } : {}),
    flops: ([x]) => 5 * sizeOf(x!),
  }));
}

// ---- class numbers

const peak = (terms: readonly number[]) => terms.reduce((a, b) => Math.max(a, b), -Infinity);

function logProbabilities(terms: readonly number[]): number[] {
  const top = peak(terms);
  const sum = total(terms.map((x) => Math.exp(x - top)));
  return terms.map((x) => x - top - Math.log(sum));
}

// Calls f with the scores of each sample, for inputs [n, classes, …] or [classes], and its place.
function bySample(x: Grid, f: (scores: number[], i: number) => number): Grid {
  const at = x.shape.length === 1 ? 0 : 1;
  const classes = x.shape[at]!;
  const inner = sizeOf(x.shape.slice(at + 1));
  const shape = x.shape.filter((_, d) => d !== at);
  return build(shape, (_, i) => {
    const first = Math.floor(i / inner) * classes * inner + i % inner;
    return f(Array.from({ length: classes }, (_, c) => x.values[first + c * inner]!), i);
  });
}

const weights = [0.5, 2, 1, 0.25, 1.5, 3, 0.75];
const weightsLike = (x: Tensor) => {
  const classes = x.shape[x.rank === 1 ? 0 : 1]!;
  return tensor(weights.slice(0, classes), { dtype: x.dtype, device: x.device });
};

const scoreShapes: readonly Shape[] = [[1, 1], [3, 7], [130, 5], [4], [2, 3, 4], [5, 2, 3, 2], [
  0,
  4,
], [3, 4, 0]];
const withoutClasses = (shape: Shape) => shape.filter((_, d) => d !== (shape.length === 1 ? 0 : 1));
const paired = (list: readonly Shape[]) => list.map((shape) => [shape, withoutClasses(shape)]);
const classNumber: Fill = (random, _, [x]) => {
  const classes = x![x!.length === 1 ? 0 : 1]!;
  return Math.floor(random() * classes);
};

function nll(reduction: Reduction, target: DType): Case {
  const ignoreIndex = 1;
  const counts = (t: number) => t === ignoreIndex ? 0 : weights[t]!;
  return {
    name: `nllLoss(${reduction}, ${target})`,
    call: (x: Tensor, t: Tensor) =>
      nllLoss(x, t, { reduction, ignoreIndex, weight: weightsLike(x) }),
    reference: (x, t) => {
      const losses = bySample(x!, (scores, i) => {
        const chosen = t!.values[i]!;
        return counts(chosen) === 0 ? 0 : -scores[chosen]! * counts(chosen);
      });
      return combined(losses, reduction, Array.from(t!.values, counts));
    },
    shapes: paired(scoreShapes),
    gradShapes: paired([[3, 4], [2, 3, 2]]),
    dtypes: floats,
    fixed: [undefined, target],
    fill: [spiked(-2, 2), classNumber],
    tolerance: roundings(4),
  };
}

function smoothed(reduction: Reduction, ignoreIndex: number): Case {
  const labelSmoothing = 0.25;
  const counts = (t: number) => t === ignoreIndex ? 0 : weights[t]!;
  return {
    name: `crossEntropy(${reduction}, smoothed, weighted, ignoring ${ignoreIndex})`,
    call: (x: Tensor, t: Tensor) =>
      crossEntropy(x, t, { reduction, labelSmoothing, ignoreIndex, weight: weightsLike(x) }),
    reference: (x, t) => {
      const losses = bySample(x!, (scores, i) => {
        const chosen = t!.values[i]!;
        if (counts(chosen) === 0) return 0;
        const logs = logProbabilities(scores);
        return -total(logs.map((log, c) => {
          const share = labelSmoothing / logs.length + (c === chosen ? 1 - labelSmoothing : 0);
          return share * weights[c]! * log;
        }));
      });
      return combined(losses, reduction, Array.from(t!.values, counts));
    },
    shapes: paired(scoreShapes),
    gradShapes: paired([[5, 4], [2, 3, 2]]),
    dtypes: floats,
    fixed: [undefined, "int32"],
    fill: [spiked(-2, 2), classNumber],
    tolerance: roundings(16),
  };
}

// The plain case, on more axes and with targets that do not count.
function ignoring(reduction: Reduction): Case {
  const counts = (t: number) => t === 0 ? 0 : 1;
  return {
    name: `crossEntropy(${reduction}, ignoring 0)`,
    call: (x: Tensor, t: Tensor) => crossEntropy(x, t, { reduction, ignoreIndex: 0 }),
    reference: (x, t) => {
      const losses = bySample(x!, (scores, i) => {
        const chosen = t!.values[i]!;
        return counts(chosen) && -logProbabilities(scores)[chosen]!;
      });
      return combined(losses, reduction, Array.from(t!.values, counts));
    },
    shapes: paired(scoreShapes.slice(1)),
    gradShapes: paired([[5, 4], [2, 3, 2]]),
    dtypes: floats,
    fixed: [undefined, "int32"],
    fill: [spiked(-2, 2), classNumber],
    tolerance: roundings(16),
  };
}

function ofProbabilities(reduction: Reduction): Case {
  return {
    name: `crossEntropy(${reduction}, probabilities)`,
    call: (x: Tensor, t: Tensor) => crossEntropy(x, t, { reduction }),
    reference: (x, t) => {
      const shares: number[][] = [];
      bySample(t!, (scores) => shares.push(scores));
      const losses = bySample(
        x!,
        (scores, i) => -total(logProbabilities(scores).map((log, c) => log * shares[i]![c]!)),
      );
      return combined(losses, reduction);
    },
    shapes: [[3, 7], [130, 5], [4], [2, 3, 4]].map((shape) => [shape, shape]),
    gradShapes: [[[3, 4], [3, 4]], [[2, 3, 2], [2, 3, 2]]],
    dtypes: floats,
    fill: [spiked(-2, 2), between(0, 1)],
    tolerance: roundings(16),
  };
}

function margins(reduction: Reduction, p: 1 | 2): Case {
  const margin = 0.75;
  return {
    name: `multiMarginLoss(${reduction}, p ${p})`,
    call: (x: Tensor, t: Tensor) =>
      multiMarginLoss(x, t, { reduction, p, margin, weight: weightsLike(x) }),
    reference: (x, t) => {
      const losses = bySample(x!, (scores, i) => {
        const y = t!.values[i]!;
        const costs = scores.map((score, c) =>
          c === y ? 0 : weights[y]! * Math.max(0, margin - scores[y]! + score) ** p
        );
        return total(costs) / scores.length;
      });
      return combined(losses, reduction);
    },
    shapes: paired([[1, 1], [3, 7], [130, 5], [4], [0, 4]]),
    gradShapes: paired([[3, 4], [4]]),
    dtypes: floats,
    fixed: [undefined, "int32"],
    fill: [spiked(-2, 2, 2), classNumber],
    tolerance: roundings(24),
  };
}

function cosines(reduction: Reduction): Case {
  const margin = 0.2;
  return {
    name: `cosineEmbeddingLoss(${reduction})`,
    call: (a: Tensor, b: Tensor, t: Tensor) => cosineEmbeddingLoss(a, b, t, { reduction, margin }),
    reference: (a, b, t) => {
      const dots = (x: Grid, y: Grid) =>
        reduced(broadcasted(x, y, (x, y) => x * y), [x.shape.length - 1], false, total);
      const [ab, aa, bb] = [dots(a!, b!), dots(a!, a!), dots(b!, b!)];
      const losses = build(t!.shape, (_, i) => {
        const c = ab.values[i]! / Math.sqrt((aa.values[i]! + 1e-12) * (bb.values[i]! + 1e-12));
        return t!.values[i]! === 1 ? 1 - c : Math.max(0, c - margin);
      });
      return combined({ ...losses, magnitudes: Array.from(losses.values, () => 2) }, reduction);
    },
    shapes: [[[4], [4], []], [[3, 5], [3, 5], [3]], [[20, 33], [20, 33], [20]]],
    gradShapes: [[[3, 4], [3, 4], [3]], [[3], [3], []]],
    dtypes: floats,
    fixed: [undefined, undefined, "int32"],
    fill: [between(-1, 2), between(-1, 2), sign],
    tolerance: roundings(16),
  };
}

export const lossCases: readonly Case[] = [
  ...formulas.flatMap(pointwise),
  ...ways.flatMap((way) => (["int32", "uint8"] as const).map((dtype) => nll(way, dtype))),
  ...ways.map((way) => smoothed(way, 1)),
  ...ways.map(ignoring),
  ...ways.map(ofProbabilities),
  ...ways.map((way) => margins(way, 1)),
  margins("none", 2),
  ...ways.map(cosines),
];
