// Pooling beyond the case table: PyTorch's odd cases, with numbers worked out by hand, what ties
// and NaN do to gradients, both memory formats to the last bit, what is kept, bad input, layers.
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import {
  adaptiveAvgPool1d,
  adaptiveAvgPool2d,
  adaptiveMaxPool1d,
  adaptiveMaxPool2d,
  autocast,
  avgPool1d,
  avgPool2d,
  CudenoError,
  devices,
  type DType,
  grad,
  manualSeed,
  maxPool1d,
  maxPool2d,
  memory,
  nn,
  noGrad,
  ones,
  randn,
  scope,
  type Shape,
  type Tensor,
  tensor,
  zeros,
} from "../../../mod.ts";
import { cleanTest } from "../../_helpers.ts";

const found = devices().map(({ device }) => device);
const list = (x: Tensor) => Array.from(x.dataSync());
const line = (...values: number[]) => tensor([values]);

/** The gradient of the sum of fn(x), weighted by 1, 2, 3, …. */
function gradient(fn: (x: Tensor) => Tensor, x: Tensor): number[] {
  const leaf = x.detach();
  leaf.requiresGrad = true;
  const y = fn(leaf);
  y.backward(tensor(Array.from({ length: y.size }, (_, i) => i + 1)).reshape(y.shape).to(y.dtype));
  return list(leaf.grad!);
}

cleanTest("max pooling: extents and windows of PyTorch's odd cases", () => {
  const x = line(1, 2, 3, 4);
  const results: [Parameters<typeof maxPool1d>[1], number[]][] = [
    [{ kernelSize: 3 }, [3]],
    [{ kernelSize: 3, ceilMode: true }, [3, 4]],
    // the third window would begin at place 5, in the padding behind, and is dropped
    [{ kernelSize: 2, stride: 3, padding: 1, ceilMode: true }, [1, 4]],
    // so would the second one, at place 4
    [{ kernelSize: 2, stride: 5, padding: 1, ceilMode: true }, [1]],
    [{ kernelSize: 2, stride: 2, padding: 1 }, [1, 3, 4]],
    [{ kernelSize: 2, dilation: 3 }, [4]],
    [{ kernelSize: 3, dilation: 2, padding: 1, stride: 1 }, [4, 3]],
    [{ kernelSize: 1, stride: 3 }, [1, 4]],
    [{ kernelSize: 4, stride: 1 }, [4]],
    // reaches beyond the image from its first place on
    [{ kernelSize: 5, stride: 2, ceilMode: true }, [4]],
  ];
  for (const [options, wanted] of results) {
    assertEquals(list(maxPool1d(x, options as { kernelSize: number })), wanted);
  }
  assertEquals(maxPool2d(zeros([2, 3, 2, 2]), { kernelSize: 3, stride: 2, ceilMode: true }).shape, [
    2,
    3,
    1,
    1,
  ]);
  // torchvision's stem
  const stem = { kernelSize: 3, stride: 2, padding: 1 };
  assertEquals(maxPool2d(zeros([1, 1, 112, 112]), stem).shape, [1, 1, 56, 56]);
});

cleanTest("average pooling: what PyTorch divides by", () => {
  const x = line(1, 2, 3, 4);
  // The windows are -1…1, 1…3 and 3…5, of which 5 is behind the padding and never counts.
  const options = { kernelSize: 3, stride: 2, padding: 1, ceilMode: true };
  assertEquals(list(avgPool1d(x, options)), [1, 3, 2]);
  assertEquals(list(avgPool1d(x, { ...options, countIncludePad: false })), [1.5, 3, 4]);
  assertEquals(list(avgPool1d(x, { ...options, divisorOverride: 2 })), [1.5, 4.5, 2]);
  assertEquals(list(avgPool1d(x, { kernelSize: 3, ceilMode: true })), [2, 4]);
  assertEquals(gradient((x) => avgPool1d(x, { ...options, divisorOverride: 2 }), x), [
    0.5,
    1.5,
    1,
    2.5,
  ]);
});

