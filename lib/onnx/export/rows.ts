// The table of what is written for what the library computes: by native calls, whose arguments have
// all attributes, and, where several calls or a copy are one operation, by the operation's name.
import { inMemoryOrder } from "../../core/layout.ts";
import { broadcastStrides, contiguousStrides, sameShape, sizeOf } from "../../core/shape.ts";
import { isFloat } from "../../core/dtype.ts";
import type { Call, Made, Row } from "./call.ts";
import { type Attributes, type Known, typeOf } from "./nodes.ts";

/** Kernels that draw random numbers, which no graph can repeat. */
export const random: ReadonlySet<string> = new Set([
  ...["uniform", "normal", "randint", "dropout", "bernoulli", "multinomial"],
]);

/** Kernels that are only parts of operations with rows. */
export const ignored: ReadonlySet<string> = new Set([
  ...["strided_copy", "strided_write", "transpose", "take"],
]);

/** How many tensors come before the operands, where it is not one. */
export const outputCounts: Readonly<Record<string, number>> = {
  ...{ topk: 2, layer_norm: 3, rms_norm: 2, group_norm: 3, max_pool: 2, conv2d: 2 },
  ...{ conv2d_pooled: 2, matmul_fused: 3, variance: 2 },
};

const float = (value: number) => ({ kind: "float", value }) as const;
const unary = (...ops: string[]): Row => (c) => c.chain(c.v(1), ...ops.map((op) => [op] as const));
const steps = (...list: [string, number?][]): Row => (c) => c.chain(c.v(1), ...list);

const second = (c: Call) => c.has(2) ? c.v(2) : c.scalar(c.number(5));
const binary = (op: string): Row => (c) => c.node(op, [c.v(1), second(c)]);
const compare = (op: string, not = false): Row => (c) => {
  const y = c.node(op, [c.v(1), second(c)]);
  return { name: not ? c.node("Not", [y]) : y, type: "bool" };
};

// What a product or convolution ends with, as the library numbers it.
function activated(c: Call, x: string, code: number): string {
  if (code === 0) return x;
  if (code === 1) return c.node("Relu", [x]);
  if (code === 4) return c.node("Mul", [x, c.node("Sigmoid", [x])]);
  const part = code === 2 ? c.chain(x, ["Mul", Math.SQRT1_2], ["Erf"], ["Add", 1]) : c.chain(
    c.chain(x, ["Mul", x], ["Mul", 0.044715], ["Add", 1], ["Mul", x]),
    ["Mul", Math.sqrt(2 / Math.PI)],
    ["Tanh"],
    ["Add", 1],
  );
  return c.chain(x, ["Mul", part], ["Mul", 0.5]);
}

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

// The result of a reduction may lack axes that others have reduced before.
function reduced(c: Call, op: string, at: number, first: number, more = {}): Made {
  const x = c.raw(at), axes = axesOf(c, at, first);
  const left = x.shape.filter((_, d) => !axes.includes(d));
  const keepdims = sameShape(left, c.y.shape) && axes.length > 0 ? 0 : 1;
  const whole = op === "ReduceMean" && x.shape.length === 4 && keepdims && `${axes}` === "2,3";
  const name = whole
    ? c.node("GlobalAveragePool", [x.name])
    : op === "ReduceSum"
    ? c.node(op, [x.name, c.list(...axes)], { keepdims })
    : c.node(op, [x.name], { axes, keepdims, ...more });
  const same = keepdims === 0 || c.y.rank === x.shape.length;
  return same ? { name, type: x.type } : c.reshaped({ ...x, shape: [], batch: [] }, name);
}
const reduce = (op: string): Row => (c) => reduced(c, op, 1, 2);

const extremeIndex = (op: string): Row => (c) => {
  const axes = axesOf(c, 1, 2), x = c.raw(1);
  const line = axes.length === 1 ? x.name : c.node("Reshape", [x.name, c.list(-1)]);
  const keepdims = c.y.rank === x.shape.length ? 1 : 0;
  const name = c.node(op, [line], { axis: axes.length === 1 ? axes[0] : 0, keepdims });
  if (axes.length !== 1 && c.y.rank !== keepdims) return undefined;
  return { name, type: "int64" };
};

// The axis of which a kernel knows the extent and the elements behind.
function axisOf(c: Call, at: number, extent: number, inner: number): number {
  const { shape } = c.tensor(at);
  return shape.findIndex((n, d) => n === extent && sizeOf(shape.slice(d + 1)) === inner);
}

const pads = (begin: number[], end: number[]) => [...begin, ...end];

