// Operators of quantised models. Integers are exact: products of 8-bit ones are added up in
// float64, of which the sums have at most 2^53.
import { normalizeAxis } from "../../core/shape.ts";
import { ArgumentError } from "../../native/errors.ts";
import { add, clip, div, leakyRelu, mul, round, sigmoid, sub } from "../../ops/elementwise/mod.ts";
import { matmul } from "../../ops/linalg/mod.ts";
import { max, mean, min } from "../../ops/reduce/mod.ts";
import { concat, repeatInterleave, reshape, slice } from "../../ops/shape/mod.ts";
import type { Tensor } from "../../tensor.ts";
import { elements, type ElementType } from "../_elements.ts";
import type { Value } from "../value.ts";
import type { Context, Family, Operator } from "./_operator.ts";
import { convolved } from "./conv.ts";

const wide = (x: Tensor) => x.to({ dtype: "float64" });

const ranges: Partial<Record<ElementType, readonly [number, number]>> = {
  ...{ uint8: [0, 255], int8: [-128, 127], uint16: [0, 65535], int16: [-32768, 32767] },
  int32: [-(2 ** 31), 2 ** 31 - 1],
};

/** A scale or zero point, shaped to go with x: one number, one along an axis, or one a block. */
function spread(c: Context, i: number, x: Value, axis: number): Tensor | number {
  const value = c.inputs[i];
  if (!value) return 0;
  const { shape, size } = value;
  if (size === 1) return value.numbers()[0]!;
  const rank = x.shape.length, at = normalizeAxis(c.node.op, axis, rank);
  const list = wide(value.tensor());
  if (shape.length === 1) {
    if (size !== x.shape[at]) c.fail(`${size} scales or zero points for axis ${at} of ${x.shape}`);
    return reshape(list, x.shape.map((_, d) => d === at ? size : 1));
  }
  const block = c.int("block_size", 0) || Math.ceil(x.shape[at]! / shape[at]!);
  const fits = shape.length === rank &&
    shape.every((n, d) => n === (d === at ? Math.ceil(x.shape[d]! / block) : x.shape[d]));
  if (!fits) c.fail(`scales of [${shape}] do not go with [${x.shape}] and blocks of ${block}`);
  return slice(repeatInterleave(list, block, at), at, 0, x.shape[at]);
}

/** Whole numbers of a type, halves rounded to even, what is beyond at its ends. */
function quantized(c: Context, y: Tensor, zero: Tensor | number, type: ElementType): Value {
  const range = ranges[type];
  if (!range) throw new ArgumentError(`quantising to ${type} is not supported`);
  const whole = clip(add(round(y), zero), range[0], range[1]);
  return c.as(type, whole.to({ dtype: elements[type].dtype }));
}

/** (x - zero) scale, of inputs i, i + 1 and i + 2, in float64. */
function real(c: Context, i: number, axis = 1): Tensor {
  const x = c.value(i);
  const from = sub(wide(x.tensor()), spread(c, i + 2, x, axis));
  return mul(from, spread(c, i + 1, x, axis));
}

/** The result in the scale and zero point that are inputs i and i + 1. */
function scaled(c: Context, y: Tensor, i: number): Value {
  const zero = c.number(i + 1, 0);
  return quantized(c, div(y, c.number(i)), zero, c.inputs[i + 1]?.type ?? c.type);
}

const outputTypes: Record<number, ElementType> = { 2: "uint8", 3: "int8", 4: "uint16", 5: "int16" };

const quantize: Operator = (c) => {
  const x = c.value(0), axis = c.int("axis", 1);
  const type = c.inputs[2]?.type ?? outputTypes[c.int("output_dtype", 0)] ?? "uint8";
  // as float32, in which a quotient is rounded before it is rounded to a whole number
  const y = div(x.tensor(), narrow(spread(c, 1, x, axis), x.tensor()));
  return quantized(c, wide(y), spread(c, 2, x, axis), type);
};

const narrow = (by: Tensor | number, x: Tensor) =>
  typeof by === "number" ? by : by.to({ dtype: x.dtype });

const dequantize: Operator = (c) => {
  const type = c.value(1).type;
  return c.as(type, real(c, 0, c.int("axis", 1)).to({ dtype: c.place.dtype(type) }));
};