cleanTest("adaptive pooling: windows overlap where they do not come out even", () => {
  const x = line(1, 2, 3, 4, 5);
  assertEquals(list(adaptiveAvgPool1d(x, 3)), [1.5, 3, 4.5]); // 0…1, 1…3, 3…4
  assertEquals(list(adaptiveMaxPool1d(x, 2)), [3, 5]); // 0…2, 2…4
  assertEquals(list(adaptiveAvgPool1d(line(1, 2), 3)), [1, 1.5, 2]); // 0, 0…1, 1
  assertEquals(list(adaptiveMaxPool1d(x, 7)), [1, 2, 3, 3, 4, 5, 5]);
  assertEquals(adaptiveAvgPool2d(zeros([2, 3, 7, 5]), [null, 2]).shape, [2, 3, 7, 2]);
  assertEquals(gradient((x) => adaptiveMaxPool1d(x, 2), x), [0, 0, 1, 0, 2]);
  const { values, indices } = adaptiveMaxPool2d(ones([1, 3, 3]), 2, { returnIndices: true });
  assertEquals([list(values), list(indices)], [[1, 1, 1, 1], [0, 1, 3, 4]]);
});

cleanTest("indices are places of the image; the first of equals wins, and the last NaN", () => {
  const of = (...numbers: number[]) => {
    const options = { kernelSize: numbers.length, returnIndices: true } as const;
    const { values, indices } = maxPool1d(line(...numbers), options);
    return [values.itemSync(), indices.itemSync()];
  };
  assertEquals(of(1, 5, 5, 2), [5, 1]);
  assertEquals(of(NaN, 1, NaN, 7), [NaN, 2]);
  assertEquals(of(-Infinity, -Infinity), [-Infinity, 0]);
  assertEquals(of(-0, 0), [-0, 0]);
  const x = tensor([[[1, 2, 3], [9, 8, 7], [4, 6, 5]]]);
  const options = { kernelSize: 2, stride: 1, padding: 1, returnIndices: true } as const;
  const { values, indices } = maxPool2d(x, options);
  assertEquals(list(values), [1, 2, 3, 3, 9, 9, 8, 7, 9, 9, 8, 7, 4, 6, 6, 5]);
  assertEquals(list(indices), [0, 1, 2, 2, 3, 3, 4, 5, 3, 3, 4, 5, 6, 7, 7, 8]);
  assertEquals(indices.dtype, "int32");
  const wide = maxPool1d(line(...Array.from({ length: 300 }, (_, i) => i % 299)), {
    kernelSize: 300,
    returnIndices: true,
  });
  assertEquals([list(wide.values), list(wide.indices)], [[298], [298]]);
});

cleanTest("gradients go to one element a window, and 0 to what no window sees", () => {
  const x = line(5, 5, 1, 2, 2, 9, 4);
  assertEquals(gradient((x) => maxPool1d(x, { kernelSize: 2, stride: 3 }), x), [
    1,
    0,
    0,
    2,
    0,
    0,
    0,
  ]);
  assertEquals(gradient((x) => maxPool1d(x, { kernelSize: 2, stride: 1 }), x), [
    1,
    2,
    0,
    7,
    0,
    11,
    0,
  ]);
  // As many gradients as windows meet in one element, in an order that does not change.
  assertEquals(gradient((x) => maxPool1d(x, { kernelSize: 3, stride: 1 }), line(0, 0, 7, 0, 0)), [
    0,
    0,
    6,
    0,
    0,
  ]);
  assertEquals(gradient((x) => maxPool1d(x, { kernelSize: 2 }), line(NaN, 1, 2, NaN)), [
    1,
    0,
    0,
    2,
  ]);
});

const poolings: [string, (x: Tensor) => Tensor][] = [
  ["maxPool2d(2)", (x) => maxPool2d(x, { kernelSize: 2 })],
  ["maxPool2d(3, 2, 1)", (x) => maxPool2d(x, { kernelSize: 3, stride: 2, padding: 1 })],
  ["maxPool2d(2, 3), apart", (x) => maxPool2d(x, { kernelSize: 2, stride: 3, padding: 1 })],
  ["maxPool2d(3, 1, 1)", (x) => maxPool2d(x, { kernelSize: 3, stride: 1, padding: 1 })],
  ["avgPool2d(3, 1, 1)", (x) => avgPool2d(x, { kernelSize: 3, stride: 1, padding: 1 })],
  ["avgPool2d(2)", (x) => avgPool2d(x, { kernelSize: 2 })],
  ["avgPool2d(3, 2, 1)", (x) => avgPool2d(x, { kernelSize: 3, stride: 2, padding: 1 })],
  ["adaptiveAvgPool2d(3)", (x) => adaptiveAvgPool2d(x, 3)],
  ["adaptiveAvgPool2d(1)", (x) => adaptiveAvgPool2d(x, 1)],
  ["adaptiveMaxPool2d(3)", (x) => adaptiveMaxPool2d(x, 3)],
];
// One pack of channels, several, and none.
const shapes: Shape[] = [[2, 8, 7, 9], [3, 32, 8, 8], [1, 5, 11, 4], [2, 4, 41, 16], [0, 8, 4, 4]];

