// Mixed precision: what each operation computes in, gradients, and what is cast how often.
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import {
  ArgumentError,
  autocast,
  type AutocastDType,
  batchNorm,
  bceLoss,
  bceWithLogitsLoss,
  concat,
  cosineEmbeddingLoss,
  crossEntropy,
  devices,
  type DType,
  DTypeError,
  einsum,
  exp,
  klDivLoss,
  layerNorm,
  linear,
  log,
  logSoftmax,
  manualSeed,
  matmul,
  mean,
  memory,
  mseLoss,
  multiMarginLoss,
  nllLoss,
  nn,
  noGrad,
  ones,
  optim,
  pow,
  rand,
  randn,
  scaledDotProductAttention,
  scope,
  softmax,
  stack,
  sum,
  type Tensor,
  tensor,
  where,
} from "../../mod.ts";
import { cleanTest, later } from "../_helpers.ts";

const names = devices().map(({ device }) => device);
const halves: readonly AutocastDType[] = ["float16", "bfloat16"];

/** What an operation read. */
const inputsOf = (x: Tensor) => x.node!.inputs;

for (const device of names) {
  cleanTest(`autocast: products take its dtype, on ${device}`, () => {
    const x = rand([2, 3], { device });
    const w = rand([4, 3], { device });
    const x64 = x.to("float64");
    for (const dtype of halves) {
      autocast(dtype, () => {
        for (const other of [x, x.to("float16"), x.to("bfloat16")]) {
          assertEquals(matmul(other, w, { transposeB: true }).dtype, dtype);
          assertEquals(linear(other, w, ones([4], { device })).dtype, dtype);
          assertEquals(einsum("ij,kj->ik", other, w).dtype, dtype);
          assertEquals(einsum("ij,kl->ik", other, w).dtype, dtype);
          assertEquals(scaledDotProductAttention(other, w, w).dtype, dtype);
        }
        assertEquals(matmul(x64, x64.transpose()).dtype, "float64");
      });
    }
    assertEquals(matmul(x, x.transpose()).dtype, "float32");
  });

  cleanTest(`autocast: range and precision take float32, on ${device}`, () => {
    const target = tensor([0, 1], { dtype: "int32", device });
    const ops: Record<string, (x: Tensor) => Tensor> = {
      softmax: (x) => softmax(x),
      logSoftmax: (x) => logSoftmax(x),
      exp: (x) => exp(x),
      log: (x) => log(x),
      pow: (x) => pow(x, 2),
      powTensor: (x) => pow(x, x),
      sum: (x) => sum(x),
      mean: (x) => mean(x, 0),
      crossEntropy: (x) => crossEntropy(x, target),
      mseLoss: (x) => mseLoss(x, x.to("float32")),
    };
    for (const dtype of halves) {
      const x = rand([2, 3], { device, low: 0.5 }).to(dtype);
      for (const [name, op] of Object.entries(ops)) {
        const found = autocast(dtype, () => op(x));
        assertEquals(found.dtype, "float32", name);
        const wanted = op(x.to("float32"));
        assertEquals([...found.dataSync()], [...wanted.dataSync()], name);
        if (name !== "mseLoss") assertEquals(op(x).dtype, dtype, name);
        const x64 = x.to("float64");
        if (name !== "mseLoss") assertEquals(autocast(dtype, () => op(x64)).dtype, "float64", name);
      }
    }
  });

  cleanTest(`autocast: two tensors take the wider dtype, on ${device}`, () => {
    const of = (dtype: "float16" | "bfloat16" | "float32" | "float64") =>
      ones([2], { dtype, device });
    const index = tensor([0, 1], { dtype: "int32", device });
    const mask = tensor([0, 1], { dtype: "uint8", device });
    const ops: ((a: Tensor, b: Tensor) => Tensor)[] = [
      (a, b) => a.add(b),
      (a, b) => a.sub(b),
      (a, b) => a.mul(b),
      (a, b) => a.div(b),
      (a, b) => a.maximum(b),
      (a, b) => a.minimum(b),
      (a, b) => a.floorDivide(b),
      (a, b) => where(mask, a, b),
      (a, b) => concat([a, b]),
      (a, b) => stack([a, b]),
      (a, b) => a.scatterAdd(0, index, b),
      (a, b) => a.indexAdd(0, index, b),
    ];
    const table = [
      ["float16", "float16", "float16"],
      ["float16", "bfloat16", "float32"],
      ["bfloat16", "float32", "float32"],
      ["float32", "float64", "float64"],
      ["float16", "float64", "float64"],
    ] as const;
    for (const op of ops) {
      for (const [a, b, wanted] of table) {
        assertEquals(autocast("float16", () => op(of(a), of(b))).dtype, wanted);
        assertEquals(autocast("float16", () => op(of(b), of(a))).dtype, wanted);
        if (a !== b) assertThrows(() => op(of(a), of(b)), DTypeError);
      }
      assertEquals(autocast("bfloat16", () => op(of("float16"), of("float16"))).dtype, "float16");
    }
    assertEquals(autocast("float16", () => of("float16").mul(2)).dtype, "float16");
  });

  cleanTest(`autocast: weights and targets need no cast of their own, on ${device}`, () => {
    const of = (dtype: DType, shape: number[] = [2, 2]) => rand(shape, { device }).to(dtype);
    const target = tensor([0, 1], { dtype: "int32", device });
    const ops: ((x: Tensor, other: DType) => Tensor)[] = [
      (x, other) => crossEntropy(x, target, { weight: of(other, [2]) }),
      (x, other) => crossEntropy(x, of(other)),
      (x, other) => nllLoss(x, target, { weight: of(other, [2]) }),
      (x, other) => multiMarginLoss(x, target, { weight: of(other, [2]) }),
      (x, other) => bceLoss(x, of(other), { weight: of(other) }),
      (x, other) => bceWithLogitsLoss(x, of(other), { weight: of(other), posWeight: of(other) }),
      (x, other) => klDivLoss(x, of(other), { reduction: "batchmean" }),
      (x, other) => cosineEmbeddingLoss(x, of(other), target),
      (x, other) => layerNorm(x, 2, { weight: of(other, [2]), bias: of("float32", [2]) }),
    ];
    for (const op of ops) {
      for (const [dtype, other] of [["float32", "float16"], ["bfloat16", "float32"]] as const) {
        assertEquals(autocast("float16", () => op(of(dtype), other)).dtype, "float32");
      }
    }
    for (const dtype of ["float32", "bfloat16"] as const) { // x is left as it is
      const [weight, bias] = [of("float16", [2]), of("float32", [2])];
      assertEquals(autocast("float16", () => batchNorm(of(dtype), { weight, bias })).dtype, dtype);
    }
  });

  cleanTest(`autocast: gradients come back in float32, near those of float32, on ${device}`, () => {
    manualSeed(1); // or a gradient may be small by chance, and its error large beside it
    const model = later(
      new nn.Sequential(
        new nn.Linear(8, 16, { device }),
        new nn.Tanh(),
        new nn.Linear(16, 3, { device }),
      ),
    );
    const x = randn([6, 8], { device });
    const target = tensor([0, 1, 2, 0, 1, 2], { dtype: "int32", device });
    const gradients = (run: <T>(fn: () => T) => T, inside: boolean) => {
      model.zeroGrad();
      const forward = () => crossEntropy(model.forward(x), target);
      if (inside) run(() => forward().backward());
      else run(forward).backward();
      return model.parameters().map((p) => p.grad!.clone());
    };
    const wanted = gradients((fn) => fn(), false);
    for (const dtype of halves) {
      for (const inside of [false, true]) {
        gradients((fn) => autocast(dtype, fn), inside).forEach((found, i) => {
          assertEquals(found.dtype, "float32");
          const off = found.sub(wanted[i]!).abs().max().itemSync();
          const size = wanted[i]!.abs().max().itemSync();
          assert(off <= (dtype === "float16" ? 0.01 : 0.05) * size, `off by ${off} of ${size}`);
          assert(off > 0, "it is computed in another precision");
        });
      }
    }
  });
}

