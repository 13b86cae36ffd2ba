// What changes from step to step is on the device: no step reads back, a step that is left out does
// not count, and what a step takes is in the same place at each.
import { assert, assertEquals } from "@std/assert";
import {
  clipGradNorm,
  type DeviceName,
  devices,
  dropout,
  type DType,
  manualSeed,
  memory,
  noGrad,
  ones,
  optim,
  rand,
  randint,
  randn,
  type Tensor,
  tensor,
  zeros,
} from "../../mod.ts";
import { withRandomState } from "../../lib/core/random.ts";
import { cleanTest, later, nativeCalls } from "../_helpers.ts";

type Make = (params: Tensor[]) => optim.Optimizer;

const optimizers: Record<string, Make> = {
  sgd: (p) => new optim.SGD(p, { lr: 0.1 }),
  momentum: (p) => new optim.SGD(p, { lr: 0.1, momentum: 0.9, dampening: 0.5 }),
  adam: (p) => new optim.Adam(p, { lr: 0.1, amsgrad: true }),
  adamw: (p) => new optim.AdamW(p, { lr: 0.1 }),
  nadam: (p) => new optim.NAdam(p, { lr: 0.1 }),
  rmsprop: (p) => new optim.RMSprop(p, { lr: 0.1, momentum: 0.5, centered: true }),
  adagrad: (p) => new optim.Adagrad(p, { lr: 0.1, lrDecay: 0.5 }),
  muon: (p) => new optim.Muon(p, { lr: 0.1 }),
};

/** An optimizer as users write them: it knows nothing of flags. */
class Plain extends optim.Optimizer<{ lr?: number }> {
  constructor(params: Tensor[]) {
    super("Plain", params, {}, { lr: 0.5 });
  }
  protected override update({ params, group }: optim.Batch<optim.Group<{ lr?: number }>>) {
    for (const p of params) p.copyFrom(p.sub(p.grad!.mul(group.lr)));
  }
}

const all: Record<string, Make> = { ...optimizers, plain: (p) => new Plain(p) };

const parameters = (device: DeviceName, dtype: DType = "float32") =>
  [[2, 3], [3, 3]].map((shape) => zeros(shape, { dtype, device, requiresGrad: true }).fill(1));

function setGrads(params: readonly Tensor[], step: number, scale = 1, bad?: number) {
  params.forEach((p, k) => {
    const values = Float64Array.from({ length: p.size }, (_, i) => Math.sin(1 + i + 5 * k + step));
    if (bad !== undefined && k === params.length - 1) values[p.size - 1] = bad;
    p.grad?.dispose();
    p.grad = tensor(values, { shape: p.shape, device: p.device }).mul(scale).to(p.dtype);
  });
}

const reads = ["cdn_read", "cdn_read_begin", "cdn_wait_begin", "cdn_sync"];

