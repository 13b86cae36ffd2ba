// Layers that normalise or drop: against PyTorch's recorded steps, and what the case table does not
// reach.
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import {
  ArgumentError,
  batchNorm,
  type DeviceName,
  devices,
  dropout,
  type DType,
  DTypeError,
  grad,
  layerNorm,
  manualSeed,
  nn,
  ones,
  rand,
  randn,
  rmsNorm,
  scope,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from "../../../mod.ts";
import { floats } from "../../cases/case.ts";
import { assertNear, type Float, readCases, restored, type Stored } from "../../_recorded.ts";
import { refuse } from "../../_helpers.ts";

const names = devices().map(({ device }) => device);

interface Step {
  training: boolean;
  x: Stored;
  y: Stored;
  gradients: Record<string, Stored>;
  buffers: Record<string, Stored>;
}

interface Layer {
  features: number;
  options: nn.BatchNormOptions;
  parameters: Record<string, Stored>;
  steps: Step[];
}

function replay({ features, options, parameters, steps }: Layer, dtype: Float, device: DeviceName) {
  const layer = new nn.BatchNorm1d(features, { ...options, dtype, device });
  const start = Object.entries(parameters).map(([key, x]) => [key, restored(x, dtype, device)]);
  layer.loadStateDict(Object.fromEntries(start), { strict: false });
  for (const [i, step] of steps.entries()) {
    layer.train(step.training).zeroGrad();
    const x = restored(step.x, dtype, device, true);
    const y = layer.forward(x);
    assertNear(y, step.y, dtype, `step ${i}: y`);
    const ramp = Array.from({ length: y.size }, (_, k) => k + 1);
    y.backward(tensor(ramp, { shape: y.shape, dtype, device }));
    const state = layer.stateDict();
    for (const [key, wanted] of Object.entries(step.gradients)) {
      assertNear(key === "x" ? x.grad! : state[key]!.grad!, wanted, dtype, `step ${i}: d ${key}`);
    }
    for (const [key, wanted] of Object.entries(step.buffers)) {
      assertNear(state[key]!, wanted, dtype, `step ${i}: ${key}`);
    }
    const keys = [...Object.keys(parameters), ...Object.keys(step.buffers)];
    assertEquals(Object.keys(state), keys, "keys and their order");
  }
  layer.dispose();
}

for (const layer of await readCases<Layer>("batch_norm.jsonl")) {
  for (const device of names) {
    for (const dtype of ["float32", "float64"] as const) {
      const name = `BatchNorm1d(${layer.features}, ${JSON.stringify(layer.options)})`;
      Deno.test(`torch: ${name} in ${dtype} on ${device} trains and evaluates as in PyTorch`, () =>
        scope(() => replay(layer, dtype, device)));
    }
  }
}

for (const device of names) {
  Deno.test(`batchNorm keeps the digits of a variance far from 0, on ${device}`, () =>
    scope(() => {
      for (const shape of [[1000, 2], [10, 2, 100]]) {
        const x = rand(shape, { device, dtype: "float64", low: -0.5, high: 0.5 });
        const [near, far] = [x, x.add(1e6)].map((x) => {
          const running = [
            zeros([2], { device, dtype: "float64" }),
            ones([2], { device, dtype: "float64" }),
          ];
          batchNorm(x, {
            runningMean: running[0]!,
            runningVar: running[1]!,
            training: true,
            momentum: 1,
          });
          return running[1]!.dataSync();
        });
        near!.forEach((value, i) => assertAlmostEquals(far![i]!, value, 1e-10));
      }
    }));

  Deno.test(`gradients of evaluation are by the statistics it was with, on ${device}`, () =>
    scope(() => {
      for (const dtype of ["float32", "float64"] as const) {
        const layer = new nn.BatchNorm1d(1, { dtype, device }).eval();
        const x = tensor([[1], [2]], { dtype, device, requiresGrad: true });
        const y = layer.forward(x);
        layer.train().forward(x.detach().mul(100)); // moves them
        y.sum().backward();
        x.grad!.dataSync().forEach((d) => assertAlmostEquals(d, 1, 1e-5));
        layer.dispose();
      }
    }));

  Deno.test(`16-bit batch norm gathers float32 statistics, on ${device}`, () =>
    scope(() => {
      for (const dtype of ["float16", "bfloat16"] as const) {
        const layer = new nn.BatchNorm1d(3, { dtype, device });
        const x = randn([64, 3], { dtype, device, mean: 5 });
        for (let i = 0; i < 200; i++) layer.forward(x);
        assertEquals(layer.running_mean!.dtype, "float32");
        const wanted = x.to("float32").mean(0).dataSync();
        layer.running_mean!.dataSync().forEach((mean, i) =>
          assertAlmostEquals(mean, wanted[i]!, 1e-5)
        );
        assertEquals(layer.eval().forward(x).dtype, dtype);
        layer.dispose();
      }
    }));

  Deno.test(`an empty batch normalises to nothing and teaches nothing, on ${device}`, () =>
    scope(() => {
      const layer = new nn.BatchNorm1d(3, { device });
      assertEquals(layer.forward(zeros([0, 3], { device })).shape, [0, 3]);
      assertEquals([...layer.running_var!.dataSync()], [1, 1, 1]);
      for (const createGraph of [false, true]) {
        const x = zeros([0, 3], { device, requiresGrad: true });
        layer.forward(x).sum().backward(undefined, { createGraph });
        assertEquals(x.grad!.shape, [0, 3]);
        assertEquals([...layer.weight!.grad!.dataSync()], [0, 0, 0]);
      }
      assertEquals(layerNorm(zeros([0, 3], { device }), 3).shape, [0, 3]);
      layer.dispose();
    }));

  Deno.test(`dropout: the same elements for every dtype, and as many as p says, on ${device}`, () =>
    scope(() => {
      const n = 100_003;
      for (const p of [0.1, 0.5, 0.8]) {
        const kept = floats.map((dtype) => {
          manualSeed(3);
          return dropout(ones([n], { dtype, device }), { p }).ne(0).dataSync();
        });
        for (const mask of kept) assertEquals(mask, kept[0]);
        const share = Array.from(kept[0]!).filter((x) => x === 1).length / n;
        assertAlmostEquals(share, 1 - p, 4 * Math.sqrt(p * (1 - p) / n));
      }
    }));

  Deno.test(`dropout: views that are not aligned drop the same elements, on ${device}`, () =>
    scope(() => {
      const x = rand([1001], { device });
      manualSeed(4);
      const wanted = dropout(x.view(1, [1000]).clone(), { p: 0.3 }).dataSync();
      manualSeed(4);
      assertEquals(dropout(x.view(1, [1000]), { p: 0.3 }).dataSync(), wanted);
    }));

  Deno.test(`dropout: p of 0 and 1, evaluation, NaN, and the gradient's mask, on ${device}`, () =>
    scope(() => {
      const x = tensor([1, NaN, Infinity, 4], { device, requiresGrad: true });
      assert(dropout(x, { p: 0 }) === x);
      assert(dropout(x, { training: false }) === x);
      assertEquals([...dropout(x, { p: 1 }).dataSync()], [0, 0, 0, 0]);
      const many = ones([1000], { device, requiresGrad: true });
      const y = dropout(many, { p: 0.5 });
      y.sum().backward();
      assertEquals(many.grad!.dataSync(), y.dataSync());
      const [first, second] = [dropout(many), dropout(many)].map((y) => y.dataSync());
      assert(first!.some((value, i) => value !== second![i]), "two calls drop other elements");
    }));
}

Deno.test("LayerNorm, RMSNorm, BatchNorm1d and Dropout: keys, parameters and options", () =>
  scope(() => {
    const keys = (module: nn.Module) => Object.keys(module.stateDict());
    assertEquals(keys(new nn.LayerNorm([2, 3])), ["weight", "bias"]);
    assertEquals(keys(new nn.LayerNorm(3, { bias: false })), ["weight"]);
    assertEquals(keys(new nn.LayerNorm(3, { elementwiseAffine: false })), []);
    assertEquals(keys(new nn.RMSNorm(3)), ["weight"]);
    const batch = new nn.BatchNorm1d(3);
    assertEquals(
      keys(batch),
      ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"],
    );
    assertEquals(batch.parameters().length, 2);
    assertEquals(batch.num_batches_tracked!.dtype, "int32");
    assertEquals(
      [new nn.LayerNorm([2, 3]), new nn.RMSNorm(4), batch, new nn.Dropout({ p: 0.2 })]
        .map((module) => module.describe()),
      ["LayerNorm([2, 3])", "RMSNorm(4)", "BatchNorm1d(3)", "Dropout(0.2)"],
    );
    const x = rand([2, 3]);
    const layer = new nn.LayerNorm(3, { eps: 0.5 });
    assertEquals(layer.forward(x).dataSync(), layerNorm(x, 3, { eps: 0.5 }).dataSync());
    const dropping = new nn.Dropout({ p: 1 });
    assertEquals([...dropping.forward(x).dataSync()], [0, 0, 0, 0, 0, 0]);
    assert(dropping.eval().forward(x) === x);
  }));

Deno.test("RMSNorm's eps is by default the machine epsilon of the dtype", () =>
  scope(() => {
    const epsilon: Partial<Record<DType, number>> = { float32: 2 ** -23, float64: 2 ** -52 };
    for (const [dtype, eps] of Object.entries(epsilon) as [Float, number][]) {
      const x = tensor([1e-4, 2e-4], { dtype });
      assertEquals(rmsNorm(x, 2).dataSync(), rmsNorm(x, 2, { eps }).dataSync());
    }
  }));

Deno.test("bad input of norms and dropout is refused before anything runs", () =>
  scope(() => {
    const x = rand([2, 3]);
    refuse(() => layerNorm(x, 2), ShapeError, "layerNorm", "[2, 3]", "[2]");
    refuse(() => layerNorm(x, []), ShapeError, "normalizedShape");
    refuse(() => layerNorm(x, 3, { weight: ones([2]) }), ShapeError, "weight", "[2]", "[3]");
    refuse(() => layerNorm(x, 3, { bias: ones([3], { dtype: "float64" }) }), DTypeError, "float64");
    refuse(() => layerNorm(x, 3, { eps: -1 }), ArgumentError, "eps");
    refuse(() => rmsNorm(x.to("int32"), 3), DTypeError, "rmsNorm", "int32");
    refuse(() => rmsNorm(x, 3, { bias: ones([3]) } as never), ArgumentError, "bias");
    refuse(() => new nn.LayerNorm(0), ArgumentError, "LayerNorm", "0");
    refuse(() => new nn.LayerNorm(3, { epsilon: 1 } as never), ArgumentError, "eps");
    refuse(() => dropout(x, { p: 1.5 }), ArgumentError, "p is 1.5");
    refuse(() => new nn.Dropout({ p: -0.1 }), ArgumentError, "p is -0.1");
    refuse(() => dropout(x.to("int32")), DTypeError, "dropout");
    refuse(() => batchNorm(rand([3])), ShapeError, "[3]", "[n, channels, …]");
    refuse(
      () => batchNorm(rand([1, 3]), { training: true }),
      ShapeError,
      "[1, 3]",
      "more than one",
    );
    refuse(() => batchNorm(x, { runningMean: zeros([3]) }), ArgumentError, "together");
    for (const name of ["weight", "bias", "residual"]) { // not taken for none
      refuse(() => batchNorm(x, { [name]: 0 }), ArgumentError, name, "wanted is a tensor, found 0");
    }
    refuse(
      () => batchNorm(x, { runningMean: zeros([2]), runningVar: ones([2]) }),
      ShapeError,
      "runningMean",
      "[2]",
      "3 channels",
    );
    const running = { runningMean: zeros([3]), runningVar: ones([3]) };
    refuse(
      () => batchNorm(x, { ...running, training: true, momentum: null }),
      ArgumentError,
      "numBatchesTracked",
    );
    refuse(() => new nn.BatchNorm1d(3).forward(rand([2, 3, 4, 5])), ShapeError, "[2, 3, 4, 5]");
    refuse(() => new nn.BatchNorm1d(3, { momentum: NaN }), ArgumentError, "momentum");
  }));

// In float64, from the formulas. The gradients are those of the sum of g y.
const average = (x: readonly number[]) => x.reduce((a, b) => a + b, 0) / x.length;
function naive(x: readonly number[], g: readonly number[], eps: number, centred: boolean) {
  const mean = centred ? average(x) : 0;
  const rstd = 1 / Math.sqrt(average(x.map((v) => (v - mean) ** 2)) + eps);
  const n = x.map((v) => (v - mean) * rstd);
  const [sum, along] = [centred ? average(g) : 0, average(n.map((v, i) => v * g[i]!))];
  return { y: n, dx: g.map((v, i) => rstd * (v - sum - n[i]! * along)) };
}

for (const device of names) {
  Deno.test(`norms, statistics: large means, squares out of range, tiny values, on ${device}`, () =>
    scope(() => {
      const cols = 16;
      const inputs: [at: (i: number) => number, eps: number][] = [
        [(i) => 1000 + i / 1000, 1e-5],
        [(i) => 1e6 + i, 0],
        [(i) => 2e19 * (1 + i % 2), 1e-5],
        [(i) => 1e30 * Math.sin(i), 1e-5],
        [(i) => 1e-30 * (i - 7), 0],
        [(i) => 1e-30 * (i - 7), 1e-5],
        [(i) => 250 * Math.cos(i), 1e-5],
      ];
      const weights = Array.from({ length: cols }, (_, i) => Math.round(64 * Math.cos(3 * i)) / 64);
      const roundings = { float32: 2 ** -23, float16: 2 ** -10, bfloat16: 2 ** -7 };
      for (const [dtype, rounding] of Object.entries(roundings)) {
        for (const [at, eps] of inputs) {
          const start = tensor(Array.from({ length: cols }, (_, i) => at(i)), { device }).to(
            dtype as DType,
          );
          const x = [...start.dataSync()];
          // not of this dtype's range
          if (!x.every(Number.isFinite) || new Set(x).size === 1) continue;
          const check = (what: string, found: ArrayLike<number>, wanted: readonly number[]) => {
            const size = Math.max(...wanted.map(Math.abs));
            wanted.forEach((value, i) => {
              const error = Math.abs(found[i]! - value);
              const where = `${what} of ${dtype} ${x[0]}, ${x[1]}: [${i}] is ${
                found[i]
              }, not ${value}`;
              assert(error <= 4 * rounding * size + (dtype === "float16" ? 2 ** -23 : 0), where);
            });
          };
          const layers: [name: string, fn: (x: Tensor) => Tensor, centred: boolean][] = [
            ["layerNorm", (x) => layerNorm(x, cols, { eps }), true],
            ["rmsNorm", (x) => rmsNorm(x, cols, { eps }), false],
            ["batchNorm", (x) => batchNorm(x.reshape([cols, 1]), { eps, training: true }), true],
            ["batchNorm", (x) => batchNorm(x.reshape([2, 1, 8]), { eps, training: true }), true],
          ];
          for (const createGraph of [false, true]) {
            const run = (fn: (x: Tensor) => Tensor, g: number[]) => {
              const leaf = start.detach();
              leaf.requiresGrad = true;
              const y = fn(leaf);
              const upstream = tensor(g, { dtype: dtype as DType, device }).reshape(y.shape);
              const [dx] = grad(y, [leaf], { gradOutputs: upstream, createGraph });
              return [y.dataSync(), dx!.dataSync()] as const;
            };
            for (const [name, fn, centred] of layers) {
              const wanted = naive(x, weights, eps, centred);
              const [y, dx] = run(fn, weights);
              check(name, y, wanted.y);
              if (wanted.dx.every((v) => Math.abs(v) < 6e4)) check(`d ${name}`, dx, wanted.dx);
            }
            const mean = average(x);
            const variance = x.reduce((sum, v) => sum + (v - mean) ** 2, 0) / (cols - 1);
            const slope = (by: number) => x.map((v) => (v - mean) / (cols - 1) * by);
            if (variance < 6e4 && variance > 1e-6) {
              const [y, dx] = run((x) => x.variance(), [0.5]);
              check("variance", y, [variance]);
              check("d variance", dx, slope(1));
            }
            if (Math.sqrt(variance) > 1e-6 || dtype !== "float16") {
              const [y, dx] = run((x) => x.std(), [0.5]);
              check("std", y, [Math.sqrt(variance)]);
              check("d std", dx, slope(0.5 / Math.sqrt(variance)));
              const length = Math.hypot(...x);
              const [norm, dnorm] = run((x) => x.norm(), [0.5]);
              check("norm", norm, [length]);
              check("d norm", dnorm, x.map((v) => 0.5 * v / length));
            }
          }
        }
      }
      const row = tensor(Array.from({ length: cols }, (_, i) => 1000 + i / 1000), { device });
      assertAlmostEquals(layerNorm(row, cols).dataSync()[0]!, -1.34151, 1e-5);
      assertAlmostEquals(rmsNorm(tensor([2e19, 2e19], { device }), 2).dataSync()[0]!, 1, 1e-6);
    }));
}