// cdn_conv2d's geometry: n h w c k r s p q, strides, padding, dilation, groups.
function convolved(c: Call, x: number, w: number, bias: number, geometry: number): Made {
  const g = c.numbers(geometry);
  const [strides, pad, dilations] = [g.slice(9, 11), g.slice(11, 13), g.slice(13, 15)];
  // what is missing behind: where the same as before serves, that
  const end = [0, 1].map((d) => {
    const extent = g[1 + d]!, span = (g[5 + d]! - 1) * dilations[d]! + 1;
    const places = (after: number) =>
      Math.floor((extent + pad[d]! + after - span) / strides[d]!) + 1;
    const least = (g[7 + d]! - 1) * strides[d]! + span - extent - pad[d]!;
    return places(pad[d]!) === g[7 + d] ? pad[d]! : Math.max(0, least);
  });
  const all = { kernel_shape: [g[5]!, g[6]!], strides, dilations, group: g[15]! };
  const [image, kernel] = [c.raw(x), c.raw(w)];
  const flat = image.line && kernel.line && pad[0] === 0 && end[0] === 0;
  const last = ({ group, ...lists }: typeof all) => ({
    group,
    ...Object.fromEntries(Object.entries(lists).map(([key, list]) => [key, list.slice(1)])),
  });
  const operands = flat ? [image.line!.name, kernel.line!.name] : [c.v(x), c.v(w)];
  const name = c.node("Conv", [...operands, c.v(bias)], {
    ...(flat ? last(all) : all),
    pads: flat ? [pad[1]!, end[1]!] : pads(pad, end),
  });
  return flat ? asImage(c, name) : name;
}

// A line [n, c, l] as the image [n, c, 1, l] that the library makes; most want the line again.
function asImage(c: Call, name: string): Made {
  const { shape, dtype } = c.y;
  const line = [...shape.slice(0, 2), shape[3]!];
  const known: Known = {
    ...{ name, type: typeOf(dtype), shape: line, depends: true },
    batch: c.trace.step(line),
  };
  return { ...c.reshaped(known, c.node("Unsqueeze", [name, c.list(2)])), line: known };
}

// Windows of pools: outer, inner, and of each axis extent, out, kernel, stride, padding, dilation.
function pooled(c: Call, op: string, more: Attributes): Made | undefined {
  const x = op === "MaxPool" ? 2 : 1;
  const sizes = c.numbers(x + 1);
  const [height, width] = [sizes.slice(2, 8), sizes.slice(8, 14)];
  const flat = c.raw(x).line && height[2] === 1;
  const axes = flat ? [width] : [height, width];
  if (axes.some(([, , kernel]) => kernel === 0)) return undefined;
  const pick = (i: number) => axes.map((axis) => axis[i]!);
  const ceil = axes.some(([extent, out, kernel, stride, padding, dilation]) =>
    Math.floor((extent! + 2 * padding! - (kernel! - 1) * dilation! - 1) / stride!) + 1 < out!
  );
  const name = c.node(op, [flat ? c.raw(x).line!.name : c.v(x)], {
    ...{ kernel_shape: pick(2), strides: pick(3), pads: pads(pick(4), pick(4)) },
    ...{ ceil_mode: ceil ? 1 : undefined, ...more },
    dilations: op === "MaxPool" ? pick(5) : undefined,
  });
  return flat ? asImage(c, name) : name;
}

// Averages of windows of different sizes, as adaptive pooling has them: products with a matrix.
function shares(c: Call, [extent, out]: number[], transposed: boolean): string {
  const data = new Array<number>(extent! * out!).fill(0);
  for (let o = 0; o < out!; o++) {
    const [from, to] = [Math.floor(o * extent! / out!), Math.ceil((o + 1) * extent! / out!)];
    for (let i = from; i < to; i++) {
      data[transposed ? o * extent! + i : i * out! + o] = 1 / (to - from);
    }
  }
  return c.constant(transposed ? [out!, extent!] : [extent!, out!], data);
}

const averagePool: Row = (c) => {
  const sizes = c.numbers(2), divisor = c.number(3), padded = c.number(4) || divisor ? 1 : 0;
  const [h, w] = [sizes.slice(2, 8), sizes.slice(8, 14)] as [number[], number[]];
  if (h[2] === 0 || w[2] === 0) {
    return c.node("MatMul", [
      shares(c, h, true),
      c.node("MatMul", [c.v(1), shares(c, w, false)]),
    ]);
  }
  const y = pooled(c, "AveragePool", { count_include_pad: padded });
  if (!divisor || !y) return y;
  return c.chain((y as { name: string }).name ?? y as string, ["Mul", h[2]! * w[2]! / divisor]);
};

