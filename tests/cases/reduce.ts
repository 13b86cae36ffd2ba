import {
  all,
  any,
  argmax,
  argmin,
  type Axes,
  type DType,
  max,
  mean,
  min,
  prod,
  type ReduceOptions,
  type Shape,
  sum,
  type Tensor,
} from "../../mod.ts";
import { type Grid, reduced, sizeOf, total } from "../reference.ts";
import {
  anything,
  awayFromZero,
  type Case,
  type Fill,
  floats,
  line,
  numbers,
  roundings,
  row,
  rows,
  type Special,
  spiked,
  type Tolerance,
  whole,
} from "./case.ts";

export type Op = (x: Tensor, axes?: Axes, options?: ReduceOptions) => Tensor;

interface Reduction {
  name: "sum" | "mean" | "max" | "min" | "prod" | "any" | "all";
  op: Op;
  of: (terms: readonly number[]) => number;
  /** Sums only. */
  size?: (terms: readonly number[]) => number;
  tolerance?: Tolerance;
  gradRoundings?: number;
  /** Whether there is a result for no elements. */
  ofNone: boolean;
  specials: readonly Special[];
  dtypes: readonly DType[];
  fill?: Fill;
}

export interface Along {
  axes?: Axes | undefined;
  keepDims?: boolean | undefined;
  shapes: readonly Shape[];
  gradShapes: readonly Shape[];
}

export const along: readonly Along[] = [
  {
    shapes: [[], [1], [31], [33], [64], [257], [1025], [100_003], [3, 5], [257, 129], [0], [
      2,
      1,
      2,
      1,
      2,
      1,
      2,
      3,
    ]],
    gradShapes: [[], [5], [2, 3]],
  },
  {
    axes: -1,
    shapes: [
      [7],
      [1, 1],
      [5, 33],
      [300, 257],
      [1, 1025],
      [3, 100_003],
      [2, 3, 4],
      [0, 3],
      [3, 0],
      [
        5000,
        3,
      ],
      [4100, 64],
      [2, 16_400],
    ],
    gradShapes: [[4], [2, 3], [2, 1, 3]],
  },
  {
    axes: 0,
    shapes: [
      [7],
      [33, 1],
      [1025, 3],
      [3, 1025],
      [70_001, 2],
      [257, 129],
      [5, 4099],
      [129, 5, 3],
      [
        0,
        3,
      ],
      [900, 10],
      [70, 31],
      [1100, 32],
      [70, 127],
      [70, 1023],
      [300, 1024],
    ],
    gradShapes: [[4], [3, 2], [2, 1, 3]],
  },
  {
    axes: 1,
    keepDims: true,
    shapes: [[4, 33], [4, 33, 5], [3, 257, 65], [2, 1, 3], [2, 40_000, 2], [2, 3, 4, 5], [
      300,
      3,
      4,
    ], [40, 20, 8]],
    gradShapes: [[2, 3], [2, 3, 2]],
  },
  { axes: [0, 1], shapes: [[3, 5], [33, 4, 5], [17, 129, 33]], gradShapes: [[2, 3], [2, 2, 2]] },
  {
    axes: [0, 2],
    shapes: [[3, 4, 5], [33, 2, 31], [2, 1, 257], [1, 3, 1], [17, 33, 129]],
    gradShapes: [[2, 2, 3]],
  },
  { axes: [-1, 0], keepDims: true, shapes: [[3, 4, 5], [2, 3, 4, 5]], gradShapes: [[2, 2, 3]] },
  {
    axes: [1, 3, 4, 7],
    shapes: [[2, 3, 1, 2, 3, 2, 1, 5]],
    gradShapes: [[2, 2, 1, 2, 1, 1, 1, 2]],
  },
  { axes: [], shapes: [[3], [2, 3]], gradShapes: [[2, 3]] },
];

export function listOf(axes: Axes | undefined): readonly number[] | undefined {
  return typeof axes === "number" ? [axes] : axes;
}

export function titled(name: string, axes: Axes | undefined, keepDims: boolean): string {
  const list = listOf(axes);
  const what = list && (list.length === 1 ? `axis ${list[0]}` : `axes [${list.join(", ")}]`);
  return `${name}(${[what, keepDims && "keepDims"].filter(Boolean).join(", ")})`;
}

