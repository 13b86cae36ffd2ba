// Images in other sizes and places.
import { normalizeAxis, type Shape } from "../../core/shape.ts";
import { tensor } from "../../create.ts";
import { add, mul, where } from "../../ops/elementwise/mod.ts";
import { affineGrid, gridSample, upsample } from "../../ops/image/mod.ts";
import { indexSelect } from "../../ops/index/mod.ts";
import { slice } from "../../ops/shape/mod.ts";
import type { Tensor } from "../../tensor.ts";
import { elements } from "../_elements.ts";
import type { Context, Family } from "./_operator.ts";

type Coefficients = (distance: number) => number;

/** How one axis becomes another: from how much, in what steps, between which ends (of tf). */
interface Axis {
  readonly axis: number;
  readonly from: number;
  readonly to: number;
  readonly scale: number;
  readonly start: number;
  readonly end: number;
}

/** Where the results lie in an axis. */
function placesOf(c: Context, mode: string, { from, to, scale, start, end }: Axis): number[] {
  const size = from * scale;
  const last = from - 1;
  const middle = from / 2 * (1 - to / size);
  const halves = (i: number) => Math.fround((i + 0.5) / scale) - 0.5;
  const formulas: Record<string, (i: number) => number> = {
    half_pixel: halves,
    half_pixel_symmetric: (i) => middle + halves(i),
    pytorch_half_pixel: (i) => to > 1 ? halves(i) : 0,
    align_corners: (i) => to > 1 ? i * last / (to - 1) : 0,
    asymmetric: (i) => i / scale,
    tf_half_pixel_for_nn: (i) => (i + 0.5) / scale,
    tf_crop_and_resize: (i) =>
      to > 1 ? start * last + i * (end - start) * last / (to - 1) : (start + end) * last / 2,
  };
  const at = formulas[mode] ?? c.fail(`the coordinate_transformation_mode ${mode} is not known`);
  // In float32, as elsewhere, those that meet an element do so.
  return Array.from({ length: to }, (_, i) => Math.fround(at(i)));
}

const nearest: Record<string, (at: number) => number> = {
  round_prefer_floor: (at) => Math.ceil(at - 0.5),
  round_prefer_ceil: (at) => Math.floor(at + 0.5),
  floor: Math.floor,
  ceil: Math.ceil,
};

const kernels: Record<string, { reach: number; of: (a: number) => Coefficients }> = {
  linear: { reach: 1, of: () => (d) => Math.max(0, 1 - d) },
  cubic: {
    reach: 2,
    of: (a) => (d) =>
      d <= 1
        ? ((a + 2) * d - (a + 3)) * d * d + 1
        : d < 2
        ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        : 0,
  },
};

// Sums of `taps` elements of an axis, each with its weights.
function gathered(x: Tensor, axis: number, taps: readonly Tap[]): Tensor {
  const along = { device: x.device, shape: x.shape.map((_, d) => d === axis ? taps.length : 1) };
  const { device } = x;
  let sum: Tensor | undefined;
  for (let k = 0; k < (taps[0]?.index.length ?? 0); k++) {
    const index = tensor(taps.map(({ index }) => index[k]!), { dtype: "int32", device });
    const part = indexSelect(x, axis, index);
    const weights = taps.map(({ weight }) => weight[k]!);
    const share = weights.every((weight) => weight === 1)
      ? part
      : mul(part, tensor(weights, { dtype: x.dtype, ...along }));
    sum = sum ? add(sum, share) : share;
  }
  return sum ?? slice(x, axis, 0, 0);
}

/** The elements that make one of the result. */
interface Tap {
  readonly index: number[];
  readonly weight: number[];
}

function tapsOf(c: Context, mode: string, places: readonly number[], { from, scale }: Axis): Tap[] {
  const within = (i: number) => Math.min(Math.max(i, 0), from - 1);
  if (mode === "nearest") {
    // opset 10's example, and what runs such files, goes up where it becomes smaller
    const old = scale < 1 ? "ceil" : "floor";
    const name = c.opset < 11 ? old : c.string("nearest_mode", "round_prefer_floor");
    const rounded = nearest[name] ?? c.fail(`the nearest_mode ${name} is not known`);
    return places.map((at) => ({ index: [within(rounded(at))], weight: [1] }));
  }
  const { reach, of } = kernels[mode] ?? c.fail(`the mode ${mode} is not known`);
  const coefficient = of(c.float("cubic_coeff_a", -0.75));
  const narrow = c.int("antialias", 0) > 0 ? Math.min(scale, 1) : 1;
  const [far, all] = [Math.ceil(reach / narrow), c.int("exclude_outside", 0) === 0];
  return places.map((at) => {
    const low = Math.floor(at);
    const index = Array.from({ length: 2 * far }, (_, k) => low - far + 1 + k);
    const weight = index.map((i) =>
      all || within(i) === i ? coefficient(Math.abs(i - at) * narrow) : 0
    );
    const total = weight.reduce((a, b) => a + b, 0);
    return { index: index.map(within), weight: weight.map((each) => each / total) };
  });
}