const normed = (c: Call, from: number) => {
  const x = c.tensor(from), cols = c.number(from + 4);
  return x.shape.findLastIndex((_, d) => sizeOf(x.shape.slice(d)) === cols);
};

const layerNorm: Row = (c) => {
  const axis = normed(c, 3), shape = c.y.shape.slice(axis);
  const weight = c.has(4) ? c.v(4) : c.constant(shape, new Array(sizeOf(shape)).fill(1));
  return c.node("LayerNormalization", [c.v(3), weight, c.v(5)], {
    axis: axis - c.y.rank,
    epsilon: float(c.number(8)),
  });
};

const rmsNorm: Row = (c) => {
  const x = c.v(2),
    axis = c.y.shape.findLastIndex((_, d) => sizeOf(c.y.shape.slice(d)) === c.number(5));
  const axes = c.y.shape.flatMap((_, d) => d >= axis ? [d - c.y.rank] : []);
  const square = c.node("ReduceMean", [c.node("Mul", [x, x])], { axes });
  const y = c.chain(x, ["Div", c.chain(square, ["Add", c.number(6)], ["Sqrt"])]);
  return c.has(3) ? c.node("Mul", [y, c.v(3)]) : y;
};

// Groups as channels of instance normalisation, which opset 17 has.
const groupNorm: Row = (c) => {
  const [n, channels, groups, pixels] = c.numbers(6, 4) as [number, number, number, number];
  const x = c.raw(3), epsilon = float(c.number(11));
  const ones = (count: number, value: number) =>
    c.constant([count], new Array<number>(count).fill(value));
  const [weight, bias] = [4, 5].map((i) => (c.has(i) ? c.v(i) : ones(channels, 5 - i)));
  const short = x.shape.length < 3;
  if (groups === channels && !short) {
    return c.node("InstanceNormalization", [c.v(3), weight, bias], { epsilon });
  }
  const grouped = c.reshaped(x, c.v(3), [n, groups, channels / groups * pixels]).name;
  const plain = [ones(groups, 1), ones(groups, 0)];
  const y = c.node("InstanceNormalization", [grouped, ...plain], { epsilon });
  const back = c.reshaped(x, y).name;
  const column = (name: string) =>
    c.node("Reshape", [name, c.list(channels, ...c.y.shape.slice(2).map(() => 1))]);
  return c.chain(back, ["Mul", column(weight!)], ["Add", column(bias!)]);
};

const batchNorm: Row = (c) => {
  const channels = c.y.shape[1]!;
  const vector = (i: number, value: number) => {
    if (!c.has(i)) return c.constant([channels], new Array<number>(channels).fill(value));
    const { castOf, name } = c.raw(i), type = typeOf(c.y.dtype), own = c.trace.constants.get(name);
    if (own) c.trace.constants.set(name, { ...own, type }); // statistics are kept as float64
    return castOf?.name ?? (own ? name : c.cast(name, type));
  };
  let y = c.node(
    "BatchNormalization",
    [c.v(1), vector(5, 1), vector(6, 0), vector(3, 0), vector(4, 1)],
    { epsilon: float(c.number(10)) },
  );
  if (c.has(2)) y = c.node("Add", [y, c.v(2)]);
  return c.number(11) ? c.node("Relu", [y]) : y;
};

const resized: Row = (c) => {
  const [, h, w, p, q, , mode, align, scaleH, scaleW] = c.numbers(2, 10) as number[];
  // a scale that the product with the extent does not fall short of
  const scale = (from: number, to: number, given: number) => {
    let s = Math.fround(given || to / from);
    while (Math.floor(s * from) < to) s = Math.fround(s * (1 + 2 ** -23));
    return s;
  };
  const scales = [1, 1, scale(h!, p!, scaleH!), scale(w!, q!, scaleW!)];
  const places = ["asymmetric", "half_pixel", "half_pixel"][mode!]!;
  return c.node("Resize", [c.v(1), "", c.constant([4], scales, "float32")], {
    mode: ["nearest", "linear", "cubic"][mode!],
    coordinate_transformation_mode: align ? "align_corners" : places,
    nearest_mode: mode === 0 ? "floor" : undefined,
    cubic_coeff_a: mode === 2 ? float(-0.75) : undefined,
  });
};

