// Activations, and softmax and its kin.
import { normalizeAxis, sizeOf } from "../../core/shape.ts";
import { arange } from "../../create.ts";
import {
  abs,
  add,
  clip,
  div,
  elu,
  eq,
  gelu,
  gt,
  leakyRelu,
  lt,
  maximum,
  mul,
  relu,
  sigmoid,
  silu,
  softplus,
  sub,
  tanh,
  where,
} from "../../ops/elementwise/mod.ts";
import { argmax, logSoftmax, softmax } from "../../ops/reduce/mod.ts";
import { reshape } from "../../ops/shape/mod.ts";
import type { Tensor } from "../../tensor.ts";
import { elements } from "../_elements.ts";
import type { Context, Family, Operator } from "./_operator.ts";

/** An activation without its numbers. */
export type Activation = (x: Tensor) => Tensor;

type Parametric = [(alpha: number, beta: number) => Activation, ...number[]];

/** Activations by name, of alpha and beta; the defaults of as many of the two as it takes. */
export const activations: ReadonlyMap<string, Parametric> = new Map(Object.entries<Parametric>({
  relu: [() => relu],
  sigmoid: [() => sigmoid],
  tanh: [() => tanh],
  softplus: [() => softplus],
  softsign: [() => (x) => div(x, add(abs(x), 1))],
  affine: [(a, b) => (x) => add(mul(x, a), b), 1, 0],
  scaledtanh: [(a, b) => (x) => mul(tanh(mul(x, b)), a), 1, 1],
  hardsigmoid: [(a, b) => (x) => clip(add(mul(x, a), b), 0, 1), 0.2, 0.5],
  leakyrelu: [(a) => (x) => leakyRelu(x, { negativeSlope: a }), 0.01],
  thresholdedrelu: [(a) => (x) => where(gt(x, a), x, 0), 1],
  elu: [(a) => (x) => elu(x, { alpha: a }), 1],
  clip: [(a, b) => (x) => clip(x, a, b), -Infinity, Infinity],
}));

// As an operator, of which alpha and beta are attributes.
const byName = (op: string): Operator => (c) => {
  const [make, alpha = 0, beta = 0] = activations.get(op.toLowerCase())!;
  return make(c.float("alpha", alpha), c.float("beta", beta))(c.x);
};

/** What a node with `activation` applies at its end. */
export function fusedActivation(c: Context, y: Tensor): Tensor {
  const name = c.string("activation", "");
  if (name === "") return y;
  const [make, ...or] = activations.get(name.toLowerCase()) ??
    c.fail(`the activation ${name} is not supported`);
  const [alpha = or[0] ?? 0, beta = or[1] ?? 0] = c.floats("activation_params", []);
  return make(alpha, beta)(y);
}

const swish = (x: Tensor, alpha: number) => alpha === 1 ? silu(x) : mul(x, sigmoid(mul(x, alpha)));
const geluTanh = (x: Tensor) => gelu(x, { approximate: "tanh" });

// The slopes broadcast; up to opset 6 they are those of the channels.
const parametric: Operator = (c) => {
  const { x } = c;
  let slope = c.tensor(1);
  if (c.opset < 7 && slope.size > 1) slope = reshape(slope, [-1, ...x.shape.slice(2).fill(1)]);
  return where(lt(x, 0), mul(x, slope), x);
};

const shrunk: Operator = (c) => {
  const [bias, limit] = [c.float("bias", 0), c.float("lambd", 0.5)];
  return c.wide((x) => {
    const outer = where(gt(x, limit), sub(x, bias), 0);
    return where(lt(x, -limit), add(x, bias), outer);
  });
};

// 1 at the first of the largest elements, else 0.
const hardmax = (x: Tensor, axis: number) => {
  const at = normalizeAxis("Hardmax", axis, x.rank);
  const places = arange(0, x.shape[at]!, 1, { dtype: "int32", device: x.device });
  const largest = argmax(x, at, { keepDims: true });
  const shape = x.shape.map((extent, d) => d === at ? extent : 1);
  return eq(reshape(places, shape), largest).to({ dtype: x.dtype });
};

// Up to opset 12 all axes from one on were as one; since then it is that axis alone.
const alongAxis = (fn: (x: Tensor, axis: number) => Tensor) => ({
  1: (c: Context) => {
    const { x } = c;
    const at = c.int("axis", 1);
    const rows = sizeOf(x.shape.slice(0, at < 0 ? at + x.rank : at));
    return reshape(fn(reshape(x, [rows, rows === 0 ? 0 : x.size / rows]), 1), x.shape);
  },
  13: (c: Context) => fn(c.x, c.int("axis", -1)),
});

/** Activations. */
export const activation: Family = {
  ...Object.fromEntries(
    ["Sigmoid", "Tanh", "Softplus", "Softsign", "HardSigmoid", "LeakyRelu", "ThresholdedRelu"]
      .concat("Elu").map((op) => [op, byName(op)]),
  ),
  Relu: (c) => elements[c.type].float ? relu(c.x) : maximum(c.x, 0),
  PRelu: parametric,
  Selu: (c) => {
    const alpha = c.float("alpha", 1.6732632423543772);
    return mul(elu(c.x, { alpha }), c.float("gamma", 1.0507009873554805));
  },
  Celu: (c) => {
    const alpha = c.float("alpha", 1);
    return mul(elu(div(c.x, alpha)), alpha);
  },
  HardSwish: (c) => mul(c.x, activations.get("hardsigmoid")![0](1 / 6, 0.5)(c.x)),
  Gelu: (c) => c.string("approximate", "none") === "tanh" ? geluTanh(c.x) : gelu(c.x),
  Mish: (c) => mul(c.x, tanh(softplus(c.x))),
  Swish: (c) => swish(c.x, c.float("alpha", 1)),
  Shrink: shrunk,
  Softmax: alongAxis(softmax),
  LogSoftmax: alongAxis(logSoftmax),
  Hardmax: alongAxis(hardmax),
  "com.microsoft:Gelu": (c) => gelu(c.x),
  "com.microsoft:BiasGelu": (c) => gelu(add(c.x, c.tensor(1))),
  "com.microsoft:FastGelu": (c) => geluTanh(c.has(1) ? add(c.x, c.tensor(1)) : c.x),
  "com.microsoft:QuickGelu": (c) => swish(c.x, c.float("alpha", 1.702)),
};
