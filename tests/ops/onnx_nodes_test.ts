// ONNX's tests of the operators of images, where CUDENO_ONNX_TESTDATA names the folder that has
// them: `node` and others (Debian's libonnx-testdata has it in /usr/share/libonnx-testdata/data).
import { assertEquals, assertLessOrEqual } from "@std/assert";
import {
  adaptiveAvgPool2d,
  adaptiveMaxPool2d,
  avgPool1d,
  avgPool2d,
  batchNorm,
  conv1d,
  conv2d,
  convTranspose2d,
  devices,
  gridSample,
  instanceNorm,
  layerNorm,
  localResponseNorm,
  maxPool1d,
  maxPool2d,
  ones,
  pad,
  pixelShuffle,
  pixelUnshuffle,
  scope,
  type Tensor,
  upsample,
} from "../../mod.ts";
import { type Attribute, graphOf, Message, type Node, tensorOf } from "./_onnx.ts";

// What is not offered, by the names of tests.
const outside: [names: RegExp, reason: string][] = [
  [/_3d_default|transpose_3d|(Conv|Pool|Norm)3d/, "volumes"],
  [/maxunpool/, "there is no maxUnpool"],
  [/maxpool_2d_uint8|edge_pad|reflect_pad/, "whole numbers"],
  [/argmax_2d_precomputed_strides/, "indices that count columns first"],
  [/exclude_outside|cubic_asymmetric|tf_crop/, "PyTorch's cubic coefficients and places alone"],
  [/downsample_.*nearest|nearest_(ceil|floor|round)/, "nearest is floor(i in / out) alone"],
  [/downsample_scales_(cubic|linear)_align/, "places by a size that is not rounded"],
  [/linear_pytorch_half_pixel/, "one pixel is the middle, which it is not there"],
];
const chosen = new RegExp(
  "^test_((basic_)?conv_|convtranspose|max(un)?pool|averagepool|global|batchnorm|instancenorm|lrn" +
    "|layer_norm.*[^d]$|upsample|resize|gridsample|depthtospace|spacetodepth" +
    "|(constant|edge|reflect)_pad|(Conv|BatchNorm|AvgPool|MaxPool|[A-Z][a-z]+Pad)[T0-9]" +
    "|operator_(conv|maxpool|pad))",
);

type Pads = [before: number, after: number][];

const numbers = (x: Attribute | undefined): number[] | undefined => x as number[] | undefined;

/** The attributes of a node that goes with windows over an image of this size, completed. */
function windows({ attributes: a }: Node, size: number[], kernel: readonly number[]) {
  const all = size.map(() => 1);
  const [stride, dilation] = [numbers(a.strides) ?? all, numbers(a.dilations) ?? all];
  const extent = kernel.map((k, i) => (k - 1) * dilation[i]! + 1);
  const same = `${a.auto_pad ?? ""}`.startsWith("SAME");
  const pads: Pads = size.map((n, i) => {
    const total = Math.max(0, (Math.ceil(n / stride[i]!) - 1) * stride[i]! + extent[i]! - n);
    const less = Math.floor(total / 2);
    if (same) return a.auto_pad === "SAME_UPPER" ? [less, total - less] : [total - less, less];
    return [numbers(a.pads)?.[i] ?? 0, numbers(a.pads)?.[i + size.length] ?? 0];
  });
  return { kernel, stride, dilation, extent, pads, groups: (a.group ?? 1) as number };
}

const flat = (x: Tensor) => x.reshape([...x.shape.slice(0, -1), 1, x.shape.at(-1)!]);
const line = (x: Tensor) => x.reshape([...x.shape.slice(0, -2), x.shape.at(-1)!]);
const pair = (x: readonly number[]) => x as [number, number];

function convolution(node: Node, x: Tensor, w: Tensor, b?: Tensor): Tensor {
  const { stride, dilation, pads, groups } = windows(node, x.shape.slice(2), w.shape.slice(2));
  if (x.rank === 3) {
    const options = { stride: stride[0]!, dilation: dilation[0]!, padding: pads[0]!, groups };
    return conv1d(x, w, b, options);
  }
  const padding = pads as [Pads[0], Pads[0]];
  return conv2d(x, w, b, { stride: pair(stride), dilation: pair(dilation), padding, groups });
}