cleanTest("autocast: a parameter is cast once, and again where the cast cannot serve", () => {
  const w = later(ones([3, 3], { requiresGrad: true }));
  const x = ones([2, 3]);
  const used = (y: Tensor) => inputsOf(y)[1]!;
  autocast("bfloat16", () => {
    const first = linear(x, w);
    assert(used(first) === used(linear(x, w)), "once");
    assert(used(first) === used(matmul(x, w)), "for all operations");
    const inner = autocast("float16", () => linear(x, w));
    assertEquals(used(inner).dtype, "float16");
    assert(used(first) === used(linear(x, w)), "after a nested region");
  });
  autocast("bfloat16", () => {
    scope(() => {
      linear(x, w).dispose();
    });
    assert(!used(linear(x, w)).disposed, "a scope has taken the first cast with it");
  });
  autocast("bfloat16", () => {
    assert(!noGrad(() => linear(x, w)).requiresGrad);
    linear(x, w).to("float32").sum().backward();
    assertEquals(w.grad!.dataSync()[0], 2);
    linear(x, w).to("float32").sum().backward(); // the first pass has used up the cast's node
    assertEquals(w.grad!.dataSync()[0], 4);
  });
  const late = autocast("bfloat16", () => linear(x, w).add(linear(x, w)));
  late.to("float32").sum().backward(); // after the region
  assertEquals([w.grad!.dtype, w.grad!.dataSync()[0]], ["float32", 8]);
  w.grad!.dispose();
});