// Rows as columns, which have a kernel of their own.
function upright(special: Special): Special {
  const { shape: [rows, cols], values } = special.inputs[0]!;
  const input = {
    shape: [cols!, rows!],
    values: Array.from(values, (_, i) => values[i % rows! * cols! + Math.floor(i / rows!)]!),
  };
  return { ...special, inputs: [input] };
}

function reducing(r: Reduction, { axes, keepDims = false, shapes, gradShapes }: Along): Case {
  const usable = (shape: Shape) => {
    const gone = listOf(axes)?.map((axis) => shape.at(axis)!) ?? shape;
    return r.ofNone || sizeOf(gone) > 0;
  };
  return {
    name: titled(r.name, axes, keepDims),
    call: (x: Tensor) => r.op(x, axes, { keepDims }),
    also: () => [{
      name: `x.${r.name}()`,
      call: (x: Tensor) => x[r.name](axes, { keepDims }),
    }],
    reference: (x) => reduced(x!, listOf(axes), keepDims, r.of, r.size),
    shapes: shapes.filter(usable).map((shape) => [shape]),
    gradShapes: gradShapes.map((shape) => [shape]),
    dtypes: r.dtypes,
    fill: [r.fill ?? spiked(-1, 3)],
    tolerance: r.tolerance,
    gradRoundings: r.gradRoundings,
    specials: axes === -1 ? r.specials : axes === 0 ? r.specials.map(upright) : undefined,
    flops: ([x]) => sizeOf(x!),
  };
}

const nan = (terms: readonly number[]) => terms.some(Number.isNaN);
const largest = (terms: readonly number[]) =>
  nan(terms) ? NaN : terms.reduce((a, b) => Math.max(a, b));
const smallest = (terms: readonly number[]) =>
  nan(terms) ? NaN : terms.reduce((a, b) => Math.min(a, b));
const sizes = (terms: readonly number[]) => total(terms.map(Math.abs));

// Short rows and rows of several vector registers, with something awkward in one of the columns.
function awkward(of: (terms: readonly number[]) => number): Special[] {
  return [2, 100].map((cols) => {
    const inputs = rows(
      row(cols, 1, { [cols - 2]: NaN }),
      row(cols, 1, { [cols - 1]: NaN }),
      row(cols, 1, { [cols - 2]: Infinity }),
      row(cols, 1, { [cols - 1]: -Infinity }),
      row(cols, 0, { 0: Infinity, [cols - 1]: -Infinity }),
      row(cols, Infinity),
      row(cols, -Infinity),
      row(cols, NaN),
      row(cols, -0),
    );
    const expected = reduced(inputs, [1], false, of);
    return { name: `NaN and inf in ${cols} columns`, inputs: [inputs], expected };
  });
}

const bounds: Special = {
  name: "bounds of int32",
  inputs: [rows([-(2 ** 31), -(2 ** 31)], [2 ** 31 - 1, 2 ** 31 - 1])],
  expected: line(-(2 ** 31), 2 ** 31 - 1),
  dtypes: ["int32"],
};

const cancelling: Special = {
  name: "cancellation that float32 would not survive",
  inputs: [rows(row(100, 1, { 0: 2 ** 40, 99: -(2 ** 40) }))],
  expected: line(98),
};

// Of whole numbers modulo 2^32.
const product = (terms: readonly number[]) =>
  terms.every(Number.isInteger)
    ? terms.reduce((a, b) => Math.imul(a, b), 1)
    : terms.reduce((a, b) => a * b, 1);

const plainSum = (terms: readonly number[]) => terms.reduce((a, b) => a + b, 0);

const reductions: readonly Reduction[] = [
  {
    name: "sum",
    op: sum,
    of: total,
    size: sizes,
    tolerance: roundings(2, 128),
    ofNone: true,
    specials: [...awkward(plainSum), cancelling],
    dtypes: numbers,
  },
  {
    name: "mean",
    op: mean,
    of: (terms) => total(terms) / terms.length,
    size: (terms) => sizes(terms) / terms.length,
    tolerance: roundings(2, 128),
    ofNone: true,
    specials: awkward((terms) => plainSum(terms) / terms.length),
    dtypes: floats,
  },
  {
    name: "max",
    op: max,
    of: largest,
    ofNone: false,
    specials: [...awkward(largest), bounds],
    dtypes: anything,
  },
  {
    name: "min",
    op: min,
    of: smallest,
    ofNone: false,
    specials: [...awkward(smallest), bounds],
    dtypes: anything,
  },
  {
    name: "prod",
    op: prod,
    of: product,
    tolerance: roundings(2, 4096),
    gradRoundings: 128, // of products of all the others
    ofNone: true,
    specials: [...awkward(product), {
      name: "products that float32 would not hold on the way",
      inputs: [rows([1e30, 1e30, 1e-30, 1e-30], [1e-30, 1e-30, 1e30, 1e30])],
      expected: line(1, 1),
      dtypes: ["float32"],
    }],
    dtypes: numbers,
    // Near 1, so that long ones neither overflow nor vanish; 1 and -1 as whole numbers.
    fill: awayFromZero(0.99, 1.01),
  },
];

