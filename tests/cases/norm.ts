import {
  batchNorm,
  dropout,
  groupNorm,
  instanceNorm,
  layerNorm,
  localResponseNorm,
  manualSeed,
  rmsNorm,
  type Shape,
  type Tensor,
  tensor,
} from "../../mod.ts";
import { philox } from "../../lib/core/random.ts";
import { build, elementAt, type Grid, sizeOf, total } from "../reference.ts";
import { type Case, floats, line, roundings, rows, spiked, unaryShapes } from "./case.ts";

const rowShapes: readonly Shape[] = [
  [1],
  [5],
  [1, 1],
  [3, 8],
  [2, 16],
  [2, 17],
  [3, 31],
  [3, 32],
  [3, 33],
  [2, 129],
  [2, 1023],
  [2, 1024],
  [3, 1025],
  [2, 5000],
  [2, 8191],
  [2, 8193],
  [2, 16384],
  [3, 50257],
  [1000, 3],
  [700, 40],
  [1100, 8],
  [40, 1027],
  [4300, 131],
  [0, 4],
  [2, 3, 4],
];

interface Statistics {
  mean: number;
  rstd: number;
}

function statisticsOf(terms: readonly number[], centred: boolean, eps: number): Statistics {
  const mean = centred ? total(terms) / terms.length : 0;
  const square = total(terms.map((x) => (x - mean) ** 2)) / terms.length;
  return { mean, rstd: 1 / Math.sqrt(square + eps) };
}

// Rows of `cols` normalised. x and the mean are rounded before one is taken from the other, hence
// the magnitudes.
function normalized(
  x: Grid,
  cols: number,
  centred: boolean,
  eps: number,
  weight?: Grid,
  bias?: Grid,
): Grid {
  const values = new Float64Array(x.values.length);
  const magnitudes = new Float64Array(x.values.length);
  for (let first = 0; first < values.length; first += cols) {
    const terms = Array.from({ length: cols }, (_, c) => x.values[first + c]!);
    const { mean, rstd } = statisticsOf(terms, centred, eps);
    terms.forEach((term, c) => {
      const [w, b] = [weight?.values[c] ?? 1, bias?.values[c] ?? 0];
      values[first + c] = (term - mean) * rstd * w + b;
      magnitudes[first + c] = (Math.abs(term) + Math.abs(mean)) * rstd * Math.abs(w) +
        Math.abs(b) + 1;
    });
  }
  return { shape: x.shape, values, magnitudes };
}

const last = (shape: Shape) => shape.at(-1)!;

// A row without spread is 0: eps keeps it from being divided by nothing. NaN and inf spoil their
// row, and only that.
const awkward = rows([5, 5, 5, 5], [NaN, 1, 2, 3], [1, Infinity, 2, 3], [-1, 1, -1, 1]);
const unit = 1 / Math.sqrt(1 + 1e-5);

const layer: Case = {
  name: "layerNorm(weight, bias)",
  call: (x: Tensor, weight: Tensor, bias: Tensor) => layerNorm(x, last(x.shape), { weight, bias }),
  reference: (x, weight, bias) => normalized(x!, last(x!.shape), true, 1e-5, weight, bias),
  shapes: rowShapes.map((shape) => [shape, [last(shape)], [last(shape)]]),
  gradShapes: [[[3], [3], [3]], [[2, 4], [4], [4]], [[2, 2, 3], [3], [3]]],
  dtypes: floats,
  fill: [spiked(-2, 3, 4)],
  tolerance: roundings(8, 8),
  // where there is no spread, what should cancel is multiplied by 1 / sqrt(eps) = 316
  gradRoundings: 1024,
  bytes: ([x], output, dtype) => (sizeOf(x!) + sizeOf(output)) * (dtype === "float64" ? 8 : 4),
};

const layerPlain: Case = {
  name: "layerNorm(eps 0.01)",
  call: (x: Tensor) => layerNorm(x, x.shape.slice(-2), { eps: 0.01 }),
  reference: (x) => normalized(x!, sizeOf(x!.shape.slice(-2)), true, 0.01),
  shapes: [[3, 5], [2, 3, 5], [4, 20, 30], [1, 2, 33, 65]].map((shape) => [shape]),
  gradShapes: [[[3, 2]], [[2, 3, 2]]],
  dtypes: floats,
  fill: [spiked(-2, 3, 4)],
  tolerance: roundings(8, 8),
  // where there is no spread, what should cancel is multiplied by 1 / sqrt(eps) = 316
  gradRoundings: 1024,
};

