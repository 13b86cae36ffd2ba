import {
  logSumExp,
  norm,
  type NormOptions,
  type Shape,
  std,
  type Tensor,
  variance,
  type VarianceOptions,
} from "../../mod.ts";
import { reduced, sizeOf, total } from "../reference.ts";
import {
  awayFromZero,
  type Case,
  type Fill,
  floats,
  line,
  roundings,
  row,
  rows,
  type Special,
  spiked,
  type Tolerance,
} from "./case.ts";
import { type Along, along, listOf, titled } from "./reduce.ts";

interface Statistic {
  name: string;
  method: "variance" | "std" | "norm" | "logSumExp";
  options: VarianceOptions & NormOptions;
  of: (terms: readonly number[]) => number;
  size?: (terms: readonly number[]) => number;
  fill: Fill;
  tolerance: Tolerance;
  specials?: readonly Special[];
  /** Whether it can do with these shapes, and whether it has a gradient there. */
  usable?: (reduced: Shape) => boolean;
  smooth?: (reduced: Shape) => boolean;
}

const functions = { variance, std, norm, logSumExp };

function reducing(s: Statistic, { axes, keepDims, shapes, gradShapes }: Along): Case {
  const gone = (shape: Shape) => listOf(axes)?.map((axis) => shape.at(axis)!) ?? shape;
  const options = keepDims ? { ...s.options, keepDims } : s.options;
  const list = (fits: Statistic["usable"], of: readonly Shape[]) =>
    of.filter((shape) => fits?.(gone(shape)) ?? true).map((shape): Shape[] => [shape]);
  return {
    name: titled(s.name, axes, keepDims ?? false),
    call: (x: Tensor) => functions[s.method](x, axes, options),
    also: () => [{ name: `x.${s.method}()`, call: (x: Tensor) => x[s.method](axes, options) }],
    reference: (x) => reduced(x!, listOf(axes), keepDims ?? false, s.of, s.size),
    shapes: list(s.usable, shapes),
    gradShapes: list(s.smooth ?? s.usable, gradShapes),
    dtypes: floats,
    fill: [s.fill],
    tolerance: s.tolerance,
    specials: axes === -1 ? s.specials : undefined,
    flops: ([x]) => 3 * sizeOf(x!),
  };
}

const squares = (terms: readonly number[]) => {
  const mean = total(terms) / terms.length;
  return total(terms.map((x) => (x - mean) ** 2));
};
// An error is one of the sums about the first element.
const shifted = (terms: readonly number[]) => total(terms.map((x) => (x - terms[0]!) ** 2));

function spreads(correction: number | undefined): Statistic[] {
  const over = (terms: readonly number[]) => Math.max(0, terms.length - (correction ?? 1));
  const options = correction === undefined ? {} : { correction };
  const title = correction === undefined ? "" : ` with correction ${correction}`;
  const far = rows(
    row(100, 2 ** 20, { 0: 2 ** 20 + 2, 99: 2 ** 20 - 2 }),
    row(100, -3),
    row(100, NaN),
    [
      ...row(99, 1),
      Infinity,
    ],
  );
  const of = (terms: readonly number[]) => squares(terms) / over(terms);
  const both: Statistic[] = [
    {
      name: `variance${title}`,
      method: "variance",
      options,
      of,
      fill: spiked(-1, 3),
      tolerance: roundings(2, 64),
    },
    {
      name: `std${title}`,
      method: "std",
      options,
      of: (terms) => Math.sqrt(of(terms)),
      fill: spiked(-1, 3),
      tolerance: roundings(2, 64),
    },
  ];
  return both.map((s) => ({
    ...s,
    size: (terms) => shifted(terms) / over(terms) / (s.method === "std" ? of(terms) ** 0.5 : 1),
    usable: (shape) => sizeOf(shape) !== 1, // which gives NaN: see below
    smooth: (shape) => sizeOf(shape) > Math.max(1, correction ?? 1),
    specials: [
      {
        name: "a mean far from 0, no spread, NaN and infinity",
        inputs: [far],
        expected: line(s.of([...row(98, 0), 2, -2]), 0, NaN, NaN),
        dtypes: ["float32", "float64"],
      },
      { name: "one element", inputs: [rows([5])], expected: line(over([5]) ? 0 : NaN) },
    ],
  }));
}