cleanTest("autocast: a parameter that was changed is cast anew", () => {
  const w = later(ones([2, 2], { requiresGrad: true }));
  const optimizer = later(new optim.SGD([w], { lr: 1 }));
  const ema = later(new optim.EMA([w]));
  const x = ones([1, 2]);
  autocast("bfloat16", () => {
    const found = () => noGrad(() => linear(x, w)).to("float32").dataSync()[0];
    const recorded = () => linear(x, w).to("float32").dataSync()[0];
    assertEquals([found(), recorded()], [2, 2]);
    w.fill(2);
    assertEquals([found(), recorded()], [4, 4]);
    ema.update();
    w.copyFrom(Float32Array.of(1, 1, 1, 1));
    assertEquals([recorded(), found()], [2, 2]);
    w.view(0, [2]).fill(3);
    assertEquals(found(), 6);
    ema.apply();
    assertEquals(found(), 4);
    ema.restore();
    assertEquals(found(), 6);
    autocast("float16", () => nn.init.uniform(w, { low: 5, high: 5 }));
    assertEquals(found(), 10);
    w.sum().backward();
    optimizer.step();
    assertEquals(found(), 8);
  });
  w.grad!.dispose();
});

cleanTest("autocast: what is not recorded is freed at its end", () => {
  const w = later(ones([3, 3], { requiresGrad: true }));
  const x = ones([2, 3], { dtype: "bfloat16" });
  const before = memory().tensors;
  const y = noGrad(() => autocast("bfloat16", () => linear(x, w)));
  assertEquals(memory().tensors - before, 1);
  assertEquals(y.to("float32").dataSync()[0], 3);
});

cleanTest("autocast: the state is restored, and async functions are refused", async () => {
  const x = ones([1, 1]);
  const dtype = () => matmul(x, x).dtype;
  autocast("float16", () => {
    assertEquals([dtype(), autocast("bfloat16", dtype), dtype()], [
      "float16",
      "bfloat16",
      "float16",
    ]);
    assertThrows(() =>
      autocast("bfloat16", () => {
        throw new Error("on purpose");
      })
    );
    assertEquals(dtype(), "float16");
  });
  assertEquals(dtype(), "float32");
  assertThrows(() => autocast("float32" as "float16", dtype), DTypeError, "float16 or bfloat16");
  const error = assertThrows(() => autocast("float16", async () => await 1), ArgumentError);
  assertStringIncludes(error.message, "async");
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals(dtype(), "float32");
});

cleanTest("autocast: every layer takes what the one before it gives", () => {
  const sizes = { numLayers: 2 };
  const layers: Record<string, nn.Module> = {
    batchNorm: new nn.BatchNorm1d(8),
    layerNorm: new nn.LayerNorm(8),
    rmsNorm: new nn.RMSNorm(8),
    lstm: new nn.Sequential(
      new Unsqueeze(),
      new nn.LSTM(8, 8, sizes),
      new nn.Flatten({ start: 0, end: 1 }),
    ),
    gru: new nn.Sequential(
      new Unsqueeze(),
      new nn.GRU(8, 8, sizes),
      new nn.Flatten({ start: 0, end: 1 }),
    ),
    rnn: new nn.Sequential(
      new Unsqueeze(),
      new nn.RNN(8, 8, sizes),
      new nn.Flatten({ start: 0, end: 1 }),
    ),
    transformer: new nn.TransformerEncoderLayer(8, 2, { feedForward: 16, dropout: 0.1 }),
    residual: new nn.Residual(new nn.Linear(8, 8)),
    gelu: new nn.GELU(),
    softplus: new nn.Softplus(),
    softmax: new nn.Softmax(),
    dropout: new nn.Dropout(),
  };
  for (const [name, layer] of Object.entries(layers)) {
    for (const dtype of ["bfloat16", "float16"] as const) {
      const model = later(new nn.Sequential(new nn.Linear(4, 8), layer, new nn.Linear(8, 3)));
      const target = tensor([0, 1, 2, 0, 1], { dtype: "int32" });
      const loss = autocast(dtype, () => crossEntropy(model.forward(randn([5, 4])), target));
      assertEquals(loss.dtype, "float32", name);
      loss.backward();
      for (const [key, p] of model.namedParameters()) {
        assertEquals(p.grad?.dtype, "float32", `${name} ${key}`);
        assert(p.grad!.dataSync().every(Number.isFinite), `${name} ${key}`);
      }
      model.zeroGrad();
    }
  }
});

class Unsqueeze extends nn.Module {
  override forward(x: Tensor): Tensor {
    return x.unsqueeze(0);
  }
}

cleanTest("autocast: a network trains", () => {
  const model = later(
    new nn.Sequential(new nn.Linear(2, 16), new nn.Tanh(), new nn.Linear(16, 2)),
  );
  const optimizer = later(new optim.SGD(model.parameters(), { lr: 0.5, momentum: 0.9 }));
  const inputs = tensor([[0, 0], [0, 1], [1, 0], [1, 1]]);
  const target = tensor([0, 1, 1, 0], { dtype: "int32" });
  const before: number[] = [];
  let loss = 0;
  for (let step = 0; step < 150; step++) {
    scope(() => {
      const cost = autocast("bfloat16", () => crossEntropy(model.forward(inputs), target));
      optimizer.zeroGrad();
      cost.backward();
      optimizer.step();
      loss = cost.itemSync();
    });
    before.push(memory().tensors);
  }
  assert(loss < 0.05, `the loss is ${loss}`);
  assertEquals(before[149], before[1], "tensors do not pile up");
});
