// Images in other sizes and arrangements: resizing, pads, windows. References go through the
// formulas of PyTorch's documentation place by place.
import {
  affineGrid,
  fold,
  gridSample,
  type GridSampleOptions,
  pad,
  pixelShuffle,
  pixelUnshuffle,
  type Shape,
  type Tensor,
  unfold,
  type UnfoldOptions,
  upsample,
  type UpsampleOptions,
} from "../../mod.ts";
import { build, elementAt, type Grid, sizeOf } from "../reference.ts";
import { anything, type Case, floats, roundings, spiked } from "./case.ts";

const both = <T>(pair: T | readonly [T, T]): readonly [T, T] =>
  Array.isArray(pair) ? pair as unknown as readonly [T, T] : [pair as T, pair as T];

const clamped = (i: number, extent: number) => Math.min(Math.max(i, 0), extent - 1);

/** Keys' kernel. */
function keys(x: number, a = -0.75): number {
  const d = Math.abs(x);
  if (d <= 1) return (a + 2) * d ** 3 - (a + 3) * d ** 2 + 1;
  return d < 2 ? a * d ** 3 - 5 * a * d ** 2 + 8 * a * d - 4 * a : 0;
}

/** The places that output o of an axis reads, and their weights. */
function tapsOf(
  mode: string,
  extent: number,
  out: number,
  scale: number | undefined,
  align: boolean,
  o: number,
): [place: number, weight: number][] {
  if (mode === "nearest") {
    const step = Math.fround(scale === undefined ? extent / out : 1 / scale);
    return [[Math.min(Math.floor(Math.fround(o * step)), extent - 1), 1]];
  }
  const at = align
    ? (out > 1 ? o * (extent - 1) / (out - 1) : 0)
    : (o + 0.5) * (scale === undefined ? extent / out : 1 / scale) - 0.5;
  const weight = mode === "bilinear" ? (d: number) => Math.max(0, 1 - Math.abs(d)) : keys;
  const below = Math.floor(at);
  return [-1, 0, 1, 2].map((j) => [clamped(below + j, extent), weight(at - (below + j))]);
}

function resized(x: Grid, options: UpsampleOptions): Grid {
  const { mode = "nearest", alignCorners = false } = options;
  const [n, c, ...extents] = x.shape as [number, number, number, number];
  const scales = options.scaleFactor === undefined ? undefined : both(options.scaleFactor);
  const out = scales
    ? extents.map((extent, i) => Math.floor(extent * scales[i]!))
    : both(options.size!);
  const tables = extents.map((extent, i) =>
    Array.from(
      { length: out[i]! },
      (_, o) => tapsOf(mode, extent, out[i]!, scales?.[i], alignCorners, o),
    )
  );
  const summed = (f: (x: number) => number) =>
    build([n, c, ...out], ([image, channel, oy, ox]) => {
      let sum = 0;
      for (const [iy, wy] of tables[0]![oy!]!) {
        for (const [ix, wx] of tables[1]![ox!]!) {
          sum += f(wy * wx) *
            f(x.values[((image! * c + channel!) * extents[0]! + iy) * extents[1]! + ix]!);
        }
      }
      return sum;
    });
  if (mode === "nearest") return summed((v) => v);
  // A place that is off by its last bit is off by that share of what the pixels around differ by.
  const magnitudes = Float64Array.from(summed(Math.abs).values, (m) => m + 8);
  return { ...summed((v) => v), magnitudes };
}

const images: readonly Shape[] = [
  [2, 3, 4, 5],
  [1, 2, 1, 1],
  [1, 1, 1, 7],
  [2, 5, 3, 1],
  [1, 33, 9, 6],
  [1, 16, 3, 4],
  [0, 3, 2, 2],
  [1, 2, 37, 31],
  [1, 2, 19, 8],
];
const smallImages: readonly Shape[] = [[1, 2, 2, 3], [2, 1, 1, 2]];
const one = (shapes: readonly Shape[]) => shapes.map((shape) => [shape]);