const layerDefault: Case = {
  name: "layerNorm()",
  call: (x: Tensor) => layerNorm(x, last(x.shape)),
  reference: (x) => normalized(x!, last(x!.shape), true, 1e-5),
  shapes: [[[4, 4]], [[9, 100]]],
  gradShapes: [[[2, 4]]],
  dtypes: floats,
  fill: [spiked(-2, 3, 4)],
  tolerance: roundings(8, 8),
  // where there is no spread, what should cancel is multiplied by 1 / sqrt(eps) = 316
  gradRoundings: 1024,
  specials: [{
    name: "no spread, NaN and infinity",
    inputs: [awkward],
    expected: rows([0, 0, 0, 0], [NaN, NaN, NaN, NaN], [NaN, NaN, NaN, NaN], [
      -unit,
      unit,
      -unit,
      unit,
    ]),
  }],
};

const rms: Case = {
  name: "rmsNorm(weight)",
  call: (x: Tensor, weight: Tensor) => rmsNorm(x, last(x.shape), { weight, eps: 1e-6 }),
  reference: (x, weight) => normalized(x!, last(x!.shape), false, 1e-6, weight),
  shapes: rowShapes.map((shape) => [shape, [last(shape)]]),
  gradShapes: [[[3], [3]], [[2, 4], [4]], [[2, 2, 3], [3]]],
  dtypes: floats,
  fill: [spiked(-2, 3, 4)],
  tolerance: roundings(8, 8),
  // where there is no spread, what should cancel is multiplied by 1 / sqrt(eps) = 316
  gradRoundings: 1024,
};

const rmsDefault: Case = {
  name: "rmsNorm()",
  call: (x: Tensor) => rmsNorm(x, x.shape),
  reference: (x) => normalized(x!, sizeOf(x!.shape), false, 0),
  shapes: [[[4]], [[3, 30]]],
  gradShapes: [[[2, 3]]],
  dtypes: floats,
  fill: [spiked(1, 3, 4)],
  tolerance: roundings(6, 6),
  specials: [{ name: "zeros stay", inputs: [line(0, 0, 0)], expected: line(0, 0, 0) }],
};

const channelShapes: readonly Shape[] = [
  [2, 1],
  [3, 5],
  [33, 31],
  [257, 33],
  [1000, 3],
  [2, 1, 2],
  [1, 3, 2],
  [3, 4, 31],
  [4, 33, 5],
  [2, 3, 4097],
  [1, 2, 70_001],
  [2, 3, 4, 5],
  [300, 2, 9],
];

// The elements of each channel, which is axis 1, and what f makes of them.
function byChannel(x: Grid, f: (terms: number[], c: number) => number[]): Float64Array {
  const [batch, channels] = x.shape as [number, number];
  const inner = sizeOf(x.shape.slice(2));
  const values = new Float64Array(x.values.length);
  for (let c = 0; c < channels; c++) {
    const places = Array.from(
      { length: batch * inner },
      (_, k) => (Math.floor(k / inner) * channels + c) * inner + k % inner,
    );
    f(places.map((at) => x.values[at]!), c).forEach((value, k) => values[places[k]!] = value);
  }
  return values;
}

function batched(
  x: Grid,
  statistics: (terms: readonly number[], c: number) => Statistics,
  weight: Grid | undefined,
  bias: Grid | undefined,
): Grid {
  const along = (f: (term: number, s: Statistics, w: number, b: number) => number) =>
    byChannel(x, (terms, c) => {
      const s = statistics(terms, c);
      return terms.map((term) => f(term, s, weight?.values[c] ?? 1, bias?.values[c] ?? 0));
    });
  return {
    shape: x.shape,
    values: along((term, { mean, rstd }, w, b) => (term - mean) * rstd * w + b),
    magnitudes: along((term, { mean, rstd }, w, b) =>
      (Math.abs(term) + Math.abs(mean)) * rstd * Math.abs(w) + Math.abs(b) + 1
    ),
  };
}

const withParameters = (count: number) =>
  channelShapes.map((shape) => [shape, ...Array.from({ length: count }, () => [shape[1]!])]);
