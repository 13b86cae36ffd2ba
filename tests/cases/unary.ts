import { abs, exp, log, neg, relu, sigmoid, sqrt, tanh, type Tensor } from "../../mod.ts";
import { mapped, sizeOf } from "../reference.ts";
import {
  awayFromZero,
  type Case,
  elementwise,
  type Fill,
  floats,
  numbers,
  roundings,
  type Special,
  spiked,
  type Tolerance,
  unaryGradShapes,
  unaryShapes,
} from "./case.ts";

type Name = "neg" | "abs" | "exp" | "log" | "sqrt" | "relu" | "sigmoid" | "tanh";

function unary(
  name: Name,
  op: (x: Tensor) => Tensor,
  f: (x: number) => number,
  fill: Fill,
  tolerance: Tolerance | undefined,
  ...specials: Special[]
): Case {
  return {
    name: `${name}()`,
    call: (x: Tensor) => op(x),
    also: () => [{ name: `x.${name}()`, call: (x: Tensor) => x[name]() }],
    reference: (x) => mapped(x!, f),
    shapes: unaryShapes,
    gradShapes: unaryGradShapes,
    dtypes: name === "neg" || name === "abs" ? numbers : floats,
    fill: [fill],
    tolerance,
    specials,
    flops: (_, output) => sizeOf(output),
  };
}

// Neither 1e-40 nor 1e-310 is a normal number in its type, and neither may be flushed to 0.
const denormals: readonly Pick<Special, "dtypes">[] = [{ dtypes: ["float32"] }, {
  dtypes: ["float64"],
}];
function tiny(f: (x: number) => number): Special[] {
  return denormals.map(({ dtypes }) => {
    const small = dtypes![0] === "float32" ? 1e-40 : 1e-310;
    const table = [[small, f(small)], [-small, f(-small)]];
    return elementwise("denormal", table, { dtypes, exact: true });
  });
}

const least = -(2 ** 31);
const wraps = elementwise("the least int32", [[least, least]], { dtypes: ["int32"] });

export const unaryCases: readonly Case[] = [
  unary(
    "neg",
    neg,
    (x) => -x,
    spiked(-2, 2),
    undefined,
    elementwise("NaN, inf and zeros", [
      [NaN, NaN],
      [Infinity, -Infinity],
      [-Infinity, Infinity],
      [0, -0],
      [-0, 0],
    ], { exact: true }),
    ...tiny((x) => -x),
    wraps,
  ),
  unary(
    "abs",
    abs,
    Math.abs,
    awayFromZero(0.1, 16),
    undefined,
    elementwise("NaN, inf and zeros", [
      [NaN, NaN],
      [Infinity, Infinity],
      [-Infinity, Infinity],
      [0, 0],
      [-0, 0],
    ], { exact: true }),
    ...tiny(Math.abs),
    wraps,
  ),
  unary(
    "exp",
    exp,
    Math.exp,
    spiked(-2, 2, 4),
    roundings(8),
    elementwise("NaN, inf and overflow", [
      [NaN, NaN],
      [Infinity, Infinity],
      [-Infinity, 0],
      [1000, Infinity],
      [-1000, 0],
      [-0, 1],
      [1e-40, 1],
    ]),
  ),
  unary(
    "log",
    log,
    Math.log,
    spiked(0.05, 2, 20),
    roundings(6),
    elementwise("NaN, inf, zeros and negatives", [
      [NaN, NaN],
      [Infinity, Infinity],
      [-Infinity, NaN],
      [0, -Infinity],
      [-0, -Infinity],
      [-1, NaN],
      [1, 0],
      [2 ** -140, -140 * Math.LN2],
    ]),
  ),
  unary(
    "sqrt",
    sqrt,
    Math.sqrt,
    spiked(0.05, 2, 20),
    roundings(1),
    elementwise("NaN, inf, zeros and negatives", [
      [NaN, NaN],
      [Infinity, Infinity],
      [-Infinity, NaN],
      [0, 0],
      [-0, -0],
      [-1, NaN],
      [2 ** -140, 2 ** -70],
    ], { exact: true }),
  ),
  unary(
    "relu",
    relu,
    (x) => (x > 0 ? x : 0),
    awayFromZero(0.1, 16),
    undefined,
    elementwise("NaN stays; zeros, inf and denormals", [
      [NaN, NaN],
      [Infinity, Infinity],
      [-Infinity, 0],
      [0, 0],
      [-0, 0],
      [2 ** -140, 2 ** -140],
      [-(2 ** -140), 0],
    ]),
  ),
  unary(
    "sigmoid",
    sigmoid,
    (x) => 1 / (1 + Math.exp(-x)),
    spiked(-2, 2, 4),
    roundings(4),
    elementwise("NaN, inf and saturation", [
      [NaN, NaN],
      [Infinity, 1],
      [-Infinity, 0],
      [1000, 1],
      [-1000, 0],
      [-0, 0.5],
    ]),
  ),
  unary(
    "tanh",
    tanh,
    Math.tanh,
    spiked(-2, 2, 4),
    roundings(4),
    elementwise("NaN, inf, zeros and saturation", [
      [NaN, NaN],
      [Infinity, 1],
      [-Infinity, -1],
      [1000, 1],
      [-1000, -1],
      [0, 0],
      [-0, -0],
    ], { exact: true }),
  ),
];
