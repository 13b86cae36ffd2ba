import {
  conv1d,
  type Conv1dOptions,
  conv2d,
  type Conv2dOptions,
  convTranspose2d,
  type ConvTranspose2dOptions,
  convVariants,
  type DeviceName,
  type Shape,
  type Tensor,
} from "../../mod.ts";
import { build, fusedActivations, type Grid, sizeOf } from "../reference.ts";
import { type Case, floats, roundings, spiked } from "./case.ts";

type Four = [number, number, number, number];

interface Geometry {
  stride: readonly [number, number];
  /** Above and on the left. */
  padding: readonly [number, number];
  dilation: readonly [number, number];
  groups: number;
}

// By the definition, with the sum of the magnitudes of what is added.
function correlated(x: Grid, w: Grid, b: Grid | undefined, [p, q]: Shape, g: Geometry): Grid {
  const [n, c, height, width] = x.shape as Four;
  const [k, each, r, s] = w.shape as Four;
  const shape = [n, k, p!, q!];
  const values = new Float64Array(sizeOf(shape)), magnitudes = new Float64Array(sizeOf(shape));
  let at = 0;
  for (let image = 0; image < n; image++) {
    for (let filter = 0; filter < k; filter++) {
      const first = Math.floor(filter / (k / g.groups)) * each;
      for (let i = 0; i < p!; i++) {
        for (let j = 0; j < q!; j++, at++) {
          const bias = b?.values[filter] ?? 0;
          values[at] = bias, magnitudes[at] = Math.abs(bias);
          for (let channel = 0; channel < each; channel++) {
            for (let u = 0; u < r; u++) {
              for (let v = 0; v < s; v++) {
                const row = i * g.stride[0] - g.padding[0] + u * g.dilation[0];
                const column = j * g.stride[1] - g.padding[1] + v * g.dilation[1];
                if (row < 0 || row >= height || column < 0 || column >= width) continue;
                const term =
                  x.values[((image * c + first + channel) * height + row) * width + column]! *
                  w.values[((filter * each + channel) * r + u) * s + v]!;
                values[at]! += term;
                magnitudes[at]! += Math.abs(term);
              }
            }
          }
        }
      }
    }
  }
  return { shape, values, magnitudes };
}

// x spread out with zeros between its elements, and the filters turned round: then a transposed
// convolution is one.
function transposed(
  x: Grid,
  w: Grid,
  b: Grid | undefined,
  { stride = [1, 1], padding = [0, 0], outputPadding = [0, 0], dilation = [1, 1], groups = 1 }: {
    stride?: [number, number];
    padding?: [number, number];
    outputPadding?: [number, number];
    dilation?: [number, number];
    groups?: number;
  },
): Grid {
  const [n, c, h, width] = x.shape as Four;
  const [, each, r, s] = w.shape as Four;
  const spread = [(h - 1) * stride[0] + 1, (width - 1) * stride[1] + 1];
  const wide = {
    shape: [n, c, ...spread],
    values: new Float64Array(n * c * spread[0]! * spread[1]!),
  };
  for (let i = 0; i < x.values.length; i++) {
    const [column, row, image] = [i % width, Math.floor(i / width) % h, Math.floor(i / width / h)];
    wide.values[(image * spread[0]! + row * stride[0]) * spread[1]! + column * stride[1]] = x
      .values[i]!;
  }
  const k = each * groups, own = c / groups;
  const turned = { shape: [k, own, r, s], values: new Float64Array(k * own * r * s) };
  for (let filter = 0; filter < k; filter++) {
    for (let channel = 0; channel < own; channel++) {
      for (let tap = 0; tap < r * s; tap++) {
        const from = Math.floor(filter / each) * own + channel;
        turned.values[(filter * own + channel) * r * s + tap] = w
          .values[(from * each + filter % each) * r * s + r * s - 1 - tap]!;
      }
    }
  }
  const size = ([spread[0]!, spread[1]!] as const).map((extent, i) =>
    extent - 2 * padding[i]! + dilation[i]! * ([r, s][i]! - 1) + outputPadding[i]!
  );
  const around = [0, 1].map((i) => dilation[i]! * ([r, s][i]! - 1) - padding[i]!);
  return correlated(wide, turned, b, size, {
    stride: [1, 1],
    padding: around as [number, number],
    dilation,
    groups,
  });
}

