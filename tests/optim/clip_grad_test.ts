// Gradient clipping, averaged parameters and scaled losses.
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  ArgumentError,
  clipGradNorm,
  clipGradValue,
  type DeviceName,
  devices,
  type DType,
  nn,
  noGrad,
  ones,
  optim,
  type Tensor,
  tensor,
  zeros,
} from "../../mod.ts";
import { cleanTest, later } from "../_helpers.ts";

/** Parameters of these sizes with gradients, and all elements of those in one array. */
function withGrads(sizes: number[], dtypes: DType[], device: DeviceName) {
  const all: number[] = [];
  const params = sizes.map((size, k) => {
    const dtype = dtypes[k % dtypes.length]!;
    const p = zeros([size], { dtype, device, requiresGrad: true });
    const values = Float64Array.from({ length: size }, (_, i) => Math.sin(1 + 3 * k + 7 * i) * 3);
    p.grad = tensor(values, { device }).to(dtype);
    all.push(...p.grad.dataSync());
    return p;
  });
  return { params, all };
}

function naiveNorm(all: number[], p: number): number {
  if (p === Infinity) return all.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  return all.reduce((a, b) => a + Math.abs(b) ** p, 0) ** (1 / p);
}

const sets = [[1], [0], [3, 0, 5], [16384, 1], [16383, 40000, 7], Array(150).fill(33)];
// What a product rounded once may be off, relative.
const roundings: Record<string, number> = {
  float64: 1e-15,
  float32: 1.2e-7,
  float16: 5e-4,
  bfloat16: 4e-3,
};

