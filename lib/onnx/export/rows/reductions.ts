// Rows of reductions, of what goes along axes, and of norms.
import { inMemoryOrder } from "../../../core/layout.ts";
import { sameShape, sizeOf } from "../../../core/shape.ts";
import type { Tensor } from "../../../tensor.ts";
import type { Call, Made, Row } from "../call.ts";
import { typeOf } from "../nodes.ts";
import { float } from "./elementwise.ts";

// Which axes a reduction is over, by the extents before, of and behind them.
function axesOf(c: Call, at: number, first: number): number[] {
  const x = c.tensor(at), [outer, axis] = c.numbers(first, 2);
  const order = inMemoryOrder(x.shape.map((_, d) => d), x.format);
  const size = (from: number, to: number) => sizeOf(order.slice(from, to).map((d) => x.shape[d]!));
  const wanted = x.rank - c.y.rank;
  let found: number[] | undefined;
  for (let i = 0; i <= order.length; i++) {
    for (let j = i; j <= order.length; j++) {
      if (size(0, i) !== outer || size(i, j) !== axis) continue;
      const list = order.slice(i, j).toSorted((a, b) => a - b);
      if (!found || (wanted > 0 ? list.length === wanted : list.length > found.length)) {
        found = list;
      }
    }
  }
  return found ?? [];
}

/** The axis of which a kernel knows the extent and the elements behind. */
export function axisOf(c: Call, at: number, extent: number, inner: number): number {
  const { shape } = c.tensor(at);
  return shape.findIndex((n, d) => n === extent && sizeOf(shape.slice(d + 1)) === inner);
}

// The result of a reduction may lack axes that others have reduced before.
const reduce = (op: string): Row => (c) => {
  const x = c.raw(1), axes = axesOf(c, 1, 2);
  const left = x.shape.filter((_, d) => !axes.includes(d));
  const keepdims = sameShape(left, c.y.shape) && axes.length > 0 ? 0 : 1;
  const whole = op === "ReduceMean" && x.shape.length === 4 && keepdims && `${axes}` === "2,3";
  const name = whole
    ? c.node("GlobalAveragePool", [x.name])
    : op === "ReduceSum"
    ? c.node(op, [x.name, c.list(...axes)], { keepdims })
    : c.node(op, [x.name], { axes, keepdims });
  const same = keepdims === 0 || c.y.rank === x.shape.length;
  return same ? { name, type: x.type } : c.reshaped({ ...x, shape: [], batch: [] }, name);
};

const extremeIndex = (op: string): Row => (c) => {
  const axes = axesOf(c, 1, 2), x = c.raw(1), one = axes.length === 1;
  const keepdims = c.y.rank === x.shape.length ? 1 : 0;
  if (!one && c.y.rank !== keepdims) return undefined;
  const line = one ? x.name : c.node("Reshape", [x.name, c.list(-1)]);
  return { name: c.node(op, [line], { axis: one ? axes[0] : 0, keepdims }), type: "int64" };
};

const variance: Row = (c) => {
  const x = c.raw(2), axes = axesOf(c, 2, 3), root = c.number(7);
  if (axes.some((d) => x.batch[d]! > 0)) return undefined;
  const n = sizeOf(axes.map((d) => x.shape[d]!));
  const off = c.node("Sub", [x.name, c.node("ReduceMean", [x.name], { axes })]);
  const keepdims = c.y.rank === x.shape.length ? 1 : 0;
  const y = c.node("ReduceSum", [c.node("Mul", [off, off]), c.list(...axes)], { keepdims });
  const share = c.node("Mul", [y, c.constant([], [1 / (n - c.number(6))], x.type)]);
  return { name: root ? c.node("Sqrt", [share]) : share, type: x.type };
};

const along = (op: string): Row => (c) => c.node(op, [c.v(1)], { axis: -1 });

// The axis from which on there are so many elements.
const axisFrom = ({ shape }: Tensor, count: number) =>
  shape.findLastIndex((_, d) => sizeOf(shape.slice(d)) === count);

