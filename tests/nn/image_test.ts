// Layers that resize, pad and take images apart: PyTorch's documented examples, what they keep, and
// what they refuse.
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  affineGrid,
  arange,
  ArgumentError,
  autocast,
  dropout2d,
  DTypeError,
  fold,
  gridSample,
  interpolate,
  manualSeed,
  nn,
  ones,
  pad,
  pixelShuffle,
  pixelUnshuffle,
  rand,
  ShapeError,
  type Tensor,
  tensor,
  unfold,
  upsample,
  type UpsampleOptions,
  zeros,
} from "../../mod.ts";
import { cleanTest, later } from "../_helpers.ts";

const channelsLast = { format: "channelsLast" } as const;
const numbered = (...shape: number[]) => arange(shape.reduce((a, b) => a * b)).reshape(shape);

function close(x: Tensor, wanted: number[], within: number): void {
  const found = [...x.dataSync()];
  assertEquals(found.length, wanted.length);
  found.forEach((v, i) => assert(Math.abs(v - wanted[i]!) <= within, `${found}, not ${wanted}`));
}

cleanTest("nn.Upsample: the examples of PyTorch's documentation and tests", () => {
  const x = tensor([[[[1, 2], [3, 4]]]]);
  const wanted: [UpsampleOptions, number[]][] = [
    [{ scaleFactor: 2 }, [1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4]],
    // deno-fmt-ignore
    [{ scaleFactor: 2, mode: "bilinear" },
      [1, 1.25, 1.75, 2, 1.5, 1.75, 2.25, 2.5, 2.5, 2.75, 3.25, 3.5, 3, 3.25, 3.75, 4]],
    // deno-fmt-ignore
    [{ scaleFactor: 2, mode: "bilinear", alignCorners: true },
      [1, 1.3333, 1.6667, 2, 1.6667, 2, 2.3333, 2.6667, 2.3333, 2.6667, 3, 3.3333, 3, 3.3333,
       3.6667, 4]],
  ];
  for (const [options, values] of wanted) {
    close(later(new nn.Upsample(options)).forward(x), values, 1e-4);
    close(interpolate(x, options), values, 1e-4);
  }
  const y = zeros([1, 1, 3, 3]).add(x.pad([[0, 0], [0, 0], [0, 1], [0, 1]]));
  // deno-fmt-ignore
  close(upsample(y, { scaleFactor: 2, mode: "bilinear", alignCorners: true }), [
    1, 1.4, 1.8, 1.6, 0.8, 0, 1.8, 2.2, 2.6, 2.24, 1.12, 0, 2.6, 3, 3.4, 2.88, 1.44, 0, 2.4, 2.72,
    3.04, 2.56, 1.28, 0, 1.2, 1.36, 1.52, 1.28, 0.64, 0, 0, 0, 0, 0, 0, 0,
  ], 1e-5);
  // deno-fmt-ignore
  close(upsample(numbered(1, 1, 2, 2), { size: 4, mode: "bicubic" }), [
    -0.31641, 0.01562, 0.5625, 0.89453, 0.34766, 0.67969, 1.22656, 1.55859, 1.44141, 1.77344,
    2.32031, 2.65234, 2.10547, 2.4375, 2.98438, 3.31641,
  ], 1e-5);
});

cleanTest("nn.ReflectionPad2d and its like: the examples of PyTorch's documentation", () => {
  const x = numbered(1, 1, 3, 3);
  // deno-fmt-ignore
  const wanted = [
    [new nn.ReflectionPad2d([1, 1, 2, 0]),
      [7, 6, 7, 8, 7, 4, 3, 4, 5, 4, 1, 0, 1, 2, 1, 4, 3, 4, 5, 4, 7, 6, 7, 8, 7]],
    [new nn.ReplicationPad2d([1, 1, 2, 0]),
      [0, 0, 1, 2, 2, 0, 0, 1, 2, 2, 0, 0, 1, 2, 2, 3, 3, 4, 5, 5, 6, 6, 7, 8, 8]],
    [new nn.CircularPad2d([1, 1, 2, 0]),
      [5, 3, 4, 5, 3, 8, 6, 7, 8, 6, 2, 0, 1, 2, 0, 5, 3, 4, 5, 3, 8, 6, 7, 8, 6]],
    [new nn.ZeroPad2d([1, 1, 2, 0]),
      [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 3, 4, 5, 0, 0, 6, 7, 8, 0]],
    [new nn.ZeroPad2d(-1), [4]],
  ] as const;
  for (const [layer, values] of wanted) {
    assertEquals([...layer.forward(x).dataSync()], [...values]);
    assertEquals([...layer.forward(x.reshape([1, 3, 3])).dataSync()], [...values]);
  }
});

