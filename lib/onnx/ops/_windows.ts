// How windows go over what is behind the channels: what convolutions and poolings share.
import type { Shape } from "../../core/shape.ts";
import { reshape, squeeze, unsqueeze } from "../../ops/shape/mod.ts";
import type { Tensor } from "../../tensor.ts";
import type { Context } from "./_operator.ts";

/** The windows along one axis, with what is around it on both sides. */
export interface Axis {
  readonly extent: number;
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  readonly before: number;
  readonly after: number;
  /** How many places a window spans. */
  readonly span: number;
  /** How many windows there are. */
  readonly out: number;
}

/** An axis that nothing moves along. */
const still = (extent: number): Axis => {
  return { extent, kernel: 1, stride: 1, dilation: 1, before: 0, after: 0, span: 1, out: extent };
};

/** A node's windows of the extents `kernel`, by axis. */
export function windowsOf(c: Context, extents: Shape, kernels: Shape): Axis[] {
  const ones = extents.map(() => 1);
  const [strides, dilations] = [c.ints("strides", ones), c.ints("dilations", ones)];
  const pads = c.ints("pads", [...ones, ...ones].fill(0));
  const auto = c.string("auto_pad", "NOTSET");
  const up = c.int("ceil_mode", 0) > 0;
  return extents.map((extent, d) => {
    const [kernel, stride, dilation] = [kernels[d]!, strides[d]!, dilations[d]!];
    const span = (kernel - 1) * dilation + 1;
    const axis = { extent, kernel, stride, dilation, span };
    if (auto.startsWith("SAME")) {
      const out = Math.ceil(extent / stride);
      const total = Math.max(0, (out - 1) * stride + span - extent);
      const before = auto === "SAME_LOWER" ? Math.ceil(total / 2) : Math.floor(total / 2);
      return { ...axis, before, after: total - before, out };
    }
    const none = auto === "VALID";
    const [before, after] = none ? [0, 0] : [pads[d]!, pads[d + extents.length]!];
    const steps = (extent + before + after - span) / stride;
    let out = (up ? Math.ceil(steps) : Math.floor(steps)) + 1;
    if (up && (out - 1) * stride >= extent + before) out--; // begins in what is behind
    return { ...axis, before, after, out };
  });
}

/** Both numbers that something is along two axes. */
export const both = (
  axes: readonly Axis[],
  number: (axis: Axis) => number,
): [number, number] => [number(axes[0]!), number(axes[1]!)];

/** A function of images for x of one to three axes behind the channels. */
export function overAxes(
  c: Context,
  x: Tensor,
  axes: readonly Axis[],
  fn: (x: Tensor, axes: readonly Axis[]) => Tensor,
  volumes = false,
): Tensor {
  if (axes.length === 2) return fn(x, axes);
  if (axes.length === 1) return squeeze(fn(unsqueeze(x, 2), [still(1), axes[0]!]), 2);
  if (axes.length !== 3 || !volumes) c.fail(`${axes.length} axes to go along are not supported`);
  // The planes of all depths, then lines through them.
  const [n, channels, depth, height, width] = x.shape as [number, number, number, number, number];
  const [d, h, w] = axes as [Axis, Axis, Axis];
  const planes = fn(reshape(x, [n, channels * depth, height, width]), [h, w]);
  const pixels = h.out * w.out;
  const y = fn(reshape(planes, [n, channels, depth, pixels]), [d, still(pixels)]);
  return reshape(y, [n, channels, d.out, h.out, w.out]);
}
