// Convolution beyond the case table: layers, fusion, padding modes, mixed precision, bad input.
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import {
  autocast,
  conv1d,
  conv2d,
  type Conv2dOptions,
  convTranspose2d,
  convVariants,
  CudenoError,
  type DeviceName,
  devices,
  grad,
  memory,
  NativeError,
  nn,
  noGrad,
  ones,
  pad,
  randn,
  resetPeakMemory,
  type Shape,
  type Tensor,
  tensor,
  zeros,
} from "../../../mod.ts";
import { cleanTest, later } from "../../_helpers.ts";

const list = (x: Tensor) => Array.from(x.dataSync());

/** The largest difference of two tensors of one shape. */
function apart(a: Tensor, b: Tensor): number {
  assertEquals(a.shape, b.shape);
  return a.sub(b).abs().max().dataSync()[0]!;
}

for (const { device } of devices()) {
  const random = (...shape: number[]) => randn(shape, { device });

  cleanTest(`conv2d of one image is that of a batch of one on ${device}`, () => {
    const [x, w] = [random(3, 6, 5), random(4, 3, 3, 3)];
    assertEquals(list(conv2d(x, w)), list(conv2d(x.reshape([1, 3, 6, 5]), w)));
    assertEquals(conv2d(x, w).shape, [4, 4, 3]);
  });

  cleanTest(`conv2d takes either format, and gives channelsLast on ${device}`, () => {
    const [x, w] = [random(2, 5, 6, 7), random(8, 5, 3, 3)];
    const last = (t: Tensor) => t.to({ format: "channelsLast" });
    const y = conv2d(x, w, null, { padding: 1 });
    assertEquals(y.format, "channelsLast");
    assertEquals(list(y), list(conv2d(last(x), last(w), null, { padding: 1 })));
  });

  cleanTest(`gradients take no longer for a stride of 2^30 on ${device}`, () => {
    const [x, w] = [random(1, 2, 3, 3), random(2, 2, 3, 3)];
    x.requiresGrad = true;
    // Windows around the corner, of which one has something of the image.
    const [far, near] = [2 ** 30, 8].map((stride) =>
      grad([conv2d(x, w, null, { stride, padding: stride, variant: "naive" }).sum()], [x])[0]!
    );
    assertEquals(list(far!), list(near!));
  });

  cleanTest(`padding modes are pad() before the convolution on ${device}`, () => {
    const [x, w] = [random(2, 3, 6, 7), random(4, 3, 3, 2)];
    for (const paddingMode of ["reflect", "replicate", "circular"] as const) {
      const options: Conv2dOptions = { padding: [[2, 1], [0, 3]], stride: [1, 2] };
      const y = conv2d(x, w, null, { ...options, paddingMode });
      const padded = pad(x, [[0, 0], [0, 0], [2, 1], [0, 3]], { mode: paddingMode });
      assertEquals(list(y), list(conv2d(padded, w, null, { stride: [1, 2] })));
    }
  });

  cleanTest(`Sequential computes a convolution and its activation at once on ${device}`, () => {
    const layer = new nn.Conv2d(3, 8, 3, { padding: 1, device });
    const both = later(new nn.Sequential(layer, new nn.ReLU()));
    const x = random(2, 3, 5, 6);
    x.requiresGrad = true;
    const y = both.forward(x), z = layer.forward(x).relu();
    assert(apart(y, z) < 1e-5);
    const gradientOf = (y: Tensor) => {
      x.grad?.dispose();
      x.grad = null;
      y.backward(ones(y.shape, { device }));
      return list(x.grad!);
    };
    const [a, b] = [gradientOf(y), gradientOf(z)];
    assert(a.every((value, i) => Math.abs(value - b[i]!) < 1e-4));
    x.grad!.dispose();
  });

  cleanTest(`Sequential pools what a convolution and ReLU give at once on ${device}`, () => {
    for (const [channels, filters, extent] of [[1, 6, 28], [6, 16, 13], [8, 16, 9]] as const) {
      for (const dtype of ["float32", "float16", "float64"] as const) {
        const layer = later(new nn.Conv2d(channels, filters, 5, { device, dtype }));
        const values = list(random(3, channels, extent, extent));
        values[2 * channels * extent * extent + extent + 1] = NaN; // of the last image
        const shape = [3, channels, extent, extent];
        const x = tensor(values, { shape, device }).to(dtype).detach();
        x.requiresGrad = true;
        const together = later(new nn.Sequential(layer, new nn.ReLU(), new nn.MaxPool2d(2)));
        const y = together.forward(x);
        const z = layer.activated(x, "relu").maxPool2d({ kernelSize: 2 });
        assertEquals(list(y), list(z));
        const upstream = random(...y.shape).to(dtype);
        const gradients = (y: Tensor) =>
          grad([y], [x, layer.weight, layer.bias!], { gradOutputs: [upstream] }).map(list);
        assertEquals(gradients(y), gradients(z));
      }
    }
  });

  cleanTest(`what is pooled is not kept for the gradients on ${device}`, () => {
    const [x, w] = [random(2, 3, 20, 20), random(8, 3, 5, 5)]
      .map((t) => t.to({ format: "channelsLast" }).detach()) as [Tensor, Tensor];
    w.requiresGrad = true;
    const before = memory(device).live;
    const y = conv2d(x, w, null, { activation: "relu", maxPool: 2 });
    assertEquals([y.shape, y.format], [[2, 8, 8, 8], "channelsLast"]);
    assertEquals(memory(device).live - before, y.size * (4 + 1));
  });

  cleanTest(`autocast convolves in its dtype on ${device}`, () => {
    const [x, w, b] = [random(2, 16, 6, 6), random(8, 16, 3, 3), random(8)];
    const y = autocast("bfloat16", () => conv2d(x, w, b));
    assertEquals(y.dtype, "bfloat16");
    assert(apart(y.to("float32"), conv2d(x, w, b)) < 0.5);
    const z = autocast("bfloat16", () => convTranspose2d(x, random(16, 4, 2, 2)));
    assertEquals(z.dtype, "bfloat16");
  });

  cleanTest(`empty batches and images of one pixel convolve on ${device}`, () => {
    const w = random(4, 3, 3, 3);
    w.requiresGrad = true;
    const y = conv2d(zeros([0, 3, 5, 5], { device }), w);
    assertEquals(y.shape, [0, 4, 3, 3]);
    y.sum().backward();
    assertEquals(new Set(list(w.grad!)), new Set([0]));
    w.grad!.dispose();
    assertEquals(conv2d(random(2, 3, 1, 1), random(4, 3, 1, 1)).shape, [2, 4, 1, 1]);
  });

  cleanTest(`a NaN reaches the outputs that see it, and no others on ${device}`, () => {
    const x = zeros([1, 8, 4, 4], { device });
    x.copyFrom(Float32Array.from({ length: 128 }, (_, i) => i === 5 ? NaN : 1));
    const y = list(noGrad(() => conv2d(x, ones([8, 8, 2, 2], { device }))));
    const seen = [0, 1, 3, 4]; // of 3 x 3: the windows over row 1, column 1
    y.forEach((value, i) => assertEquals(Number.isNaN(value), seen.includes(i % 9), `${i}`));
  });

  cleanTest(`gradients by every method are those of the definition on ${device}`, () => {
    const kinds: Conv2dOptions[] = [
      { padding: 1 },
      { padding: [[1, 0], [2, 1]], stride: 2 },
      { padding: 2, dilation: 2, groups: 2 },
      { stride: [3, 4], groups: 4 },
    ];
    for (const dtype of ["float32", "bfloat16"] as const) {
      for (const options of kinds) {
        const x = random(4, 32, 11, 10).to(dtype);
        const w = random(64, 32 / (options.groups ?? 1), 3, 3).to(dtype);
        x.requiresGrad = w.requiresGrad = true;
        const of = (variant: string) => {
          const y = conv2d(x, w, null, { ...options, variant });
          return [y, ...grad([y], [x, w], { gradOutputs: [y.detach()] })];
        };
        const wanted = of("naive");
        for (const variant of convVariants(device)) {
          if (variant === "naive" || variant === "depthwise") continue;
          try {
            of(variant).forEach((found, i) => {
              const most = wanted[i]!.abs().max().to("float32").dataSync()[0]!;
              const allowed = (dtype === "float32" ? 1e-5 : 2 ** -6) * most;
              const what = `${dtype} ${JSON.stringify(options)} ${variant}`;
              assert(apart(found, wanted[i]!) <= allowed, `${what}: ${["y", "dx", "dw"][i]}`);
            });
          } catch (error) {
            // Not for such a convolution, or not on this machine.
            if (!(error instanceof NativeError && error.status === 5)) throw error;
          }
        }
      }
    }
  });

  cleanTest(`im2col takes lines of images that are large on ${device}`, () => {
    const options: Conv2dOptions = { padding: [[3, 0], [2, 5]], stride: [2, 1], groups: 2 };
    const [x, w, bias] = [random(2, 16, 250, 200), random(4, 8, 3, 5), random(4)];
    x.requiresGrad = w.requiresGrad = true;
    const of = (variant: string) => {
      const y = conv2d(x, w, bias, { ...options, variant, activation: "relu" });
      return [y, ...grad([y], [x, w], { gradOutputs: [y.detach()] })];
    };
    const wanted = of("naive");
    of("im2col").forEach((found, i) => {
      assert(apart(found, wanted[i]!) <= 1e-5 * wanted[i]!.abs().max().itemSync(), `${i}`);
    });
  });

  cleanTest(`im2col's matrix of a large image is not made whole on ${device}`, () => {
    const [x, w] = [random(1, 4, 2048, 1024), random(1, 4, 7, 7)];
    resetPeakMemory(device);
    const before = memory(device).live;
    const y = conv2d(x, w, null, { padding: 3, variant: "im2col" });
    const matrix = x.size * 49 * 4; // 1.6 GB
    assert(memory(device).peak - before < matrix / 2);
    assert(apart(y, conv2d(x, w, null, { padding: 3, variant: "naive" })) < 1e-3);
  });

  // Tensor cores take floats with a scale for each image: what that cannot hold is computed again.
  cleanTest(`infinities and images of wide range convolve as they are defined on ${device}`, () => {
    const last = Float32Array.from({ length: 2 * 32 * 36 }, (_, i) => Math.sin(i * i) || 1);
    const of = (change: (values: Float32Array) => void) => {
      const values = last.slice();
      change(values);
      return zeros([2, 32, 6, 6], { device }).copyFrom(values);
    };
    const inputs = [
      of((x) => x[40] = Infinity),
      of((x) => x[1200] = NaN),
      of((x) => x.fill(1e-30, 0, 18).fill(3e4, 700, 720)),
      of((x) => x.fill(0)),
    ];
    const w = random(8, 32, 3, 3);
    const same = (a: Tensor, b: Tensor, magnitudes: Tensor, what: string) => {
      const [wanted, sizes] = [list(b), list(magnitudes)];
      list(a).forEach((value, i) => {
        if (Number.isFinite(wanted[i]!)) {
          assert(Math.abs(value - wanted[i]!) <= 1e-6 * sizes[i]!, `${what} ${i}`);
        } else assertEquals(value, wanted[i], `${what} ${i}`);
      });
    };
    for (const x of inputs) {
      x.requiresGrad = w.requiresGrad = true;
      for (const stride of [1, 2]) {
        const of = (variant: string, x: Tensor, w: Tensor) => {
          const y = conv2d(x, w, null, { padding: 1, stride, variant });
          return [y, ...grad([y], [x, w], { gradOutputs: [ones(y.shape, { device })] })];
        };
        const [found, wanted] = [of("default", x, w), of("naive", x, w)];
        const sizes = of("naive", x.abs(), w.abs());
        ["y", "dx", "dw"].forEach((what, i) =>
          same(found[i]!, wanted[i]!, sizes[i]!, `${what} ${stride}`)
        );
      }
    }
  });

  cleanTest(`variant cudnn gives the same, or says what is missing, on ${device}`, () => {
    const missing = withoutCudnn(device);
    if (missing !== undefined) {
      const what = device === "cpu" ? "there is no variant" : "CUDENO_CUDNN";
      return assertStringIncludes(missing, what);
    }
    const shapes: [Shape, Shape, Conv2dOptions][] = [
      [[2, 16, 9, 8], [24, 16, 3, 3], { padding: 1 }],
      [[3, 6, 12, 11], [16, 6, 5, 5], { stride: 2 }],
      [[2, 16, 10, 9], [32, 8, 3, 3], { groups: 2, padding: [2, 1], dilation: [2, 1] }],
      [[2, 24, 7, 6], [24, 1, 3, 3], { groups: 24, padding: 1 }],
    ];
    for (const dtype of ["float32", "bfloat16"] as const) {
      for (const [image, filters, options] of shapes) {
        const [x, w] = [random(...image).to(dtype), random(...filters).to(dtype)];
        x.requiresGrad = w.requiresGrad = true;
        const of = (variant: string) => {
          const y = conv2d(x, w, null, { ...options, variant });
          return [y, ...grad([y], [x, w], { gradOutputs: [ones(y.shape, { device, dtype })] })];
        };
        const wanted = of("naive");
        // twice: its algorithms are tried, then the one that was chosen is taken
        for (const found of [of("cudnn"), of("cudnn")]) {
          found.forEach((a, i) => {
            const b = wanted[i]!.to("float32");
            const limit = (dtype === "float32" ? 1e-5 : 1e-2) * b.abs().max().itemSync();
            const off = apart(a.to("float32"), b);
            assert(off <= limit, `${dtype} ${image}, ${filters}, ${i}: ${off} > ${limit}`);
          });
        }
      }
    }
  });
}

