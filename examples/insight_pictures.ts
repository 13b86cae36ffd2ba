// The pictures of insight.ts: what a layer gives, and how two trainings come to know a digit.
import { pad, plot, type Tensor, upsample } from "../mod.ts";

/** Values of a tensor. */
export type Numbers = Float32Array<ArrayBuffer>;

/**
 * What a layer gives for an image, [1, channels, ...] of 0 to `white`, as one picture: a tile for
 * each channel.
 */
export function mosaic(map: Tensor, white = Math.max(1e-9, map.max().itemSync())): Tensor {
  const [, c, h = 1, w = 1] = map.shape as [number, number, number?, number?];
  let across = Math.ceil(Math.sqrt(c));
  while (c % across > 0) across++;
  const [height, width] = [c / across * h, across * w];
  const tiles = map.div(white).reshape([c / across, across, h, w]).transpose(1, 2);
  const size = [Math.round(180 * height / width), 180] as const;
  const one = upsample(tiles.reshape([1, 1, height, width]), { size, mode: "nearest" });
  return pad(one.reshape(size), [[0, 180 - size[0]], [0, 0]]); // square
}

/** A digit's ten probabilities after each step, and the seconds that steps had taken by then. */
export type Course = { seconds: number; shares: ArrayLike<number> }[];

/** One course as lines and one as dots; the likeliest classes come first. */
export function race(lines: Course, dots: Course, options: plot.AxisOptions): plot.Plot {
  const most = (c: number) => Math.max(...lines.map(({ shares }) => shares[c]!));
  const classes = Array.from({ length: 10 }, (_, c) => c).sort((a, b) => most(b) - most(a));
  const gap = { seconds: NaN, shares: [] };
  const place = (i: number) => Math.floor(30 * Math.log(dots[i]?.seconds ?? 0));
  const apart = dots.filter((_, i) => place(i) > place(i - 1)); // none that hides another
  const all = [...lines, ...apart.flatMap((one) => [gap, one])]; // what stands alone is a dot
  const x = all.map(({ seconds }) => seconds);
  const along = (c: number) => all.map(({ shares }) => shares[c] ?? NaN);
  const curves = classes.map((c) => [`a ${c}`, { x, y: along(c) }] as const);
  return plot.line(Object.fromEntries(curves), options);
}
