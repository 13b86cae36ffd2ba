import {
  add,
  div,
  eq,
  floorDivide,
  ge,
  gt,
  le,
  lt,
  maximum,
  minimum,
  mul,
  ne,
  pow,
  remainder,
  sub,
  swiglu,
  type Tensor,
} from "../../mod.ts";
import { broadcasted, mapped, sizeOf } from "../reference.ts";
import {
  anything,
  awayFromZero,
  binaryGradShapes,
  binaryShapes,
  type Case,
  elementwise,
  type Fill,
  floats,
  roundings,
  type Special,
  spiked,
  unaryGradShapes,
  unaryShapes,
  whole,
} from "./case.ts";

type Op = (a: Tensor, b: Tensor | number) => Tensor;
type Name =
  | ("add" | "sub" | "mul" | "div" | "floorDivide" | "remainder")
  | ("pow" | "maximum" | "minimum");
type Comparison = "eq" | "ne" | "lt" | "le" | "gt" | "ge";
type Options = Pick<Case, "dtypes" | "fill" | "tolerance" | "output" | "specials">;

// Two tensors, and a tensor with the number 3.
function both(
  name: Name | Comparison,
  op: Op,
  f: (a: number, b: number) => number,
  options: Options,
): Case[] {
  const common = { ...options, flops: (_: unknown, output: readonly number[]) => sizeOf(output) };
  const smooth = options.output === undefined;
  return [{
    ...common,
    name: `${name}()`,
    call: (a: Tensor, b: Tensor) => op(a, b),
    also: () => [{ name: `a.${name}(b)`, call: (a: Tensor, b: Tensor) => a[name](b) }],
    reference: (a, b) => broadcasted(a!, b!, f),
    shapes: binaryShapes,
    gradShapes: smooth ? binaryGradShapes : undefined,
  }, {
    ...common,
    name: `${name}(a number)`,
    call: (a: Tensor) => op(a, 3),
    also: () => [{ name: `a.${name}(3)`, call: (a: Tensor) => a[name](3) }],
    reference: (a) => mapped(a!, (x) => f(x, 3)),
    shapes: unaryShapes,
    gradShapes: smooth ? unaryGradShapes : undefined,
    specials: undefined,
  }];
}

const real = spiked(-2, 2);

function arithmetic(
  name: Name,
  op: Op,
  f: (a: number, b: number) => number,
  fill: readonly Fill[],
  ...specials: Special[]
): Case[] {
  return both(name, op, f, { dtypes: anything, fill, tolerance: roundings(1), specials });
}

const integer = { dtypes: ["int32"] } as const;
const byte = { dtypes: ["uint8"] } as const;
const [least, most] = [-(2 ** 31), 2 ** 31 - 1];
const exact = { exact: true };

const larger = (a: number, b: number) => Number.isNaN(a) || Number.isNaN(b) ? NaN : Math.max(a, b);

const comparisons: [Comparison, Op, (a: number, b: number) => boolean][] = [
  ["eq", eq, (a, b) => a === b],
  ["ne", ne, (a, b) => a !== b],
  ["lt", lt, (a, b) => a < b],
  ["le", le, (a, b) => a <= b],
  ["gt", gt, (a, b) => a > b],
  ["ge", ge, (a, b) => a >= b],
];

const awkward = [NaN, Infinity, -Infinity, 0, -0, 2 ** -140, 1];
const pairs = awkward.flatMap((a) => awkward.map((b): [number, number] => [a, b]));