const size = (x: number) => Math.abs(x);
const extreme = (terms: readonly number[], which: "max" | "min") =>
  terms.some(Number.isNaN) ? NaN : terms.map(size).reduce((a, b) => Math[which](a, b));

function normOf(p: number): (terms: readonly number[]) => number {
  if (p === 0) return (terms) => terms.filter((x) => x !== 0).length;
  if (p === Infinity) return (terms) => extreme(terms, "max");
  if (p === -Infinity) return (terms) => extreme(terms, "min");
  return (terms) => total(terms.map((x) => size(x) ** p)) ** (1 / p);
}

function norms(p: number | undefined): Statistic {
  const of = normOf(p ?? 2);
  const awkward = rows([0, 0, 0], [0, -2, 0], [1, NaN, 2], [Infinity, -2, 1], [-Infinity, 0, 1], [
    3,
    -3,
    3,
  ]);
  const power = p ?? 2;
  return {
    name: p === undefined ? "norm" : `norm with p ${p}`,
    method: "norm",
    options: p === undefined ? {} : { p },
    of,
    fill: awayFromZero(0.1, 2),
    tolerance: Math.abs(power) === Infinity || power === 0 ? roundings(0) : roundings(4, 64),
    // A float16 ends at 65504.
    usable: (shape) =>
      (power >= 0 && power < Infinity || sizeOf(shape) > 0) &&
      (power === Infinity || power >= 2 || sizeOf(shape) < (power < 1 ? 70 : 10_000)),
    smooth: (shape) => sizeOf(shape) > 0,
    specials: [
      {
        name: "zeros, NaN and infinity",
        inputs: [awkward],
        expected: reduced(awkward, [1], false, of),
      },
      ...(power === 2
        ? [{
          name: "squares that overflow float32",
          inputs: [rows([3e30, 4e30], [3e-30, -4e-30])],
          expected: line(5e30, 5e-30),
          dtypes: ["float32" as const],
        }]
        : []),
    ],
  };
}

const peak = (terms: readonly number[]) =>
  terms.some(Number.isNaN) ? NaN : terms.reduce((a, b) => Math.max(a, b), -Infinity);
function logSum(terms: readonly number[]): number {
  const top = peak(terms);
  return Math.abs(top) === Infinity
    ? top
    : top + Math.log(total(terms.map((x) => Math.exp(x - top))));
}
const awkward = [2, 100].map((cols): Special => {
  const inputs = rows(
    row(cols, 1, { 1: NaN }),
    row(cols, 1, { [cols - 1]: Infinity }),
    row(cols, Infinity),
    row(cols, -Infinity),
    row(cols, 1, { [cols - 1]: -Infinity }),
    row(cols, 1e4),
    row(cols, -1e4),
    row(cols, -6e4, { 1: 6e4 }),
  );
  return {
    name: `NaN, inf and extremes in ${cols} columns`,
    inputs: [inputs],
    expected: reduced(inputs, [1], false, logSum),
    dtypes: ["float32", "float64"],
  };
});
const logSums: Statistic = {
  name: "logSumExp",
  method: "logSumExp",
  options: {},
  of: logSum,
  fill: spiked(-2, 2, 4),
  tolerance: roundings(16),
  smooth: (shape) => sizeOf(shape) > 0,
  specials: awkward,
};

// All ways to name axes for the common ones; rows, columns and axes apart for the others.
const some = along.filter(({ axes }) =>
  [undefined, -1, 0].includes(axes as number) || Array.isArray(axes) && axes.join() === "0,2"
);

export const statisticsCases: readonly Case[] = [
  ...[...spreads(undefined), norms(undefined), logSums].flatMap((s) =>
    along.map((a) => reducing(s, a))
  ),
  ...[...spreads(0), ...[0, 0.5, 1, 1.5, 3, -1, Infinity, -Infinity].map(norms)].flatMap((s) =>
    some.map((a) => reducing(s, a))
  ),
].filter(({ shapes }) => shapes.length > 0);
