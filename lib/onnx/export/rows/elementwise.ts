// Rows of operations by elements.
import { isFloat } from "../../../core/dtype.ts";
import { type Call, type Row, type Step } from "../call.ts";
import { typeOf } from "../nodes.ts";

/** A number that is an attribute. */
export const float = (value: number): { readonly kind: "float"; readonly value: number } => ({
  kind: "float",
  value,
});

const steps = (...list: Step[]): Row => (c) => c.chain(c.v(1), ...list);
const second = (c: Call) => c.has(2) ? c.v(2) : c.scalar(c.number(5));
const binary = (op: string): Row => (c) => c.node(op, [c.v(1), second(c)]);
const compare = (...ops: string[]): Row => (c) => {
  const [op, ...more] = ops, y = c.node(op!, [c.v(1), second(c)]);
  return { name: c.chain(y, ...more), type: "bool" };
};
const activation = (code: number): Row => (c) => activated(c, c.v(1), code);
const sloped = (op: string): Row => (c) => c.node(op, [c.v(1)], { alpha: float(c.number(3)) });

/** What a product or convolution ends with, as the library numbers it. */
export function activated(c: Call, x: string, code: number): string {
  if (code === 0) return x;
  if (code === 1) return c.node("Relu", [x]);
  if (code === 4) return c.node("Mul", [x, c.node("Sigmoid", [x])]);
  const inner: Step[] = code === 2 ? [["Mul", Math.SQRT1_2], "Erf"] : [
    ...[["Mul", x], ["Mul", 0.044715], ["Add", 1], ["Mul", x]] as const,
    ...[["Mul", Math.sqrt(2 / Math.PI)], "Tanh"] as const,
  ];
  return c.chain(x, ["Mul", c.chain(x, ...inner, ["Add", 1])], ["Mul", 0.5]);
}

/** Another element type. */
export const cast: Row = (c) => {
  const x = c.raw(1), to = typeOf(c.y.dtype);
  return x.type === to ? x : { name: c.cast(x.name, to), type: to, castOf: x };
};

const plain = "Neg Abs Sign Exp Log Sqrt Sin Cos Erf Floor Ceil Round Relu Sigmoid Tanh";

/** By kernel. */
export const elementwise: Readonly<Record<string, Row>> = {
  ...Object.fromEntries(plain.split(" ").map((op) => [op.toLowerCase(), steps(op)])),
  expm1: steps("Exp", ["Sub", 1]),
  log1p: steps(["Add", 1], "Log"),
  rsqrt: steps("Sqrt", "Reciprocal"),
  trunc: (c) => c.chain(c.v(1), "Abs", "Floor", ["Mul", c.node("Sign", [c.v(1)])]),
  ...{ gelu: activation(2), gelu_tanh: activation(3), silu: activation(4) },
  swiglu: (c) => c.node("Mul", [activated(c, c.v(1), 4), c.v(2)]),
  ...{ leaky_relu: sloped("LeakyRelu"), elu: sloped("Elu") },
  softplus: (c) => {
    const beta = c.number(3);
    return beta === 1
      ? c.node("Softplus", [c.v(1)])
      : c.chain(c.v(1), ["Mul", beta], "Softplus", ["Div", beta]);
  },
  clip: (c) => {
    const bound = (n: number) => Number.isFinite(n) ? c.scalar(n) : "";
    return c.node("Clip", [c.v(1), bound(c.number(3)), bound(c.number(4))]);
  },
  isinf: (c) => ({ name: c.node("IsInf", [c.v(1)]), type: "bool" }),
  isfinite: (c) => {
    const either = c.node("Or", ["IsInf", "IsNaN"].map((op) => c.node(op, [c.v(1)])));
    return { name: c.node("Not", [either]), type: "bool" };
  },
  ...{ add: binary("Add"), sub: binary("Sub"), mul: binary("Mul"), weigh: binary("Mul") },
  ...{ div: binary("Div"), pow: binary("Pow"), maximum: binary("Max"), minimum: binary("Min") },
  floor_divide: (c) => {
    const operands = [c.v(1), second(c)] as const, type = typeOf(c.y.dtype);
    const floor = (a: string, b: string) => c.chain(a, ["Div", b], "Floor");
    if (isFloat(c.y.dtype)) return floor(...operands);
    return c.cast(floor(c.cast(operands[0], "float64"), c.cast(operands[1], "float64")), type);
  },
  remainder: (c) => {
    const [a, b] = [c.v(1), second(c)];
    if (!isFloat(c.y.dtype)) return c.node("Mod", [a, b]);
    return c.node("Sub", [a, c.chain(a, ["Div", b], "Floor", ["Mul", b])]);
  },
  ...{ eq: compare("Equal"), ne: compare("Equal", "Not"), lt: compare("Less") },
  ...{ le: compare("LessOrEqual"), gt: compare("Greater"), ge: compare("GreaterOrEqual") },
  where: (c) => {
    const [a, b] = [2, 3].map((i) => c.has(i) ? c.v(i) : c.scalar(c.number(i + 4), c.y));
    return c.node("Where", [c.bool(1), a, b]);
  },
  cast,
};