/** What kernels of the library do at once. */
function quick(
  x: Tensor,
  mode: string,
  coordinates: string,
  axes: readonly Axis[],
  taps: readonly Tap[][],
  sizes: Shape,
): Tensor | undefined {
  const [n, channels, ...size] = sizes as [number, number, number, number];
  const planes = axes.every(({ axis, from, to }) => axis > 1 || from === to);
  if (x.rank !== 4 || !planes || sizes.includes(0)) return;
  if (n !== x.shape[0] || channels !== x.shape[1]) return;
  if (mode === "nearest") {
    const plain = taps.every((list, d) => {
      const { from, to } = axes[d]!;
      return list.every(({ index }, i) => index[0] === Math.floor(i * from / to));
    });
    return plain ? upsample(x, { size }) : undefined;
  }
  const images = axes.filter(({ axis }) => axis > 1);
  const alignCorners = coordinates === "align_corners";
  const halves = coordinates.endsWith("half_pixel") && images.every(({ to }) => to > 1);
  if (!alignCorners && !halves) return;
  const bilinear = mode === "linear";
  const exact = images.every(({ from, to, scale }) => Math.abs(to / from - scale) < 1e-6 * scale);
  const scaleFactor = [2, 3].map((d) => axes.find(({ axis }) => axis === d)?.scale ?? 1);
  return upsample(x, {
    ...(exact || alignCorners ? { size } : { scaleFactor: scaleFactor as [number, number] }),
    mode: bilinear ? "bilinear" : "bicubic",
    alignCorners,
  });
}

interface Target {
  readonly scales?: readonly number[] | undefined;
  readonly sizes?: readonly number[] | undefined;
  readonly roi?: readonly number[] | undefined;
}

function resized(c: Context, coordinates: string, { scales, sizes, roi = [] }: Target) {
  const { x } = c;
  const names = c.ints("axes", x.shape.map((_, d) => d)).map((d) =>
    normalizeAxis("Resize", d, x.rank)
  );
  const given = sizes ?? scales ?? c.fail("there are neither scales nor sizes");
  if (given.length !== names.length) c.fail(`${given.length} sizes for ${names.length} axes`);
  const policy = c.string("keep_aspect_ratio_policy", "stretch");
  const ratios = names.map((d, i) => sizes ? sizes[i]! / x.shape[d]! : scales![i]!);
  const one = sizes && policy !== "stretch"
    ? (policy === "not_larger" ? Math.min : Math.max)(...ratios)
    : undefined;
  const crops = coordinates === "tf_crop_and_resize" && roi.length === 2 * names.length;
  const axes = names.map((axis, i): Axis => {
    const from = x.shape[axis]!;
    const scale = one ?? ratios[i]!;
    const [start, end] = crops ? [roi[i]!, roi[i + names.length]!] : [0, 1];
    const to = one ? Math.floor(one * from + 0.5) : sizes?.[i] ?? Math.floor(from * scale);
    return { axis, from, to, scale, start, end };
  }).filter(({ from, to, scale, start, end }) =>
    from !== to || scale !== 1 || start !== 0 || end !== 1
  );
  const mode = { bilinear: "linear" }[c.string("mode", "nearest")] ?? c.string("mode", "nearest");
  const wide = mode === "nearest" || elements[c.type].float ? x : x.to({ dtype: "float32" });
  const places = axes.map((axis) => placesOf(c, coordinates, axis));
  const taps = axes.map((axis, i) => tapsOf(c, mode, places[i]!, axis));
  const special = mode !== "nearest" && (c.int("antialias", 0) || c.int("exclude_outside", 0) ||
    (mode === "cubic" && c.float("cubic_coeff_a", -0.75) !== -0.75));
  const shape = x.shape.map((n, d) => axes.find(({ axis }) => axis === d)?.to ?? n);
  let y = special || !elements[c.type].float
    ? undefined
    : quick(wide, mode, coordinates, axes, taps, shape);
  if (!y) {
    y = wide;
    for (const [i, { axis }] of axes.entries()) y = gathered(y, axis, taps[i]!);
  }
  if (crops) { // what is outside has one value
    for (const [i, { axis, from }] of axes.entries()) {
      const inside = places[i]!.map((at) => +(at >= 0 && at <= from - 1));
      if (!inside.includes(0)) continue;
      const along = y.shape.map((n, d) => d === axis ? n : 1);
      const mask = tensor(inside, { dtype: "uint8", device: x.device, shape: along });
      y = where(mask, y, c.float("extrapolation_value", 0));
    }
  }
  return c.as(c.type, y.to({ dtype: x.dtype }));
}

// An empty list stands for none.
const listed = (c: Context, i: number) => c.inputs[i]?.size ? c.numbers(i) : undefined;

/** Images. */
export const image: Family = {
  Upsample: {
    7: (c) => resized(c, "asymmetric", { scales: c.floats("scales") }),
    9: (c) => resized(c, "asymmetric", { scales: c.numbers(1) }),
  },
  Resize: {
    10: (c) => resized(c, "asymmetric", { scales: c.numbers(1) }),
    11: (c) =>
      resized(c, c.string("coordinate_transformation_mode", "half_pixel"), {
        roi: listed(c, 1),
        scales: listed(c, 2),
        sizes: listed(c, 3),
      }),
  },
  GridSample: (c) => {
    const mode = c.string("mode", "bilinear").replace(/^bi/, "");
    return gridSample(c.x, c.tensor(1), {
      mode: mode === "linear" ? "bilinear" : mode === "cubic" ? "bicubic" : "nearest",
      paddingMode: c.string("padding_mode", "zeros") as "zeros",
      alignCorners: c.int("align_corners", 0) > 0,
    });
  },
  AffineGrid: (c) => affineGrid(c.x, c.numbers(1), { alignCorners: c.int("align_corners", 0) > 0 }),
};