const padImage: Row = (c) => {
  const [top, bottom, left, right, mode] = c.numbers(6, 5) as number[];
  const { rank } = c.y, axes = [[rank - 2, top!, bottom!], [rank - 1, left!, right!]];
  if (mode !== 2) {
    const side = (i: 1 | 2) => c.y.shape.map((_, d) => axes.find(([axis]) => axis === d)?.[i] ?? 0);
    return c.node("Pad", [c.v(1), c.list(...pads(side(1), side(2)))], {
      mode: mode === 0 ? "reflect" : "edge",
    });
  }
  let x = c.v(1); // opset 17 has no mode for it
  for (const [axis, before, after] of axes as [number, number, number][]) {
    const part = (from: number, to: number) =>
      c.node("Slice", [x, c.list(from), c.list(to), c.list(axis)]);
    const parts = [
      ...(before ? [part(-before, 2 ** 53 - 1)] : []),
      x,
      ...(after ? [part(0, after)] : []),
    ];
    if (parts.length > 1) x = c.node("Concat", parts, { axis });
  }
  return x;
};

// Windows as channels: a convolution with the kernels that pick one element each.
function windows(c: Call, channels: number): [string, Attributes] {
  const [kh, kw, ...rest] = c.numbers(5, 8) as [number, number, ...number[]];
  const each = kh * kw, data = new Array<number>(channels * each * each).fill(0);
  for (let i = 0; i < channels * each; i++) data[i * each + i % each] = 1;
  const [strides, pad, dilations] = [rest.slice(0, 2), rest.slice(2, 4), rest.slice(4)];
  return [c.constant([channels * each, 1, kh, kw], data), {
    ...{ kernel_shape: [kh, kw], strides, dilations, group: channels, pads: pads(pad, pad) },
  }];
}

const unfold: Row = (c) => {
  const x = c.raw(1), [weight, attributes] = windows(c, x.shape[1]!);
  return c.reshaped({ ...x, shape: x.shape }, c.node("Conv", [c.v(1), weight], attributes));
};

const fold: Row = (c) => {
  const x = c.raw(1), [, channels, h, w] = c.y.shape as [number, number, number, number];
  const [weight, attributes] = windows(c, channels);
  const [kernel, strides, dilations, pad] = ["kernel_shape", "strides", "dilations", "pads"]
    .map((key) => attributes[key] as number[]) as [number[], number[], number[], number[]];
  const span = [0, 1].map((d) => (kernel[d]! - 1) * dilations[d]! + 1);
  const places = [h, w].map((n, d) => Math.floor((n + 2 * pad[d]! - span[d]!) / strides[d]!) + 1);
  const image = c.reshaped(x, c.v(1), [x.shape[0]!, x.shape[1]!, ...places]).name;
  const output_padding = [h, w].map((n, d) =>
    n - ((places[d]! - 1) * strides[d]! - 2 * pad[d]! + span[d]!)
  );
  return c.node("ConvTranspose", [image, weight], { ...attributes, output_padding });
};

const convTranspose: Row = (c) => {
  const g = c.numbers(3);
  const [strides, pad, dilations] = [g.slice(9, 11), g.slice(11, 13), g.slice(13, 15)];
  const output_padding = [0, 1].map((d) =>
    g[1 + d]! - ((g[7 + d]! - 1) * strides[d]! - 2 * pad[d]! + (g[5 + d]! - 1) * dilations[d]! + 1)
  );
  return c.node("ConvTranspose", [c.v(1), c.v(2)], {
    ...{ kernel_shape: g.slice(5, 7), strides, pads: pads(pad, pad), dilations, group: g[15]! },
    output_padding: output_padding.some((n) => n > 0) ? output_padding : undefined,
  });
};

// Products of heads, which are ranges of columns of [batch, length, columns], or with the first two
// the other way around; scores are [batch, heads, queries, keys].
function heads(c: Call, fused: boolean): Made | undefined {
  const [a, b, at] = fused ? [3, 4, 8] : [1, 2, 3];
  const rank = c.number(at + 1), lda = c.number(at + 5);
  if (rank !== 2 || lda === 0) return undefined;
  const layout = c.numbers(at), [batch, count] = [layout[0]!, layout[4]!];
  const [k] = c.numbers(at + 4, 1), n = c.number(at + 3);
  const operand = (i: number, ld: number, features: number) => {
    const view = c.tensor(i), source = view.rank === 1 ? c.trace.sourceOf(view) : view;
    const x = c.trace.known(source);
    if (source.rank === 4) return x.name;
    const [rows, columns] = [source.shape[1]!, source.shape[2]!], width = count * features;
    const column = source === view ? 0 : c.trace.offsetOf(view)!;
    const part = columns === width
      ? x.name
      : c.node("Slice", [x.name, c.list(column), c.list(column + width), c.list(2)]);
    const first = source.shape[0] === batch && ld === columns; // batch first
    const split = c.reshaped(x, part, [source.shape[0]!, rows, count, features]).name;
    return c.node("Transpose", [split], { perm: first ? [0, 2, 1, 3] : [1, 2, 0, 3] });
  };
  const turned = c.number(at + 9) === 1;
  let left = operand(a!, lda, k!);
  const right = operand(b!, c.number(at + 6), turned ? k! : n);
  const alpha = fused ? c.number(at + 10) : 1;
  if (alpha !== 1) left = c.node("Mul", [left, c.constant([], [alpha])]);
  const y = c.node("MatMul", [
    left,
    turned ? c.node("Transpose", [right], { perm: [0, 1, 3, 2] }) : right,
  ]);
  if (c.y.rank === 4) return y;
  const first = c.y.shape[0] === batch && c.number(at + 7) === c.y.shape[2];
  const perm = first ? [0, 2, 1, 3] : [2, 0, 1, 3];
  const batches = c.trace.step(c.y.shape);
  const like: Known = {
    name: y,
    type: typeOf(c.y.dtype),
    shape: c.y.shape,
    batch: batches,
    depends: true,
  };
  return c.reshaped(like, c.node("Transpose", [y], { perm }));
}

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