/** What variant "cudnn" says where it does not run. */
function withoutCudnn(device: DeviceName): string | undefined {
  try {
    const [x, w] = [ones([1, 8, 4, 4], { device }), ones([8, 8, 1, 1], { device })];
    conv2d(x, w, null, { variant: "cudnn" });
    return undefined;
  } catch (error) {
    if (!(error instanceof CudenoError)) throw error;
    return error.message;
  }
}

Deno.test("layers of convolution print and start as PyTorch's", () => {
  const layer = later(new nn.Conv2d(16, 33, 3, { stride: 2, padding: [1, 2], bias: false }));
  assertEquals(
    layer.describe(),
    "Conv2d(16, 33, 3, { stride: 2, padding: [1, 2], bias: false })",
  );
  assertEquals(layer.weight.shape, [33, 16, 3, 3]);
  assert(Math.max(...list(layer.weight)) <= 1 / 12);
  const grouped = later(new nn.Conv2d(4, 8, { kernelSize: [3, 1], groups: 2 }));
  assertEquals(Object.keys(grouped.stateDict()), ["weight", "bias"]);
  assertEquals(grouped.weight.shape, [8, 2, 3, 1]);
  assertEquals(later(new nn.ConvTranspose2d(4, 6, 2, { groups: 2 })).weight.shape, [4, 3, 2, 2]);
  assertEquals(later(new nn.Conv1d(4, 6, 5)).weight.shape, [6, 4, 5]);
});

