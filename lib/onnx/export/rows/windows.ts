// Rows of what goes over images in windows, and of images in other sizes.
import { type Call, type Made, nameOf, type Row } from "../call.ts";
import type { Attributes } from "../nodes.ts";
import { activated, float } from "./elementwise.ts";

/** Windows along an axis. */
interface Axis {
  readonly extent: number;
  readonly out: number;
  readonly kernel: number;
  readonly stride: number;
  readonly pad: number;
  readonly dilation: number;
}

/** What all windows reach over. */
const covered = ({ out, kernel, stride, dilation }: Axis) =>
  (out - 1) * stride + (kernel - 1) * dilation + 1;
/** How many windows there are room for. */
const fitting = ({ extent, kernel, stride, pad, dilation }: Axis) =>
  Math.floor((extent + 2 * pad - (kernel - 1) * dilation - 1) / stride) + 1;
/** What transposed windows do not reach. */
const unreached = (axis: Axis) => axis.extent + 2 * axis.pad - covered(axis);

const attributesOf = (axes: readonly Axis[], end = ({ pad }: Axis) => pad) => ({
  kernel_shape: axes.map(({ kernel }) => kernel),
  strides: axes.map(({ stride }) => stride),
  dilations: axes.map(({ dilation }) => dilation),
  pads: [...axes.map(({ pad }) => pad), ...axes.map(end)],
});

// cdn_conv2d's geometry: n h w c k r s p q, strides, padding, dilation, groups.
function geometry(c: Call, i: number): [[Axis, Axis], group: number] {
  const g = c.numbers(i);
  const axis = (d: 0 | 1): Axis => ({
    ...{ extent: g[1 + d]!, kernel: g[5 + d]!, out: g[7 + d]! },
    ...{ stride: g[9 + d]!, pad: g[11 + d]!, dilation: g[13 + d]! },
  });
  return [[axis(0), axis(1)], g[15]!];
}

function convolved(c: Call): Made {
  const [axes, group] = geometry(c, 5), [image, kernel] = [c.raw(2), c.raw(3)];
  // what is missing behind: where the same as before serves, that
  const end = (axis: Axis) =>
    fitting(axis) === axis.out ? axis.pad : Math.max(0, covered(axis) - axis.extent - axis.pad);
  if (!image.line || !kernel.line || axes[0].pad || end(axes[0])) {
    return c.node("Conv", [c.v(2), c.v(3), c.v(4)], { ...attributesOf(axes, end), group });
  }
  const attributes = { ...attributesOf(axes.slice(1), end), group };
  return asImage(c, c.node("Conv", [image.line.name, kernel.line.name, c.v(4)], attributes));
}

// A line [n, c, l] as the image [n, c, 1, l] that the library makes; most want the line again.
function asImage(c: Call, name: string): Made {
  const line = c.known(name, c.y.shape.toSpliced(2, 1));
  return { ...c.reshaped(line, c.node("Unsqueeze", [name, c.list(2)])), line };
}

// Of pools: outer, inner, and of each axis extent, out, kernel, stride, padding, dilation.
function poolAxes(c: Call, i: number): [Axis, Axis] {
  const sizes = c.numbers(i);
  const axis = (at: number): Axis => {
    const [extent, out, kernel, stride, pad, dilation] = sizes.slice(at, at + 6) as [
      ...[number, number, number],
      ...[number, number, number],
    ];
    return { extent, out, kernel, stride, pad, dilation };
  };
  return [axis(2), axis(8)];
}

function pooled(c: Call, op: string, all: readonly Axis[], x: number, more: Attributes): Made {
  const { line } = c.raw(x), flat = line && all[0]!.kernel === 1;
  const axes = flat ? all.slice(1) : all;
  const ceil_mode = axes.some((axis) => fitting(axis) < axis.out) ? 1 : undefined;
  const attributes = { ...attributesOf(axes), ceil_mode, ...more };
  const name = c.node(op, [flat ? line.name : c.v(x)], attributes);
  return flat ? asImage(c, name) : name;
}

// Averages of windows of different sizes, as adaptive pooling has them: products with a matrix.
function shares(c: Call, { extent, out }: Axis, transposed: boolean): string {
  const data = new Array<number>(extent * out).fill(0);
  for (let o = 0; o < out; o++) {
    const [from, to] = [Math.floor(o * extent / out), Math.ceil((o + 1) * extent / out)];
    for (let i = from; i < to; i++) {
      data[transposed ? o * extent + i : i * out + o] = 1 / (to - from);
    }
  }
  return c.constant(transposed ? [out, extent] : [extent, out], data);
}

const averagePool: Row = (c) => {
  const axes = poolAxes(c, 2), [h, w] = axes, divisor = c.number(3);
  if (h.kernel === 0 || w.kernel === 0) {
    const across = c.node("MatMul", [c.v(1), shares(c, w, false)]);
    return c.node("MatMul", [shares(c, h, true), across]);
  }
  const count_include_pad = c.number(4) || divisor ? 1 : 0;
  const y = pooled(c, "AveragePool", axes, 1, { count_include_pad, dilations: undefined });
  return divisor ? c.chain(nameOf(y), ["Mul", h.kernel * w.kernel / divisor]) : y;
};