for (const { device } of devices()) {
  cleanTest(`clipGradNorm: the norm of all gradients, and factors, on ${device}`, () => {
    const mixes: DType[][] = [["float64"], ["float32"], ["float16"], ["bfloat16"], [
      "float32",
      "float64",
      "bfloat16",
    ]];
    for (const dtypes of mixes) {
      for (const sizes of sets) {
        for (const normType of [1, 2, 3, 0.5, Infinity]) {
          for (const share of [0.25, 4]) {
            const { params, all } = withGrads(sizes, dtypes, device);
            const wanted = naiveNorm(all, normType);
            const limit = share * wanted;
            const norm = clipGradNorm(params, limit, { normType });
            assertEquals([norm.shape, norm.dtype], [[], "float64"]);
            assertAlmostEquals(norm.itemSync(), wanted, 1e-11 * wanted);
            const factor = Math.min(1, limit / (wanted + 1e-6));
            let at = 0;
            for (const p of params) {
              for (const g of p.grad!.dataSync()) {
                const exact = all[at++]! * factor;
                const error = Math.abs(g - exact);
                assert(error <= roundings[p.dtype]! * Math.abs(exact) + 1e-7, `${g}, ${exact}`);
              }
            }
          }
        }
      }
    }
  });

  cleanTest(`clipGradNorm: many more chunks than threads, on ${device}`, () => {
    const p = zeros([3_000_001], { device, requiresGrad: true });
    p.grad = zeros([3_000_001], { device }).fill(0.5);
    const norm = clipGradNorm(p, 1);
    assertAlmostEquals(norm.itemSync(), 0.5 * Math.sqrt(3_000_001), 1e-9);
    const ends = p.grad.dataSync();
    assertAlmostEquals(ends[0]!, ends.at(-1)!, 0);
    assertAlmostEquals(ends[0]!, 1 / Math.sqrt(3_000_001), 1e-10);
  });

  cleanTest(`clipGradNorm: NaN and infinity go as in PyTorch, on ${device}`, () => {
    const p = zeros([3], { device, requiresGrad: true });
    p.grad = tensor([1, NaN, 2], { device });
    for (const normType of [1, 2, 3, Infinity]) {
      assertEquals(clipGradNorm(p, 1, { normType }).itemSync(), NaN);
      assertEquals([...p.grad.dataSync()], [NaN, NaN, NaN]);
      p.grad = tensor([1, NaN, 2], { device });
    }
    p.grad = tensor([1, -Infinity, 2], { device });
    assertEquals(clipGradNorm(p, 1).itemSync(), Infinity);
    assertEquals([...p.grad.dataSync()], [0, NaN, 0]);
  });

  cleanTest(`clipGradValue: brings gradients into the range, on ${device}`, () => {
    for (const dtype of ["float64", "float32", "float16", "bfloat16"] as const) {
      const p = zeros([6], { dtype, device, requiresGrad: true });
      const values = tensor([-9, -0.5, 0, 0.25, NaN, Infinity], { device });
      p.grad = values.to(dtype);
      clipGradValue([p, zeros([2], { device, requiresGrad: true })], 0.5);
      assertEquals([...p.grad!.dataSync()], [-0.5, -0.5, 0, 0.25, NaN, 0.5]);
    }
  });

  cleanTest(`EMA: an average of 16-bit parameters is float32, on ${device}`, () => {
    for (const dtype of ["float16", "bfloat16"] as const) {
      const p = ones([3], { dtype, device, requiresGrad: true });
      const ema = later(new optim.EMA([p]));
      ema.update();
      p.fill(2);
      for (let i = 0; i < 10000; i++) ema.update(); // 2 - 0.999^10000
      const average = ema.averages[0]!.dataSync();
      assert(Math.abs(average[0]! - 1.99995) < 3e-5, `${average}`);
      ema.apply();
      assertEquals([...p.dataSync()], [2, 2, 2]);
      p.fill(7);
      ema.restore();
      assertEquals([...p.dataSync()], [2, 2, 2]);
      assertEquals([ema.averages[0]!.dtype, ema.averages[0]!.dataSync()], ["float32", average]);
      // as it was once saved
      const state = { tensors: { 0: tensor([1, 2, 3], { dtype, device }) }, updates: 5 };
      ema.loadStateDict(state);
      assertEquals([ema.averages[0]!.dtype, ...ema.averages[0]!.dataSync()], ["float32", 1, 2, 3]);
    }
  });

  cleanTest(`clipGradNorm: neither the norm nor the factor leaves its range, on ${device}`, () => {
    const clipped = (dtype: DType, grads: number[], limit: number) => {
      const p = zeros([grads.length], { dtype, device, requiresGrad: true });
      p.grad = tensor(grads, { dtype, device });
      return [clipGradNorm(p, limit).itemSync(), ...p.grad.dataSync()];
    };
    const near = (found: number[], wanted: number[]) =>
      found.forEach((x, i) => {
        const error = Math.abs(x / wanted[i]! - 1);
        assert(error < 4e-3, `${found}, wanted ${wanted}`);
      });
    near(clipped("float16", [60000, 60000], 1), [84852.8137, Math.SQRT1_2, Math.SQRT1_2]);
    // 1e-6 is added to the norm
    near(clipped("float16", [6e-5, 8e-5], 5e-5), [1e-4, 6e-5 / 2.02, 8e-5 / 2.02]);
    near(clipped("float32", [3e30, 4e30], 1e-15), [5e30, 6e-16, 8e-16]);
    near(clipped("bfloat16", [3e30, 4e30], 1), [5e30, 0.6, 0.8]);
  });

  cleanTest(`EMA: averages, is applied and restored, on ${device}`, () => {
    for (const dtype of ["float64", "float32", "bfloat16"] as const) {
      const params = [[2], [0], [1025], ...Array(80).fill([3])].map((shape) =>
        zeros(shape, { dtype, device, requiresGrad: true }).fill(1)
      );
      const ema = later(new optim.EMA(params, { decay: 0.75 }));
      ema.update(); // the first takes them as they are
      const set = (value: number) => params.forEach((p) => p.fill(value));
      set(5);
      ema.update(); // 0.75 * 1 + 0.25 * 5 = 2
      set(-2);
      ema.update(); // 0.75 * 2 - 0.25 * 2 = 1
      assertEquals(ema.updates, 3);
      const same = (value: number) => {
        for (const p of params) {
          assertEquals([...p.dataSync()], Array(p.size).fill(value));
          assert(p.requiresGrad && p.node === null);
        }
      };
      same(-2);
      ema.apply();
      same(1);
      assertThrows(() => ema.apply(), ArgumentError, "already");
      assertThrows(() => ema.update(), ArgumentError, "restore()");
      assertThrows(() => ema.stateDict(), ArgumentError, "restore()");
      ema.restore();
      same(-2);
      assertThrows(() => ema.restore(), ArgumentError, "not applied");
      const other = later(new optim.EMA(params, { decay: 0.75 }));
      other.loadStateDict(ema.stateDict());
      other.apply();
      same(1);
      other.restore();
      assertEquals(other.updates, 3);
    }
  });

  cleanTest(`GradScaler: small gradients survive float16, on ${device}`, () => {
    const w = tensor([1, 2], { device }).to("float16").detach();
    w.requiresGrad = true;
    const optimizer = later(new optim.SGD([w], { lr: 2 ** 20 }));
    const tiny = 2 ** -20; // its square is less than float16 holds
    const loss = () => w.mul(tiny).to("float32").mul(tiny).sum();
    loss().backward();
    assertEquals([...w.grad!.dataSync()], [0, 0]);
    optimizer.zeroGrad();
    const scaler = later(new optim.GradScaler());
    scaler.scale(loss()).backward();
    assert(w.grad!.dataSync().every((g) => g > 0));
    // 2^-40 is no float16 either, once unscaled: it is a matter of parameters in float32 then.
    const wide = tensor([1, 2], { device, requiresGrad: true });
    const full = later(new optim.SGD([wide], { lr: 2 ** 20 }));
    scaler.scale(wide.to("float16").mul(tiny).sum().to("float32").mul(2 ** -19)).backward();
    scaler.step(full);
    scaler.update();
    assertEquals([...wide.dataSync()], [1 - 2 ** -19, 2 - 2 ** -19].map(Math.fround));
  });

  cleanTest(
    `GradScaler: steps with bad gradients are left out, and the scale follows, on ${device}`,
    () => {
      const params = Array.from(
        { length: 70 },
        (_, i) =>
          zeros([i % 5], { dtype: i % 2 ? "float32" : "float16", device, requiresGrad: true }),
      );
      const optimizer = later(new optim.SGD(params, { lr: 1 }));
      const scaler = later(new optim.GradScaler({ initScale: 8, growthInterval: 2 }));
      const scales: number[] = [];
      const values = [8, 8, Infinity, 8, NaN, 8, 8, 8];
      const stepped = values.map((value) => {
        for (const p of params) {
          p.grad = zeros(p.shape, { dtype: p.dtype, device }).fill(8);
        }
        const bad = params[67]!.grad!; // of one parameter only
        bad.copyFrom(Float32Array.of(8, value));
        const before = params[67]!.dataSync()[0];
        scaler.step(optimizer);
        scaler.update();
        scales.push(scaler.getScale());
        return params[67]!.dataSync()[0] !== before;
      });
      assertEquals(stepped, values.map(Number.isFinite));
      assertEquals(scales, [8, 16, 8, 8, 4, 4, 8, 8]);
      // The scale before each good step was 8, 8, 8, 4, 4, 8.
      const moved = [8, 8, 8, 4, 4, 8].reduce((sum, scale) => sum + 8 / scale, 0);
      for (const p of params) assertEquals([...p.dataSync()], Array(p.size).fill(-moved));
    },
  );
}