cleanTest("layers of images print as they are made, and summarise", () => {
  const layers: [nn.Module, string, number[], number[]][] = [
    [new nn.Upsample({ size: [2, 3] }), "Upsample({ size: [2, 3] })", [1, 2, 4, 4], [1, 2, 2, 3]],
    [new nn.PixelShuffle(2), "PixelShuffle(2)", [1, 8, 2, 3], [1, 2, 4, 6]],
    [new nn.PixelUnshuffle(2), "PixelUnshuffle(2)", [1, 2, 4, 6], [1, 8, 2, 3]],
    [new nn.ReflectionPad2d(1), "ReflectionPad2d(1)", [1, 2, 4, 4], [1, 2, 6, 6]],
    [new nn.ZeroPad2d([1, 0, 0, 2]), "ZeroPad2d([1, 0, 0, 2])", [2, 4, 4], [2, 6, 5]],
    [new nn.Unfold({ kernelSize: 2 }), "Unfold({ kernelSize: 2 })", [1, 2, 3, 3], [1, 8, 4]],
    [
      new nn.Fold({ outputSize: 3, kernelSize: 2 }),
      "Fold({ outputSize: 3, kernelSize: 2 })",
      [1, 8, 4],
      [1, 2, 3, 3],
    ],
    [new nn.Dropout2d(0.3), "Dropout2d(0.3)", [1, 2, 3, 3], [1, 2, 3, 3]],
  ];
  for (const [layer, text, from, to] of layers) {
    assertEquals(layer.describe(), text);
    assertEquals(layer.forward(rand(from)).shape, to);
    assert(layer.summary({ inputShape: from }).includes(`[${to.join(", ")}]`));
  }
});

cleanTest("upsample, pad and dropout2d keep channelsLast; resizing keeps the dtype", () => {
  const x = rand([2, 3, 4, 5]).to(channelsLast);
  for (const mode of ["nearest", "bilinear", "bicubic"] as const) {
    assertEquals(upsample(x, { size: 3, mode }).format, "channelsLast");
    const half = x.to("float16");
    assertEquals(autocast("bfloat16", () => upsample(half, { size: 3, mode })).dtype, "float16");
  }
  assertEquals(pad(x, [[0, 0], [0, 0], [1, 1], [0, 1]], { mode: "reflect" }).format, x.format);
  assertEquals(dropout2d(x).format, x.format);
});

cleanTest("dropout2d drops whole channels, the gradient too", () => {
  manualSeed(1);
  const x = ones([8, 16, 2, 3]).detach();
  x.requiresGrad = true;
  const y = dropout2d(x, { p: 0.25 });
  y.sum().backward();
  const values = y.dataSync();
  let dropped = 0;
  for (let c = 0; c < 128; c++) {
    const channel = new Set(values.subarray(c * 6, c * 6 + 6));
    assertEquals(channel.size, 1);
    if (channel.has(0)) dropped++;
    else assert(Math.abs([...channel][0]! - 4 / 3) < 1e-6);
  }
  assert(dropped > 16 && dropped < 50, `${dropped} of 128`);
  assertEquals(x.grad!.dataSync(), values);
  const lost = tensor([[[[Infinity]], [[NaN]]]]);
  assertEquals([...dropout2d(lost, { p: 1 }).dataSync()], [0, 0]);
  assert(dropout2d(x, { training: false }) === x);
});

cleanTest("pixelUnshuffle undoes pixelShuffle; fold counts what unfold took", () => {
  const x = numbered(2, 8, 3, 2);
  assertEquals(pixelUnshuffle(pixelShuffle(x, 2), 2).dataSync(), x.dataSync());
  const windows = { kernelSize: 3, padding: 1 };
  const image = ones([1, 1, 3, 3]);
  const counts = fold(unfold(image, windows), { outputSize: 3, ...windows });
  assertEquals([...counts.dataSync()], [4, 6, 4, 6, 9, 6, 4, 6, 4]);
});