const maxPool: Row = (c) => {
  const axes = poolAxes(c, 3);
  return axes.some(({ kernel }) => kernel === 0) ? undefined : pooled(c, "MaxPool", axes, 2, {});
};

const resized: Row = (c) => {
  const [, h, w, p, q, , mode, align, scaleH, scaleW] = c.numbers(2, 10) as number[];
  // a scale that the product with the extent does not fall short of
  const scale = (from: number, to: number, given: number) => {
    let s = Math.fround(given || to / from);
    while (Math.floor(s * from) < to) s = Math.fround(s * (1 + 2 ** -23));
    return s;
  };
  const scales = [1, 1, scale(h!, p!, scaleH!), scale(w!, q!, scaleW!)];
  const places = mode === 0 ? "asymmetric" : "half_pixel";
  return c.node("Resize", [c.v(1), "", c.constant([4], scales, "float32")], {
    mode: ["nearest", "linear", "cubic"][mode!],
    coordinate_transformation_mode: align ? "align_corners" : places,
    nearest_mode: mode === 0 ? "floor" : undefined,
    cubic_coeff_a: mode === 2 ? float(-0.75) : undefined,
  });
};

type Five = [number, number, number, number, number];

const padImage: Row = (c) => {
  const [top, bottom, left, right, mode] = c.numbers(6, 5) as Five;
  const others = c.y.shape.slice(2).map(() => 0);
  if (mode !== 2) {
    const pads = c.list(...others, top, left, ...others, bottom, right);
    return c.node("Pad", [c.v(1), pads], { mode: mode === 0 ? "reflect" : "edge" });
  }
  let x = c.v(1); // opset 17 has no mode for it
  for (const [axis, before, after] of [[-2, top, bottom], [-1, left, right]] as const) {
    const part = (from: number, to: number) =>
      c.node("Slice", [x, c.list(from), c.list(to), c.list(axis)]);
    const first = before ? [part(-before, 2 ** 53 - 1)] : [];
    const parts = [...first, x, ...after ? [part(0, after)] : []];
    if (parts.length > 1) x = c.node("Concat", parts, { axis });
  }
  return x;
};

// Windows as channels: a convolution with the kernels that pick one element each.
function picking(c: Call, channels: number, [h, w]: readonly number[]) {
  const [kh, kw, sh, sw, ph, pw, dh, dw] = c.numbers(5, 8) as [
    ...[number, number, number, number],
    ...[number, number, number, number],
  ];
  const axes: [Axis, Axis] = [
    { extent: h!, out: 0, kernel: kh, stride: sh, pad: ph, dilation: dh },
    { extent: w!, out: 0, kernel: kw, stride: sw, pad: pw, dilation: dw },
  ];
  const each = kh * kw, data = new Array<number>(channels * each * each).fill(0);
  for (let i = 0; i < channels * each; i++) data[i * each + i % each] = 1;
  const weight = c.constant([channels * each, 1, kh, kw], data);
  return { axes, weight, attributes: { ...attributesOf(axes), group: channels } };
}

const unfold: Row = (c) => {
  const x = c.raw(1), { weight, attributes } = picking(c, x.shape[1]!, x.shape.slice(2));
  return c.reshaped(x, c.node("Conv", [c.v(1), weight], attributes));
};

const fold: Row = (c) => {
  const x = c.raw(1), [, channels, ...size] = c.y.shape as [number, number];
  const { axes, weight, attributes } = picking(c, channels, size);
  const whole = axes.map((axis) => ({ ...axis, out: fitting(axis) }));
  const places = [...x.shape.slice(0, 2), ...whole.map(({ out }) => out)];
  const image = c.reshaped(x, c.v(1), places).name, output_padding = whole.map(unreached);
  return c.node("ConvTranspose", [image, weight], { ...attributes, output_padding });
};

const convTranspose: Row = (c) => {
  const [axes, group] = geometry(c, 3), more = axes.map(unreached);
  const output_padding = more.some((n) => n > 0) ? more : undefined;
  return c.node("ConvTranspose", [c.v(1), c.v(2)], {
    ...attributesOf(axes),
    ...{ group, output_padding },
  });
};

/** By kernel. */
export const windows: Readonly<Record<string, Row>> = {
  conv2d: (c) => {
    const y = convolved(c), code = c.number(6);
    return code === 0 ? y : activated(c, nameOf(y), code);
  },
  conv2d_pooled: (c) =>
    c.node("MaxPool", [c.node("Relu", [nameOf(convolved(c))])], {
      ...{ kernel_shape: [2, 2], strides: [2, 2] },
    }),
  conv2d_grad_input: convTranspose,
  max_pool: maxPool,
  avg_pool: averagePool,
  upsample: resized,
  pad_image: padImage,
  unfold,
  fold,
};