/** By kernel, without `cdn_`. */
export const kernels: Readonly<Record<string, Row>> = {
  ...Object.fromEntries(
    ["Neg", "Abs", "Sign", "Exp", "Log", "Sqrt", "Sin", "Cos", "Erf", "Floor", "Ceil", "Round"]
      .concat("Relu", "Sigmoid", "Tanh").map((op) => [op.toLowerCase(), unary(op)]),
  ),
  expm1: steps(["Exp"], ["Sub", 1]),
  log1p: steps(["Add", 1], ["Log"]),
  rsqrt: unary("Sqrt", "Reciprocal"),
  trunc: (c) => c.node("Mul", [c.node("Sign", [c.v(1)]), c.chain(c.v(1), ["Abs"], ["Floor"])]),
  gelu: (c) => activated(c, c.v(1), 2),
  gelu_tanh: (c) => activated(c, c.v(1), 3),
  silu: (c) => activated(c, c.v(1), 4),
  leaky_relu: (c) => c.node("LeakyRelu", [c.v(1)], { alpha: float(c.number(3)) }),
  elu: (c) => c.node("Elu", [c.v(1)], { alpha: float(c.number(3)) }),
  softplus: (c) => {
    const beta = c.number(3);
    if (beta === 1) return c.node("Softplus", [c.v(1)]);
    return c.chain(c.v(1), ["Mul", beta], ["Softplus"], ["Div", beta]);
  },
  clip: (c) => {
    const bound = (n: number) => Number.isFinite(n) ? c.scalar(n) : "";
    return c.node("Clip", [c.v(1), bound(c.number(3)), bound(c.number(4))]);
  },
  isinf: (c) => ({ name: c.node("IsInf", [c.v(1)]), type: "bool" }),
  isfinite: (c) => ({
    name: c.node("Not", [c.node("Or", ["IsInf", "IsNaN"].map((op) => c.node(op, [c.v(1)])))]),
    type: "bool",
  }),
  ...{ add: binary("Add"), sub: binary("Sub"), mul: binary("Mul"), weigh: binary("Mul") },
  ...{ div: binary("Div"), pow: binary("Pow"), maximum: binary("Max"), minimum: binary("Min") },
  floor_divide: (c) => {
    const [a, b] = [c.v(1), second(c)], type = typeOf(c.y.dtype);
    if (isFloat(c.y.dtype)) return c.chain(a, ["Div", b], ["Floor"]);
    const wide = [a, b].map((x) => c.cast(x, "float64")) as [string, string];
    return c.cast(c.chain(wide[0], ["Div", wide[1]], ["Floor"]), type);
  },
  remainder: (c) => {
    const [a, b] = [c.v(1), second(c)];
    if (!isFloat(c.y.dtype)) return c.node("Mod", [a, b]);
    return c.node("Sub", [a, c.chain(a, ["Div", b], ["Floor"], ["Mul", b])]);
  },
  ...{ eq: compare("Equal"), ne: compare("Equal", true), lt: compare("Less") },
  ...{ le: compare("LessOrEqual"), gt: compare("Greater"), ge: compare("GreaterOrEqual") },
  where: (c) => {
    const [a, b] = [2, 3].map((i) => {
      if (c.has(i)) return c.v(i);
      const value = c.number(i + 4);
      c.trace.step([], [value]);
      return c.constant([], [value]);
    });
    return c.node("Where", [c.bool(1), a, b]);
  },
  cast: (c) => {
    const x = c.raw(1), to = typeOf(c.y.dtype);
    if (x.type === to) return { ...x };
    return { name: c.cast(x.name, to), type: to, castOf: x };
  },
  copy: (c) =>
    c.y.size === c.tensor(1).size && c.y.rank === c.tensor(1).rank ? { ...c.raw(1) } : undefined,
  ...{ sum: reduce("ReduceSum"), mean: reduce("ReduceMean"), prod: reduce("ReduceProd") },
  ...{ max: reduce("ReduceMax"), min: reduce("ReduceMin"), log_sum_exp: reduce("ReduceLogSumExp") },
  ...{ argmax: extremeIndex("ArgMax"), argmin: extremeIndex("ArgMin") },
  vector_norm: (c) => {
    const op = { 1: "ReduceL1", 2: "ReduceL2" }[c.number(5)];
    return op && reduced(c, op, 1, 2);
  },
  variance,
  cumsum: (c) => {
    const [, extent, inner, reverse, exclusive] = c.numbers(2, 5) as number[];
    const axis = axisOf(c, 1, extent!, inner!);
    return c.node("CumSum", [c.v(1), c.constant([], [axis], "int64")], {
      reverse: reverse!,
      exclusive: exclusive!,
    });
  },
  topk: (c) => {
    const [values, indices] = c.trace.node("TopK", [c.v(2), c.list(c.number(5))], {
      largest: c.number(6),
    }, 2);
    const both: Made[] = [{ name: values! }, { name: indices!, type: "int64" }];
    return c.has(0) ? both : both.slice(1);
  },
  gather: (c) => c.node("Gather", [c.v(1), c.v(2)]),
  one_hot: (c) => {
    const index = c.cast(c.v(1), "int64"), values = c.constant([2], [0, 1], "float32");
    const y = c.node("OneHot", [index, c.list(c.number(3)), values]);
    return { name: y, type: "float32" };
  },
  softmax: (c) => c.node("Softmax", [c.v(1)], { axis: -1 }),
  masked_softmax: (c) => c.node("Softmax", [c.v(1)], { axis: -1 }),
  log_softmax: (c) => c.node("LogSoftmax", [c.v(1)], { axis: -1 }),
  layer_norm: layerNorm,
  rms_norm: rmsNorm,
  group_norm: groupNorm,
  batch_norm: batchNorm,
  max_pool: (c) => pooled(c, "MaxPool", {}),
  avg_pool: averagePool,
  upsample: resized,
  pad_image: padImage,
  unfold,
  fold,
  conv2d: (c) => {
    const y = convolved(c, 2, 3, 4, 5), code = c.number(6);
    return code === 0 ? y : activated(c, typeof y === "string" ? y : y.name, code);
  },
  conv2d_pooled: (c) => {
    const y = convolved(c, 2, 3, 4, 5);
    const relu = c.node("Relu", [typeof y === "string" ? y : y.name]);
    return c.node("MaxPool", [relu], { kernel_shape: [2, 2], strides: [2, 2] });
  },
  conv2d_grad_input: convTranspose,
  matmul: (c) => heads(c, false),
  matmul_fused: (c) => heads(c, true),
};

