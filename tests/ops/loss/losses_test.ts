// What losses refuse, and what neither the case table nor PyTorch's record of them reaches.
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { assertStringIncludes, assertThrows } from "@std/assert";
import {
  ArgumentError,
  bceLoss,
  bceWithLogitsLoss,
  cosineEmbeddingLoss,
  crossEntropy,
  devices,
  DTypeError,
  full,
  grad,
  GradientError,
  hingeLoss,
  huberLoss,
  klDivLoss,
  l1Loss,
  mseLoss,
  multiMarginLoss,
  nllLoss,
  nn,
  ones,
  rand,
  scope,
  ShapeError,
  smoothL1Loss,
  type Tensor,
  tensor,
  where,
  zeros,
} from "../../../mod.ts";
import { roundoff } from "../../cases/case.ts";
import { refuse } from "../../_helpers.ts";

const names = devices().map(({ device }) => device);
type IntOf = (...values: number[]) => Tensor;
const int: IntOf = (...values) => tensor(values, { dtype: "int32" });
const none = { reduction: "none" } as const;

const alike = {
  mseLoss,
  l1Loss,
  smoothL1Loss,
  huberLoss,
  bceLoss,
  bceWithLogitsLoss,
  hingeLoss,
  klDivLoss,
};

for (const [name, loss] of Object.entries(alike)) {
  Deno.test(`${name} refuses shapes, dtypes and options that do not fit`, () =>
    scope(() => {
      const x = rand([2, 3]);
      refuse(() => loss(x, rand([3])), ShapeError, name, "[2, 3]", "[3]", "equal");
      refuse(() => loss(x, rand([2, 3], { dtype: "float64" })), DTypeError, name, "float64");
      refuse(() => loss(x.to("int32"), x), DTypeError, name, "int32");
      refuse(() => loss(x, x, { reducton: "sum" } as never), ArgumentError, name, "reduction?");
      refuse(() => loss(x, x, { reduction: "avg" as never }), ArgumentError, name, "avg", "mean");
      refuse(() => loss(x, 1 as unknown as Tensor), ArgumentError, name, "tensor");
    }));
}

Deno.test("losses of numbers refuse parameters and weights that do not fit", () =>
  scope(() => {
    const x = rand([2, 3]);
    refuse(() => smoothL1Loss(x, x, { beta: -1 }), ArgumentError, "beta is -1");
    refuse(() => huberLoss(x, x, { delta: 0 }), ArgumentError, "delta is 0");
    refuse(() => hingeLoss(x, x, { margin: NaN }), ArgumentError, "margin");
    refuse(() => bceLoss(x, x, { weight: ones([2]) }), ShapeError, "weight", "[2, 3]", "[2]");
    refuse(() => bceLoss(x, x, { weight: ones([4, 2, 3]) }), ShapeError, "weight", "[4, 2, 3]");
    refuse(
      () => bceWithLogitsLoss(x, x, { posWeight: ones([3], { dtype: "float64" }) }),
      DTypeError,
      "posWeight",
      "float64",
    );
    refuse(() => new nn.SmoothL1Loss({ beta: -1 }), ArgumentError, "SmoothL1Loss", "beta");
    refuse(() => new nn.KLDivLoss({ reduction: "batch" as never }), ArgumentError, "batchmean");
  }));

