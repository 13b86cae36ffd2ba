// Convolutions, poolings, padding and resizing, with values worked out by hand.
import { assertRejects } from "@std/assert";
import { ones, onnx } from "../../mod.ts";
import { modelBytes, node, valueInfo } from "./_models.ts";
import { type NodeCase, testNode } from "./_nodes.ts";
import { cleanTest as test } from "../_helpers.ts";

const line = (...data: number[]): [number[], number[]] => [[1, 1, data.length], data];
const row = (...data: number[]): [number[], number[]] => [[1, 1, 1, data.length], data];
const list = (...data: number[]): [number[], number[]] => [[data.length], data];
const whole = (...data: number[]): [number[], number[], "int32"] => [[data.length], data, "int32"];

const conv: NodeCase[] = [
  {
    name: "same size, what is odd behind",
    op: "Conv",
    inputs: [line(1, 2, 3, 4), line(1, 1)],
    attributes: { auto_pad: "SAME_UPPER" },
    outputs: [line(3, 5, 7, 4)],
  },
  {
    name: "same size, what is odd before",
    op: "Conv",
    inputs: [line(1, 2, 3, 4), line(1, 1)],
    attributes: { auto_pad: "SAME_LOWER" },
    outputs: [line(1, 3, 5, 7)],
  },
  {
    name: "strides above the kernel need no padding",
    op: "Conv",
    inputs: [line(1, 2, 3, 4, 5, 6, 7), line(1)],
    attributes: { auto_pad: "SAME_UPPER", strides: [3] },
    outputs: [line(1, 4, 7)],
  },
  {
    name: "uneven pads, dilation, bias",
    op: "Conv",
    inputs: [line(1, 2, 3), line(1, 10), list(100)],
    attributes: { pads: [2, 0], dilations: [2] },
    outputs: [line(110, 120, 131)],
  },
  {
    name: "groups",
    op: "Conv",
    inputs: [[[1, 2, 1, 2], [1, 2, 3, 4]], [[2, 1, 1, 1], [10, 100]]],
    attributes: { group: 2 },
    outputs: [[[1, 2, 1, 2], [10, 20, 300, 400]]],
  },
  {
    name: "what is added before the activation",
    op: "com.microsoft:FusedConv",
    inputs: [row(1, 2), row(1), list(-2), row(0, 3)],
    attributes: { activation: "Relu" },
    outputs: [row(0, 3)],
  },
  // in full it is 1, 1, 3, 2, 2
  ...([
    ["SAME_UPPER", [1, 1, 3, 2]],
    ["SAME_LOWER", [1, 3, 2, 2]],
    ["VALID", [1, 1, 3, 2, 2]],
  ] as const).map(([auto_pad, y]): NodeCase => ({
    name: auto_pad,
    op: "ConvTranspose",
    inputs: [line(1, 2), line(1, 1, 1)],
    attributes: { auto_pad, strides: [2] },
    outputs: [line(...y)],
  })),
  {
    name: "a size that is asked for, cut before if odd",
    op: "ConvTranspose",
    inputs: [line(1, 2), line(1, 1, 1)],
    attributes: { output_shape: [4], strides: [2] },
    outputs: [line(1, 3, 2, 2)],
  },
  {
    name: "what is beyond the sums has the bias",
    op: "ConvTranspose",
    inputs: [line(1, 2), line(1, 1, 1), list(5)],
    attributes: { output_shape: [7], strides: [2] },
    outputs: [line(6, 6, 8, 7, 7, 5, 5)],
  },
  {
    name: "uneven pads and output_padding",
    op: "ConvTranspose",
    inputs: [line(1, 2), line(1, 1, 1)],
    attributes: { pads: [2, 0], output_padding: [1], strides: [2] },
    outputs: [line(3, 2, 2, 0)],
  },
];