const gradParameters = (count: number) =>
  [[3, 2], [2, 2, 3], [2, 1, 2, 2]].map((
    shape,
  ) => [shape, ...Array.from({ length: count }, () => [shape[1]!])]);

const batchTraining: Case = {
  name: "batchNorm(training)",
  call: (x: Tensor, weight: Tensor, bias: Tensor) =>
    batchNorm(x, { weight, bias, training: true, eps: 1e-3 }),
  also: () => [{
    name: "without running statistics",
    call: (x: Tensor, weight: Tensor, bias: Tensor) => batchNorm(x, { weight, bias, eps: 1e-3 }),
  }],
  reference: (x, weight, bias) =>
    batched(x!, (terms) => statisticsOf(terms, true, 1e-3), weight, bias),
  shapes: withParameters(2),
  gradShapes: gradParameters(2),
  dtypes: floats,
  fill: [spiked(-2, 3, 4)],
  // One pass over differences from the first element, which may lie far out.
  tolerance: roundings(6, 128),
  gradRoundings: 128,
};

const batchPlain: Case = {
  name: "batchNorm(no weight)",
  call: (x: Tensor) => batchNorm(x, { training: true }),
  reference: (x) => batched(x!, (terms) => statisticsOf(terms, true, 1e-5), undefined, undefined),
  shapes: [[[3, 5]], [[3, 4, 31]]],
  gradShapes: [[[4, 2]], [[2, 2, 3]]],
  dtypes: floats,
  fill: [spiked(-2, 3, 4)],
  tolerance: roundings(6, 128),
  gradRoundings: 128,
};

const batchEvaluation: Case = {
  name: "batchNorm(evaluation)",
  call: (x: Tensor, weight: Tensor, bias: Tensor) => {
    const [mean, variance] = [weight, weight].map((w) => w.detach());
    return batchNorm(x, { weight, bias, runningMean: mean!, runningVar: variance!.mul(variance!) });
  },
  reference: (x, weight, bias) =>
    batched(
      x!,
      (_, c) => {
        const w = weight!.values[c]!;
        return { mean: w, rstd: 1 / Math.sqrt(w * w + 1e-5) };
      },
      weight,
      bias,
    ),
  shapes: withParameters(2),
  dtypes: ["float32", "float64"],
  fill: [spiked(-2, 3, 4), spiked(0.5, 2, 1)],
  tolerance: roundings(6, 6),
};

// Packs of channels, of pixels, and neither; runs that blocks share.
const imageShapes: readonly Shape[] = [
  [3, 8, 5, 4],
  [2, 16, 3, 3],
  [2, 5, 7, 3],
  [4, 264, 2, 2],
  [1, 4, 70, 61],
  [9, 16, 24, 24],
];

// y = relu(norm(x) + residual), of which each part may be missing, in training or evaluation; x in
// either format, and the residual in x's or the other one.
function ending(training: boolean, relu: boolean, summed: boolean): Case {
  const running = { mean: (c: number) => c % 5 / 4 - 0.5, variance: (c: number) => 0.5 + c % 3 };
  const call = (x: Tensor, w: Tensor, b: Tensor, residual?: Tensor) => {
    const of = (f: (c: number) => number) =>
      tensor(Array.from({ length: x.shape[1]! }, (_, c) => f(c)), {
        dtype: x.dtype,
        device: x.device,
      });
    return batchNorm(x, {
      ...{ weight: w, bias: b, residual, training, eps: 1e-3 },
      activation: relu ? "relu" : undefined,
      runningMean: training ? null : of(running.mean),
      runningVar: training ? null : of(running.variance),
    });
  };
  const formats = ["contiguous", "channelsLast"] as const;
  const images = formats.flatMap((first) =>
    formats.map((second) => ({
      name: `${first} and ${second}`,
      call: (x: Tensor, w: Tensor, b: Tensor, residual?: Tensor) =>
        x.rank === 4
          ? call(x.to({ format: first }), w, b, residual?.to({ format: second }))
          : call(x, w, b, residual),
    }))
  );
  const last = images[3]!.call; // so that parity compares gradients in this format
  const shapesOf = (shapes: readonly Shape[]) =>
    shapes.map((x) => [x, [x[1]!], [x[1]!], ...(summed ? [x] : [])]);
  return {
    name: `batchNorm(${
      [
        ...[training ? "training" : "evaluation", ...(summed ? ["residual"] : [])],
        ...(relu ? ["relu"] : []),
      ].join(", ")
    })`,
    call: last,
    also: () => images.slice(0, 3),
    reference: (x, w, b, residual) => {
      const known = (c: number) => ({
        mean: running.mean(c),
        rstd: 1 / Math.sqrt(running.variance(c) + 1e-3),
      });
      const plain = batched(
        x!,
        (terms, c) => training ? statisticsOf(terms, true, 1e-3) : known(c),
        w,
        b,
      );
      const values = Array.from(plain.values, (y, i) => y + (residual?.values[i] ?? 0));
      return {
        shape: x!.shape,
        values: values.map((y) => relu ? Math.max(y, 0) : y),
        magnitudes: Array.from(
          plain.magnitudes!,
          (size, i) => size + Math.abs(residual?.values[i] ?? 0),
        ),
      };
    },
    shapes: shapesOf([[3, 5], [257, 33], [64, 128], [3, 4, 31], ...imageShapes]),
    gradShapes: shapesOf([[3, 2], [2, 2, 3], [2, 4, 1, 2]]),
    dtypes: floats,
    fill: [spiked(-2, 3, 4), spiked(0.5, 2, 1), spiked(-1, 1, 1), spiked(-3, 2, 2)],
    tolerance: roundings(6, 128),
    gradRoundings: 512,
  };
}