Deno.test("losses of classes refuse what does not fit", () =>
  scope(() => {
    const x = rand([2, 3]);
    for (const loss of [crossEntropy, nllLoss, multiMarginLoss]) {
      const { name } = loss;
      refuse(() => loss(x, int(0, 1, 2)), ShapeError, name, "[2, 3]", "[3]");
      refuse(() => loss(rand([]), int(0)), ShapeError, name, "[]");
      refuse(() => loss(rand([2, 0]), int(0, 0)), ShapeError, name, "no classes");
      refuse(() => loss(x, zeros([2])), DTypeError, name, "float32", "int32 or uint8");
      const weight = (shape: number[], dtype: "float32" | "float64" = "float32") => () =>
        loss(x, int(0, 1), { weight: ones(shape, { dtype }) });
      refuse(weight([2]), ShapeError, name, "weight", "[2]", "3 classes", "[3]");
      refuse(weight([3], "float64"), DTypeError, name, "weight", "float64");
      const learned = ones([3], { requiresGrad: true });
      refuse(() => loss(x, int(0, 1), { weight: learned }), GradientError, name, "detach");
    }
    refuse(() => crossEntropy(x, int(0, 1), { labelSmoothing: 1.5 }), ArgumentError, "1.5");
    refuse(() => crossEntropy(x, int(0, 1), { ignoreIndex: 2 ** 31 }), ArgumentError, "int32");
    refuse(() => crossEntropy(x, int(0, 1), { ignoreIndex: 0.5 }), ArgumentError, "ignoreIndex");
    refuse(() => crossEntropy(x, x, { ignoreIndex: 0 }), ArgumentError, "probabilities");
    refuse(() => crossEntropy(x, rand([3, 2])), ShapeError, "[2, 3]", "[3, 2]");
    refuse(() => crossEntropy(x, int(0, 1), { smoothing: 1 } as never), ArgumentError, "smoothing");
    refuse(() => multiMarginLoss(x, int(0, 1), { p: 3 }), ArgumentError, "p is 3");
    refuse(() => multiMarginLoss(rand([2, 3, 4]), zeros([2, 4], { dtype: "int32" })), ShapeError);
    refuse(() => new nn.CrossEntropyLoss({ labelSmoothing: 2 }), ArgumentError, "CrossEntropyLoss");
    refuse(() => new nn.MultiMarginLoss({ p: 0 }), ArgumentError, "p is 0");
  }));

Deno.test("cosineEmbeddingLoss refuses what does not fit", () =>
  scope(() => {
    const x = rand([2, 3]);
    refuse(() => cosineEmbeddingLoss(x, rand([2, 4]), int(1, 1)), ShapeError, "[2, 4]");
    refuse(() => cosineEmbeddingLoss(x, x, int(1)), ShapeError, "[1]", "[n]");
    refuse(() => cosineEmbeddingLoss(x, x, int(1, 1).to("uint8")), DTypeError, "uint8");
    refuse(() => cosineEmbeddingLoss(x, x, int(1, 1), { margin: 2 }), ArgumentError, "margin is 2");
  }));

const [inf, zero] = [Infinity, [0, 0]];
const third = (1 / (1 + Math.exp(-1)) * 0.5 - 1 / (1 + Math.E)) / 3;