function resizing(options: UpsampleOptions, shapes = images): Case {
  return {
    name: `upsample(${JSON.stringify(options)})`,
    call: (x: Tensor) => upsample(x, options),
    also: () => [{ name: "as a method", call: (x: Tensor) => x.upsample(options) }],
    reference: (x) => resized(x!, options),
    shapes: one(shapes),
    gradShapes: one(smallImages),
    dtypes: floats,
    // Weights are rounded, and products of two of them; in float64 positions are, too.
    tolerance: (options.mode ?? "nearest") === "nearest" ? undefined : roundings(4, 256),
  };
}

const modes = ["nearest", "bilinear", "bicubic"] as const;
const wide = images.filter(([, , h, w]) => h! * w! > 4);
const resizes: readonly Case[] = modes.flatMap((mode) => [
  resizing({ size: [7, 5], mode }),
  resizing({ size: [1, 3], mode }),
  resizing({ size: 2, mode }),
  resizing({ scaleFactor: 2, mode }),
  resizing({ scaleFactor: [2.3, 1.7], mode }),
  {
    ...resizing({ scaleFactor: [1, 0.6], mode }, wide.filter((s) => s[3]! > 1)),
    gradShapes: [[[1, 1, 2, 3]]],
  },
  ...(mode === "nearest" ? [] : [
    resizing({ size: [6, 8], mode, alignCorners: true }),
    resizing({ size: 1, mode, alignCorners: true }),
    resizing({ scaleFactor: 1.5, mode, alignCorners: true }),
  ]),
]);

/** The place of an axis that a padded one repeats. */
const repeats = {
  reflect: (i: number, extent: number) => {
    const period = 2 * (extent - 1), at = period === 0 ? 0 : (i % period + period) % period;
    return Math.min(at, period - at);
  },
  replicate: clamped,
  circular: (i: number, extent: number) => (i % extent + extent) % extent,
};

function bordering(
  mode: keyof typeof repeats,
  pads: (rank: number) => [number, number][],
  shapes: readonly Shape[],
  small: readonly Shape[],
): Case {
  const name = JSON.stringify(pads(shapes[0]!.length));
  return {
    name: `pad(${name}, ${mode})`,
    call: (x: Tensor) => pad(x, pads(x.rank), { mode }),
    also: () => [{ name: "as a method", call: (x: Tensor) => x.pad(pads(x.rank), { mode }) }],
    reference: (x) => {
      const given = pads(x!.shape.length);
      return build(
        x!.shape.map((extent, d) => extent + given[d]![0] + given[d]![1]),
        (index) =>
          elementAt(x!, index.map((i, d) => repeats[mode](i - given[d]![0], x!.shape[d]!))),
      );
    },
    shapes: one(shapes),
    gradShapes: one(small),
    dtypes: floats,
  };
}

const last2 = (y: [number, number], x: [number, number]) => (rank: number) => [
  ...Array.from({ length: rank - 2 }, (): [number, number] => [0, 0]),
  y,
  x,
];
const borderCases: readonly Case[] = [
  bordering("reflect", last2([1, 2], [3, 0]), [[2, 3, 4, 5], [1, 16, 3, 4], [0, 2, 3, 4], [3, 4], [
    2,
    3,
    4,
  ]], [[1, 2, 3, 4]]),
  bordering("reflect", () => [[2, 3]], [[4], [33]], [[4]]),
  bordering("replicate", last2([1, 2], [3, 0]), [[2, 3, 4, 5], [1, 2, 1, 1], [2, 33, 3, 2]], [
    [1, 2, 2, 1],
    [1, 1, 1, 1],
  ]),
  bordering("circular", last2([1, 2], [3, 1]), [[2, 3, 4, 5], [1, 17, 2, 3], [2, 2, 3]], [[
    1,
    2,
    2,
    3,
  ]]),
  bordering("circular", last2([0, 0], [1, 1]), [[2, 3, 4, 1], [1, 2, 3, 4]], [[1, 2, 2, 1]]),
];