for (const device of found) {
  for (const [name, pool] of poolings) {
    cleanTest(`${name} gives the same in both formats, and keeps them, on ${device}`, () => {
      manualSeed(3);
      for (const dtype of ["float32", "float64", "float16", "bfloat16"] as DType[]) {
        for (const shape of shapes) {
          scope(() => {
            const start = randn(shape, { dtype: "float32", device }).to(dtype);
            const outcome = (format: "contiguous" | "channelsLast", times = 1) => {
              const x = start.to({ format }).mul(1).detach();
              x.requiresGrad = true;
              const y = pool(x);
              const upstream = tensor(Array.from({ length: y.size }, (_, i) => i % 7 - 2), {
                shape: y.shape,
                device,
              }).to(dtype);
              for (let i = 0; i < times; i++) y.backward(upstream, { retainGraph: true });
              assertEquals([y.format, x.grad!.format], [format, format]);
              return [list(y), list(x.grad!)];
            };
            const [rows, pixels] = [outcome("contiguous"), outcome("channelsLast")];
            // cdn_mean sums rows and columns in different orders
            const close = name === "adaptiveAvgPool2d(1)" ? 2e-3 : 0;
            rows[0]!.forEach((v, i) => assert(Math.abs(v - pixels[0]![i]!) <= close, `${shape}`));
            assertEquals(rows[1], pixels[1]);
            assertEquals(outcome("contiguous"), rows);
            // Windows of common shapes have kernels of their own, but not in float64.
            if (dtype !== "float32") return;
            const exact = start.to("float64");
            exact.requiresGrad = true;
            const y = pool(exact);
            y.backward(
              tensor(list(y).map((_, i) => i % 7 - 2), { shape: y.shape, device }).to(y.dtype),
            );
            [list(y), list(exact.grad!)].forEach((wanted, i) =>
              wanted.forEach((v, at) => assert(Math.abs(v - rows[i]![at]!) <= 1e-5, `${shape}`))
            );
          });
        }
      }
    });
  }
}

for (const device of found) {
  cleanTest(`max pooling takes along the slope of the ReLU before it on ${device}`, () => {
    const values = Array.from({ length: 2 * 8 * 9 * 12 }, (_, i) => Math.sin(i * i) - 0.2);
    values.fill(-1, 0, 30), values[40] = NaN;
    for (const format of ["contiguous", "channelsLast"] as const) {
      const spaced = { kernelSize: 3, stride: 2, padding: 1 };
      for (const options of [{ kernelSize: 2 }, spaced, { kernelSize: [2, 3], stride: 1 }]) {
        const x = tensor(values, { shape: [2, 8, 9, 12], device }).to({ format }).detach();
        x.requiresGrad = true;
        const gradientOf = (between: (x: Tensor) => Tensor) => {
          const y = maxPool2d(between(x.relu()), options as { kernelSize: number });
          return list(grad([y.mul(y.detach().add(1)).sum()], [x])[0]!);
        };
        // A product between them takes no gate, so that the slope comes apart.
        assertEquals(gradientOf((x) => x), gradientOf((x) => x.mul(1)));
      }
    }
  });
}

cleanTest("places are kept for gradients only, in a byte where that is enough", () => {
  const x = zeros([4, 8, 32, 32], { requiresGrad: true });
  const grown = (fn: () => Tensor) => {
    const before = memory().live;
    const y = fn();
    return (memory().live - before) / y.size;
  };
  assertEquals(grown(() => noGrad(() => maxPool2d(x, { kernelSize: 2 }))), 4);
  assertEquals(grown(() => maxPool2d(x, { kernelSize: 2 })), 5);
  assertEquals(grown(() => maxPool2d(x.detach(), { kernelSize: 2 })), 4);
  const y = zeros([4, 8, 31, 32], { requiresGrad: true });
  assertEquals(grown(() => maxPool2d(y, { kernelSize: 16, stride: [1, 16] })), 5);
  assertEquals(grown(() => maxPool2d(y, { kernelSize: [16, 17], stride: 1 })), 8);
});

