import {
  broadcastTo,
  type DType,
  flatten,
  gatherRows,
  permute,
  reshape,
  type Shape,
  squeeze,
  type Tensor,
  transpose,
  unsqueeze,
} from "../../mod.ts";
import { build, elementAt, type Grid, mapped, permuted, sizeOf } from "../reference.ts";
import {
  anything,
  type Case,
  floats,
  line,
  numbers,
  rounding,
  roundings,
  spiked,
  whole,
} from "./case.ts";

export type ShapeList = readonly (readonly Shape[])[];

/** Movement is exact, of any dtype, and differentiable. */
export function moving(
  name: string,
  call: (x: Tensor) => Tensor,
  method: (x: Tensor) => Tensor,
  reference: (x: Grid) => Grid,
  shapes: ShapeList,
  gradShapes: ShapeList = shapes.filter(([shape]) => sizeOf(shape!) <= 12).slice(0, 4),
): Case {
  return {
    name,
    call,
    also: () => [{ name: "as a method", call: method }],
    reference: (x) => reference(x!),
    shapes,
    gradShapes,
    dtypes: anything,
    fill: [spiked(-100, 100, 2)],
  };
}

// Reshaping moves nothing.
function viewing(
  name: string,
  op: (x: Tensor) => Tensor,
  method: (x: Tensor) => Tensor,
  shape: (from: Shape) => Shape,
  shapes: ShapeList,
): Case {
  const reference = (x: Grid) => ({ shape: shape(x.shape), values: x.values });
  return { ...moving(name, op, method, reference, shapes), bytes: () => 0 };
}

function permuting(order: readonly number[], shapes: ShapeList): Case {
  return moving(
    `permute([${order.join(", ")}])`,
    (x) => permute(x, order),
    (x) => x.permute(order),
    (x) => permuted(x, order.map((axis) => (axis + order.length) % order.length)),
    shapes,
  );
}

function repeating(from: Shape, to: Shape): Case {
  return moving(
    `broadcastTo([${to.join(", ")}]) of [${from.join(", ")}]`,
    (x) => broadcastTo(x, to),
    (x) => x.broadcastTo(to),
    (x) => build(to, (index) => elementAt(x, index)),
    [[from]],
    sizeOf(to) <= 48 ? [[from]] : [],
  );
}

const swapped = (shape: Shape, a: number, b: number): Shape =>
  shape.with(a, shape.at(b)!).with(b, shape.at(a)!);
function transposing(a: number, b: number, shapes: ShapeList): Case {
  return moving(
    `transpose(${a}, ${b})`,
    (x) => transpose(x, a, b),
    (x) => x.transpose(a, b),
    (x) =>
      build(
        swapped(
          x.shape,
          (a + x.shape.length) % x.shape.length,
          (b + x.shape.length) % x.shape.length,
        ),
        (index) => {
          const at = [...index];
          const [first, second] = [(a + at.length) % at.length, (b + at.length) % at.length];
          [at[first], at[second]] = [at[second]!, at[first]!];
          return elementAt(x, at);
        },
      ),
    shapes,
  );
}

const threes: ShapeList = [[[2, 1, 3]], [[2, 3, 4]], [[5, 33, 17]], [[3, 64, 65]], [[2, 0, 3]], [[
  129,
  3,
  31,
]], [[5, 7, 32]]];
const fours: ShapeList = [[[2, 1, 2, 3]], [[3, 4, 5, 6]], [[2, 17, 3, 33]], [[1, 5, 1, 7]]];
export const matrices: ShapeList = [
  [[1, 1]],
  [[2, 3]],
  [[1, 65]],
  [[129, 1]],
  [[31, 33]],
  [[32, 32]],
  [[64, 127]],
  [[257, 129]],
  [[1023, 31]],
  [[0, 3]],
  [[3, 0]],
];

