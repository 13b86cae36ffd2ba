import {
  adaptiveAvgPool1d,
  adaptiveAvgPool2d,
  adaptiveMaxPool1d,
  adaptiveMaxPool2d,
  avgPool1d,
  avgPool2d,
  maxPool1d,
  maxPool2d,
  type Shape,
  type Tensor,
} from "../../mod.ts";
import { build, type Grid } from "../reference.ts";
import { type Case, floats, roundings, spiked, type Tolerance } from "./case.ts";

/** The places of each window along an axis; some are outside of it. */
type Windows = (extent: number) => number[][];

type Pair = readonly [height: number, width: number];

interface Options {
  kernelSize: number | Pair;
  stride?: number | Pair;
  padding?: number | Pair;
  dilation?: number | Pair;
  ceilMode?: boolean;
}

/** What an option is along an axis. */
const along = (axis: number, option: number | Pair) =>
  typeof option === "number" ? option : option[axis]!;

// Windows are laid out one after another, as long as they fit, or in ceil mode as long as the one
// before left something out and they begin before the padding behind.
function windows(options: Options, axis: number): Windows {
  const kernel = along(axis, options.kernelSize);
  const stride = along(axis, options.stride ?? kernel);
  const padding = along(axis, options.padding ?? 0);
  const dilation = along(axis, options.dilation ?? 1);
  return (extent) => {
    const found: number[][] = [];
    for (let begin = -padding;; begin += stride) {
      const places = Array.from({ length: kernel }, (_, k) => begin + k * dilation);
      const fits = places.at(-1)! < extent + padding;
      const before = found.at(-1)?.at(-1) ?? -Infinity;
      const missed = before < extent + padding - 1 && begin < extent;
      if (!fits && !(options.ceilMode && missed)) return found;
      found.push(places);
    }
  };
}

function adaptive(size: number | null): Windows {
  return (extent) => {
    const out = size ?? extent;
    return Array.from({ length: out }, (_, o) => {
      const [begin, end] = [Math.floor(o * extent / out), Math.ceil((o + 1) * extent / out)];
      return Array.from({ length: end - begin }, (_, k) => begin + k);
    });
  };
}

/** `f` of the values of each window, and of its places, `padding` of which each side may count. */
function pooled(
  x: Grid,
  [rows, cols]: readonly [Windows, Windows],
  f: (values: number[], counted: number) => number,
  [above, beside]: Pair = [0, 0],
): Grid {
  const [h, w] = x.shape.slice(-2) as [number, number];
  const [down, across] = [rows(h), cols(w)];
  return build([...x.shape.slice(0, -2), down.length, across.length], (index, at) => {
    const image = Math.floor(at / (down.length * across.length)) * h * w;
    const values: number[] = [];
    let counted = 0;
    for (const i of down[index.at(-2)!]!) {
      for (const j of across[index.at(-1)!]!) {
        if (i >= -above && i < h + above && j >= -beside && j < w + beside) counted++;
        if (i >= 0 && i < h && j >= 0 && j < w) values.push(x.values[image + i * w + j]!);
      }
    }
    return f(values, counted);
  });
}

const largest = (values: number[]) => values.some(Number.isNaN) ? NaN : Math.max(...values);

function averages(
  x: Grid,
  axes: readonly [Windows, Windows],
  padding?: Pair,
  divisor?: number,
): Grid {
  const average = (values: number[], counted: number) =>
    values.reduce((a, b) => a + b, 0) / (divisor ?? counted);
  const size = (values: number[], counted: number) =>
    Math.sqrt(values.length) * average(values.map(Math.abs), Math.abs(divisor ?? counted));
  const { values: magnitudes } = pooled(x, axes, size, padding);
  return { ...pooled(x, axes, average, padding), magnitudes: Array.from(magnitudes, Math.abs) };
}

/** A grid with an axis of one row before the last, and without it. */
const high = (x: Grid): Grid => ({ ...x, shape: x.shape.toSpliced(-1, 0, 1) });
const flat = (x: Grid): Grid => ({ ...x, shape: x.shape.toSpliced(-2, 1) });