cleanTest("pooling keeps the dtype under autocast()", () => {
  for (const dtype of ["float32", "bfloat16", "float64"] as DType[]) {
    const x = ones([1, 2, 4, 4], { dtype });
    autocast("float16", () => {
      for (const [, pool] of poolings) assertEquals(pool(x).dtype, dtype);
    });
  }
});

cleanTest("pooling refuses what it cannot pool, and says what it wants", () => {
  const refuse = (fn: () => unknown, code: string, ...parts: string[]) => {
    const error = assertThrows(fn, CudenoError);
    assertEquals(error.code, code, error.message);
    for (const part of parts) assertStringIncludes(error.message, part);
  };
  const x = zeros([2, 3, 4, 5]);
  const l = zeros([2, 3, 4]);
  refuse(() => maxPool2d(x, { kernelSize: 5 }), "shape", "maxPool2d", "windows of 5", "of 4");
  refuse(() => maxPool2d(x, { kernelSize: 2, dilation: 4 }), "shape", "5 places", "dilation 4");
  refuse(() => avgPool2d(x, { kernelSize: 3, padding: 2 }), "shape", "padding is 2", "half", "3");
  refuse(() => maxPool2d(x, { kernelSize: 1, padding: [0, 1] }), "shape", "padding is 1");
  refuse(() => maxPool2d(zeros([4, 5]), { kernelSize: 2 }), "shape", "[4, 5]", "[n, c, h, w]");
  refuse(() => maxPool1d(x, { kernelSize: 2 }), "shape", "[2, 3, 4, 5]", "[n, c, l]");
  refuse(() => maxPool2d(zeros([1, 1, 0, 4]), { kernelSize: 1 }), "shape", "axis of 0");
  refuse(() => adaptiveAvgPool2d(zeros([1, 1, 0, 4]), 1), "shape", "no places");
  // In ceil mode one window is left; it would step over the only place.
  const over = { kernelSize: 2, stride: 2, padding: 1, dilation: 3, ceilMode: true };
  refuse(() => maxPool1d(zeros([1, 1]), over), "shape", "do not fit");
  refuse(() => maxPool2d(x, {} as { kernelSize: number }), "argument", "kernelSize is undefined");
  refuse(() => maxPool2d(x, { kernelSize: 0 }), "argument", "kernelSize is 0", "at least 1");
  refuse(() => maxPool2d(x, { kernelSize: 2, stride: 0 }), "argument", "stride is 0");
  refuse(() => maxPool2d(x, { kernelSize: 2, dilation: 0.5 }), "argument", "dilation is 0.5");
  refuse(() => avgPool2d(x, { kernelSize: 2, padding: -1 }), "argument", "padding is -1");
  refuse(() => avgPool2d(x, { kernelSize: [2] as never }), "argument", "[2]", "[height, width]");
  refuse(() => avgPool1d(l, { kernelSize: [1, 2] as never }), "argument", "[1, 2]", "a number");
  refuse(() => avgPool2d(x, { kernelSize: 2, divisorOverride: 0 }), "argument", "divisorOverride");
  refuse(() => avgPool2d(x, { kernelSize: 2, divisorOverride: 1.5 }), "argument", "is 1.5");
  refuse(() => avgPool2d(x, { kernelSize: 2, dilation: 1 } as never), "argument", "dilation");
  refuse(() => maxPool2d(x, 2 as never), "argument", "wanted are options", "found 2");
  refuse(() => maxPool2d(x, { kernel: 2 } as never), "argument", "no option kernel");
  refuse(() => adaptiveAvgPool2d(x, 0), "argument", "outputSize is 0");
  refuse(() => adaptiveAvgPool2d(x, [1, 2, 3] as never), "argument", "outputSize is [1, 2, 3]");
  refuse(() => adaptiveMaxPool1d(l, [1, 2] as never), "argument", "outputSize is [1, 2]");
  refuse(() => maxPool2d(x.to("int32"), { kernelSize: 2 }), "dtype", "maxPool2d", "int32");
  refuse(() => maxPool2d([1] as never, { kernelSize: 2 }), "argument", "wanted is a tensor");
  refuse(() => new nn.MaxPool2d(2, 2 as never), "argument", "MaxPool2d", "found 2");
  refuse(() => new nn.MaxPool2d(2, { kernelSize: 3 } as never), "argument", "kernelSize");
  refuse(() => new nn.AvgPool1d(3, { padding: 2 }), "shape", "AvgPool1d", "padding is 2");
  refuse(() => new nn.AdaptiveAvgPool2d(-1), "argument", "AdaptiveAvgPool2d", "-1");
});