Deno.test("convolutions say what is wrong with shapes and options", () => {
  const says = (run: () => unknown, ...parts: string[]) => {
    const { message } = assertThrows(run, CudenoError);
    for (const part of parts) assertStringIncludes(message, part);
  };
  const of = (x: Shape, w: Shape, options?: Conv2dOptions) => () =>
    conv2d(zeros(x), zeros(w), null, options);
  says(of([1, 3, 2, 5], [4, 3, 3, 3]), "the window is 3 in height, more than the 2");
  says(of([1, 3, 5, 2], [4, 3, 1, 2], { dilation: [1, 3] }), "the window is 4 in width");
  says(of([1, 3, 5, 5], [4, 2, 3, 3]), "the weight's axis 1 must be 3");
  says(of([1, 3, 5, 5], [4, 1, 3, 3], { groups: 2 }), "3 channels are no multiple of 2 groups");
  says(of([1, 4, 5, 5], [3, 2, 3, 3], { groups: 2 }), "3 filters are no multiple of 2 groups");
  says(of([5, 5], [4, 3, 3, 3]), "[n, channels, height, width]");
  says(of([1, 3, 5, 5], [4, 3, 3]), "weight is [4, 3, 3]");
  says(of([1, 3, 5, 5], [4, 3, 3, 3], { stride: 0 }), "stride");
  says(of([1, 3, 5, 5], [4, 3, 3, 3], { stride: 2, padding: "same" }), "the stride is [2, 2]");
  says(of([1, 3, 5, 5], [4, 3, 3, 3], { padding: -1 }), "padding");
  const before = memory().tensors; // what is padded is not made first
  const [x, w, bad] = [
    zeros([1, 1, 3, 3]),
    zeros([1, 1, 3, 3]),
    { paddingMode: "reflect" } as const,
  ];
  says(() => conv2d(x, w, null, { ...bad, padding: 1, groups: 2 }), "1 channels");
  assertEquals(memory().tensors - before, 2);
  // deno-lint-ignore no-sparse-arrays -- that is what is refused
  says(of([1, 3, 5, 5], [4, 3, 3, 3], { padding: [, 1] as never }), "padding is [");
  says(of([1, 3, 5, 5], [4, 3, 3, 3], { maxPool: 2 }), "maxPool is 2", 'activation: "relu"');
  says(of([1, 3, 5, 5], [4, 3, 3, 3], { activation: "relu", maxPool: 3 as 2 }), "maxPool is 3");
  says(of([1, 3, 3, 5], [4, 3, 3, 3], { activation: "relu", maxPool: 2 }), "no 2 x 2");
  says(of([1, 3, 5, 5], [4, 3, 3, 3], { variant: "fast" }), "there is no variant", "default");
  says(of([1, 3, 5, 5], [4, 3, 3, 3], { variant: "depthwise" }), "depthwise");
  says(() => conv2d(zeros([1, 3, 5, 5]), zeros([4, 3, 3, 3]), zeros([3])), "bias is [3]");
  says(
    () => conv2d(zeros([1, 3, 5, 5]), zeros([4, 3, 3, 3], { dtype: "float64" })),
    "float64",
  );
  says(() => conv1d(zeros([1, 3, 5, 5]), zeros([4, 3, 3])), "conv1d");
  says(
    () => convTranspose2d(zeros([1, 3, 5, 5]), zeros([3, 4, 3, 3]), null, { outputPadding: 1 }),
    "outputPadding",
  );
  says(() => new nn.Conv2d(3, 4, {} as never), "kernelSize");
  says(() => new nn.Conv2d(3, 4, 3, { groups: 2 }), "a multiple of the 2 groups");
  const small = ones([1, 3, 3, 3]), few = ones([2, 3, 3, 3]);
  says(() => conv2d(small, few, null, { activation: "relu", maxPool: 2 }), "no 2 x 2");
  // deno-lint-ignore no-explicit-any -- as in plain JavaScript, from PyTorch's order
  says(() => new nn.Conv2d(3, 8, 3, 2 as any), "{ stride");
  says(() => new nn.BatchNorm2d(3).forward(ones([2, 4, 3, 3])), "3 features");
  const model = later(new nn.Sequential({ a: new nn.Sequential(new nn.ReLU(), new nn.ReLU()) }));
  model.replace("a.1", new nn.Conv1d(2, 2, 3, { padding: 1, paddingMode: "circular" }));
  says(() => model.replace("a.2", new nn.ReLU()), "there are 0, 1");
  says(() => model.replace("b.0", new nn.ReLU()), "there are a");
  assertEquals(model.forward(ones([1, 2, 4])).shape, [1, 2, 4]);
});