const same: Row = (c) => ({ ...c.raw(1) });

const reshape: Row = (c) => {
  const x = c.raw(1), { shape } = c.y;
  if (x.line && sameShape(x.line.shape, shape)) return { ...x.line };
  const line = shape.length === 4 && shape[2] === 1 && sameShape(shape.toSpliced(2, 1), x.shape);
  return { ...c.reshaped(x), line: line ? x : undefined };
};

// A part of x, by strides and the first element, from the copy or view that it is.
function part(c: Call): { strides: number[]; starts: number[] } | undefined {
  const x = c.tensor(1), own = contiguousStrides(x.shape), call = c.kernel;
  const offset = c.trace.offsetOf(c.y);
  if (offset === undefined && call?.name !== "strided_copy") return undefined;
  const window = call?.numbers(2) ?? [];
  const strides = offset === undefined
    ? c.y.shape.map((_, d) => window[2 * d + 1]!)
    : contiguousStrides(c.y.shape);
  const first = offset ?? window[2 * c.y.rank]!;
  return { strides, starts: x.shape.map((n, d) => Math.floor(first / own[d]!) % n) };
}

const slice: Row = (c) => {
  const x = c.raw(1), found = part(c), own = contiguousStrides(x.shape);
  if (!found || c.y.rank !== x.shape.length) return undefined;
  const cuts = x.shape.flatMap((extent, d) => {
    const count = c.y.shape[d]!, start = found.starts[d]!;
    const step = count > 1 ? found.strides[d]! / own[d]! : 1;
    if (count === extent && step === 1) return [];
    if (step < 0 && start === extent - 1 && count === extent) {
      return [[d, -1, -(2 ** 53 - 1), step]];
    }
    const end = start + (count - 1) * step + Math.sign(step);
    const whole = start + count * step >= extent && x.batch[d]! > 0;
    return [[d, start, end < 0 ? -(2 ** 53 - 1) : whole ? 2 ** 53 - 1 : end, step]];
  });
  const column = (i: number) => c.list(...cuts.map((cut) => cut[i]!));
  const unit = cuts.every(([, , , step]) => step === 1);
  return {
    name: c.node("Slice", [x.name, column(1), column(2), column(0), unit ? "" : column(3)]),
    type: x.type,
  };
};