const endings: readonly Case[] = [
  ending(true, true, false),
  ending(true, false, true),
  ending(true, true, true),
  ending(false, true, false),
  ending(false, true, true),
];

// Groups are rows of neighbours; what is of a channel comes after.
function grouped(x: Grid, groups: number, eps: number, weight?: Grid, bias?: Grid): Grid {
  const [, channels, ...rest] = x.shape as [number, number, ...number[]];
  const pixels = sizeOf(rest);
  const plain = normalized(x, channels / groups * pixels, true, eps);
  const of = (i: number) => Math.floor(i / pixels) % channels;
  const each = (values: ArrayLike<number>, f: (v: number, w: number, b: number) => number) =>
    Float64Array.from(
      values,
      (v, i) => f(v, weight?.values[of(i)] ?? 1, bias?.values[of(i)] ?? 0),
    );
  return {
    shape: x.shape,
    values: each(plain.values, (v, w, b) => v * w + b),
    magnitudes: each(plain.magnitudes!, (m, w, b) => m * Math.abs(w) + Math.abs(b) + 1),
  };
}

const groupShapes = (shapes: readonly Shape[], parameters = 2) =>
  shapes.map((shape) => [shape, ...Array.from({ length: parameters }, () => [shape[1]!])]);

function groupCase(groups: number, shapes: readonly Shape[], small: readonly Shape[]): Case {
  return {
    name: `groupNorm(${groups}, weight, bias)`,
    call: (x: Tensor, weight: Tensor, bias: Tensor) => groupNorm(x, groups, { weight, bias }),
    reference: (x, weight, bias) => grouped(x!, groups, 1e-5, weight, bias),
    shapes: groupShapes(shapes),
    gradShapes: groupShapes(small),
    dtypes: floats,
    fill: [spiked(-2, 3, 4)],
    // One pass over differences from the first element, which may lie far out.
    tolerance: roundings(12, 128),
    gradRoundings: 1024,
  };
}

const groupNormCases: readonly Case[] = [
  groupCase(1, [[3, 8], [2, 3, 5, 7], [2, 4, 33], [1, 5, 1, 1]], [[2, 3], [1, 2, 1, 2]]),
  groupCase(2, [[2, 4, 3, 3], [3, 6, 1, 1], [1, 64, 9, 5], [0, 4, 2, 2], [2, 2, 70, 67]], [
    [2, 4, 2],
    [1, 4, 2, 1],
  ]),
  groupCase(3, [[2, 33, 5, 3], [4, 3, 31], [2, 9, 2, 3, 2], [700, 6, 2, 2]], [[2, 3, 2, 1]]),
  {
    ...groupCase(2, [], []),
    name: "groupNorm(2, eps 0.01)",
    call: (x: Tensor) => groupNorm(x, 2, { eps: 0.01 }),
    reference: (x) => grouped(x!, 2, 0.01),
    shapes: groupShapes([[3, 4, 5], [2, 6, 5, 4]], 0),
    gradShapes: groupShapes([[2, 4], [2, 2, 1, 2]], 0),
  },
  {
    ...groupCase(2, [], []),
    name: "instanceNorm(weight, bias)",
    call: (x: Tensor, weight: Tensor, bias: Tensor) => instanceNorm(x, { weight, bias }),
    reference: (x, weight, bias) => grouped(x!, x!.shape[1]!, 1e-5, weight, bias),
    shapes: groupShapes([[2, 3, 7], [2, 3, 5, 3], [1, 17, 33, 31], [0, 3, 2, 2], [2, 3, 2, 2, 3]]),
    gradShapes: groupShapes([[2, 2, 3], [1, 2, 3, 1]]),
  },
];