for (const { device } of devices()) {
  cleanTest(`step numbers: no step reads back, on ${device}`, () => {
    for (const [name, make] of Object.entries(optimizers)) {
      const params = parameters(device);
      const optimizer = later(make(params));
      const scaler = later(new optim.GradScaler({ initScale: 8, growthInterval: 2 }));
      const ema = later(new optim.EMA(params));
      const schedule = new optim.schedule.ExponentialLR(optimizer, { gamma: 0.5 });
      const steps = () => {
        for (let step = 0; step < 5; step++) {
          optimizer.zeroGrad({ setToNone: step % 2 === 0 });
          const loss = params.map((p) => p.mul(p).sum()).reduce((a, b) => a.add(b));
          scaler.scale(step === 2 ? loss.mul(Infinity) : loss).backward();
          if (step % 2) scaler.unscale(optimizer);
          clipGradNorm(params, 1).dispose();
          scaler.step(optimizer);
          scaler.update();
          ema.update(scaler);
          schedule.step();
        }
      };
      assertEquals(nativeCalls(reads, steps, device), [], name);
      assertEquals(optimizer.stateDict().numbers["0.step"], 4, name);
      assertEquals([ema.updates, scaler.getScale()], [4, 16], name);
      assert(params.every((p) => p.dataSync().every(Number.isFinite)), name);
    }
  });

  cleanTest(
    `step numbers: a step left out changes nothing and does not count, on ${device}`,
    () => {
      for (const dtype of ["float32", "float64", "float16", "bfloat16"] as const) {
        for (const [name, make] of Object.entries(all)) {
          const [params, wanted] = [parameters(device, dtype), parameters(device, dtype)];
          const [scaled, plain] = [later(make(params)), later(make(wanted))];
          const scaler = later(new optim.GradScaler({ initScale: 4, growthInterval: 100 }));
          const ema = later(new optim.EMA(params, { decay: 0.5 }));
          const average = later(new optim.EMA(wanted, { decay: 0.5 }));
          const bad = [NaN, undefined, undefined, -Infinity, Infinity, undefined];
          bad.forEach((value, step) => {
            const scale = 4 / 2 ** bad.slice(0, step).filter((x) => x !== undefined).length;
            setGrads(params, step, scale, value);
            scaler.step(scaled);
            scaler.update();
            ema.update(scaler);
            if (value !== undefined) return;
            setGrads(wanted, step);
            plain.step();
            average.update();
          });
          const found = [scaled.stateDict(), plain.stateDict()];
          assertEquals(found[0]!.numbers, found[1]!.numbers, name);
          assertEquals(found[0]!.numbers["0.step"], 3, name);
          const tensors = found.map((state) =>
            Object.entries(state.tensors).map(([key, x]) => [key, x.dataSync()])
          );
          assertEquals(tensors[0], tensors[1], `${name} ${dtype}`);
          const values = (list: readonly Tensor[]) => list.map((x) => x.dataSync());
          assertEquals(values(params), values(wanted), `${name} ${dtype}`);
          assertEquals(ema.updates, 3);
          assertEquals(values(ema.averages), values(average.averages), `${name} ${dtype}`);
          assertEquals(scaler.stateDict(), { scale: 0.5, goodSteps: 1 });
        }
      }
    },
  );

  cleanTest(
    `step numbers: one optimizer's bad gradients leave another's step, on ${device}`,
    () => {
      const lists = [parameters(device), parameters(device)] as const;
      const made = lists.map((list) => later(new optim.SGD(list, { lr: 1 })));
      const scaler = later(new optim.GradScaler({ initScale: 2 }));
      setGrads(lists[0], 0, 2, NaN);
      setGrads(lists[1], 0, 2);
      for (const optimizer of made) scaler.step(optimizer);
      scaler.update();
      assert(lists[0].every((p) => p.dataSync().every((x) => x === 1)));
      assert(lists[1].every((p) => p.dataSync().every((x) => x !== 1 && Number.isFinite(x))));
      assertEquals(scaler.getScale(), 1);
      setGrads(lists[0], 1);
      scaler.step(made[0]!); // the flag was of the step before
      scaler.update();
      assert(lists[0].every((p) => p.dataSync().some((x) => x !== 1)));
    },
  );

  cleanTest(`step numbers: the scale moves as torch.amp.GradScaler's, on ${device}`, () => {
    const p = zeros([1], { device, requiresGrad: true });
    const optimizer = later(new optim.SGD([p], { lr: 0 }));
    const options = {
      initScale: 2 ** 125,
      growthFactor: 3,
      backoffFactor: 0.25,
      growthInterval: 2,
    };
    const scaler = later(new optim.GradScaler(options));
    let [scale, tracker] = [options.initScale, 0];
    for (const bad of [0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 1, 0, 0]) {
      p.grad = tensor([bad ? NaN : 1], { device });
      scaler.step(optimizer);
      scaler.update();
      if (bad) [scale, tracker] = [scale * options.backoffFactor, 0];
      else if (++tracker === options.growthInterval) {
        tracker = 0;
        // torch: where the product is a finite float32
        if (Number.isFinite(Math.fround(scale * 3))) scale *= options.growthFactor;
      }
      assertEquals(scaler.stateDict(), { scale, goodSteps: tracker });
    }
  });

  cleanTest(`step numbers: what a step takes stays where it is, on ${device}`, () => {
    const params = parameters(device);
    const optimizer = later(new optim.AdamW(params));
    const scaler = later(new optim.GradScaler());
    const ema = later(new optim.EMA(params));
    const names = [
      ...["cdn_adam_step", "cdn_list_unscale", "cdn_list_norm", "cdn_list_clip_norm"],
      ...["cdn_list_lerp", "cdn_scale_update", "cdn_list_zero"],
    ];
    let norm: Tensor;
    const step = () => {
      optimizer.zeroGrad({ setToNone: false });
      scaler.unscale(optimizer);
      norm = clipGradNorm(params, 1);
      scaler.step(optimizer);
      scaler.update();
      ema.update(scaler);
      norm.dispose();
    };
    setGrads(params, 0);
    step();
    const before = memory(device).allocations;
    step();
    assertEquals(memory(device).allocations - before, 2); // the norm, and the sums of its parts
    const [first, second] = [0, 1].map(() => nativeCalls(names, step, device));
    assertEquals(first!.map(({ name }) => name).sort(), [...names].sort());
    first!.forEach(({ name, args }, i) =>
      args.forEach((arg, k) => {
        const norms = name === "cdn_list_norm" ? 0 : name === "cdn_list_clip_norm" ? 1 : -1;
        if (k !== norms) assert(Object.is(arg, second![i]!.args[k]), `${name} ${k}`);
      })
    );
    const writes = (lr: number) =>
      nativeCalls(["cdn_write"], () => {
        optimizer.lr = lr;
        optimizer.step();
      }, device).length;
    assertEquals([1e-3, 1e-3, 5e-4, 5e-4].map(writes), [0, 0, 1, 0]);
  });

  cleanTest(`step numbers: gradients are zeroed and added to in their places, on ${device}`, () => {
    const dtypes = ["float32", "float16", "bfloat16", "float64"] as const;
    for (const dtype of dtypes) {
      const params = Array.from(
        { length: 70 },
        (_, i) => ones([[3, 0, 1025][i % 3]!], { dtype, device, requiresGrad: true }),
      );
      const optimizer = later(new optim.SGD(params, { lr: 0.1 }));
      const idle = params[69]!;
      for (const p of params) {
        if (p !== idle) p.grad = ones(p.shape, { dtype, device }).mul(NaN);
      }
      const grads = params.map((p) => p.grad);
      const zeroed = nativeCalls(["cdn_list_zero"], () => {
        optimizer.zeroGrad({ setToNone: false });
      }, device);
      assertEquals(zeroed.length, 1);
      params.forEach((p, i) => assert(p.grad === grads[i]));
      assert(params.every((p) => p === idle || p.grad!.dataSync().every((g) => g === 0)));
      for (const times of [1, 2]) {
        params.slice(0, 69).map((p) => p.sum()).reduce((a, b) => a.add(b)).backward();
        params.forEach((p, i) => assert(p.grad === grads[i]));
        assert(params.every((p) => p === idle || p.grad!.dataSync().every((g) => g === times)));
      }
      optimizer.zeroGrad();
      assert(params.every((p) => p.grad === null));
    }
  });

  cleanTest(`step numbers: random numbers follow a state on the device, on ${device}`, () => {
    const x = ones([37], { device, requiresGrad: true });
    const draw = () => {
      const y = dropout(x, { p: 0.4 });
      y.sum().backward();
      const grad = x.grad as Tensor;
      x.grad = null;
      return [
        y.detach(),
        grad,
        rand([5], { device }),
        rand([5], { device, dtype: "float64" }),
        randn([7], { device }),
        randint(-5, 1000, [9], { device }),
      ].map((t) => t.dataSync());
    };
    manualSeed(2 ** 40 + 5);
    const wanted = [draw(), draw(), draw()];
    // Seed 2^40 + 5 and offset 0, as int64.
    const state = tensor(Int32Array.of(5, 256, 0, 0), { device });
    manualSeed(1);
    const { functions } = state.backend;
    const found = [0, 1, 2].map(() => {
      let drawn: unknown;
      const blocks = withRandomState(state, () => drawn = draw());
      state.backend.check(functions.cdn_random_advance(state.handle, blocks));
      return drawn;
    });
    assertEquals(found, wanted);
    manualSeed(1); // what was drawn there took nothing from the host's stream
    const next = rand([3], { device }).dataSync();
    manualSeed(1);
    noGrad(() => withRandomState(state, () => rand([3], { device })));
    assertEquals(rand([3], { device }).dataSync(), next);
  });
}

cleanTest("step numbers: a velocity that no step has filled is none, after loading too", () => {
  const last = (reload: boolean) => {
    const p = zeros([1], { requiresGrad: true });
    const make = () => later(new optim.SGD([p], { lr: 1, dampening: 0.5 }));
    const scaler = later(new optim.GradScaler({ initScale: 1 }));
    let optimizer = make();
    const step = (gradient: number) => {
      optimizer.zeroGrad();
      scaler.scale(p.mul(gradient).sum()).backward();
      scaler.step(optimizer);
      scaler.update();
    };
    step(1);
    for (const group of optimizer.groups) group.momentum = 0.9;
    step(Infinity); // is left out, but makes the tensor
    if (reload) {
      const state = optimizer.stateDict();
      assertEquals(state.numbers, { "0.step": 1, "0.hasVelocity": 0 });
      optimizer = make();
      optimizer.loadStateDict(state);
    }
    scaler.loadStateDict({ scale: 1, goodSteps: 0 });
    step(1);
    assertEquals(optimizer.stateDict().numbers["0.hasVelocity"], 1);
    return p.itemSync();
  };
  assertEquals([last(false), last(true)], [-2, -2]);
});