// What counts nothing is left out, whatever stands there: the loss, and its gradient by the one
// tensor that is given.
const leftOut: [
  name: string,
  loss: (x: Tensor, like: (values: number[] | number[][]) => Tensor, int: IntOf) => Tensor,
  x: number[] | number[][],
  value: number,
  gradient: number[],
][] = [
  [
    "crossEntropy, an ignored target, smoothed",
    (x, _, int) => crossEntropy(x, int(0, -100), { labelSmoothing: 0.1 }),
    [[1, 2], [-inf, 3]],
    1.263261687518223,
    [-0.68105858, 0.68105858, ...zero],
  ],
  [
    "crossEntropy, an ignored target of NaN",
    (x, _, int) => crossEntropy(x, int(0, -100), { labelSmoothing: 0.1 }),
    [[1, 2], [NaN, 3]],
    1.263261687518223,
    [-0.68105858, 0.68105858, ...zero],
  ],
  [
    "crossEntropy, ignored targets only",
    (x, _, int) => crossEntropy(x, int(-100, -100), { labelSmoothing: 0.1 }),
    [[1, 2], [3, 4]],
    NaN,
    [...zero, ...zero],
  ],
  [
    "crossEntropy, ignored targets only, weighted",
    (x, like, int) => crossEntropy(x, int(-100, -100), { weight: like([1, 2]) }),
    [[1, 2], [3, 4]],
    NaN,
    [...zero, ...zero],
  ],
  [
    "crossEntropy, a class of weight 0 chosen",
    (x, like, int) => crossEntropy(x, int(0, 1), { weight: like([0, 2]) }),
    [[-inf, 2], [1, 3]],
    0.1269280110429726,
    [...zero, 0.11920292, -0.11920292],
  ],
  [
    "crossEntropy, a class of weight 0 and no chance, smoothed",
    (x, like, int) => crossEntropy(x, int(0, 0), { weight: like([2, 0]), labelSmoothing: 0.1 }),
    [[1, -inf], [2, 3]],
    0.6237993015711559,
    [...zero, -0.34725282, 0.34725282],
  ],
  [
    "crossEntropy, a probability of 0 for no chance",
    (x, like) => crossEntropy(x, like([[0, 1]])),
    [[-inf, 3]],
    0,
    zero,
  ],
  [
    "crossEntropy, samples that a mask takes out afterwards",
    (x, like, int) => where(like([1, 0]).gt(0), crossEntropy(x, int(0, 1), none), 0).sum(),
    [[0, 0], [NaN, 3]],
    Math.LN2,
    [-0.5, 0.5, ...zero],
  ],
  [
    "nllLoss, a class of weight 0",
    (x, like, int) => nllLoss(x, int(0, 1), { weight: like([0, 1]) }),
    [[-inf, 2], [3, 4]],
    -4,
    [0, 0, 0, -1],
  ],
  [
    "multiMarginLoss, infinite scores of the targets",
    (x, _, int) => multiMarginLoss(x, int(0, 1), { p: 2 }),
    [[inf, 1, 2], [-inf, 1, 2]],
    2 / 3,
    [0, 0, 0, 0, -2 / 3, 2 / 3],
  ],
  [
    "bceLoss, a weight of 0",
    (x, like) => bceLoss(x, like([1, 0]), { weight: like([1, 0]) }),
    [0.5, NaN],
    Math.LN2 / 2,
    [-1, 0],
  ],
  [
    "bceWithLogitsLoss, a weight of 0",
    (x, like) => bceWithLogitsLoss(x, like([0, 0]), { weight: like([1, 0]) }),
    [0, inf],
    Math.LN2 / 2,
    [0.25, 0],
  ],
  [
    "bceWithLogitsLoss, logits that are sure and right, posWeight",
    (x, like) => bceWithLogitsLoss(x, like([1, 0, 0.5]), { posWeight: like([2, 2, 2]) }),
    [inf, -inf, 1],
    (0.5 * Math.log1p(Math.E) + Math.log1p(Math.exp(-1))) / 3,
    [0, 0, third],
  ],
  [
    "bceWithLogitsLoss, a posWeight of 0",
    (x, like) => bceWithLogitsLoss(x, like([1, 0]), { posWeight: like([0, 0]) }),
    [-inf, 0],
    Math.LN2 / 2,
    [0, 0.25],
  ],
  ["hingeLoss, by the target", (t, like) => hingeLoss(like([inf, -2]), t), [1, 1], 1.5, [0, 1]],
  ["klDivLoss, by a target of 0", (t, like) => klDivLoss(like([-inf, 0]), t), [0, 1], 0, [0, 0.5]],
  [
    "klDivLoss, by the logarithm of 0",
    (t, like) => klDivLoss(like([-inf, 0]), t, { logTarget: true }),
    [-inf, 0],
    0,
    [0, 0.5],
  ],
];