cleanTest("operations of images: what they refuse", () => {
  const x = ones([1, 4, 2, 3]);
  const fails = (fn: () => unknown, type: typeof ShapeError | typeof ArgumentError, text: string) =>
    assertThrows(fn, type as typeof ShapeError, text);
  fails(() => upsample(ones([2, 3]), { size: 2 }), ShapeError, "[n, channels, height, width]");
  fails(() => upsample(x, { scaleFactor: 0.2 }), ShapeError, "both must have pixels");
  fails(() => upsample(zeros([1, 1, 0, 2]), { size: 2 }), ShapeError, "both must have pixels");
  fails(() => upsample(x, {}), ArgumentError, "size or scaleFactor");
  fails(() => upsample(x, { size: 2, scaleFactor: 1 }), ArgumentError, "one of them");
  fails(() => upsample(x, { size: 2, alignCorners: true }), ArgumentError, "not for nearest");
  upsample(x, { size: 2, mode: "bilinear", alignCorners: "yes" as never }); // is true
  fails(() => upsample(x, { scaleFactor: -1 }), ArgumentError, "a positive number");
  fails(() => upsample(x, { size: 2, mode: "cubic" as "bicubic" }), ArgumentError, "bicubic");
  fails(() => new nn.Upsample({ size: 0 }), ArgumentError, "at least 1");
  assertThrows(() => upsample(x.to("int32"), { size: 2 }), DTypeError);
  const around = (n: number, mode: "reflect" | "circular" | "replicate", axis = 3) =>
    pad(x, [0, 1, 2, 3].map((d) => [d === axis ? n : 0, 0] as const), { mode });
  fails(() => around(3, "reflect"), ShapeError, "at most 2");
  fails(() => around(4, "circular"), ShapeError, "at most 3");
  fails(() => around(4, "reflect", 1), ShapeError, "at most 3");
  fails(() => around(-1, "replicate"), ArgumentError, "at least 0");
  fails(() => pad(x, [[0, 0]], { mode: "reflect" }), ArgumentError, "a pair of whole numbers");
  fails(() => new nn.ZeroPad2d([1, 2] as unknown as number), ArgumentError, "[left, right");
  fails(() => unfold(x, { kernelSize: 4 }), ShapeError, "do not fit");
  fails(() => unfold(x, { kernelSize: 2, stride: 0 }), ArgumentError, "at least 1");
  fails(() => fold(x, { outputSize: 2, kernelSize: 2 }), ShapeError, "[n, channels * 4, 1]");
  fails(() => fold(ones([1, 4, 3]), { outputSize: 3, kernelSize: 2 }), ShapeError, "4]");
  fails(() => pixelShuffle(x, 3), ShapeError, "a multiple of 9");
  fails(() => pixelUnshuffle(x, 2), ShapeError, "multiples of 2");
  fails(() => pixelShuffle(ones([4]), 2), ShapeError, "[n, channels, height, width]");
  fails(() => dropout2d(ones([4, 2])), ShapeError, "[n, channels, height, width]");
  fails(() => dropout2d(x, { p: 2 }), ArgumentError, "a probability");
});

cleanTest("gridSample: corners, far places, and what is not a number", () => {
  const x = tensor([[[[1, 2], [3, 4]]]]);
  const identity = tensor([[[1, 0, 0], [0, 1, 0]]]);
  for (const alignCorners of [false, true]) {
    const grid = affineGrid(identity, [1, 1, 2, 2], { alignCorners });
    assertEquals([...gridSample(x, grid, { alignCorners }).dataSync()], [1, 2, 3, 4]);
  }
  const far = tensor([[[[-9, 0], [NaN, 0], [Infinity, 0], [1e30, 0]]]]);
  assertEquals([...gridSample(x, far).dataSync()], [0, 0, 0, 0]);
  const border = { paddingMode: "border" } as const;
  assertEquals([...gridSample(x, far, border).dataSync()], [2, 2, 3, 3]);
  // At the border itself PyTorch gives a coordinate no gradient.
  const corner = tensor([[[[-1, 0]]]], { requiresGrad: true });
  gridSample(x, corner, { ...border, alignCorners: true }).sum().backward();
  assertEquals([...corner.grad!.dataSync()], [0, 1]);
});

cleanTest("gridSample: the gradient of an image repeats to the last bit", () => {
  const x = rand([1, 2, 3, 3], { requiresGrad: true });
  const grid = rand([1, 60, 60, 2], { low: -1, high: 1 });
  const gradients = [0, 1].map(() => {
    x.grad = null;
    gridSample(x, grid, { mode: "bicubic" }).sum().backward();
    return [...x.grad!.dataSync()];
  });
  assertEquals(gradients[0], gradients[1]);
});

cleanTest(
  "gridSample and affineGrid: what they refuse, and the widest dtype under autocast",
  () => {
    const x = ones([1, 2, 3, 4]), grid = zeros([1, 2, 2, 2]);
    assertThrows(() => gridSample(x, zeros([2, 2, 2, 2])), ShapeError, "[1, height, width, 2]");
    assertThrows(() => gridSample(zeros([1, 2, 0, 4]), grid), ShapeError, "have pixels");
    assertThrows(() => gridSample(x, grid.to("float64")), DTypeError, "dtypes are");
    assertThrows(() => gridSample(x, grid, { mode: "cubic" as "bicubic" }), ArgumentError, "mode");
    assertThrows(() => affineGrid(ones([1, 2, 3]), [2, 1, 3, 3]), ShapeError, "[n, 2, 3]");
    assertThrows(() => affineGrid(ones([1, 2, 3]), [1, 1, 0, 3]), ArgumentError, "at least 1");
    const half = x.to("bfloat16");
    assertEquals(autocast("bfloat16", () => gridSample(half, grid)).dtype, "float32");
    assertEquals(gridSample(half, grid.to("bfloat16")).dtype, "bfloat16");
  },
);