const dynamic: Operator = (c) => {
  const end = (of: typeof min) => c.x.size > 0 ? of(c.x).itemSync() : 0;
  const [low, high] = [Math.min(0, end(min)), Math.max(0, end(max))];
  const scale = Math.fround((high - low) / 255) || 1; // of zeros alone it is free
  const zero = Math.min(255, Math.max(0, even(Math.fround(-low / scale))));
  const y = div(c.x, scale);
  const number = (type: ElementType, value: number) => c.host(type, [], [value]);
  return [quantized(c, wide(y), zero, "uint8"), number("float32", scale), number("uint8", zero)];
};

const even = (x: number) => Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x);

/** x - its zero point, which for products may be one a row of a or a column of b. */
function centred(c: Context, i: number, zero: number, axis: number): Tensor {
  const value = c.value(i), by = c.inputs[zero];
  const x = wide(value.tensor());
  if (!by || by.size === 1) return sub(x, c.number(zero, 0));
  return sub(x, spread(c, zero, value, axis));
}

const product: Operator = (c) =>
  c.as("int32", matmul(centred(c, 0, 2, -2), centred(c, 1, 3, -1)).to({ dtype: "int32" }));

// Scales of products: that of a times those of b, one for each of its columns or kernels.
function joint(c: Context, a: number, b: number, rank: number, axis: number): Tensor | number {
  const [x, w] = [c.number(a), c.value(b)];
  if (w.size === 1) return x * w.numbers()[0]!;
  const shape = Array.from({ length: rank }, (_, d) => d === axis ? w.size : 1);
  return mul(reshape(wide(w.tensor()), shape), x);
}

const qlinearConv: Operator = (c) => {
  const sums = convolved(c, centred(c, 0, 2, 1), centred(c, 3, 5, 0));
  const bias = c.maybe(8);
  const { rank } = sums;
  const shape = Array.from({ length: rank }, (_, d) => d === 1 ? -1 : 1);
  const y = bias ? add(sums, reshape(wide(bias), shape)) : sums;
  return scaled(c, mul(y, joint(c, 1, 4, rank, 1)), 6);
};

const qlinearMatMul: Operator = (c) => {
  const sums = matmul(centred(c, 0, 2, -2), centred(c, 3, 5, -1));
  const by = c.value(1).size === 1
    ? joint(c, 1, 4, sums.rank, sums.rank - 1)
    : mul(reshape(wide(c.tensor(1)), [-1, 1]), joint(c, 4, 4, sums.rank, sums.rank - 1));
  return scaled(c, mul(sums, by), 6);
};

const binary = (fn: typeof add): Operator => (c) => scaled(c, fn(real(c, 0), real(c, 3)), 6);
const unary = (fn: (x: Tensor, c: Context) => Tensor): Operator => (c) =>
  scaled(c, fn(real(c, 0), c), 3);

const globalAverage: Operator = (c) => {
  if (c.int("channels_last", 0)) c.fail("channels_last is not supported");
  return scaled(
    c,
    mean(real(c, 0), c.value(0).shape.slice(2).map((_, d) => d + 2), { keepDims: true }),
    3,
  );
};

// Scale and zero point of the result, then triples of x, scale, zero point.
const concatenated: Operator = (c) => {
  const parts = Array.from({ length: (c.inputs.length - 2) / 3 }, (_, k) => real(c, 2 + 3 * k));
  const y = concat(parts, normalizeAxis("Concat", c.int("axis"), parts[0]!.rank));
  return scaled(c, y, 0);
};

/** Quantisation, and operators of quantised tensors. */
export const quantization: Family = {
  QuantizeLinear: quantize,
  DequantizeLinear: dequantize,
  DynamicQuantizeLinear: dynamic,
  MatMulInteger: product,
  ConvInteger: (c) =>
    c.as("int32", convolved(c, centred(c, 0, 2, 1), centred(c, 1, 3, 0)).to({ dtype: "int32" })),
  QLinearConv: qlinearConv,
  QLinearMatMul: qlinearMatMul,
  "com.microsoft:QuantizeLinear": quantize,
  "com.microsoft:DequantizeLinear": dequantize,
  "com.microsoft:QLinearAdd": binary(add),
  "com.microsoft:QLinearMul": binary(mul as typeof add),
  "com.microsoft:QLinearSigmoid": unary(sigmoid),
  "com.microsoft:QLinearLeakyRelu": unary((x, c) =>
    leakyRelu(x, { negativeSlope: c.float("alpha", 0.01) })
  ),
  "com.microsoft:QLinearGlobalAveragePool": globalAverage,
  "com.microsoft:QLinearConcat": concatenated,
};