cleanTest("countIncludePad is whether a value is true, as conditions are", () => {
  const x = ones([1, 1, 2, 2]);
  const options = { kernelSize: 2, padding: 1 };
  for (const given of [2, "no", {}, [1, 2], 0, "", null, NaN]) {
    const [y, wanted] = [given, Boolean(given)].map((countIncludePad) =>
      avgPool2d(x, { ...options, countIncludePad: countIncludePad as boolean })
    );
    assertEquals(list(y!), list(wanted!));
  }
});

cleanTest("layers pool as the functions do, and say what they give", () => {
  const image = randn([2, 3, 9, 8]);
  const sound = randn([2, 3, 17]);
  const options = { stride: 2, padding: 1, ceilMode: true };
  const averaged = { ...options, countIncludePad: false };
  const layers: [nn.Module, Tensor, Tensor, string][] = [
    [
      new nn.MaxPool2d(3, options),
      image,
      maxPool2d(image, { kernelSize: 3, ...options }),
      "MaxPool2d(3, { stride: 2, padding: 1, ceilMode: true })",
    ],
    [
      new nn.MaxPool2d([2, 1], { dilation: [1, 2] }),
      image,
      maxPool2d(image, { kernelSize: [2, 1], dilation: [1, 2] }),
      "MaxPool2d([2, 1], { dilation: [1, 2] })",
    ],
    [
      new nn.AvgPool2d(3, averaged),
      image,
      avgPool2d(image, { kernelSize: 3, ...averaged }),
      "AvgPool2d(3, { stride: 2, padding: 1, ceilMode: true, countIncludePad: false })",
    ],
    [new nn.MaxPool1d(2), sound, maxPool1d(sound, { kernelSize: 2 }), "MaxPool1d(2)"],
    [
      new nn.AvgPool1d(4, { divisorOverride: 3 }),
      sound,
      avgPool1d(sound, { kernelSize: 4, divisorOverride: 3 }),
      "AvgPool1d(4, { divisorOverride: 3 })",
    ],
    [new nn.AdaptiveAvgPool1d(5), sound, adaptiveAvgPool1d(sound, 5), "AdaptiveAvgPool1d(5)"],
    [new nn.AdaptiveMaxPool1d(5), sound, adaptiveMaxPool1d(sound, 5), "AdaptiveMaxPool1d(5)"],
    [
      new nn.AdaptiveAvgPool2d([null, 3]),
      image,
      adaptiveAvgPool2d(image, [null, 3]),
      "AdaptiveAvgPool2d([null, 3])",
    ],
    [new nn.AdaptiveMaxPool2d(4), image, adaptiveMaxPool2d(image, 4), "AdaptiveMaxPool2d(4)"],
  ];
  for (const [layer, x, y, text] of layers) {
    assertEquals([layer.forward(x).shape, list(layer.forward(x))], [y.shape, list(y)]);
    assertEquals(`${layer}`, text);
    assertEquals(`${new Function("nn", `return new nn.${text}`)(nn)}`, text);
    assertEquals(layer.parameters(), []);
  }
  const model = new nn.Sequential(
    new nn.MaxPool2d(2),
    new nn.AdaptiveAvgPool2d(1),
    new nn.Flatten(),
  );
  const lines = model.summary({ inputShape: [2, 3, 9, 8] }).split("\n");
  assertEquals(lines.slice(2, 5).map((line) => line.match(/\[2, [\d, ]+\]/)![0]), [
    "[2, 3, 4, 4]",
    "[2, 3, 1, 1]",
    "[2, 3]",
  ]);
});
