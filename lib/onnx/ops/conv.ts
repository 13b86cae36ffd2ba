// Convolutions.
import { conv2d, convTranspose2d } from "../../ops/conv/mod.ts";
import { add } from "../../ops/elementwise/mod.ts";
import { pad, reshape, unsqueeze } from "../../ops/shape/mod.ts";
import type { Tensor } from "../../tensor.ts";
import { fusedActivation } from "./activation.ts";
import type { Context, Family, Operator } from "./_operator.ts";
import { both, overAxes, windowsOf } from "./_windows.ts";

const asImages = (x: Tensor) => x.rank === 3 ? unsqueeze(x, 2) : x;

/** The node's convolution of x. */
export function convolved(
  c: Context,
  x: Tensor,
  weight: Tensor,
  bias?: Tensor,
  activation?: "relu",
): Tensor {
  const axes = windowsOf(c, x.shape.slice(2), weight.shape.slice(2));
  return overAxes(c, x, axes, (x, axes) => {
    const [h, w] = axes.map(({ before, after }) => [before, after] as const);
    return conv2d(x, asImages(weight), bias, {
      stride: both(axes, ({ stride }) => stride),
      padding: [h!, w!],
      dilation: both(axes, ({ dilation }) => dilation),
      groups: c.int("group", 1),
      activation,
    });
  });
}

const plain = (c: Context, activation?: "relu") =>
  convolved(c, c.x, c.value(1).tensor("channelsLast"), c.maybe(2), activation);

// An activation, which gets what is added (z) too.
const fused: Operator = (c) => {
  const z = c.maybe(3);
  if (!z && c.string("activation", "") === "Relu") return plain(c, "relu");
  return fusedActivation(c, z ? add(plain(c), z) : plain(c));
};

// The size of the result, from the attributes that there are, says what is cut off.
const transposed: Operator = (c) => {
  const { x } = c;
  const weight = asImages(c.value(1).tensor("channelsLast"));
  const kernels = c.value(1).shape.slice(2);
  const zeros = kernels.map(() => 0);
  const auto = c.string("auto_pad", "NOTSET");
  const [pads, more] = [c.ints("pads", [...zeros, ...zeros]), c.ints("output_padding", zeros)];
  const wanted = c.ints("output_shape", []).slice(-kernels.length);
  const axes = windowsOf(c, x.shape.slice(2), kernels).map((axis, d) => {
    const full = (axis.extent - 1) * axis.stride + axis.span;
    const open = full + more[d]!;
    const same = auto.startsWith("SAME") ? axis.extent * axis.stride : undefined;
    const out = wanted[d] ?? same;
    if (out === undefined) {
      const [before, after] = auto === "VALID" ? [0, 0] : [pads[d]!, pads[d + kernels.length]!];
      return { ...axis, before, after: open - full - after, out: open - before - after };
    }
    const total = Math.max(0, open - out);
    const before = auto === "SAME_UPPER" ? Math.floor(total / 2) : Math.ceil(total / 2);
    return { ...axis, before, after: out - full + before, out };
  });
  return overAxes(c, x, axes, (x, axes) => {
    const options = {
      stride: both(axes, ({ stride }) => stride),
      dilation: both(axes, ({ dilation }) => dilation),
      groups: c.int("group", 1),
    };
    // Uneven ones are those of a larger result on one side.
    const even = axes.every(({ before, after, stride, dilation }) =>
      before + after >= 0 && before + after < Math.max(stride, dilation)
    );
    const bias = c.maybe(2);
    if (even) {
      const outputPadding = both(axes, ({ before, after }) => before + after);
      const padding = both(axes, ({ before }) => before);
      return convTranspose2d(x, weight, bias, { ...options, padding, outputPadding });
    }
    const [h, w] = axes.map(({ before, after }) => [-before, after] as const);
    const y = pad(convTranspose2d(x, weight, null, options), [[0, 0], [0, 0], h!, w!]);
    return bias ? add(y, reshape(bias, [1, -1, 1, 1])) : y;
  });
};

/** Convolutions. */
export const conv: Family = {
  Conv: (c) => plain(c),
  "com.microsoft:FusedConv": fused,
  ConvTranspose: transposed,
};