function transposed(node: Node, x: Tensor, w: Tensor, b?: Tensor): Tensor {
  if (x.rank === 3) return line(transposed(node, flat(x), flat(w), b)); // without attributes
  const { attributes: a } = node;
  const size = x.shape.slice(2);
  const { stride, dilation, extent, groups } = windows(node, size, w.shape.slice(2));
  const more = numbers(a.output_padding) ?? [0, 0];
  const wanted = numbers(a.output_shape) ??
    (a.auto_pad === "SAME_UPPER" ? size.map((n, i) => n * stride[i]!) : undefined);
  const pads: Pads = size.map((n, i) => {
    if (!wanted) return [numbers(a.pads)?.[i] ?? 0, numbers(a.pads)?.[i + 2] ?? 0];
    const total = (n - 1) * stride[i]! + extent[i]! + more[i]! - wanted[i]!;
    return [Math.floor(Math.max(0, total) / 2), total - Math.floor(Math.max(0, total) / 2)];
  });
  // What is negative is more of the result; what is not the same on both sides is cut off.
  const outputPadding = pair(pads.map(([, after], i) => more[i]! + Math.max(0, -after)));
  const even = pads.every(([before, after]) => before === after);
  const padding = pair(pads.map(([before]) => even ? before : 0));
  const options = { stride: pair(stride), dilation: pair(dilation), groups };
  const y = convTranspose2d(x, w, b, { ...options, padding, outputPadding });
  const cut = pads.map(([before, after]): Pads[0] => [-before, -Math.max(0, after)]);
  return even ? y : pad(y, [[0, 0], [0, 0], ...cut]);
}

function pooled(node: Node, x: Tensor): Tensor[] {
  const { attributes: a } = node;
  const found = windows(node, x.shape.slice(2), numbers(a.kernel_shape)!);
  const { kernel, stride, dilation, pads } = found;
  const simple = pads.every(([before, after], i) => before === after && 2 * before <= kernel[i]!);
  const around = (x: Tensor, value: number) =>
    simple ? x : pad(x, [[0, 0], [0, 0], ...pads], { value });
  const of = (list: readonly number[]) => (list.length === 1 ? list[0] : list) as number;
  const options = {
    ...{ kernelSize: of(kernel), stride: of(stride), ceilMode: a.ceil_mode === 1 },
    padding: simple ? of(pads.map(([before]) => before)) : 0,
  };
  const [max, avg] = x.rank === 3 ? [maxPool1d, avgPool1d] : [maxPool2d, avgPool2d];
  if (node.kind === "MaxPool") {
    const more = { dilation: of(dilation), returnIndices: true } as const;
    const { values, indices } = max(around(x, -Infinity), { ...options, ...more });
    return [values, indices];
  }
  const countIncludePad = a.count_include_pad === 1;
  if (simple || countIncludePad) return [avg(around(x, 0), { ...options, countIncludePad })];
  const share = avg(around(ones(x.shape, { device: x.device }), 0), options);
  return [avg(around(x, 0), options).div(share)];
}

function resized({ attributes: a }: Node, x: Tensor, scales: Tensor | undefined, sizes?: Tensor) {
  const mode =
    { nearest: "nearest", linear: "bilinear", cubic: "bicubic" }[`${a.mode ?? "nearest"}`];
  const [, , ...last] = [...(sizes ?? scales)!.dataSync()].map(Number);
  return upsample(x, {
    [sizes ? "size" : "scaleFactor"]: last,
    mode: mode as "nearest",
    ...(mode !== "nearest" && {
      alignCorners: a.coordinate_transformation_mode === "align_corners",
    }),
  });
}

// ONNX's running variance is of the biased one, and its momentum the share of the old.
function normalized({ attributes: a, outputs }: Node, x: Tensor, ...given: Tensor[]): Tensor[] {
  const [weight, bias, mean, variance] = given.map((x) => x.clone());
  const eps = (a.epsilon ?? 1e-5) as number, momentum = 1 - ((a.momentum ?? 0.9) as number);
  const training = outputs.length > 1;
  const y = batchNorm(x, {
    ...{ weight, bias, runningMean: mean, runningVar: variance, training, eps, momentum },
  });
  if (!training) return [y];
  const n = x.size / x.shape[1]!, old = given[3]!.mul(1 - momentum);
  return [y, mean!, variance!.sub(old).mul((n - 1) / n).add(old)];
}

// Of [c, r, r], as pixelShuffle() has them, or of [r, r, c].
function depthToSpace({ attributes: a }: Node, x: Tensor): Tensor {
  const r = a.blocksize as number;
  if (a.mode === "CRD") return pixelShuffle(x, r);
  const [n, c, h, w] = x.shape as [number, number, number, number];
  return pixelShuffle(
    x.reshape([n, r * r, c / r / r, h, w]).permute([0, 2, 1, 3, 4]).reshape(x.shape),
    r,
  );
}

function spaceToDepth({ attributes: a }: Node, x: Tensor): Tensor {
  const r = a.blocksize as number;
  const [n, c, h, w] = pixelUnshuffle(x, r).shape as [number, number, number, number];
  return pixelUnshuffle(x, r).reshape([n, c / r / r, r * r, h, w]).permute([0, 2, 1, 3, 4])
    .reshape([n, c, h, w]);
}

