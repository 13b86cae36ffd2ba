// Normalisations.
import { sameShape, type Shape } from "../../core/shape.ts";
import { add, div, eq, mul, rsqrt, sqrt, sub, where } from "../../ops/elementwise/mod.ts";
import { batchNorm, groupNorm, layerNorm, localResponseNorm, rmsNorm } from "../../ops/norm/mod.ts";
import { mean, norm as normOf, variance } from "../../ops/reduce/mod.ts";
import { flip, repeatInterleave, reshape } from "../../ops/shape/mod.ts";
import type { Tensor } from "../../tensor.ts";
import type { Context, Family, Operator } from "./_operator.ts";

// Axes but the channels'.
const others = (x: Tensor) => x.shape.map((_, d) => d).filter((d) => d !== 1);

const byBatch: Operator = (c) => {
  const { x } = c;
  const [weight, bias, runningMean, runningVar] = [1, 2, 3, 4].map((i) => c.tensor(i));
  const eps = c.float("epsilon", 1e-5);
  if (c.opset < 9 && c.int("spatial", 1) === 0) c.fail("spatial = 0 is not supported");
  if (!c.int("training_mode", 0)) {
    return batchNorm(x, { weight, bias, runningMean, runningVar, eps });
  }
  const momentum = c.float("momentum", 0.9);
  const moved = (old: Tensor, now: Tensor) => add(mul(old, momentum), mul(now, 1 - momentum));
  const [m, v] = [mean(x, others(x)), variance(x, others(x), { correction: 0 })];
  const y = batchNorm(x, { weight, bias, runningMean: m, runningVar: v, eps });
  return [y, moved(runningMean!, m), moved(runningVar!, v)];
};

// What scales and shifts may broadcast; the kernels want one of the shape that is normalised.
function apart(shape: Shape, ...given: (Tensor | undefined)[]): boolean {
  return given.some((x) => x && !sameShape(x.shape, shape));
}

function layers(c: Context, x: Tensor, at: number, eps: number, first = 1) {
  const axes = x.shape.map((_, d) => d).slice(at);
  const shape = x.shape.slice(at);
  const [weight, bias] = [c.tensor(first), c.maybe(first + 1)];
  let y = layerNorm(x, shape, apart(shape, weight, bias) ? { eps } : { weight, bias, eps });
  if (apart(shape, weight, bias)) y = mul(y, weight);
  if (apart(shape, weight, bias) && bias) y = add(y, bias);
  const statistic = (i: number, fn: (x: Tensor) => Tensor) => {
    if (!c.wants(i)) return;
    return c.as("float32", fn(x.to({ dtype: c.place.dtype("float32") })));
  };
  return [
    y,
    statistic(1, (x) => mean(x, axes, { keepDims: true })),
    statistic(2, (x) => rsqrt(add(variance(x, axes, { correction: 0, keepDims: true }), eps))),
  ];
}

const byLayer: Operator = (c) =>
  layers(c, c.x, c.axis("axis", -1, c.x.rank), c.float("epsilon", 1e-5));

const byRoot = (c: Context, x: Tensor, at: number, weight: Tensor) => {
  const [shape, eps] = [x.shape.slice(at), c.float("epsilon", 1e-5)];
  return apart(shape, weight)
    ? mul(rmsNorm(x, shape, { eps }), weight)
    : rmsNorm(x, shape, { weight, eps });
};

const skipped = (c: Context, bias: number) => {
  const sum = add(c.x, c.tensor(1));
  return c.has(bias) ? add(sum, c.tensor(bias)) : sum;
};

// A single value a group has no deviation, which the library's operations refuse.
function grouped(c: Context, x: Tensor, groups: number, weight: Tensor, bias: Tensor): Tensor {
  if (x.size !== x.shape[0]! * groups) {
    return groupNorm(x, groups, { weight, bias, eps: c.float("epsilon", 1e-5) });
  }
  const along = (each: Tensor) => reshape(each, x.shape.map((n, d) => d === 1 ? n : 1));
  return add(mul(sub(x, x), along(weight)), along(bias));
}

// Up to opset 20 scales and shifts are those of the groups.
const byGroup: Operator = (c) => {
  const { x } = c;
  const groups = c.int("num_groups");
  const [weight, bias] = [c.tensor(1), c.tensor(2)].map((each) =>
    c.opset < 21 ? repeatInterleave(each, x.shape[1]! / groups, 0) : each
  );
  return grouped(c, x, groups, weight!, bias!);
};

// Of an even number of channels the odd one is behind, where the library has it before.
const localResponse: Operator = (c) => {
  const size = c.int("size");
  const [alpha, beta] = [c.float("alpha", 1e-4), c.float("beta", 0.75)];
  const scaled = (x: Tensor) => localResponseNorm(x, size, { alpha, beta, k: c.float("bias", 1) });
  return size % 2 === 1 ? scaled(c.x) : flip(scaled(flip(c.x, 1)), 1);
};

/** Normalisations. */
export const norm: Family = {
  BatchNormalization: byBatch,
  InstanceNormalization: (c) =>
    grouped(c, c.x, Math.max(1, c.x.shape[1]!), c.tensor(1), c.tensor(2)),
  LayerNormalization: byLayer,
  GroupNormalization: byGroup,
  RMSNormalization: (c) => byRoot(c, c.x, c.axis("axis", -1, c.x.rank), c.tensor(1)),
  LRN: localResponse,
  MeanVarianceNormalization: (c) => {
    const axes = c.ints("axes", [0, 2, 3]);
    const deviation = sqrt(variance(c.x, axes, { correction: 0, keepDims: true }));
    return div(sub(c.x, mean(c.x, axes, { keepDims: true })), add(deviation, 1e-9));
  },
  LpNormalization: (c) => {
    const size = normOf(c.x, c.int("axis", -1), { p: c.int("p", 2), keepDims: true });
    return div(c.x, where(eq(size, 0), 1, size));
  },
  "com.microsoft:SkipLayerNormalization": (c) => {
    const sum = skipped(c, 4);
    return [...layers(c, sum, sum.rank - 1, c.float("epsilon", 1e-12), 2), sum];
  },
  SimplifiedLayerNormalization: (c) => byRoot(c, c.x, c.axis("axis", -1, c.x.rank), c.tensor(1)),
  "com.microsoft:SkipSimplifiedLayerNormalization": (c) => {
    const sum = skipped(c, 3);
    return [byRoot(c, sum, sum.rank - 1, c.tensor(2)), undefined, undefined, sum];
  },
};