const select: Row = (c) => {
  const x = c.raw(1), found = part(c), own = contiguousStrides(x.shape);
  if (!found) return undefined;
  const axis = x.shape.findIndex((_, d) => {
    const strides = own.toSpliced(d, 1);
    const fits = c.y.shape.every((n, i) => n === 1 || found.strides[i] === strides[i]);
    return sameShape(x.shape.toSpliced(d, 1), c.y.shape) && fits &&
      found.starts.every((start, i) => i === d || start === 0);
  });
  if (axis < 0) return undefined;
  const at = c.trace.constant("int64", [], [found.starts[axis]!]);
  return { name: c.node("Gather", [x.name, at], { axis }), type: x.type };
};

const padded: Row = (c) => {
  const x = c.raw(1);
  if (c.kernel?.name === "pad_image") return { ...c.trace.known(c.y) };
  if (c.y.size < c.tensor(1).size) return slice(c);
  const window = c.kernel!.numbers(2), own = contiguousStrides(c.y.shape);
  const offset = window[2 * c.y.rank]!;
  const before = c.y.shape.map((n, d) => Math.floor(offset / own[d]!) % n);
  const after = c.y.shape.map((n, d) => n - before[d]! - x.shape[d]!);
  const at = c.y.shape.map((_, d) => x.batch[d] ? 0 : after[d]!);
  return c.node("Pad", [c.v(1), c.list(...before, ...at), c.constant([], [c.trace.fillOf(c.y)])]);
};

const permute: Row = (c) => {
  const x = c.raw(1), call = c.kernel!, { rank } = c.y;
  let perm = x.shape.map((_, d) => d);
  if (call.name === "transpose") { // [batch, rows, cols] to [batch, cols, rows], in groups of axes
    const [batch, rows] = call.numbers(2, 2) as [number, number];
    const ends = (size: number, from: number, fits: (split: number) => boolean) =>
      perm.findIndex((_, d) => d >= from && sizeOf(x.shape.slice(from, d)) === size && fits(d));
    const turned = (from: number, to: number) => [
      ...perm.slice(0, from),
      ...perm.slice(to),
      ...perm.slice(from, to),
    ];
    const right = (order: number[]) => sameShape(order.map((d) => x.shape[d]!), c.y.shape);
    for (let from = 0; from < rank; from++) {
      if (sizeOf(x.shape.slice(0, from)) !== batch) continue;
      const to = ends(rows, from, (d) => d > from && right(turned(from, d)));
      if (to < 0) continue;
      perm = turned(from, to);
      break;
    }
  } else {
    const own = contiguousStrides(x.shape), window = call.numbers(2), left = new Set(perm);
    perm = c.y.shape.map((n, d) => {
      const found = [...left].find((axis) =>
        x.shape[axis] === n && own[axis] === window[2 * d + 1]
      );
      left.delete(found!);
      return found!;
    });
  }
  return { name: c.node("Transpose", [x.name], { perm }), type: x.type };
};

const concat: Row = (c) => {
  const parts = c.args.slice(1).map((_, i) => c.v(i + 1)), [first] = [c.tensor(1).shape];
  const axis = c.y.shape.findIndex((n, d) => n !== first[d]);
  return parts.length === 1 ? parts[0] : c.node("Concat", parts, { axis: Math.max(axis, 0) });
};

const broadcastTo: Row = (c) => {
  const x = c.raw(1), batch = c.trace.step(c.y.shape);
  const missing = c.y.rank - x.shape.length;
  const strides = broadcastStrides(x.shape, c.y.shape);
  // 1 keeps what is there
  const kept = c.y.shape.map((_, d) =>
    d >= missing && (x.shape[d - missing] !== 1 && strides[d] !== 0)
  );
  const shape = c.y.shape.map((n, d) => kept[d] ? 1 : n);
  const to = c.trace.shape(shape, batch.map((n, d) => kept[d] ? 0 : n));
  return { name: c.node("Expand", [x.name, to]), type: x.type };
};