cleanTest("clipGradNorm: one tensor, none, and no gradients", () => {
  const p = tensor([3, 4], { requiresGrad: true });
  assertEquals(clipGradNorm([], 1).itemSync(), 0);
  assertEquals(clipGradNorm([p], 1).itemSync(), 0);
  assertEquals(p.grad, null);
  p.grad = tensor([3, 4]);
  const norm = clipGradNorm(p, 10);
  assertEquals(norm.itemSync(), 5);
  assertEquals(norm.requiresGrad, false);
  assertEquals([...p.grad.dataSync()], [3, 4]); // within the limit: not touched
  assertThrows(() => clipGradNorm(p, -1), ArgumentError, "maxNorm is -1");
  assertThrows(() => clipGradNorm(p, 1, { normType: 0 }), ArgumentError, "normType is 0");
  assertThrows(() => clipGradNorm(p, 1, { p: 2 } as never), ArgumentError, "no option p");
  const model = { parameters: () => [p] } as never;
  assertThrows(() => clipGradNorm(model, 1), ArgumentError, "what is clipped is { parameters }");
  assertThrows(() => clipGradNorm([1 as never], 1), ArgumentError, "wanted is a tensor");
  assertThrows(() => clipGradValue(p, NaN), ArgumentError, "value is NaN");
});