// uint8 images to floats, rows of any dtype.
function gathering(from: DType, to: DType, scale: number, shift: number): Case {
  const options = to === from ? {} : { dtype: to, scale, shift };
  return {
    name: `gatherRows() of ${from} as ${to}`,
    call: (x: Tensor, index: Tensor) => gatherRows(x, index, options),
    reference: (x, index) => {
      const rest = x!.shape.slice(1);
      const y = build(
        [index!.values.length, ...rest],
        ([row, ...at]) => elementAt(x!, [index!.values[row!]!, ...at]),
      );
      return to === from ? y : mapped(y, (value) => value * scale + shift);
    },
    shapes: [
      [[1], [1]],
      [[5], [7]],
      [[5, 3], [4]],
      [[7, 33], [129]],
      [[300, 28, 28], [64]],
      [[3, 1, 2, 2], [5]],
      [[4, 0], [3]],
      [[4, 3], [0]],
      [[2, 40_000], [3]],
    ],
    dtypes: [from],
    fixed: [undefined, "int32"],
    fill: [spiked(0, 100, 2), (random, _, [x]) => Math.floor(random() * x![0]!)],
    output: to,
    tolerance: to === from ? undefined : roundings(3),
    bytes: ([x], output) => sizeOf(output) * (from === "uint8" ? 1 : 4) + 4 * x![0]!,
  };
}

const limits: Partial<Record<DType, [number, number]>> = {
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint8: [0, 255],
};

// Integers saturate, fractions are cut off, NaN is 0.
function castTo(dtype: DType): (x: number) => number {
  if (dtype === "float64") return (x) => x;
  if (floats.includes(dtype)) return (x) => rounding(x, dtype);
  const [low, high] = limits[dtype]!;
  return (x) => Number.isNaN(x) ? 0 : Math.trunc(Math.min(Math.max(x, low), high));
}

function casting(from: DType, to: DType): Case {
  const cast = castTo(to);
  const edge = [
    NaN,
    Infinity,
    -Infinity,
    0.9,
    -0.9,
    255.5,
    256,
    -1,
    2 ** 31,
    -(2 ** 31) - 1,
    1e300,
  ];
  const repeated = Array.from({ length: 5 }, () => edge).flat();
  const source = castTo(from);
  return {
    name: `to("${to}") of ${from}`,
    call: (x: Tensor) => x.to(to),
    reference: (x) => mapped(x!, cast),
    shapes: [[[]], [[0]], [[1]], [[33]], [[257]], [[3, 5]], [[70_001]]],
    gradShapes: from === "float64" && floats.includes(to) ? [[[2, 3]]] : undefined,
    dtypes: [from],
    fill: [from === "uint8" ? whole(0, 255) : spiked(-300, 300, floats.includes(to) ? 8 : 1e8)],
    output: to,
    specials: floats.includes(from)
      ? [{
        name: "NaN, inf, fractions and bounds",
        inputs: [line(...repeated)],
        expected: mapped(line(...repeated), (x) => cast(source(x))),
        dtypes: [from],
      }]
      : [],
  };
}

const copies = [[[]], [[0]], [[33]], [[2, 3]], [[257, 129]]];
const same = (x: Grid) => x;

