// Operators by elements, with broadcasting: on the host where all operands are small values there.
import { broadcastShapes, broadcastStrides } from "../../core/shape.ts";
import * as of from "../../ops/elementwise/mod.ts";
import { abs, add, div, exp, log, mul, neg, sign, sqrt, sub } from "../../ops/elementwise/mod.ts";
import type { Tensor } from "../../tensor.ts";
import { elements, type ElementType } from "../_elements.ts";
import type { Value } from "../value.ts";
import type { Context, Family, Operator, Result } from "./_operator.ts";
import { elementsAt } from "./_strides.ts";

/** A result by elements on the host: of operands that broadcast. */
export function onHost(
  c: Context,
  type: ElementType,
  fn: (...numbers: number[]) => number,
  ...operands: Value[]
): Value {
  const shape = operands.map(({ shape }) => shape)
    .reduce((a, b) => broadcastShapes(c.node.op, a, b));
  const sources = operands.map((value) =>
    elementsAt(value, shape, broadcastStrides(value.shape, shape))
  );
  const { fit } = elements[type];
  const at = (i: number) => fit(fn(...sources.map((list) => list[i]!)));
  return c.host(type, shape, sources[0]!.map((_, i) => at(i)));
}

/** Integers of fewer bits than the tensor's, wrapped as theirs. */
export function wrapped(x: Tensor, type: ElementType): Tensor {
  const { bytes, dtype, fit } = elements[type];
  if (dtype !== "int32" || bytes >= 4) return x;
  const low = fit(2 ** (8 * bytes - 1));
  return low < 0
    ? add(of.remainder(sub(x, low), 2 ** (8 * bytes)), low)
    : of.remainder(x, 2 ** (8 * bytes));
}

/** An operand of a kernel that takes numbers too: those need not go to the device. */
function operand(value: Value, rank: number): Tensor | number {
  return value.small && value.size === 1 && value.shape.length <= rank
    ? value.numbers()[0]!
    : value.tensor();
}

function unary(device: (x: Tensor) => Tensor, host?: (x: number) => number): Operator {
  return (c) => {
    const x = c.value(0);
    if (host && x.small) return onHost(c, x.type, host, x);
    return c.as(x.type, wrapped(device(x.tensor()), x.type));
  };
}

type Device = (a: Tensor, b: Tensor | number) => Tensor;
type Host = (a: number, b: number) => number;

function pair(c: Context, device: Device, host: Host, a: Value, b: Value, to = a.type): Value {
  if (a.type !== b.type) c.fail(`the operands are ${a.type} and ${b.type}`);
  if (c.opset < 7 && c.int("broadcast", 0)) c.fail("broadcasting of opsets below 7");
  if (a.small && b.small) return onHost(c, to, host, a, b);
  return c.as(to, wrapped(device(a.tensor(), operand(b, a.shape.length)), to));
}

const binary = (device: Device, host: Host, to?: ElementType): Operator => (c) =>
  pair(c, device, host, c.value(0), c.value(1), to);

// int64 may be beyond int32, as the largest one is that stands for no limit.
const beyond = (x: Tensor, b: Tensor | number) => {
  return x.dtype === "int32" && typeof b === "number" && (b | 0) !== b ? Math.sign(b) : 0;
};

const compared = (device: Device, host: (a: number, b: number) => boolean): Operator =>
  binary(
    (a, b) => device(beyond(a, b) ? a.to({ dtype: "float64" }) : a, b),
    (a, b) => +host(a, b),
    "bool",
  );

// A limit that is beyond on its own side (1 above, -1 below) limits nothing.
const limited = (device: Device, side: number): Device => (a, b) =>
  beyond(a, b) === side ? a : device(a, b);
const [least, most] = [limited(of.minimum, 1), limited(of.maximum, -1)];

const many = (device: Device, host: Host): Operator => (c) =>
  c.inputs.slice(1).reduce(
    (a: Value, _, i) => pair(c, device, host, a, c.value(i + 1)),
    c.value(0),
  );

const sizeOf = (x: Tensor | number) => typeof x === "number" ? Math.abs(x) : abs(x);

// Of integers without the fraction, as in C.
const divided: Operator = (c) => {
  if (elements[c.type].float) return pair(c, div, (a, b) => a / b, c.value(0), c.value(1));
  const truncated = (a: Tensor, b: Tensor | number) => {
    const signs = mul(sign(a), typeof b === "number" ? Math.sign(b) : sign(b));
    return mul(of.floorDivide(abs(a), sizeOf(b)), signs);
  };
  const device = c.type === "uint8" ? of.floorDivide : truncated;
  return pair(c, device, (a, b) => Math.trunc(a / b), c.value(0), c.value(1));
};

// The sign is the divisor's, or with fmod the dividend's.
const mod: Operator = (c) => {
  const [a, b] = [c.value(0), c.value(1)];
  if (c.int("fmod", 0) === 0) {
    return pair(c, of.remainder, (x, y) => y === 0 ? 0 : x - y * Math.floor(x / y), a, b);
  }
  const device = (x: Tensor, y: Tensor | number) => mul(sign(x), of.remainder(abs(x), sizeOf(y)));
  return pair(c, device, (x, y) => x % y, a, b);
};

