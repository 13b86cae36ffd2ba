// What losses refuse, and what neither the case table nor PyTorch's record of them reaches.
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  ArgumentError,
  bceLoss,
  bceWithLogitsLoss,
  cosineEmbeddingLoss,
  crossEntropy,
  devices,
  DTypeError,
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
  zeros,
} from "../mod.ts";

const names = devices().map(({ device }) => device);
const int = (...values: number[]) => tensor(values, { dtype: "int32" });

// deno-lint-ignore no-explicit-any -- as assertThrows has it
type Kind = new (...args: any[]) => Error;

function refuse(fn: () => unknown, kind: Kind, ...parts: string[]) {
  const { message } = assertThrows(fn, kind);
  for (const part of parts) assert(message.includes(part), `${message} lacks ${part}`);
}

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

for (const device of names) {
  Deno.test(`class numbers out of range are reported by the next read, on ${device}`, () => {
    for (const loss of [nllLoss, multiMarginLoss, crossEntropy]) {
      for (const bad of [-1, 3]) {
        scope(() => {
          const x = rand([2, 3], { device });
          const target = tensor([0, bad], { dtype: "int32", device });
          const weight = ones([3], { device });
          const none = { reduction: "none", weight } as const;
          let y: Tensor | undefined; // with CUDENO_SYNC=1 the call itself reports it
          assertThrows(() => (y = loss(x, target, none)).dataSync(), Error, `${bad}`);
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

  Deno.test(`a mean over targets of which all are ignored is NaN, its gradient 0, on ${device}`, () =>
    scope(() => {
      const x = rand([2, 3], { device, requiresGrad: true });
      const target = tensor([-100, -100], { dtype: "int32", device });
      for (const loss of [crossEntropy, nllLoss]) {
        const y = loss(x, target);
        assertEquals(y.itemSync(), NaN);
        assertEquals([...grad(y, [x])[0]!.dataSync()], [0, 0, 0, 0, 0, 0]);
      }
    }));

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
