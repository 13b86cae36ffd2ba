import { type Tensor, where } from "../../mod.ts";
import { broadcasted, type Grid } from "../reference.ts";
import { anything, type Case, elementwise, spiked, unaryShapes, whole } from "./case.ts";
import type { ShapeList } from "./movement.ts";

// Condition and two tensors, of one shape or broadcast to one.
const threes: ShapeList = [
  ...unaryShapes.map(([shape]) => [shape!, shape!, shape!]),
  [[], [5], [5]],
  [[5], [], [5]],
  [[5], [5], []],
  [[33, 1], [1, 65], []],
  [[1, 129], [31, 1], [31, 129]],
  [[129], [257, 129], [257, 1]],
  [[2, 1, 4, 1], [3, 1, 5], [2, 3, 1, 1]],
  [[1, 2, 1, 2, 1, 2, 1, 2], [2, 1, 2, 1, 2, 1, 2, 1], [2]],
  [[2, 1, 1, 5], [1, 3, 4, 5], [2, 3, 4, 5]],
  [[0, 1], [3], [1, 1]],
  [[33, 1], [1, 64], []], // lines of whole packs
  [[3, 5, 1, 32], [5, 7, 32], [3, 1, 7, 1]],
];
const twos = threes.map(([condition, a]) => [condition!, a!]);

const data = spiked(-100, 100, 2);
const common = { dtypes: anything, fill: [whole(0, 1), data], fixed: ["uint8"] as const };

// The reference takes two inputs at a time: first a or nothing, then b for nothing.
const nothing = Symbol("nothing");
function chosen(condition: Grid, a: Grid | number, b: Grid | number): Grid {
  const grid = (x: Grid | number): Grid => typeof x === "number" ? { shape: [], values: [x] } : x;
  const takenA: (number | typeof nothing)[] = [];
  const first = broadcasted(condition, grid(a), (c, x) => {
    takenA.push(c ? x : nothing);
    return takenA.length - 1;
  });
  return broadcasted(first, grid(b), (i, y) => {
    const x = takenA[i]!;
    return x === nothing ? y : x as number;
  });
}

export const whereCases: readonly Case[] = [
  {
    ...common,
    name: "where()",
    call: (condition: Tensor, a: Tensor, b: Tensor) => where(condition, a, b),
    also: () => [{ name: "a.where()", call: (c: Tensor, a: Tensor, b: Tensor) => a.where(c, b) }],
    reference: (condition, a, b) => chosen(condition!, a!, b!),
    shapes: threes,
    gradShapes: [[[], [], []], [[2, 3], [2, 3], [2, 3]], [[3, 1], [1, 2], []], [[2], [3, 1], [
      1,
      2,
    ]]],
    specials: [
      elementwise("NaN, inf and zeros are moved as they are", [
        [1, NaN, 0, NaN],
        [0, NaN, 0, 0],
        [255, -0, 1, -0],
        [0, 1, -0, -0],
        [0, Infinity, -Infinity, -Infinity],
      ], { exact: true }),
    ],
  },
  {
    ...common,
    name: "where(a, a number)",
    call: (condition: Tensor, a: Tensor) => where(condition, a, 3),
    also: () => [{ name: "a.where(3)", call: (c: Tensor, a: Tensor) => a.where(c, 3) }],
    reference: (condition, a) => chosen(condition!, a!, 3),
    shapes: twos,
    gradShapes: [[[2, 3], [2, 3]], [[3, 1], [1, 2]], [[], [2]]],
  },
  {
    ...common,
    name: "where(a number, b)",
    call: (condition: Tensor, b: Tensor) => where(condition, 3, b),
    reference: (condition, b) => chosen(condition!, 3, b!),
    shapes: twos,
    gradShapes: [[[2, 3], [2, 3]], [[3, 1], [1, 2]], [[3], []]],
  },
];