// The exponent may be of another type; the result is of the base's.
const power: Operator = (c) => {
  const [a, b] = [c.value(0), c.value(1)];
  if (a.small && b.small) return onHost(c, a.type, Math.pow, a, b);
  const by = operand(b, a.shape.length);
  const y = c.wide((x) => of.pow(x, typeof by === "number" ? by : by.to({ dtype: x.dtype })));
  return c.as(a.type, wrapped(y, a.type));
};

const bounded = (c: Context, low: Value | undefined, high: Value | undefined): Result => {
  const x = c.value(0);
  if (x.small && (low ?? x).small && (high ?? x).small) {
    const raised = low ? pair(c, of.maximum, Math.max, x, low) : x;
    return high ? pair(c, of.minimum, Math.min, raised, high) : raised;
  }
  const bound = (value: Value | undefined, side: number) => {
    if (!value?.small) return value?.tensor();
    const [limit] = value.numbers();
    return beyond(x.tensor(), limit!) === side ? undefined : limit!;
  };
  const [from, to] = [bound(low, -1), bound(high, 1)];
  if (typeof from !== "object" && typeof to !== "object") {
    return from === undefined && to === undefined ? x : of.clip(x.tensor(), from, to);
  }
  const raised = from === undefined ? x.tensor() : of.maximum(x.tensor(), from);
  return to === undefined ? raised : of.minimum(raised, to);
};

const chosen: Operator = (c) => {
  const [condition, a, b] = [c.value(0), c.value(1), c.value(2)];
  if (condition.small && a.small && b.small) {
    return onHost(c, a.type, (which, x, y) => which ? x : y, condition, a, b);
  }
  const right = operand(b, a.shape.length);
  const left = typeof right === "number" ? a.tensor() : operand(a, b.shape.length);
  return c.as(a.type, of.where(condition.tensor(), left, right));
};

const half = (x: number) => Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x);

/** Arithmetic, comparisons and logic by elements. */
export const elementwise: Family = {
  ...Object.fromEntries(
    (["abs", "sign", "floor", "ceil", "sqrt", "exp", "log", "sin", "cos"] as const)
      .map((name) => [name[0]!.toUpperCase() + name.slice(1), unary(of[name], Math[name])]),
  ),
  Neg: unary(neg, (x) => -x),
  Round: unary(of.round, half),
  Tan: unary((x) => div(of.sin(x), of.cos(x)), Math.tan),
  Sinh: unary((x) => mul(sub(exp(x), exp(neg(x))), 0.5), Math.sinh),
  Cosh: unary((x) => mul(add(exp(x), exp(neg(x))), 0.5), Math.cosh),
  Asinh: unary((x) => mul(sign(x), log(add(abs(x), sqrt(add(mul(x, x), 1))))), Math.asinh),
  Acosh: unary((x) => log(add(x, sqrt(sub(mul(x, x), 1)))), Math.acosh),
  Atanh: unary((x) => mul(log(div(add(x, 1), sub(x, 1).neg())), 0.5), Math.atanh),
  Erf: unary(of.erf),
  Reciprocal: unary((x) => of.pow(x, -1), (x) => 1 / x),
  IsNaN: (c) => c.as("bool", of.isnan(c.x)),
  IsInf: (c) => {
    const [low, high] = [c.int("detect_negative", 1), c.int("detect_positive", 1)];
    if (low && high) return c.as("bool", of.isinf(c.x));
    if (!low && !high) return c.as("bool", of.ne(c.x, c.x).fill(0));
    return c.as("bool", of.eq(c.x, low ? -Infinity : Infinity));
  },
  Add: binary(add, (a, b) => a + b),
  Sub: binary(sub, (a, b) => a - b),
  Mul: binary(mul, (a, b) => a * b),
  Div: divided,
  Mod: mod,
  Pow: power,
  Min: many(least, Math.min),
  Max: many(most, Math.max),
  Sum: many(add, (a, b) => a + b),
  Mean: (c) => {
    const sum = many(add, (a, b) => a + b)(c) as Value;
    return div(sum.tensor(), c.inputs.length);
  },
  Clip: {
    6: (c) => {
      const limit = (name: string) => {
        return c.node.attributes.has(name) ? c.host(c.type, [], [c.float(name)]) : undefined;
      };
      return bounded(c, limit("min"), limit("max"));
    },
    11: (c) => bounded(c, c.inputs[1], c.inputs[2]),
  },
  Equal: compared(of.eq, (a, b) => a === b),
  Less: compared(of.lt, (a, b) => a < b),
  LessOrEqual: compared(of.le, (a, b) => a <= b),
  Greater: compared(of.gt, (a, b) => a > b),
  GreaterOrEqual: compared(of.ge, (a, b) => a >= b),
  And: binary(mul, (a, b) => a && b),
  Or: binary(of.maximum, (a, b) => a || b),
  Xor: binary(of.ne, (a, b) => +(a !== b)),
  Not: unary((x) => of.eq(x, 0), (x) => +!x),
  Where: chosen,
};