const pair = (x: unknown, otherwise: number): [number, number] =>
  Array.isArray(x)
    ? x as [number, number]
    : [(x as number) ?? otherwise, (x as number) ?? otherwise];

// As the options say; "same" and sides are worked out here once more.
function geometryOf(x: Shape, w: Shape, options: Conv2dOptions): { size: Shape; g: Geometry } {
  const stride = pair(options.stride, 1), dilation = pair(options.dilation, 1);
  const extent = [0, 1].map((i) => dilation[i]! * (w[i + 2]! - 1) + 1);
  const { padding = 0 } = options;
  const sides = padding === "same"
    ? extent.map((e) => [Math.floor((e - 1) / 2), e - 1 - Math.floor((e - 1) / 2)])
    : padding === "valid"
    ? [[0, 0], [0, 0]]
    : pair(padding, 0).map((side) => Array.isArray(side) ? side : [side, side]);
  const size = [0, 1].map((i) =>
    Math.floor((x[i + 2]! + sides[i]![0]! + sides[i]![1]! - extent[i]!) / stride[i]!) + 1
  );
  const before = sides.map((side) => side[0]!) as [number, number];
  return { size, g: { stride, dilation, padding: before, groups: options.groups ?? 1 } };
}

// The largest of each 2 x 2 of ReLU(y).
function halved(y: Grid): Grid {
  const [h, w] = y.shape.slice(-2) as [number, number];
  const shape = [...y.shape.slice(0, -2), Math.floor(h / 2), Math.floor(w / 2)];
  const of = (values: ArrayLike<number>) =>
    build(shape, (index, at) => {
      const image = Math.floor(at / (shape.at(-1)! * shape.at(-2)!)) * h * w;
      const first = image + 2 * (index.at(-2)! * w + index.at(-1)!);
      return Math.max(0, ...[0, 1, w, w + 1].map((offset) => values[first + offset]!));
    });
  return { ...of(y.values), magnitudes: of(y.magnitudes!).values };
}

const variants = (call: (variant: string) => Case["call"], depthwise: boolean) =>
(
  device: DeviceName,
) =>
  convVariants(device).filter((name) => name !== "default" && (depthwise || name !== "depthwise"))
    .map((name) => ({
      name,
      optional: /implicit|direct|mma|winograd|cudnn/.test(name),
      call: call(name),
      // Winograd's errors are those of the largest pixels that a tile sees.
      ...(name === "winograd" && { tolerance: roundings(1000) }),
      // Its fast algorithms are less exact; in 16 bits it rounds before the bias is added.
      ...(name === "cudnn" && { tolerance: roundings(400), steps: 2 }),
    }));

function conv(
  name: string,
  options: Conv2dOptions,
  shapes: Case["shapes"],
  gradShapes: Case["shapes"],
): Case {
  const { groups = 1 } = options;
  const run = (variant?: string) => (x: Tensor, w: Tensor, b?: Tensor) =>
    conv2d(x, w, b, { ...options, ...(variant ? { variant } : {}) });
  return {
    name: `conv2d(${name})`,
    call: run(),
    reference: (x, w, b) => {
      const { size, g } = geometryOf(x!.shape, w!.shape, options);
      return correlated(x!, w!, b, size, g);
    },
    shapes,
    gradShapes,
    dtypes: floats,
    fill: [spiked(-1, 2, 3)],
    tolerance: roundings(40, 40),
    gradRoundings: 256,
    also: variants(run, shapes.every(([x, w]) => groups === x![1] && groups === w![0])),
    flops: ([, w], y) => 2 * sizeOf(w!.slice(1)) * sizeOf(y),
  };
}

function transpose(
  name: string,
  options: Parameters<typeof transposed>[3],
  shapes: Case["shapes"],
  gradShapes: Case["shapes"],
): Case {
  const run = (variant?: string) => (x: Tensor, w: Tensor, b?: Tensor) =>
    convTranspose2d(x, w, b, {
      ...options as ConvTranspose2dOptions,
      ...(variant ? { variant } : {}),
    });
  return {
    name: `convTranspose2d(${name})`,
    call: run(),
    reference: (x, w, b) => transposed(x!, w!, b, options),
    shapes,
    gradShapes,
    dtypes: floats,
    fill: [spiked(-1, 2, 3)],
    tolerance: roundings(40, 40),
    steps: 2, // the bias comes after
    gradRoundings: 256,
    also: variants(run, false),
  };
}

const line: Conv1dOptions = { stride: 2, padding: [2, 1], dilation: 2 };