const layerNorm: Row = (c) => {
  const axis = axisFrom(c.tensor(3), c.number(7));
  const weight = c.has(4) ? c.v(4) : c.filled(c.y.shape.slice(axis), 1);
  return c.node("LayerNormalization", [c.v(3), weight, c.v(5)], {
    ...{ axis: axis - c.y.rank, epsilon: float(c.number(8)) },
  });
};

const rmsNorm: Row = (c) => {
  const x = c.v(2), axis = axisFrom(c.y, c.number(5));
  const axes = c.y.shape.flatMap((_, d) => d >= axis ? [d - c.y.rank] : []);
  const square = c.node("ReduceMean", [c.node("Mul", [x, x])], { axes });
  const y = c.chain(x, ["Div", c.chain(square, ["Add", c.number(6)], "Sqrt")]);
  return c.has(3) ? c.node("Mul", [y, c.v(3)]) : y;
};

// Groups as channels of instance normalisation, which opset 17 has.
const groupNorm: Row = (c) => {
  const [, channels, groups, pixels] = c.numbers(6, 4) as [number, number, number, number];
  const x = c.raw(3), epsilon = float(c.number(11));
  const [weight, bias] = [4, 5].map((i) => c.has(i) ? c.v(i) : c.filled([channels], 5 - i));
  if (groups === channels && x.shape.length > 2) {
    return c.node("InstanceNormalization", [c.v(3), weight, bias], { epsilon });
  }
  const shape = [x.shape[0]!, groups, channels / groups * pixels];
  const grouped = c.reshaped(x, c.v(3), shape).name;
  const plain = [c.filled([groups], 1), c.filled([groups], 0)];
  const y = c.node("InstanceNormalization", [grouped, ...plain], { epsilon });
  const column = (name = "") =>
    c.node("Reshape", [name, c.list(channels, ...c.y.shape.slice(2).map(() => 1))]);
  return c.chain(c.reshaped(x, y).name, ["Mul", column(weight)], ["Add", column(bias)]);
};

const batchNorm: Row = (c) => {
  const vector = (i: number, value: number) => {
    if (!c.has(i)) return c.filled([c.y.shape[1]!], value);
    const { castOf, name } = c.raw(i), type = typeOf(c.y.dtype), own = c.trace.constants.get(name);
    if (own) c.trace.constants.set(name, { ...own, type }); // statistics are kept as float64
    return castOf?.name ?? (own ? name : c.cast(name, type));
  };
  const operands = [c.v(1), vector(5, 1), vector(6, 0), vector(3, 0), vector(4, 1)];
  let y = c.node("BatchNormalization", operands, { epsilon: float(c.number(10)) });
  if (c.has(2)) y = c.node("Add", [y, c.v(2)]);
  return c.number(11) ? c.node("Relu", [y]) : y;
};

/** By kernel. */
export const reductions: Readonly<Record<string, Row>> = {
  ...{ sum: reduce("ReduceSum"), mean: reduce("ReduceMean"), prod: reduce("ReduceProd") },
  ...{ max: reduce("ReduceMax"), min: reduce("ReduceMin"), log_sum_exp: reduce("ReduceLogSumExp") },
  ...{ argmax: extremeIndex("ArgMax"), argmin: extremeIndex("ArgMin") },
  vector_norm: (c) => {
    const op = { 1: "ReduceL1", 2: "ReduceL2" }[c.number(5)];
    return op && reduce(op)(c);
  },
  variance,
  cumsum: (c) => {
    const [, extent, inner, reverse, exclusive] = c.numbers(2, 5);
    const axis = c.constant([], [axisOf(c, 1, extent!, inner!)], "int64");
    return c.node("CumSum", [c.v(1), axis], { reverse, exclusive });
  },
  topk: (c) => {
    const largest = c.number(6);
    const made = c.trace.node("TopK", [c.v(2), c.list(c.number(5))], { largest }, 2);
    const both: Made[] = [{ name: made[0]! }, { name: made[1]!, type: "int64" }];
    return c.has(0) ? both : both.slice(1);
  },
  ...{ softmax: along("Softmax"), masked_softmax: along("Softmax") },
  log_softmax: along("LogSoftmax"),
  layer_norm: layerNorm,
  rms_norm: rmsNorm,
  group_norm: groupNorm,
  batch_norm: batchNorm,
};