const images: readonly Shape[] = [
  [1, 1, 4, 4],
  [2, 3, 5, 7],
  [2, 8, 6, 9],
  [1, 16, 7, 5],
  [3, 5, 8],
  [0, 3, 4, 4],
  [2, 40, 33, 29],
  [2, 3, 19, 16],
];
const small: readonly Shape[] = [[1, 2, 4, 5], [2, 4, 4, 4], [1, 5, 4]];
const lines: readonly Shape[] = [[2, 3, 9], [4, 17], [1, 1, 4], [0, 2, 8], [2, 5, 1030]];

// Each case in both memory formats, where gradients come back through them.
function inFormats(c: Case): Case[] {
  const last = (x: Tensor) => x.rank === 4 ? x.to({ format: "channelsLast" }) : x;
  return [c, {
    ...c,
    name: `${c.name} in channelsLast`,
    call: (x: Tensor) => c.call(last(x)),
    also: () => [],
  }];
}

function casesOf(
  name: string,
  call: (x: Tensor) => Tensor,
  reference: (x: Grid) => Grid,
  options: Partial<Case>,
): Case[] {
  const shapes = images.map((shape) => [shape]);
  const gradShapes = small.map((shape) => [shape]);
  const fill = [spiked(-2, 2, 4)];
  return inFormats({
    name,
    call,
    reference: (x) => reference(x!),
    shapes,
    gradShapes,
    dtypes: floats,
    fill,
    ...options,
  });
}

const one = (...shapes: Shape[]) => shapes.map((shape) => [shape]);

const named = (name: string, options: object) =>
  `${name}(${JSON.stringify(options).slice(1, -1).replaceAll('"', "")})`;
const both = (options: Options) => [windows(options, 0), windows(options, 1)] as const;

function maxCase(options: Options, more: Partial<Case> = {}): Case[] {
  return casesOf(
    named("maxPool2d", options),
    (x) => maxPool2d(x, options),
    (x) => pooled(x, both(options), largest),
    { also: () => [{ name: "x.maxPool2d()", call: (x) => x.maxPool2d(options) }], ...more },
  );
}

const tolerance = roundings(3);

function avgCase(
  options: Omit<Options, "dilation"> & { countIncludePad?: boolean; divisorOverride?: number },
  more: Partial<Case> = {},
): Case[] {
  const { countIncludePad = true, divisorOverride, padding = 0 } = options;
  const counted = countIncludePad ? [along(0, padding), along(1, padding)] as const : undefined;
  return casesOf(
    named("avgPool2d", options),
    (x) => avgPool2d(x, options),
    (x) => averages(x, both(options), counted, divisorOverride),
    {
      also: () => [{ name: "x.avgPool2d()", call: (x) => x.avgPool2d(options) }],
      tolerance,
      ...more,
    },
  );
}

function adaptiveCases(size: number | readonly [number | null, number | null]): Case[] {
  const [height, width] = typeof size === "number" ? [size, size] : size;
  const axes = [adaptive(height), adaptive(width)] as const;
  const text = JSON.stringify(size);
  const average: Partial<Case> = {
    tolerance,
    also: () => [{ name: "x.adaptiveAvgPool2d()", call: (x) => x.adaptiveAvgPool2d(size) }],
  };
  return [
    ...casesOf(
      `adaptiveAvgPool2d(${text})`,
      (x) => adaptiveAvgPool2d(x, size),
      (x) => averages(x, axes),
      average,
    ),
    ...casesOf(
      `adaptiveMaxPool2d(${text})`,
      (x) => adaptiveMaxPool2d(x, size),
      (x) => pooled(x, axes, largest),
      {},
    ),
  ];
}

function lineCase(
  name: string,
  call: (x: Tensor) => Tensor,
  reference: (x: Grid) => Grid,
  tolerance?: Tolerance,
): Case {
  const [c] = casesOf(name, call, (x) => flat(reference(high(x))), {
    shapes: one(...lines),
    gradShapes: one([2, 2, 7], [2, 6]),
    ...(tolerance && { tolerance }),
  });
  return c!;
}