const pool: NodeCase[] = [
  {
    name: "the last window reaches beyond",
    op: "MaxPool",
    inputs: [line(1, 2, 3, 4, 5, 6)],
    attributes: { kernel_shape: [3], strides: [4], ceil_mode: 1 },
    outputs: [line(3, 6)],
  },
  {
    name: "no window that begins behind",
    op: "MaxPool",
    inputs: [line(1, 2, 3, 4)],
    attributes: { kernel_shape: [2], strides: [4], ceil_mode: 1 },
    outputs: [line(2)],
  },
  ...[0, 1].map((order): NodeCase => ({
    name: `places through all of x, order ${order}, uneven pads`,
    op: "MaxPool",
    inputs: [[[1, 2, 2, 2], [4, -3, -2, -1, -8, -7, -5, -6]]],
    attributes: { kernel_shape: [2, 2], pads: [1, 0, 0, 0], strides: [2, 1], storage_order: order },
    outputs: [
      [[1, 2, 1, 1], [4, -7]],
      [[1, 2, 1, 1], [0, order ? 6 : 5]],
    ],
  })),
  {
    name: "integers",
    op: "MaxPool",
    inputs: [[[1, 1, 4], [3, 1, 2, 5], "int32"]],
    attributes: { kernel_shape: [2] },
    outputs: [line(3, 2, 5)],
  },
  // windows of 0 1 2, 2 3 4, and 4 0 of which nothing counts beyond the pads
  ...[0, 1].map((count_include_pad): NodeCase => ({
    name: `divided by what counts, count_include_pad ${count_include_pad}`,
    op: "AveragePool",
    inputs: [line(1, 2, 3, 4)],
    attributes: { kernel_shape: [3], strides: [2], pads: [1, 1], ceil_mode: 1, count_include_pad },
    outputs: [count_include_pad ? line(1, 3, 2) : line(1.5, 3, 4)],
  })),
  ...[0, 1].map((count_include_pad): NodeCase => ({
    name: `uneven pads, count_include_pad ${count_include_pad}`,
    op: "AveragePool",
    inputs: [line(1, 2, 3)],
    attributes: { kernel_shape: [2], auto_pad: "SAME_UPPER", count_include_pad },
    outputs: [line(1.5, 2.5, count_include_pad ? 1.5 : 3)],
  })),
  {
    name: "dilations",
    op: "AveragePool",
    version: 19,
    inputs: [line(1, 2, 3, 4, 5)],
    attributes: { kernel_shape: [2], dilations: [3] },
    outputs: [line(2.5, 3.5)],
  },
  {
    name: "three axes",
    op: "AveragePool",
    inputs: [[[1, 1, 2, 2, 2], [1, 2, 3, 4, 5, 6, 7, 8]]],
    attributes: { kernel_shape: [2, 1, 2] },
    outputs: [[[1, 1, 1, 2, 1], [3.5, 5.5]]],
  },
  {
    name: "Euclid's norm",
    op: "LpPool",
    inputs: [line(3, -4, 0)],
    attributes: { kernel_shape: [2] },
    outputs: [line(5, 4)],
  },
];

const pad: NodeCase[] = [
  {
    name: "what is cut off is not mirrored",
    op: "Pad",
    inputs: [list(1, 2, 3, 4), whole(-1, 2)],
    attributes: { mode: "reflect" },
    outputs: [list(2, 3, 4, 3, 2)],
  },
  {
    name: "attributes up to opset 10",
    op: "Pad",
    version: 10,
    inputs: [list(1, 2)],
    attributes: { pads: [1, 1], value: { f: 7 } },
    outputs: [list(7, 1, 2, 7)],
  },
  {
    name: "some axes, integers",
    op: "Pad",
    version: 18,
    inputs: [[[2, 1], [1, 2], "int32"], whole(1, 0), [[], [9], "int32"], whole(-1)],
    outputs: [[[2, 2], [9, 1, 9, 2]]],
  },
];