/** Each element of the windows of an image, with its pixel, or -1 in the padding. */
function eachWindow(
  [h, w]: readonly [number, number],
  { kernelSize, dilation = 1, padding = 0, stride = 1 }: UnfoldOptions,
  visit: (row: number, place: number, pixel: number) => void,
): [rows: number, places: number] {
  const [k, d, p, s] = [kernelSize, dilation, padding, stride].map(both) as [
    readonly [number, number],
    readonly [number, number],
    readonly [number, number],
    readonly [number, number],
  ];
  const count = [h, w].map((extent, i) =>
    Math.floor((extent + 2 * p[i]! - d[i]! * (k[i]! - 1) - 1) / s[i]! + 1)
  );
  build([...k, ...count], ([ky, kx, oy, ox]) => {
    const y = oy! * s[0] + ky! * d[0] - p[0], x = ox! * s[1] + kx! * d[1] - p[1];
    const inside = y >= 0 && y < h && x >= 0 && x < w;
    visit(ky! * k[1] + kx!, oy! * count[1]! + ox!, inside ? y * w + x : -1);
    return 0;
  });
  return [k[0] * k[1], count[0]! * count[1]!];
}

function unfolded(x: Grid, options: UnfoldOptions): Grid {
  const [n, c, h, w] = x.shape as [number, number, number, number];
  const [rows, places] = eachWindow([h, w], options, () => {});
  const values = new Float64Array(n * c * rows * places);
  eachWindow([h, w], options, (row, place, pixel) => {
    for (let i = 0; i < n * c; i++) {
      values[(i * rows + row) * places + place] = pixel < 0 ? 0 : x.values[i * h * w + pixel]!;
    }
  });
  return { shape: [n, c * rows, places], values };
}

function folded(x: Grid, size: readonly [number, number], options: UnfoldOptions): Grid {
  const [rows, places] = eachWindow(size, options, () => {});
  const pixels = size[0] * size[1], count = x.values.length / (rows * places);
  const values = new Float64Array(count * pixels), magnitudes = new Float64Array(count * pixels);
  eachWindow(size, options, (row, place, pixel) => {
    for (let i = 0; i < count && pixel >= 0; i++) {
      const value = x.values[(i * rows + row) * places + place]!;
      values[i * pixels + pixel]! += value;
      magnitudes[i * pixels + pixel]! += Math.abs(value);
    }
  });
  const shape = [x.shape[0]!, x.shape[1]! / rows, ...size];
  return { shape, values, magnitudes: magnitudes.map((m) => Math.max(m, 1)) };
}

function unfolding(options: UnfoldOptions, shapes: readonly Shape[]): Case {
  return {
    name: `unfold(${JSON.stringify(options)})`,
    call: (x: Tensor) => unfold(x, options),
    reference: (x) => unfolded(x!, options),
    shapes: one(shapes),
    gradShapes: one(shapes.filter((shape) => sizeOf(shape) <= 12 && sizeOf(shape) > 0)),
    dtypes: floats,
  };
}

function folding(size: readonly [number, number], options: UnfoldOptions): Case {
  const [rows, places] = eachWindow(size, options, () => {});
  return {
    name: `fold(${size}, ${JSON.stringify(options)})`,
    call: (x: Tensor) => fold(x, { outputSize: size, ...options }),
    reference: (x) => folded(x!, size, options),
    shapes: one([[2, 3 * rows, places], [1, rows, places], [0, rows, places], [
      1,
      33 * rows,
      places,
    ]]),
    gradShapes: rows * places <= 24 ? [[[1, rows, places]]] : undefined,
    dtypes: floats,
    tolerance: roundings(4),
  };
}