// PyTorch's: NaN wins wherever it is; -0 and 0 are equal, and so are infinities.
const image = (...values: number[]): Grid => ({ shape: [1, 1, 2, values.length / 2], values });
const oddValues: Partial<Case> = {
  specials: [{
    name: "NaN, infinity and nothing but -infinity",
    inputs: [image(NaN, 1, -Infinity, -Infinity, 3, 4, 2, NaN, -Infinity, -Infinity, Infinity, 5)],
    expected: { shape: [1, 1, 1, 3], values: [NaN, -Infinity, Infinity] },
  }],
};

const alone: Windows = () => [[0]];
const spaced = { kernelSize: 3, stride: 2, padding: 1, ceilMode: true };

export const poolCases: readonly Case[] = [
  ...maxCase({ kernelSize: 2 }, oddValues),
  ...maxCase({ kernelSize: 3, stride: 2, padding: 1 }, {
    shapes: one(...images, [2, 3, 1, 1], [1, 1, 1, 6]),
  }),
  ...maxCase({ kernelSize: [3, 2], stride: [1, 3], padding: [1, 0], dilation: [2, 1] }),
  ...maxCase({ kernelSize: 2, stride: 2, dilation: 3 }, {
    shapes: one([2, 3, 8, 9], [1, 8, 4, 4]),
  }),
  ...maxCase({ kernelSize: 2, stride: 4, dilation: 2 }, {
    shapes: one([2, 3, 11, 9], [1, 8, 16, 13]),
    gradShapes: one([1, 2, 8, 3]),
  }),
  ...maxCase({ kernelSize: 3, stride: 2, ceilMode: true }, {
    shapes: one(...images, [1, 2, 2, 2], [1, 8, 3, 6]),
  }),
  ...maxCase({ kernelSize: 2, stride: 3, padding: 1, ceilMode: true }),
  ...maxCase({ kernelSize: 1, stride: 5 }),
  ...maxCase({ kernelSize: 3, stride: 1, padding: 1 }),
  ...maxCase({ kernelSize: [17, 16], stride: 3, padding: 8 }, {
    shapes: one([1, 2, 19, 20], [2, 8, 17, 33]),
    gradShapes: one([1, 2, 3, 2]),
  }),
  ...avgCase({ kernelSize: 2 }),
  ...avgCase({ kernelSize: 3, stride: 2, padding: 1 }, {
    shapes: one(...images, [2, 3, 1, 1], [1, 1, 1, 6]),
  }),
  ...avgCase({ kernelSize: 3, stride: 2, padding: 1, countIncludePad: false }),
  ...avgCase({ kernelSize: [3, 2], stride: [2, 3], padding: [1, 0], ceilMode: true }),
  ...avgCase({ kernelSize: [2, 3], stride: 2, ceilMode: true, countIncludePad: false }),
  ...avgCase({ kernelSize: 2, stride: 3, padding: 1, ceilMode: true, divisorOverride: -3 }),
  ...avgCase({ kernelSize: 1, stride: 5 }),
  ...avgCase({ kernelSize: [4, 5], divisorOverride: 7 }, {
    shapes: one([3, 8, 4, 5], [2, 3, 4, 5], [3, 9, 11]),
    gradShapes: one([1, 2, 4, 5]),
  }),
  ...adaptiveCases(1),
  ...adaptiveCases([3, 2]),
  ...adaptiveCases([5, null]),
  lineCase(
    "maxPool1d(kernelSize:3,stride:2,padding:1,ceilMode:true)",
    (x) => maxPool1d(x, spaced),
    (x) => pooled(x, [alone, windows(spaced, 1)], largest),
  ),
  lineCase(
    "avgPool1d(kernelSize:3,stride:2,padding:1,ceilMode:true)",
    (x) => avgPool1d(x, spaced),
    (x) => averages(x, [alone, windows(spaced, 1)], [0, 1]),
    tolerance,
  ),
  lineCase(
    "adaptiveAvgPool1d(3)",
    (x) => adaptiveAvgPool1d(x, 3),
    (x) => averages(x, [alone, adaptive(3)]),
    tolerance,
  ),
  lineCase(
    "adaptiveMaxPool1d(3)",
    (x) => adaptiveMaxPool1d(x, 3),
    (x) => pooled(x, [alone, adaptive(3)], largest),
  ),
];
