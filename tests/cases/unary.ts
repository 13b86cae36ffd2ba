import {
  abs,
  ceil,
  clip,
  cos,
  erf,
  exp,
  expm1,
  floor,
  isfinite,
  isinf,
  isnan,
  log,
  log1p,
  neg,
  round,
  rsqrt,
  sign,
  sin,
  sqrt,
  type Tensor,
  trunc,
} from "../../mod.ts";
import { erf as erfByFormula, mapped, sizeOf } from "../reference.ts";
import {
  anything,
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

/** A method of tensors without parameters. */
type Name =
  | ("neg" | "abs" | "sign" | "round" | "floor" | "ceil" | "trunc")
  | ("exp" | "expm1" | "log" | "log1p" | "sqrt" | "rsqrt")
  | ("sin" | "cos" | "erf" | "relu" | "sigmoid" | "tanh" | "gelu" | "silu");

const ofAnything: readonly Name[] = ["neg", "abs", "sign", "round", "floor", "ceil", "trunc"];

/** An operation of one input, element by element. */
export function unary(
  name: Name,
  op: (x: Tensor) => Tensor,
  f: (x: number) => number,
  fill: Fill,
  tolerance: Tolerance | undefined,
  ...specials: Special[]
): Case {
  const dtypes = ofAnything.includes(name) ? anything : floats;
  return parametric(name, "", op, (x) => x[name](), f, { dtypes, fill, tolerance, specials });
}

/** The same with parameters, as `call` and, if tensors have one, `method` give them. */
export function parametric(
  name: string,
  parameters: string,
  call: (x: Tensor) => Tensor,
  method: ((x: Tensor) => Tensor) | null,
  f: (x: number) => number,
  { fill, ...options }:
    & Pick<Case, "dtypes" | "tolerance" | "specials" | "output">
    & { fill: Fill },
): Case {
  return {
    name: `${name}(${parameters})`,
    call: (x: Tensor) => call(x),
    also: () => method ? [{ name: `x.${name}(${parameters})`, call: (x) => method(x!) }] : [],
    reference: (x) => mapped(x!, f),
    shapes: unaryShapes,
    gradShapes: options.output ? undefined : unaryGradShapes,
    fill: [fill],
    ...options,
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

// Angles far beyond what a short reduction of the argument is right for.
function large(f: (x: number) => number): number[][] {
  return [1e4, -1e5, 1e6, 1e10, -1e20, 1e30].map((x) => [x, f(Math.fround(x))]);
}

function clipping(min?: number, max?: number): Case {
  const f = (x: number) => {
    const least = min !== undefined && x < min ? min : x;
    return max !== undefined && least > max ? max : least;
  };
  const parameters = `${min ?? ""}, ${max ?? ""}`;
  return parametric("clip", parameters, (x) => clip(x, min, max), (x) => x.clip(min, max), f, {
    dtypes: Math.min(min ?? 0, max ?? 0) < 0 ? numbers : anything,
    fill: spiked(-4, 4, 3),
    specials: [
      elementwise(
        "NaN stays; inf, zeros and bounds",
        [NaN, Infinity, -Infinity, 0, -0, -1, 1, 2].map((x) => [x, f(x)]),
        { exact: true },
      ),
      elementwise("int32", [[least, f(least)], [7, f(7)], [0, f(0)]], { dtypes: ["int32"] }),
    ],
  });
}

// Halves to the even neighbour, by the two whole numbers around x.
function nearestEven(x: number): number {
  const [below, above] = [Math.floor(x), Math.ceil(x)];
  if (x - below === above - x) return below % 2 === 0 ? below : above;
  return x - below < above - x ? below : above;
}

const steps = { round: nearestEven, floor: Math.floor, ceil: Math.ceil, trunc: Math.trunc };
const ops = { round, floor, ceil, trunc };
const awkward = [NaN, Infinity, -Infinity, 0, -0, 0.5, -0.5, 1.5, 2.5, -1.5, 0.25, -0.75, 1e30];

function stepping(name: keyof typeof steps): Case {
  const f = steps[name];
  const special = elementwise("NaN, inf, zeros and halves", awkward.map((x) => [x, f(x)]), {
    exact: true,
  });
  return unary(name, ops[name], f, spiked(-3, 3, 5), undefined, special);
}

function asking(
  name: "isnan" | "isfinite" | "isinf",
  op: (x: Tensor) => Tensor,
  f: (x: number) => boolean,
): Case {
  return parametric(name, "", op, (x) => x[name](), (x) => Number(f(x)), {
    dtypes: anything,
    output: "uint8",
    fill: (random, i) => [NaN, Infinity, -Infinity, 0][i % 7] ?? random() * 1e4,
  });
}

export const unaryCases: readonly Case[] = [
  ...(["round", "floor", "ceil", "trunc"] as const).map(stepping),
  asking("isnan", isnan, Number.isNaN),
  asking("isfinite", isfinite, Number.isFinite),
  asking("isinf", isinf, (x) => Math.abs(x) === Infinity),
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
    "rsqrt",
    rsqrt,
    (x) => 1 / Math.sqrt(x),
    spiked(0.05, 2, 20),
    roundings(4),
    elementwise("NaN, inf, zeros and negatives", [
      [NaN, NaN],
      [Infinity, 0],
      [-Infinity, NaN],
      [0, Infinity],
      [-0, -Infinity],
      [-1, NaN],
      [4, 0.5],
    ]),
  ),
  unary(
    "sign",
    sign,
    Math.sign,
    awayFromZero(0.1, 16),
    undefined,
    elementwise("NaN, inf, zeros and denormals", [
      [NaN, 0],
      [Infinity, 1],
      [-Infinity, -1],
      [0, 0],
      [-0, 0],
    ], { exact: true }),
    ...tiny(Math.sign),
    elementwise("int32", [[least, -1], [5, 1], [0, 0]], { dtypes: ["int32"] }),
  ),
  unary(
    "expm1",
    expm1,
    Math.expm1,
    spiked(-2, 2, 4),
    roundings(8),
    elementwise("NaN, inf, zeros and overflow", [
      [NaN, NaN],
      [Infinity, Infinity],
      [-Infinity, -1],
      [1000, Infinity],
      [-1000, -1],
      [0, 0],
      [-0, -0],
    ], { exact: true }),
    ...tiny((x) => x),
  ),
  unary(
    "log1p",
    log1p,
    Math.log1p,
    spiked(-0.9, 2, 1),
    roundings(8),
    elementwise("NaN, inf, zeros and the bound", [
      [NaN, NaN],
      [Infinity, Infinity],
      [-Infinity, NaN],
      [-1, -Infinity],
      [-2, NaN],
      [0, 0],
      [-0, -0],
    ], { exact: true }),
    ...tiny((x) => x),
  ),
  unary(
    "sin",
    sin,
    Math.sin,
    spiked(-2, 2, 8),
    roundings(6),
    elementwise("NaN, inf and zeros", [
      [NaN, NaN],
      [Infinity, NaN],
      [-Infinity, NaN],
      [0, 0],
      [-0, -0],
    ], { exact: true }),
    elementwise("large angles", large(Math.sin), { dtypes: ["float32"] }),
    ...tiny((x) => x),
  ),
  unary(
    "cos",
    cos,
    Math.cos,
    spiked(-2, 2, 8),
    roundings(6),
    elementwise("NaN, inf and zeros", [
      [NaN, NaN],
      [Infinity, NaN],
      [-Infinity, NaN],
      [0, 1],
      [-0, 1],
    ], { exact: true }),
    elementwise("large angles", large(Math.cos), { dtypes: ["float32"] }),
  ),
  unary(
    "erf",
    erf,
    erfByFormula,
    spiked(-2, 2, 2),
    roundings(6),
    elementwise("NaN, inf and zeros", [
      [NaN, NaN],
      [Infinity, 1],
      [-Infinity, -1],
      [100, 1],
      [-100, -1],
      [0, 0],
      [-0, -0],
    ], { exact: true }),
  ),
  clipping(-1, 2),
  clipping(undefined, 1),
  clipping(-1, undefined),
  clipping(2, -1),
];
