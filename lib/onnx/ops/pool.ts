// Poolings.
import { arange, ones, tensor } from "../../create.ts";
import { conv2d } from "../../ops/conv/mod.ts";
import { abs, add, floorDivide, mul, pow, sub } from "../../ops/elementwise/mod.ts";
import { avgPool2d, maxPool2d } from "../../ops/pool/mod.ts";
import { max, mean, norm } from "../../ops/reduce/mod.ts";
import { pad, reshape } from "../../ops/shape/mod.ts";
import type { Tensor } from "../../tensor.ts";
import type { Context, Family, Operator, Result } from "./_operator.ts";
import { type Axis, both, overAxes, windowsOf } from "./_windows.ts";

type Pool = (x: Tensor, axes: readonly Axis[]) => Tensor;

// x with as much around it as the windows reach for, which may be less than the pads.
const padded = (x: Tensor, axes: readonly Axis[], value: number) => {
  const [h, w] = axes.map(({ before, out, stride, span, extent }) => {
    return [before, (out - 1) * stride + span - extent - before] as const;
  });
  return pad(x, [[0, 0], [0, 0], h!, w!], { value });
};

const windows = (axes: readonly Axis[]) => ({
  kernelSize: both(axes, ({ kernel }) => kernel),
  stride: both(axes, ({ stride }) => stride),
});

// The options of a pooling that pads by itself, where the pads are such as it takes.
function own(axes: readonly Axis[]) {
  if (axes.some(({ before, after, kernel }) => before !== after || 2 * before > kernel)) return;
  const ceilMode = axes.some(({ out, stride, span, extent, before }) =>
    (out - 1) * stride + span > extent + 2 * before
  );
  return { ...windows(axes), padding: both(axes, ({ before }) => before), ceilMode };
}

const dilations = (axes: readonly Axis[]) => both(axes, ({ dilation }) => dilation);

const summed: Pool = (x, axes) => {
  const whole = padded(x, axes, 0);
  const { kernelSize, stride } = windows(axes);
  const dilation = dilations(axes);
  if (Math.max(...dilation) === 1) {
    return avgPool2d(whole, { kernelSize, stride, divisorOverride: 1 });
  }
  const [n, channels, ...size] = whole.shape as [number, number, number, number];
  const images = reshape(whole, [n * channels, 1, ...size]);
  const weight = ones([1, 1, ...kernelSize], { dtype: x.dtype, device: x.device });
  const y = conv2d(images, weight, null, { stride, dilation, precision: "float32" });
  return reshape(y, [n, channels, ...y.shape.slice(2)]);
};

// Divided by how many places of each window are in the image, or in that and its padding.
const averaged = (countIncludePad: boolean): Pool => (x, axes) => {
  const options = own(axes);
  if (options && Math.max(...dilations(axes)) === 1) {
    return avgPool2d(x, { ...options, countIncludePad });
  }
  const [h, w] = axes.map(({ extent, kernel, stride, dilation, before, after, out }) => {
    const [low, high] = countIncludePad ? [-before, extent + after] : [0, extent];
    const places = (from: number) => Array.from({ length: kernel }, (_, k) => from + k * dilation);
    return Array.from(
      { length: out },
      (_, i) => places(i * stride - before).filter((at) => at >= low && at < high).length,
    );
  });
  const shares = h!.map((rows) => w!.map((columns) => 1 / (rows * columns)));
  return mul(summed(x, axes), tensor(shares, { dtype: x.dtype, device: x.device }));
};

const maximum: Pool = (x, axes) => {
  const dilation = dilations(axes);
  const options = own(axes);
  return options
    ? maxPool2d(x, { ...options, dilation })
    : maxPool2d(padded(x, axes, -Infinity), { ...windows(axes), dilation });
};

// Places count through all of x, row by row or column by column.
function located(c: Context, x: Tensor, axes: readonly Axis[]): [Tensor, Tensor] {
  let places: Tensor | undefined;
  const values = overAxes(c, x, axes, (x, axes) => {
    const options = own(axes);
    const whole = options ? x : padded(x, axes, -Infinity);
    const found = maxPool2d(whole, {
      ...options ?? windows(axes),
      dilation: dilations(axes),
      returnIndices: true,
    });
    const [h, w] = axes as [Axis, Axis];
    const [left, top] = options ? [0, 0] : [w.before, h.before];
    const width = whole.shape[3]!;
    const row = floorDivide(found.indices, width);
    const column = sub(sub(found.indices, mul(row, width)), left);
    const [across, down] = c.int("storage_order", 0) ? [h.extent, 1] : [1, w.extent];
    const place = add(mul(sub(row, top), down), mul(column, across));
    const [n, channels] = x.shape as [number, number];
    const images = arange(0, n * channels, 1, { dtype: "int32", device: x.device });
    places = add(place, mul(reshape(images, [n, channels, 1, 1]), h.extent * w.extent));
    return found.values;
  });
  return [values, reshape(places!, values.shape)];
}

const axesOf = (c: Context) => windowsOf(c, c.value(0).shape.slice(2), c.ints("kernel_shape"));

const maxPooled: Operator = (c): Result => {
  const axes = axesOf(c);
  if (!c.wants(1)) return c.wide((x) => overAxes(c, x, axes, maximum, true));
  let places: Tensor;
  const values = c.wide((x) => {
    const [values, found] = located(c, x, axes);
    places = found;
    return values;
  });
  return [values, c.as("int64", places!)];
};

const lpPooled: Operator = (c) => {
  const p = c.opset < 2 ? c.float("p", 2) : c.int("p", 2);
  return pow(overAxes(c, pow(abs(c.x), p), axesOf(c), summed, true), 1 / p);
};

const globally =
  (fn: (x: Tensor, axes: readonly number[], c: Context) => Tensor): Operator => (c) =>
    fn(c.x, c.x.shape.map((_, d) => d).slice(2), c);

/** Poolings. */
export const pool: Family = {
  MaxPool: maxPooled,
  AveragePool: (c) =>
    overAxes(c, c.x, axesOf(c), averaged(c.int("count_include_pad", 0) > 0), true),
  LpPool: lpPooled,
  GlobalAveragePool: globally((x, axes) => mean(x, axes, { keepDims: true })),
  GlobalMaxPool: globally((x, axes) => max(x, axes, { keepDims: true })),
  GlobalLpPool: globally((x, axes, c) => {
    return norm(x, axes, { keepDims: true, p: c.opset < 2 ? c.float("p", 2) : c.int("p", 2) });
  }),
};
