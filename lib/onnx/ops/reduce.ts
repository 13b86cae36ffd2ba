// Reductions: the axes are an attribute in old opsets and an input in new ones.
import { contiguousStrides, normalizeAxes } from "../../core/shape.ts";
import { full } from "../../create.ts";
import { log, mul, sub } from "../../ops/elementwise/mod.ts";
import {
  argmax,
  argmin,
  logSumExp,
  max,
  mean,
  min,
  norm,
  prod,
  sum,
} from "../../ops/reduce/mod.ts";
import { flip } from "../../ops/shape/mod.ts";
import type { Tensor } from "../../tensor.ts";
import { elements } from "../_elements.ts";
import type { Value } from "../value.ts";
import type { Context, Family, Operator } from "./_operator.ts";
import { offsets } from "./_strides.ts";
import { wrapped } from "./elementwise.ts";

type Reduce = (x: Tensor, axes: readonly number[], options: { keepDims: boolean }) => Tensor;
type Host = (a: number, b: number) => number;

function onHost(c: Context, x: Value, axes: readonly number[], shape: number[], fn: Host): Value {
  const kept = contiguousStrides(x.shape.map((extent, d) => axes.includes(d) ? 1 : extent));
  const at = offsets(x.shape, kept.map((stride, d) => axes.includes(d) ? 0 : stride));
  const [data, { fit }] = [x.numbers(), elements[x.type]];
  const parts = Map.groupBy(data, (_, i) => at[i]!);
  return c.host(
    x.type,
    shape,
    Array.from(parts.values(), (part) => fit(part.reduce((a, b) => fn(a, b)))),
  );
}

// `none` is the result of no elements. What has no `host` is of floats only.
function reduced(device: Reduce, none: number, host?: Host): Operator {
  return (c) => {
    const x = c.value(0);
    const given = c.numbersOr("axes", 1) ?? [];
    const all = given.length === 0 && c.int("noop_with_empty_axes", 0) === 0;
    const axes = normalizeAxes(c.node.op, all ? undefined : given, x.shape.length);
    const keepDims = c.int("keepdims", 1) > 0;
    const shape = x.shape.flatMap((n, d) => !axes.includes(d) ? [n] : keepDims ? [1] : []);
    if (x.size === 0) {
      const { device } = c.place;
      const ends = ["bool", "uint8"].includes(x.type) ? [0, 255] : [-(2 ** 31), 2 ** 31 - 1];
      const value = elements[x.type].float ? none : Math.min(Math.max(none, ends[0]!), ends[1]!);
      return c.as(x.type, full(shape, value, { dtype: c.place.dtype(x.type), device }));
    }
    if (host && x.small) return onHost(c, x, axes, shape, host);
    const whole = (x: Tensor) => device(x, axes, { keepDims }).to({ dtype: x.dtype });
    return c.as(x.type, wrapped(host ? whole(x.tensor()) : c.wide(whole), x.type));
  };
}

// Of equal ones the first, or with select_last_index the last.
const place = (fn: typeof argmax): Operator => (c) => {
  const { x } = c;
  const axis = c.axis("axis", 0, x.rank);
  const options = { keepDims: c.int("keepdims", 1) > 0 };
  if (!c.int("select_last_index", 0)) return c.as("int64", fn(x, axis, options));
  return c.as("int64", sub(fn(flip(x, axis), axis, options), x.shape[axis]! - 1).neg());
};

/** Reductions. */
export const reduce: Family = {
  ReduceSum: reduced(sum, 0, (a, b) => a + b),
  ReduceProd: reduced(prod, 1, (a, b) => a * b),
  ReduceMax: reduced(max, -Infinity, Math.max),
  ReduceMin: reduced(min, Infinity, Math.min),
  ReduceMean: reduced(mean, NaN),
  ReduceL1: reduced((x, axes, options) => norm(x, axes, { p: 1, ...options }), 0),
  ReduceL2: reduced((x, axes, options) => norm(x, axes, options), 0),
  ReduceLogSum: reduced((x, axes, options) => log(sum(x, axes, options)), -Infinity),
  ReduceLogSumExp: reduced(logSumExp, -Infinity),
  ReduceSumSquare: reduced((x, axes, options) => sum(mul(x, x), axes, options), 0),
  ArgMax: place(argmax),
  ArgMin: place(argmin),
};