const chosen = (op: string): Row => (c) => {
  const call = c.kernel!;
  return c.node(op, [c.v(1), call.v(2)], {
    axis: op === "Gather" && c.name === "take" ? 0 : axisOf(c, 1, call.number(5), call.number(6)),
  });
};

// x, weight, bias and residual, of which the last two may be left out.
const linear: Row = (c) => {
  const call = c.kernel!, fused = call.name === "matmul_fused";
  const turned = call.number(fused ? 17 : 12) === 1, [x, w] = [c.v(1), c.v(2)];
  const rest = c.args.slice(3).map((_, i) => c.v(i + 3));
  const bias = fused && call.has(5) ? rest.shift() : undefined;
  let y: string;
  if (c.y.rank === 2) y = c.node("Gemm", [x, w, bias], { transB: turned ? 1 : 0 });
  else {
    y = c.node("MatMul", [x, turned ? c.node("Transpose", [w], { perm: [1, 0] }) : w]);
    if (bias) y = c.node("Add", [y, bias]);
  }
  y = activated(call, y, fused ? call.number(20) : 0);
  return rest[0] ? c.node("Add", [y, rest[0]]) : y;
};

const matmul: Row = (c) => {
  const call = c.kernel!, at = call.name === "matmul_fused" ? 16 : 11;
  const operand = (i: 1 | 2) => {
    const { rank } = c.tensor(i), order = c.tensor(i).shape.map((_, d) => d);
    if (rank < 2 || call.number(at + i - 1) === 0) return c.v(i);
    return c.node("Transpose", [c.v(i)], { perm: [...order.slice(0, -2), rank - 1, rank - 2] });
  };
  return c.node("MatMul", [operand(1), operand(2)]);
};

// x, the weights, both biases or none, and the states; gates in ONNX's order.
const recurrent = (op: string, order: readonly number[]): Row => (c) => {
  const biased = c.args.length > (op === "LSTM" ? 6 : 5);
  const hidden = c.tensor(3).shape[1]!, { reverse, lengths, nonlinearity } = c.about;
  const rows = order.flatMap((gate) => Array.from({ length: hidden }, (_, i) => gate * hidden + i));
  const index = c.trace.constant("int64", [1, rows.length], rows);
  const sorted = (i: number) => c.node("Gather", [c.v(i), index]);
  const bias = biased ? c.node("Concat", [sorted(4), sorted(5)], { axis: 1 }) : "";
  const state = (i: number) => {
    const x = c.tensor(i + (biased ? 6 : 4)), known = c.trace.known(x);
    return known.depends || x.dataSync().some((value) => value !== 0) ? known.name : "";
  };
  const given = lengths as Parameters<typeof c.trace.known>[0] | undefined;
  const inputs = [c.v(1), sorted(2), sorted(3), bias, given ? c.trace.known(given).name : ""];
  const outputs = c.trace.node(op, [...inputs, state(0), op === "LSTM" ? state(1) : ""], {
    hidden_size: hidden,
    direction: reverse ? "reverse" : undefined,
    linear_before_reset: op === "GRU" ? 1 : undefined,
    activations: nonlinearity === "relu"
      ? { kind: "strings", value: ["Relu"] } as const
      : undefined,
  }, op === "LSTM" ? 3 : 2);
  const y = c.node("Squeeze", [outputs[0]!, c.list(1)]);
  return [y, ...outputs.slice(1)];
};

/** By operation, as the tape names it. */
export const operations: Readonly<Record<string, Row>> = {
  ...{ reshape, permute, concat, broadcastTo, slice, select, linear, matmul },
  ...{ flip: slice, pad: padded, clone: same },
  view: (c) => c.y.size === c.tensor(1).size ? reshape(c) : undefined,
  to: (c) => c.y.dtype === c.tensor(1).dtype ? same(c) : kernels.cast!(c),
  tril: (c) =>
    c.node("Trilu", [c.v(1), c.constant([], [c.kernel!.number(6)], "int64")], { upper: 0 }),
  triu: (c) => c.node("Trilu", [c.v(1), c.constant([], [c.kernel!.number(5)], "int64")]),
  ...{ indexSelect: chosen("Gather"), take: chosen("Gather"), gather: chosen("GatherElements") },
  lstm: recurrent("LSTM", [0, 3, 1, 2]),
  gru: recurrent("GRU", [1, 0, 2]),
  rnn: recurrent("RNN", [0]),
};