export const convCases: readonly Case[] = [
  conv("", {}, [
    [[2, 3, 5, 4], [4, 3, 3, 2], [4]],
    [[1, 1, 1, 1], [1, 1, 1, 1]],
    [[3, 5, 1, 1], [2, 5, 1, 1], [2]],
    [[2, 1, 28, 28], [6, 1, 5, 5], [6]],
    [[1, 17, 9, 8], [33, 17, 3, 3]],
    [[2, 64, 7, 9], [24, 64, 1, 1], [24]],
    [[2, 16, 7, 9], [24, 16, 3, 2], [24]],
    [[3, 72, 4, 5], [8, 72, 2, 3]],
    [[0, 3, 5, 4], [4, 3, 3, 2], [4]],
  ], [[[2, 2, 3, 4], [3, 2, 2, 3], [3]], [[1, 2, 2, 2], [2, 2, 1, 1]]]),
  conv("stride 2, padding 1", { stride: 2, padding: 1 }, [
    [[2, 4, 7, 6], [5, 4, 3, 3], [5]],
    [[1, 3, 1, 1], [2, 3, 3, 3]],
    [[2, 3, 16, 15], [8, 3, 7, 7]],
    [[3, 8, 5, 5], [16, 8, 1, 1], [16]],
    [[1, 40, 10, 12], [70, 40, 3, 3], [70]],
    [[2, 24, 9, 7], [16, 24, 3, 3], [16]],
    [[5, 8, 6, 5], [136, 8, 1, 1]],
  ], [[[1, 2, 4, 3], [2, 2, 3, 3], [2]]]),
  ...([[3, 2], [9, 9]] as const).map((stride) =>
    conv(`stride [${stride}], padding 1`, { stride, padding: 1 }, [
      [[2, 3, 11, 5], [4, 3, 3, 2], [4]],
      [[2, 16, 11, 9], [24, 16, 5, 4], [24]],
    ], [])
  ),
  conv("stride [3, 2], dilation [2, 1]", { stride: [3, 2], dilation: [2, 1] }, [
    [[2, 3, 11, 5], [4, 3, 3, 2], [4]],
    [[1, 8, 9, 9], [8, 8, 2, 2]],
    [[2, 16, 9, 8], [24, 16, 3, 3], [24]],
  ], [[[1, 1, 6, 4], [2, 1, 2, 2], [2]]]),
  conv('padding "same", dilation 2', { padding: "same", dilation: 2 }, [
    [[2, 3, 6, 7], [4, 3, 3, 2], [4]],
    [[1, 2, 1, 2], [3, 2, 4, 3]],
    [[2, 16, 6, 7], [8, 16, 3, 3], [8]],
    [[1, 128, 6, 5], [16, 128, 2, 3]],
  ], [[[1, 2, 3, 2], [1, 2, 2, 3], [1]]]),
  conv("sides [[1, 0], [0, 2]]", { padding: [[1, 0], [0, 2]], stride: [1, 2] }, [
    [[2, 2, 4, 5], [3, 2, 2, 3], [3]],
  ], [[[1, 1, 3, 3], [2, 1, 2, 2], [2]]]),
  conv("2 groups", { groups: 2, padding: 1 }, [
    [[2, 4, 5, 6], [6, 2, 3, 3], [6]],
    [[1, 32, 6, 5], [48, 16, 3, 3]],
    [[2, 2, 4, 4], [6, 1, 2, 2], [6]],
    [[2, 8, 3, 4], [4, 4, 1, 1], [4]],
    [[2, 64, 7, 5], [48, 32, 3, 3], [48]],
  ], [[[1, 4, 3, 2], [2, 2, 2, 2], [2]]]),
  conv("depthwise", { groups: 6, padding: 1, stride: [1, 2] }, [
    [[2, 6, 5, 7], [6, 1, 3, 3], [6]],
    [[1, 6, 9, 4], [6, 1, 2, 5]],
  ], [[[1, 6, 3, 2], [6, 1, 2, 2], [6]]]),
  ...[1, 2].map((stride) =>
    conv(`square filters, depthwise, stride ${stride}`, { groups: 20, padding: 2, stride }, [
      [[2, 20, 19, 6], [20, 1, 3, 3], [20]],
      [[2, 20, 9, 11], [20, 1, 5, 5], [20]],
      [[1, 20, 9, 6], [20, 1, 7, 7]],
    ], [])
  ),
  conv("300 channels, depthwise", { groups: 300, padding: [1, 2] }, [
    [[1, 300, 3, 4], [300, 1, 2, 5], [300]],
  ], []),
  ...(["relu", "gelu", "silu"] as const).map((activation): Case => {
    const plain = conv(activation, { padding: 1 }, [
      [[2, 3, 4, 5], [4, 3, 3, 3], [4]],
      [[2, 32, 5, 6], [12, 32, 3, 3], [12]],
    ], [[[1, 2, 3, 2], [2, 2, 2, 2], [2]]]);
    const call = (x: Tensor, w: Tensor, b?: Tensor) => conv2d(x, w, b, { padding: 1, activation });
    const after = (y: Grid): Grid => ({
      ...y,
      values: Float64Array.from(y.values, fusedActivations[activation].of),
    });
    const also = variants(
      (variant) => (x, w, b) => conv2d(x, w, b, { padding: 1, activation, variant }),
      false,
    );
    return { ...plain, call, also, reference: (...inputs) => after(plain.reference(...inputs)) };
  }),
  ...([{ padding: 1 }, { stride: 2 }] as const).map((options): Case => {
    const pooled = { ...options, activation: "relu", maxPool: 2 } as const;
    const plain = conv(JSON.stringify(pooled), options, [
      [[2, 3, 7, 6], [4, 3, 3, 3], [4]],
      [[3, 1, 28, 27], [6, 1, 5, 5], [6]],
      [[1, 8, 9, 8], [16, 8, 3, 3]],
      [[2, 6, 12, 12], [16, 6, 5, 5], [16]],
      [[0, 3, 8, 8], [4, 3, 3, 3], [4]],
    ], [[[1, 2, 6, 5], [3, 2, 3, 3], [3]]]);
    const run = (variant?: string) => (x: Tensor, w: Tensor, b?: Tensor) =>
      conv2d(x, w, b, { ...pooled, ...(variant ? { variant } : {}) });
    return {
      ...plain,
      call: run(),
      also: variants(run, false),
      reference: (...inputs) => halved(plain.reference(...inputs)),
    };
  }),
  {
    ...conv("", {}, [[[3, 10], [4, 3, 3], [4]], [[2, 3, 9], [4, 3, 4], [4]]], [
      [[1, 2, 6], [2, 2, 2], [2]],
    ]),
    name: "conv1d(stride 2, padding [2, 1], dilation 2)",
    call: (x: Tensor, w: Tensor, b?: Tensor) => conv1d(x, w, b, line),
    also: () => [],
    reference: (x, w, b) => {
      const image = (grid: Grid, shape: Shape): Grid => ({ ...grid, shape });
      const [n, c, l] = x!.shape.length === 2 ? [1, ...x!.shape] : x!.shape;
      const [k, each, s] = w!.shape;
      const size = [1, Math.floor((l! + 3 - (2 * (s! - 1) + 1)) / 2) + 1];
      const y = correlated(
        image(x!, [n!, c!, 1, l!]),
        image(w!, [k!, each!, 1, s!]),
        b,
        size,
        { stride: [1, 2], padding: [0, 2], dilation: [1, 2], groups: 1 },
      );
      return { ...y, shape: x!.shape.length === 2 ? [k!, size[1]!] : [n!, k!, size[1]!] };
    },
  },
  transpose("", {}, [
    [[2, 3, 4, 5], [3, 4, 3, 2], [4]],
    [[1, 16, 3, 3], [16, 8, 2, 2]],
    [[1, 1, 1, 1], [1, 1, 1, 1], [1]],
    [[2, 32, 4, 5], [32, 8, 3, 3], [8]],
  ], [[[1, 2, 2, 3], [2, 3, 2, 2], [3]]]),
  transpose(
    "stride [2, 3], padding 1, outputPadding [1, 2], groups 2",
    { stride: [2, 3], padding: [1, 1], outputPadding: [1, 2], groups: 2 },
    [[[2, 4, 3, 2], [4, 3, 3, 3], [6]], [[2, 64, 3, 4], [64, 8, 3, 3], [16]]],
    [[[1, 2, 2, 2], [2, 1, 3, 3], [2]]],
  ),
  transpose("dilation 2", { dilation: [2, 2], padding: [2, 0] }, [
    [[1, 2, 4, 3], [2, 3, 3, 2], [3]],
  ], [[[1, 2, 3, 2], [2, 1, 2, 2], [1]]]),
];