export const binaryCases: readonly Case[] = [
  ...arithmetic(
    "add",
    add,
    (a, b) => a + b,
    [real],
    elementwise("NaN, inf, zeros and denormals", pairs.map(([a, b]) => [a, b, a + b]), {
      ...exact,
      dtypes: ["float64"],
    }),
    elementwise("NaN, inf, zeros and denormals", [
      [NaN, 1, NaN],
      [Infinity, -Infinity, NaN],
      [Infinity, 1, Infinity],
      [-0, -0, -0],
      [0, -0, 0],
      [2 ** -140, 2 ** -141, 2 ** -140 + 2 ** -141],
      [3e38, 3e38, Infinity],
    ], { ...exact, dtypes: ["float32"] }),
    elementwise("int32 wraps", [[most, 1, least], [least, -1, most]], integer),
    elementwise("uint8 wraps", [[255, 1, 0], [200, 100, 44]], byte),
  ),
  ...arithmetic(
    "sub",
    sub,
    (a, b) => a - b,
    [real],
    elementwise("NaN, inf and zeros", [
      [Infinity, Infinity, NaN],
      [1, NaN, NaN],
      [0, 0, 0],
      [-0, 0, -0],
      [2 ** -140, 2 ** -141, 2 ** -141],
    ], exact),
    elementwise("int32 wraps", [[least, 1, most], [0, least, least]], integer),
    elementwise("uint8 wraps", [[0, 1, 255], [3, 200, 59]], byte),
  ),
  ...arithmetic(
    "mul",
    mul,
    (a, b) => a * b,
    [real],
    elementwise("NaN, inf, zeros and denormals", [
      [Infinity, 0, NaN],
      [NaN, 0, NaN],
      [-Infinity, 2, -Infinity],
      [-0, 1, -0],
      [2 ** -140, 1, 2 ** -140],
      [2 ** -140, -0.5, -(2 ** -141)],
    ], exact),
    elementwise("int32 wraps", [[65536, 65536, 0], [46341, 46341, -2147479015]], integer),
    elementwise("uint8 wraps", [[16, 16, 0], [255, 255, 1]], byte),
  ),
  ...both("div", div, (a, b) => a / b, {
    dtypes: floats,
    fill: [real, awayFromZero(0.25, 4)],
    tolerance: roundings(1),
    specials: [elementwise("NaN, inf and division by zero", [
      [1, 0, Infinity],
      [-1, 0, -Infinity],
      [1, -0, -Infinity],
      [0, 0, NaN],
      [Infinity, Infinity, NaN],
      [1, -Infinity, -0],
      [NaN, 1, NaN],
      [2 ** -140, 2, 2 ** -141],
    ], exact)],
  }),
  ...both("div", div, (a, b) => a / b, {
    dtypes: ["int32", "uint8"],
    output: "float32",
    fill: [whole(-20, 20), whole(1, 9)],
    tolerance: roundings(1),
    specials: [
      elementwise("of int32 gives floats", [
        [7, 2, 3.5],
        [-7, 2, -3.5],
        [5, 0, Infinity],
        [-5, 0, -Infinity],
        [0, 0, NaN],
        [least, -1, -least],
      ], integer),
    ],
  }).map((c) => ({ ...c, name: `${c.name} of whole numbers` })),
  ...both("floorDivide", floorDivide, (a, b) => Math.floor(a / b), {
    dtypes: anything,
    fill: [real, awayFromZero(0.25, 4)],
    specials: [
      elementwise("NaN, inf, zeros, and quotients that round up to whole numbers", [
        [1, 0, Infinity],
        [-1, 0, -Infinity],
        [0, 0, NaN],
        [NaN, 1, NaN],
        [Infinity, 2, NaN], // as in PyTorch and Python
        [1, Infinity, 0],
        [-1, Infinity, -1],
        [-0, 2, -0],
        [-7, 2, -4],
        [7, -2, -4],
        [-6, 2, -3],
      ], exact),
      // 0.1 is 0.10000000149…, of which 1 has 9 in whole.
      elementwise("near whole numbers", [[1, Math.fround(0.1), 9], [-1, Math.fround(0.1), -10]], {
        dtypes: ["float32"],
      }),
      elementwise("int32 rounds down, and gives 0 for a divisor of 0", [
        [7, 2, 3],
        [-7, 2, -4],
        [7, -2, -4],
        [-7, -2, 3],
        [-6, 2, -3],
        [5, 0, 0],
        [0, -3, 0],
        [least, -1, least],
        [least, 1, least],
        [most, -2, -(2 ** 30)],
      ], integer),
    ],
  }),
  ...both("remainder", remainder, (a, b) => {
    const rest = a % b;
    return rest !== 0 && (rest < 0) !== (b < 0) ? rest + b : rest;
  }, {
    dtypes: anything,
    fill: [real, awayFromZero(0.25, 4)],
    tolerance: roundings(1),
    specials: [
      elementwise("has the sign of the divisor; NaN, inf and zeros", [
        [7, 4, 3],
        [-7, 4, 1],
        [7, -4, -1],
        [-7, -4, -3],
        [7.5, 2, 1.5],
        [1, 0, NaN],
        [NaN, 1, NaN],
        [Infinity, 2, NaN],
        [1, Infinity, 1],
        [-1, Infinity, Infinity], // as in PyTorch and Python
        [-0, 2, -0],
      ]),
      elementwise("int32 gives 0 for a divisor of 0", [
        [-7, 4, 1],
        [7, -4, -1],
        [5, 0, 0],
        [least, -1, 0],
        [least, most, most - 1],
      ], integer),
      elementwise("uint8", [[200, 7, 4], [200, 0, 0], [3, 200, 3]], byte),
    ],
  }),
  ...both("pow", pow, Math.pow, {
    dtypes: floats,
    fill: [spiked(0.2, 1.5, 2), spiked(-2, 2, 1.5)],
    tolerance: roundings(8),
    specials: [
      // As in C and PyTorch; JavaScript's Math.pow gives NaN where the base is 1 or -1.
      elementwise("NaN, inf, zeros and negative bases", [
        [0, 0, 1],
        [NaN, 0, 1],
        [1, NaN, 1],
        [NaN, 1, NaN],
        [-1, Infinity, 1],
        [-2, 3, -8],
        [-2, 2, 4],
        [-2, 0.5, NaN],
        [0, -1, Infinity],
        [-0, -1, -Infinity],
        [-0, 3, -0],
        [Infinity, -1, 0],
        [-Infinity, 3, -Infinity],
        [2, Infinity, Infinity],
        [2, -Infinity, 0],
        [0.5, Infinity, 0],
        [2, 2000, Infinity],
        [2, -2000, 0],
      ]),
    ],
  }),
  ...both("maximum", maximum, larger, {
    dtypes: anything,
    fill: [real],
    specials: [
      elementwise("NaN wins; inf, zeros and ties", pairs.map(([a, b]) => [a, b, larger(a, b)])),
      elementwise("bounds of int32", [[least, most, most], [least, least, least]], integer),
    ],
  }),
  ...both("minimum", minimum, (a, b) => -larger(-a, -b), {
    dtypes: anything,
    fill: [real],
    specials: [
      elementwise("NaN wins; inf, zeros and ties", pairs.map(([a, b]) => [a, b, -larger(-a, -b)])),
      elementwise("bounds of int32", [[least, most, least], [most, most, most]], integer),
    ],
  }),
  {
    name: "swiglu",
    call: (gate: Tensor, up: Tensor) => swiglu(gate, up),
    reference: (gate, up) => broadcasted(gate!, up!, (x, y) => x / (1 + Math.exp(-x)) * y),
    shapes: binaryShapes,
    gradShapes: binaryGradShapes,
    dtypes: floats,
    fill: [spiked(-3, 3, 3), real],
    tolerance: roundings(8),
    specials: [
      elementwise("NaN, inf and large", [
        [NaN, 1, NaN],
        [1, NaN, NaN],
        [Infinity, 2, Infinity],
        [-Infinity, 2, -0], // the limit
        [100, 3, 300],
        [-1000, 5, -0],
        [0, Infinity, NaN],
      ]),
    ],
  },
  ...comparisons.flatMap(([name, op, f]) =>
    both(name, op, (a, b) => Number(f(a, b)), {
      dtypes: anything,
      fill: [whole(0, 5)],
      output: "uint8",
      specials: [
        elementwise("NaN, inf and zeros", pairs.map(([a, b]) => [a, b, Number(f(a, b))])),
        elementwise(
          "bounds of int32",
          [[least, most], [most, most]].map(([a, b]) => [a!, b!, Number(f(a!, b!))]),
          integer,
        ),
      ],
    })
  ),
];