for (const device of names) {
  for (const [name, loss, x, value, gradient] of leftOut) {
    Deno.test(`what counts nothing is left out: ${name}, on ${device}`, () =>
      scope(() => {
        const like = (values: number[] | number[][]) => tensor(values, { device });
        const leaf = tensor(x, { device, requiresGrad: true });
        const y = loss(leaf, like, (...values) => int(...values).to(device));
        assertAlmostEquals(y.itemSync(), value, 1e-6);
        for (const createGraph of [false, true]) {
          const [dx] = grad(y, [leaf], { createGraph, retainGraph: true });
          dx!.dataSync().forEach((found, i) => assertAlmostEquals(found, gradient[i]!, 1e-6));
        }
      }));
  }

  Deno.test(`a target of uint8 may have every option, on ${device}`, () =>
    scope(() => {
      const x = tensor([[1, 2], [3, 4]], { device });
      const target = tensor([0, 1], { dtype: "uint8", device });
      const weight = tensor([1, 1], { device });
      for (const options of [{}, { weight }, { ignoreIndex: 300 }]) {
        const y = crossEntropy(x, target, { labelSmoothing: 0.1, ...options });
        assertAlmostEquals(y.itemSync(), 0.8132616875182229, 1e-6);
        for (const reduction of ["none", "sum"] as const) {
          const each = crossEntropy(x, target, { labelSmoothing: 0.1, reduction, ...options });
          assertAlmostEquals(each.sum().itemSync(), 2 * 0.8132616875182229, 1e-6);
        }
      }
      const ignored = crossEntropy(x, target, { labelSmoothing: 0.1, ignoreIndex: 1 });
      assertAlmostEquals(ignored.itemSync(), 1.263261687518223, 1e-6);
      assertAlmostEquals(multiMarginLoss(x, target, { weight }).itemSync(), 0.5, 1e-6);
    }));

  Deno.test(`16-bit losses are computed in float32 and rounded once, on ${device}`, () => {
    for (const dtype of ["float16", "bfloat16"] as const) {
      scope(() => {
        const like = (values: number[] | number[][]) => tensor(values, { dtype, device });
        const all = (shape: number[], value: number) => full(shape, value, { dtype, device });
        const int = (...values: number[]) => tensor(values, { dtype: "int32", device });
        const four = like([0, 0, 0, 0]);
        const table: [Tensor, number][] = [
          [cosineEmbeddingLoss(like([[20, 0]]), like([[20, 20]]), int(1)), 1 - Math.SQRT1_2],
          [mseLoss(like([300, 0, 0, 0]), four), 22500],
          [huberLoss(like([512, 0, 0, 0]), four, { delta: 512 }), 32768],
          [smoothL1Loss(like([65504, 0, 0, 0]), like([-65504, 0, 0, 0])), 32751.875],
          [klDivLoss(all([8192, 1], -10), all([8192, 1], 1), { reduction: "batchmean" }), 10],
          [multiMarginLoss(all([1, 1000], 0), int(0), { margin: 100 }), 99.9],
          [multiMarginLoss(like([[0, 300, 0, 0]]), int(0), { p: 2, margin: 0 }), 22500],
          [hingeLoss(like([-300, 0, 0, 0]), like([300, 1, 1, 1]), { margin: 0 }), 22500],
          [crossEntropy(like([[-60000, 60000], [0, 60000]]), int(0, 1)), 60000],
          [crossEntropy(like([[0, 60000]]), int(0), { labelSmoothing: 0.5 }), 45000],
          [crossEntropy(like([[-60000, 60000]]), like([[0.25, 0.75]])), 30000],
          [nllLoss(like([[-60000, 0], [0, 0]]), int(0, 1), { weight: like([2, 2]) }), 30000],
          [bceLoss(like([0, 1]), like([1, 1]), { weight: like([1000, 0]) }), 50000],
          [bceWithLogitsLoss(like([300, 0]), like([0, 0]), { weight: like([300, 0]) }), 45000],
        ];
        table.forEach(([y, value], i) => {
          assertEquals(y.dtype, dtype);
          const off = Math.abs(y.itemSync() - value);
          assert(off <= value * (roundoff[dtype]! + 1e-6), `${i}: ${y.itemSync()}, not ${value}`);
        });
      });
    }
  });

  Deno.test(`class numbers out of range are reported by the next read, on ${device}`, () => {
    for (const loss of [nllLoss, multiMarginLoss, crossEntropy]) {
      for (const bad of [-1, 3]) {
        scope(() => {
          const x = rand([2, 3], { device });
          const target = tensor([0, bad], { dtype: "int32", device });
          const weight = ones([3], { device });
          const none = { reduction: "none", weight } as const;
          const name = loss === crossEntropy ? "crossEntropy" : ""; // though it ends in nllLoss's
          let y: Tensor | undefined; // with CUDENO_SYNC=1 the call itself reports it
          const first = assertThrows(() => (y = loss(x, target, none)).dataSync(), Error, `${bad}`);
          assertStringIncludes(first.message, name);
          if (y) {
            assertThrows(() => loss(x, target).dataSync(), Error, `${bad}`);
            const [good, wrong] = y.dataSync();
            assert(Number.isFinite(good) && Number.isNaN(wrong));
          }
        });
      }
    }
  });

  Deno.test(`HingeLoss takes signs, of any dtype, and class numbers, on ${device}`, () =>
    scope(() => {
      const loss = new nn.HingeLoss({ margin: 0.5 });
      const x = tensor([0.25, -1, 3], { device });
      const signs = tensor([1, 1, -1], { device });
      const wanted = (0.25 + 1.5 + 3.5) / 3;
      assertAlmostEquals(loss.forward(x, signs).itemSync(), wanted, 1e-6);
      assertAlmostEquals(loss.forward(x, signs.to("int32")).itemSync(), wanted, 1e-6);
      const scores = tensor([[0, 1], [2, 0]], { device });
      const target = tensor([0, 0], { dtype: "int32", device });
      assertAlmostEquals(loss.forward(scores, target).itemSync(), 1.5 / 2 / 2, 1e-6);
    }));

  Deno.test(`gradients made with a loss are those of its elements, on ${device}`, () => {
    for (const [name, loss] of Object.entries(alike)) {
      for (const size of [1, 33, 1024, 20_001]) {
        scope(() => {
          const x = rand([size], { device, requiresGrad: true }), target = rand([size], { device });
          for (const reduction of ["mean", "sum"] as const) {
            const [fused] = grad(loss(x, target, { reduction }), [x]);
            const [apart] = grad(loss(x, target, none)[reduction](), [x]);
            const wanted = apart!.dataSync();
            const one = reduction === "mean" ? 1 / size : 1; // what a slope of 1 comes to
            fused!.dataSync().forEach((dx, i) => {
              const allowed = 1e-6 * Math.max(Math.abs(wanted[i]!), one);
              assertAlmostEquals(dx, wanted[i]!, allowed, `${name} ${i}`);
            });
          }
        });
      }
    }
  });

  Deno.test(`a loss can be gone back through again, and from outside, on ${device}`, () =>
    scope(() => {
      const x = tensor([1, 5], { device, requiresGrad: true }), target = zeros([2], { device });
      const y = mseLoss(x, target);
      y.backward(tensor(3, { device }), { retainGraph: true });
      assertEquals([...x.grad!.dataSync()], [3, 15]);
      y.backward();
      assertEquals([...x.grad!.dataSync()], [4, 20]);
      const outside = scope(() => mseLoss(x, target));
      assertEquals([...grad(outside, [x])[0]!.dataSync()], [1, 5]);
    }));

  Deno.test(`losses of nothing: a mean is NaN, a sum 0, on ${device}`, () =>
    scope(() => {
      const x = zeros([0, 3], { device, requiresGrad: true });
      const target = zeros([0], { dtype: "int32", device });
      for (const loss of [crossEntropy, nllLoss]) {
        assertEquals(loss(x, target).itemSync(), NaN);
        assertEquals(loss(x, target, { reduction: "sum" }).itemSync(), 0);
      }
      assertEquals(mseLoss(x, zeros([0, 3], { device })).itemSync(), NaN);
      const [dx] = grad(crossEntropy(x, target), [x]);
      assertEquals(dx!.shape, [0, 3]);
    }));

  Deno.test(`a mean over ignored targets only is NaN, its gradient 0, on ${device}`, () =>
    scope(() => {
      const x = rand([2, 3], { device, requiresGrad: true });
      const target = tensor([-100, -100], { dtype: "int32", device });
      for (const loss of [crossEntropy, nllLoss]) {
        const y = loss(x, target);
        assertEquals(y.itemSync(), NaN);
        assertEquals([...grad(y, [x])[0]!.dataSync()], [0, 0, 0, 0, 0, 0]);
      }
    }));

  Deno.test(`16-bit losses: gradients are rounded once, after the scale, on ${device}`, () => {
    for (const dtype of ["float16", "bfloat16"] as const) {
      scope(() => {
        const n = 65536, scale = 1024; // 2^-27 is no float16, 2^-17 is one
        const x = full([n], 2 ** -12, { dtype, device, requiresGrad: true });
        const target = zeros([n], { dtype, device });
        const y = mseLoss(x, target);
        assertEquals(y.dtype, dtype);
        const [dx] = grad(y.mul(scale), [x]);
        assertEquals([dx!.dtype, dx!.dataSync()[1]], [dtype, 2 ** -17]);
        const each = mseLoss(x, target, { reduction: "none" });
        assertEquals([each.dtype, each.dataSync()[0]], [dtype, 2 ** -24]);
        const slope = grad(mseLoss(x, target, { reduction: "sum" }), [x], {
          createGraph: true,
        })[0]!;
        assertEquals(grad(slope.sum(), [x])[0]!.dataSync()[0], 2);
      });
    }
  });

  Deno.test(`float16 losses: no gradient underflows to 0 by the mean alone, on ${device}`, () =>
    scope(() => {
      const n = 4096;
      const x = zeros([n, 2], { dtype: "float16", device, requiresGrad: true });
      const target = zeros([n], { dtype: "int32", device });
      const y = crossEntropy(x, target);
      assertAlmostEquals(y.itemSync(), Math.LN2, 1e-3);
      const [dx] = grad(y, [x]);
      assertAlmostEquals(dx!.dataSync()[0]!, -0.5 / n, 1e-7);
    }));
}