// What has a result of another dtype.
const others: readonly Case[] = along.flatMap((a) => [
  ...reductions.filter(({ name }) => name === "sum" || name === "prod").map((r): Case => ({
    ...reducing({ ...r, specials: [], dtypes: ["uint8"] }, a),
    name: `${titled(r.name, a.axes, a.keepDims ?? false)} of uint8`,
    output: "int32",
    gradShapes: undefined,
  })),
  ...([["any", any, 0.02], ["all", all, 0.98]] as const).map(([name, op, share]): Case => {
    const of = (terms: readonly number[]) =>
      Number(name === "any" ? terms.some((x) => x !== 0) : terms.every((x) => x !== 0));
    const inputs = rows([0, NaN], [0, -0], [1, NaN], [Infinity, 0], [0, 1e-30]);
    const special = { name: "NaN is not 0", inputs: [inputs] };
    return {
      ...reducing({
        name,
        op,
        of,
        ofNone: true,
        specials: [{ ...special, expected: reduced(inputs, [1], false, of), dtypes: ["float32"] }],
        dtypes: anything,
        fill: (random) => random() < share ? 1 + Math.floor(random() * 200) : 0,
      }, a),
      output: "uint8",
      gradShapes: undefined,
    };
  }),
]);

// Gradients where one element of a line is 0, or two, or none.
const ofZeros: Case = {
  ...reducing(reductions.at(-1)!, { axes: 1, shapes: [[6, 4], [2, 7, 3]], gradShapes: [[6, 4]] }),
  name: "prod(axis 1) with zeros",
  fill: [(random, i) => [0, 5, 6, 14].includes(i) ? 0 : 0.5 + random()],
  specials: undefined,
};

// The first of the best, where NaN is better than anything.
function firstBest(better: (a: number, b: number) => boolean) {
  return (terms: readonly number[]) => {
    const missing = terms.findIndex(Number.isNaN);
    return missing >= 0 ? missing : terms.reduce((at, x, i) => (better(x, terms[at]!) ? i : at), 0);
  };
}

function indexing(name: "argmax" | "argmin"): Case[] {
  const op = { argmax, argmin }[name];
  const of = firstBest(name === "argmax" ? (a, b) => a > b : (a, b) => a < b);
  const ties = [2, 100].map((cols): Special => {
    const best = name === "argmax" ? 2 : -2;
    const inputs: Grid = rows(
      row(cols, 0),
      row(cols, 0, { [cols - 1]: best }),
      row(cols, 0, { [cols - 2]: best, [cols - 1]: best }),
      row(cols, 0, { [cols - 1]: NaN }),
      row(cols, NaN),
      row(cols, 0, { 0: best, [cols - 1]: NaN }),
      row(cols, Infinity),
      row(cols, -Infinity),
    );
    return {
      name: `ties, NaN and inf in ${cols} columns`,
      inputs: [inputs],
      expected: reduced(inputs, [1], false, of),
    };
  });
  return along.filter(({ axes }) => !Array.isArray(axes)).map(({ axes, keepDims, shapes }) => ({
    ...reducing({ name: "max", op: max, of, ofNone: false, specials: ties, dtypes: anything }, {
      axes,
      keepDims,
      shapes,
      gradShapes: [],
    }),
    name: titled(name, axes, keepDims ?? false),
    call: (x: Tensor) => op(x, axes as number | undefined, { keepDims }),
    also: () => [{
      name: `x.${name}()`,
      call: (x: Tensor) => x[name](axes as number | undefined, { keepDims }),
    }],
    gradShapes: undefined,
    fill: [whole(-20, 20)],
    output: "int32",
  }));
}

export const reduceCases: readonly Case[] = [
  ...reductions.flatMap((r) => along.map((a) => reducing(r, a))),
  ...others,
  ofZeros,
  ...indexing("argmax"),
  ...indexing("argmin"),
];