const sizes = (...n: number[]) => [null, null, whole(1, 1, 1, ...n)];
const resize = (
  name: string,
  x: number[],
  y: number[],
  mode: string,
  attributes: Record<string, unknown> = {},
): NodeCase => ({
  name: `${name}, ${mode}`,
  op: "Resize",
  version: 19,
  inputs: [row(...x), ...sizes(y.length)],
  attributes: { mode, ...attributes },
  outputs: [row(...y)],
});
const at = (coordinate_transformation_mode: string, more = {}) => {
  return { coordinate_transformation_mode, ...more };
};
const images: NodeCase[] = [
  resize("halves", [1, 2], [1, 1.25, 1.75, 2], "linear"),
  resize("middles of the ends", [1, 2, 4], [1, 1.5, 2, 3, 4], "linear", at("align_corners")),
  resize("from the left", [1, 2], [1, 1.5, 2, 2], "linear", at("asymmetric")),
  resize("one", [1, 2, 3], [1], "linear", at("pytorch_half_pixel")),
  resize("one", [1, 2, 3], [2], "linear", at("half_pixel")),
  resize("ties", [1, 2, 3], [2], "nearest", at("half_pixel", { nearest_mode: "floor" })),
  // at 0.5 and 2.5
  ...([["round_prefer_floor", 1, 3], ["round_prefer_ceil", 2, 4], ["ceil", 2, 4]] as const).map(
    ([nearest_mode, a, b]) =>
      resize(nearest_mode, [1, 2, 3, 4], [a, b], "nearest", { nearest_mode }),
  ),
  // weights 1/4, 3/4, 3/4, 1/4 of two pixels before and two behind
  resize("smooth", [1, 2, 3, 4], [1.625, 3.375], "linear", { antialias: 1 }),
  resize("inside", [1, 2, 3, 4], [3 / 1.75, 5 - 3 / 1.75], "linear", {
    antialias: 1,
    exclude_outside: 1,
  }),
  resize("beyond the border", [1, 1, 1], [1, 1, 1, 1, 1, 1], "cubic", { exclude_outside: 1 }),
  // 1.25 d^3 - 2.25 d^2 + 1 up to a distance of 1, -0.75 d^3 + 3.75 d^2 - 6 d + 3 up to 2
  resize(
    "Keys",
    [0, 0, 1, 0],
    [0, -0.03515625, -0.10546875, 0.26171875, 0.87890625, 0.87890625, 0.26171875, -0.10546875],
    "cubic",
  ),
  {
    name: "a crop, and what is outside of the image",
    op: "Resize",
    version: 13,
    inputs: [row(1, 2, 3), list(0, 0, 0, 0.5, 1, 1, 1, 1.5), null, whole(1, 1, 1, 3)],
    attributes: at("tf_crop_and_resize", { mode: "linear", extrapolation_value: { f: 9 } }),
    outputs: [row(2, 3, 9)],
  },
  {
    name: "as it was in opset 10",
    op: "Resize",
    version: 10,
    inputs: [row(1, 2, 3, 4), list(1, 1, 1, 0.6)],
    outputs: [row(1, 3)],
  },
  {
    name: "one scale for all, as small as is needed",
    op: "Resize",
    version: 18,
    inputs: [[[1, 1, 2, 1], [1, 2]], null, null, whole(6, 2)],
    attributes: { axes: [2, 3], keep_aspect_ratio_policy: "not_larger" },
    outputs: [[[1, 1, 4, 2], [1, 1, 1, 1, 2, 2, 2, 2]]],
  },
  {
    name: "scales that are an attribute",
    op: "Upsample",
    version: 7,
    inputs: [row(1, 2)],
    attributes: { scales: { floats: [1, 1, 1, 2] } },
    outputs: [row(1, 1, 2, 2)],
  },
];

[...conv, ...pool, ...pad, ...images].forEach(testNode);

test("Conv: volumes are refused", async () => {
  const bytes = modelBytes({
    node: [node("Conv", ["x", "w"], ["y"])],
    input: [valueInfo("x", "float32"), valueInfo("w", "float32")],
    output: [{ name: "y" }],
  });
  using model = await onnx.load(bytes, { device: "cpu" });
  const [x, w] = [ones([1, 1, 2, 2, 2]), ones([1, 1, 1, 1, 1])];
  await assertRejects(
    async () => await model.run({ x, w }),
    Error,
    "3 axes to go along are not supported",
  );
});