const windowCases: readonly Case[] = [
  unfolding({ kernelSize: 1 }, [[1, 2, 2, 2], [2, 3, 1, 1]]),
  unfolding({ kernelSize: [2, 3] }, [[2, 3, 4, 5], [1, 1, 2, 4], [1, 33, 9, 8], [0, 2, 3, 3]]),
  unfolding({ kernelSize: 3, padding: 1, stride: 2 }, [[2, 3, 7, 6], [1, 2, 1, 1], [1, 2, 2, 3]]),
  unfolding({ kernelSize: 2, dilation: [2, 1], padding: [1, 0], stride: [1, 2] }, [
    [2, 3, 5, 6],
    [1, 1, 3, 4],
  ]),
  folding([4, 5], { kernelSize: [2, 3] }),
  folding([2, 3], { kernelSize: 2 }),
  folding([7, 6], { kernelSize: 3, padding: 1, stride: 2 }),
  folding([3, 4], { kernelSize: 2, dilation: [2, 1], padding: [1, 0], stride: [1, 2] }),
];

function shuffling(r: number, shapes: readonly Shape[]): Case {
  return {
    name: `pixelShuffle(${r})`,
    call: (x: Tensor) => pixelShuffle(x, r),
    also: () => [{
      name: "and back, and again",
      call: (x: Tensor) => pixelShuffle(pixelUnshuffle(pixelShuffle(x, r), r), r),
    }],
    reference: (x) => {
      const [c, h, w] = x!.shape.slice(-3) as [number, number, number];
      return build([...x!.shape.slice(0, -3), c / r / r, h * r, w * r], (index) => {
        const [channel, y, at] = index.slice(-3) as [number, number, number];
        const from = channel * r * r + (y % r) * r + at % r;
        return elementAt(x!, [
          ...index.slice(0, -3),
          from,
          Math.floor(y / r),
          Math.floor(at / r),
        ]);
      });
    },
    shapes: one(shapes),
    gradShapes: one(shapes.filter((shape) => sizeOf(shape) <= 12 && sizeOf(shape) > 0)),
    dtypes: anything,
    fill: [spiked(-100, 100, 2)],
  };
}

/** Where a coordinate of a grid is, in pixels, after what the padding mode does to it. */
function placed(at: number, extent: number, padding: string, align: boolean): number {
  if (padding === "zeros") return at;
  if (padding === "reflection") {
    const [low, high] = align ? [0, extent - 1] : [-0.5, extent - 0.5];
    if (low === high) return 0;
    while (at < low || at > high) at = at < low ? 2 * low - at : 2 * high - at;
  }
  return Math.min(Math.max(at, 0), extent - 1);
}

function roundedToEven(x: number): number {
  const below = Math.floor(x), share = x - below;
  return share > 0.5 || (share === 0.5 && below % 2 !== 0) ? below + 1 : below;
}

/** The pixels of an axis that a coordinate reads, those outside left out. */
function sampleTaps(
  coordinate: number,
  extent: number,
  { mode = "bilinear", paddingMode = "zeros", alignCorners = false }: GridSampleOptions,
): [place: number, weight: number][] {
  const raw = alignCorners
    ? (coordinate + 1) / 2 * (extent - 1)
    : ((coordinate + 1) * extent - 1) / 2;
  const move = (at: number) => placed(at, extent, paddingMode, alignCorners);
  const inside = ([place]: [number, number]) => place >= 0 && place < extent;
  if (mode === "nearest") {
    return [[roundedToEven(move(raw)), 1] as [number, number]].filter(inside);
  }
  const at = mode === "bicubic" ? raw : move(raw), below = Math.floor(at);
  const weight = mode === "bicubic" ? keys : (d: number) => Math.max(0, 1 - Math.abs(d));
  return [-1, 0, 1, 2]
    .map((j): [number, number] => [below + j, weight(at - below - j)])
    .map(([i, w]): [number, number] => [mode === "bicubic" ? move(i) : i, w])
    .filter(inside);
}