cleanTest("EMA: of a model, and what is refused", () => {
  const model = later(new nn.Linear(3, 2));
  const ema = later(new optim.EMA(model));
  const before = model.weight.dataSync();
  ema.update();
  noGrad(() => model.weight.copyFrom(model.weight.add(1)));
  ema.update();
  ema.apply();
  model.weight.dataSync().forEach((x, i) => assertAlmostEquals(x, before[i]! + 0.001, 1e-6));
  ema.restore();
  assertThrows(() => new optim.EMA([]), ArgumentError, "there are no parameters");
  assertThrows(() => new optim.EMA(model, { decay: 1.5 }), ArgumentError, "at most 1");
  const small = later(new optim.EMA([tensor([1])]));
  assertThrows(() => small.loadStateDict(ema.stateDict()), ArgumentError, "2 tensors");
});

cleanTest("GradScaler: the scale grows where the loaded count is past the interval", () => {
  const w = tensor([1], { requiresGrad: true });
  const optimizer = later(new optim.SGD([w], { lr: 0.1 }));
  for (const goodSteps of [2, 3, 1000]) {
    const scaler = later(new optim.GradScaler({ growthInterval: 3 }));
    scaler.loadStateDict({ scale: 4, goodSteps });
    const scales = Array.from({ length: 4 }, () => {
      optimizer.zeroGrad();
      scaler.scale(w.sum()).backward();
      scaler.step(optimizer);
      scaler.update();
      return scaler.getScale();
    });
    assertEquals(scales, [8, 8, 8, 16]);
  }
});

cleanTest("GradScaler: a step that an error cuts off is forgotten", () => {
  const w = tensor([1, 2], { requiresGrad: true });
  const optimizer = later(new optim.SGD([w], { lr: 0.5 }));
  const scaler = later(new optim.GradScaler({ initScale: 8 }));
  const begin = () => {
    optimizer.zeroGrad();
    scaler.scale(w.sum()).backward();
  };
  begin();
  scaler.unscale(optimizer);
  scaler.reset();
  begin();
  scaler.unscale(optimizer);
  scaler.dispose();
  begin();
  scaler.unscale(optimizer);
  scaler.loadStateDict({ scale: 16, goodSteps: 0 });
  begin();
  scaler.step(optimizer);
  scaler.update();
  assertEquals([...w.dataSync()], [0.5, 1.5]);
});

cleanTest("GradScaler: unscale() once before clipping, and what is refused", () => {
  const w = tensor([3, 4], { requiresGrad: true });
  const optimizer = later(new optim.SGD([w], { lr: 1 }));
  const scaler = later(new optim.GradScaler({ initScale: 1024 }));
  assertThrows(() => scaler.update(), ArgumentError, "before update()");
  scaler.scale(w.mul(w).sum().div(2)).backward();
  scaler.unscale(optimizer);
  assertEquals([...w.grad!.dataSync()], [3, 4]);
  assertThrows(() => scaler.unscale(optimizer), ArgumentError, "already");
  clipGradNorm([w], 1);
  scaler.step(optimizer);
  assertThrows(() => scaler.step(optimizer), ArgumentError, "since the last update()");
  scaler.update();
  assertAlmostEquals(w.dataSync()[0]!, 3 - 0.6, 1e-6);
  const other = new optim.GradScaler();
  other.loadStateDict(scaler.stateDict());
  assertEquals(other.getScale(), 1024);
  assertThrows(() => new optim.GradScaler({ initScale: 0 }), ArgumentError, "be above 0");
  assertThrows(() => new optim.GradScaler({ growthFactor: 1 }), ArgumentError, "above 1");
  assertThrows(() => new optim.GradScaler({ backoffFactor: 1 }), ArgumentError, "below 1");
  const off = new optim.GradScaler({ enabled: false });
  const loss: Tensor = w.sum();
  assert(off.scale(loss) === loss && off.getScale() === 1);
  off.step(optimizer);
  off.update();
});