// As the formula has it: the mean over `size` channels, of which those beyond the ends are 0.
function localResponse(x: Grid, size: number, alpha: number, beta: number, k: number): Grid {
  return build(x.shape, (index, i) => {
    const squares = Array.from({ length: size }, (_, j) => index[1]! - Math.floor(size / 2) + j)
      .filter((c) => c >= 0 && c < x.shape[1]!)
      .map((c) => elementAt(x, index.with(1, c)) ** 2);
    return x.values[i]! / (k + alpha / size * total(squares)) ** beta;
  });
}

function localResponseCase(
  size: number,
  { alpha = 1e-4, beta = 0.75, k = 1 }: Record<string, number>,
): Case {
  return {
    name: `localResponseNorm(${size}, ${alpha}, ${beta}, ${k})`,
    call: (x: Tensor) => localResponseNorm(x, size, { alpha, beta, k }),
    reference: (x) => localResponse(x!, size, alpha, beta, k),
    shapes: [[2, 3, 5], [2, 7, 3, 4], [1, 1, 1, 1], [0, 3, 2, 2], [2, 33, 2, 3, 2]].map((s) => [s]),
    gradShapes: [[[1, 4, 2]], [[2, 3, 1, 1]]],
    dtypes: floats,
    tolerance: roundings(24),
  };
}

const localResponseCases: readonly Case[] = [
  localResponseCase(5, {}),
  localResponseCase(2, { alpha: 2, beta: 1.5, k: 0.5 }),
  localResponseCase(1, { alpha: 1, beta: 0.5, k: 2 }),
];

export const normCases: readonly Case[] = [
  ...groupNormCases,
  ...localResponseCases,
  layer,
  layerPlain,
  layerDefault,
  rms,
  rmsDefault,
  batchTraining,
  batchPlain,
  batchEvaluation,
  ...endings,
];

const seed = 11;

const dropped = (p: number) => (x?: { shape: readonly number[]; values: ArrayLike<number> }) => {
  const kept = (i: number) =>
    philox(BigInt(seed), BigInt(Math.floor(i / 4)))[i % 4]! >= Math.floor(p * 2 ** 32);
  const values = Array.from(x!.values, (value, i) => kept(i) ? value / (1 - p) : 0);
  return { shape: x!.shape, values };
};

const minus = line(...Array<number>(37).fill(-0));

function dropping(p: number): Case {
  return {
    name: `dropout(${p})`,
    call: (x: Tensor) => {
      manualSeed(seed);
      return dropout(x, { p });
    },
    reference: dropped(p),
    shapes: unaryShapes,
    gradShapes: [[[]], [[9]], [[2, 5]]],
    dtypes: floats,
    tolerance: roundings(2),
    specials: [{
      name: "-0 keeps its sign",
      inputs: [minus],
      expected: dropped(p)(minus),
      exact: true,
    }],
  };
}

const withResidual: Case = {
  ...dropping(0.5),
  name: "dropout with a residual",
  call: (x: Tensor, residual: Tensor) => {
    manualSeed(seed);
    return dropout(x, { residual });
  },
  reference: (x, residual) => {
    const { shape, values } = dropped(0.5)(x);
    return { shape, values: Array.from(values, (value, i) => value + residual!.values[i]!) };
  },
  shapes: unaryShapes.map(([shape]) => [shape!, shape!]),
  gradShapes: [[[], []], [[9], [9]], [[2, 5], [2, 5]]],
  specials: undefined,
};

export const dropoutCases: readonly Case[] = [
  ...[0.5, 0.1, 0.9].map(dropping),
  withResidual,
];