function sampled(x: Grid, grid: Grid, options: GridSampleOptions): Grid {
  const [n, c, h, w] = x.shape as [number, number, number, number];
  const [, height, width] = grid.shape as [number, number, number];
  const summed = (f: (v: number) => number) =>
    build([n, c, height, width], ([image, channel, oy, ox]) => {
      const at = ((image! * height + oy!) * width + ox!) * 2;
      let sum = 0;
      for (const [ix, wx] of sampleTaps(grid.values[at]!, w, options)) {
        for (const [iy, wy] of sampleTaps(grid.values[at + 1]!, h, options)) {
          sum += f(wx * wy) * f(x.values[((image! * c + channel!) * h + iy) * w + ix]!);
        }
      }
      return sum;
    });
  // As of upsample(); a coordinate off by its last bit is so by several pixels' differences.
  const magnitudes = Float64Array.from(summed(Math.abs).values, (m) => m + 32);
  return { ...summed((v) => v), magnitudes };
}

function sampling(options: GridSampleOptions): Case {
  return {
    name: `gridSample(${JSON.stringify(options)})`,
    call: (x: Tensor, grid: Tensor) => gridSample(x, grid, options),
    reference: (x, grid) => sampled(x!, grid!, options),
    shapes: [
      [[2, 3, 4, 5], [2, 3, 2, 2]],
      [[1, 2, 1, 1], [1, 2, 3, 2]],
      [[1, 33, 7, 3], [1, 1, 9, 2]],
      [[0, 2, 2, 2], [0, 3, 1, 2]],
      [[1, 1, 2, 2], [1, 0, 3, 2]],
    ],
    gradShapes: [[[1, 2, 2, 3], [1, 1, 2, 2]]],
    dtypes: floats,
    fill: [spiked(-2, 2), (random) => random() * 3.1 - 1.55],
    tolerance: roundings(16, 64),
    gradRoundings: 256,
  };
}

const samplings = modes.flatMap((mode) =>
  (["zeros", "border", "reflection"] as const).flatMap((paddingMode) =>
    [false, true].map((alignCorners) => sampling({ mode, paddingMode, alignCorners }))
  )
);

function gridding(size: readonly [number, number], alignCorners: boolean): Case {
  const place = (i: number, count: number) =>
    alignCorners ? (count === 1 ? 0 : 2 * i / (count - 1) - 1) : (2 * i + 1) / count - 1;
  return {
    name: `affineGrid(${size}, ${alignCorners})`,
    call: (theta: Tensor) => affineGrid(theta, [theta.shape[0]!, 1, ...size], { alignCorners }),
    reference: (theta) =>
      build([theta!.shape[0]!, ...size, 2], ([n, y, x, d]) => {
        const row = theta!.values as Float64Array, at = (n! * 2 + d!) * 3;
        return row[at]! * place(x!, size[1]) + row[at + 1]! * place(y!, size[0]) + row[at + 2]!;
      }),
    shapes: [[[1, 2, 3]], [[3, 2, 3]]],
    gradShapes: [[[1, 2, 3]]],
    dtypes: floats,
    tolerance: roundings(24),
  };
}

const gridCases: readonly Case[] = [
  ...samplings,
  gridding([3, 4], false),
  gridding([3, 4], true),
  gridding([1, 5], true),
  gridding([7, 1], false),
];

export const imageCases: readonly Case[] = [
  ...gridCases,
  ...resizes,
  ...borderCases,
  ...windowCases,
  shuffling(1, [[1, 2, 2, 3]]),
  shuffling(2, [[1, 4, 1, 2], [2, 12, 3, 5], [4, 3, 1], [0, 4, 2, 2], [2, 1, 8, 2, 2]]),
  shuffling(3, [[1, 9, 1, 1], [2, 18, 4, 2]]),
];