export const movementCases: readonly Case[] = [
  viewing("reshape([-1, 2])", (x) => reshape(x, [-1, 2]), (x) => x.reshape([-1, 2]), (shape) => [
    sizeOf(shape) / 2,
    2,
  ], [[[6]], [[2, 3]], [[4, 1, 3]], [[0, 5]], [[130, 2]]]),
  viewing("reshape([])", (x) => reshape(x, []), (x) => x.reshape([]), () => [], [[[1]], [[1, 1]]]),
  viewing("flatten()", (x) => flatten(x), (x) => x.flatten(), (shape) => [sizeOf(shape)], [
    [[]],
    [[3]],
    [[2, 3]],
    [[2, 0, 3]],
    [[2, 1, 3, 2]],
  ]),
  viewing("flatten(1)", (x) => flatten(x, 1), (x) => x.flatten(1), ([n, ...rest]) => [
    n!,
    sizeOf(rest),
  ], [[[2, 3]], [[2, 3, 2]], [[5, 1, 28, 28]]]),
  viewing("flatten(-3, 1)", (x) => flatten(x, -3, 1), (x) => x.flatten(-3, 1), ([a, b, c]) => [
    a! * b!,
    c!,
  ], [[[2, 1, 3]], [[4, 5, 6]]]),
  viewing(
    "squeeze()",
    (x) => squeeze(x),
    (x) => x.squeeze(),
    (shape) => shape.filter((n) => n !== 1),
    [[[]], [[1]], [[1, 3, 1]], [[2, 3]], [[1, 0, 1]]],
  ),
  viewing(
    "squeeze(-2)",
    (x) => squeeze(x, -2),
    (x) => x.squeeze(-2),
    ([a, b, c]) => b === 1 ? [a!, c!] : [a!, b!, c!],
    [[[1, 1, 3]], [[1, 2, 3]]],
  ),
  viewing("unsqueeze(0)", (x) => unsqueeze(x, 0), (x) => x.unsqueeze(0), (shape) => [1, ...shape], [
    [[]],
    [[3]],
    [[2, 3]],
  ]),
  viewing("unsqueeze(-1)", (x) => unsqueeze(x, -1), (x) => x.unsqueeze(-1), (shape) => [
    ...shape,
    1,
  ], [[[]], [[3]], [[2, 3]]]),
  repeating([], [3]),
  repeating([3], [4, 3]),
  repeating([3, 1], [2, 3, 4]),
  repeating([2, 1, 3], [2, 5, 3]),
  repeating([1, 129], [257, 129]),
  repeating([257, 1], [257, 129]),
  repeating([1, 3], [0, 3]),
  repeating([33, 1], [33, 64]),
  repeating([64], [33, 64]),
  repeating([2, 1, 1, 2, 1, 1, 2, 1], [2, 1, 2, 2, 1, 3, 2, 1]),
  permuting([], [[[]]]),
  permuting([0, 1, 2], threes),
  permuting([0, 2, 1], threes),
  permuting([1, 0, 2], threes),
  permuting([1, 2, 0], threes),
  permuting([2, 0, 1], threes),
  permuting([2, 1, 0], threes),
  permuting([0, 2, 3, 1], fours),
  permuting([0, 3, 1, 2], fours),
  permuting([2, 0, 3, 1], fours),
  permuting([-1, -2, -3, -4], fours),
  permuting([3, 1, 2, 0], fours),
  permuting([7, 5, 3, 1, 0, 2, 4, 6], [[[2, 1, 2, 1, 1, 1, 2, 1]], [[2, 1, 2, 3, 1, 2, 2, 3]]]),
  transposing(-2, -1, [...matrices, [[2, 3, 2]], [[3, 65, 33]], [[2, 2, 17, 5]]]),
  transposing(0, 1, [...matrices, [[3, 4, 5]]]),
  transposing(0, -1, [[[2, 1, 3]], [[33, 5, 17]]]),
  moving("clone()", (x) => x.clone(), (x) => x.clone(), same, copies),
  viewing("detach()", (x) => x.detach(), (x) => x.detach(), (shape) => shape, copies),
  ...anything.map((dtype) => gathering(dtype, dtype, 1, 0)),
  ...numbers.map((dtype) =>
    dtype === "int32"
      ? gathering("uint8", dtype, 1, 0)
      : gathering("uint8", dtype, 1 / 255 / 0.3081, -0.1307 / 0.3081)
  ),
  ...anything.flatMap((from) => anything.map((to) => casting(from, to))),
].map((c) => (c.name === "detach()" ? { ...c, gradShapes: undefined } : c));