function padded({ attributes: a }: Node, x: Tensor, pads?: Tensor, value?: Tensor): Tensor {
  const list = pads ? [...pads.dataSync()].map(Number) : numbers(a.pads ?? a.paddings)!;
  const mode = ({ reflect: "reflect", edge: "replicate" } as const)[`${a.mode}`] ?? "constant";
  const fill = (value?.itemSync() ?? a.value ?? 0) as number;
  return pad(x, x.shape.map((_, i) => [list[i]!, list[i + x.rank]!]), { mode, value: fill });
}

type Run = (node: Node, ...inputs: Tensor[]) => Tensor | Tensor[];

const operators: Record<string, Run> = {
  Conv: convolution as Run,
  ConvTranspose: transposed as Run,
  MaxPool: pooled as Run,
  AveragePool: pooled as Run,
  GlobalAveragePool: (_, x) => adaptiveAvgPool2d(x!, 1),
  GlobalMaxPool: (_, x) => adaptiveMaxPool2d(x!, 1),
  BatchNormalization: normalized as Run,
  InstanceNormalization: ({ attributes: a }, x, weight, bias) =>
    instanceNorm(x!, { weight, bias, eps: (a.epsilon ?? 1e-5) as number }),
  LayerNormalization: ({ attributes: a }, x, weight, bias) => {
    const axis = (a.axis ?? -1) as number;
    const shape = x!.shape.slice(axis);
    return layerNorm(x!, shape, { weight, bias, eps: (a.epsilon ?? 1e-5) as number });
  },
  LRN: ({ attributes: a }, x) => {
    const { alpha = 1e-4, beta = 0.75, bias: k = 1 } = a as Record<string, number>;
    return localResponseNorm(x!, a.size as number, { alpha, beta, k });
  },
  Upsample: (node, x, scales) => resized(node, x!, scales),
  Resize: (node, x, _roi, scales, sizes) => resized(node, x!, scales, sizes),
  GridSample: ({ attributes: a }, x, grid) =>
    gridSample(x!, grid!, {
      mode: (a.mode ?? "bilinear") as "bilinear",
      paddingMode: (a.padding_mode ?? "zeros") as "zeros",
      alignCorners: a.align_corners === 1,
    }),
  DepthToSpace: depthToSpace as Run,
  SpaceToDepth: spaceToDepth as Run,
  Pad: padded as Run,
  Unsqueeze: ({ attributes: a }, x) => numbers(a.axes)!.reduce((y, axis) => y.unsqueeze(axis), x!),
  Squeeze: ({ attributes: a }, x) => numbers(a.axes)!.reduceRight((y, axis) => y.squeeze(axis), x!),
};

interface Found {
  name: string;
  folder: string;
}

function found(): Found[] {
  const root = Deno.env.get("CUDENO_ONNX_TESTDATA");
  if (!root) return [];
  return ["node", "pytorch-converted", "pytorch-operator"].flatMap((kind) =>
    [...Deno.readDirSync(`${root}/${kind}`)].map(({ name }) => ({
      name,
      folder: `${root}/${kind}/${name}`,
    }))
  ).filter(({ name }) => chosen.test(name)).toSorted((a, b) => a.name < b.name ? -1 : 1);
}

const all = found();
Deno.test({
  name: "onnx: operators compute what ONNX's tests say (they need CUDENO_ONNX_TESTDATA)",
  ignore: all.length === 0,
  fn: () => assertLessOrEqual(100, all.length),
});

for (const { device } of devices()) {
  for (const { name, folder } of all.filter(({ name }) => !outside.some(([x]) => x.test(name)))) {
    Deno.test(`onnx: ${name} on ${device}`, () =>
      scope(() => {
        const graph = graphOf(Deno.readFileSync(`${folder}/model.onnx`), device);
        const file = (name: string) =>
          tensorOf(
            new Message(Deno.readFileSync(`${folder}/test_data_set_0/${name}.pb`)),
            device,
          );
        const values = graph.constants;
        graph.inputs.forEach((name, i) => values.set(name, file(`input_${i}`)));
        for (const node of graph.nodes) {
          const run = operators[node.kind];
          if (!run) throw new Error(`there is no ${node.kind} here`);
          const given = node.inputs.map((name) => values.get(name));
          const results = [run(node, ...given as Tensor[])].flat();
          node.outputs.forEach((name, i) => results[i] && values.set(name, results[i]));
        }
        graph.outputs.forEach((output, i) => {
          const wanted = file(`output_${i}`);
          const y = values.get(output);
          if (!y) return; // a statistic that is no result here
          assertEquals(y.shape, wanted.shape);
          const expected = wanted.dataSync();
          y.dataSync().forEach((x, j) => {
            const value = expected[j]!; // of bicubic samples four digits are given
            const most = (/bicubic/.test(name) ? 5e-5 : 1e-5) * Math.max(1, Math.abs(value));
            if (!(Math.abs(x - value) <= most)) assertEquals(x, value, `${output}[${j}]`);
          });
        });
      }));
  }
}
