// Every optimizer against PyTorch's, recorded by tests/fixtures/make_optimizer_runs.py, and what
// they have in common: groups, state, many parameters, 16-bit parameters. SGD's own rules are in
// tests/optim/optim_test.ts.
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  ArgumentError,
  type CudenoError,
  devices,
  DisposedError,
  type DType,
  GradientError,
  io,
  memory,
  noGrad,
  optim,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from "../../mod.ts";
import { cleanTest, later, nativeCalls } from "../_helpers.ts";

const found = devices();
const file = new URL("../fixtures/optimizer_runs.safetensors", import.meta.url);

type Make = (params: Tensor[]) => optim.Optimizer;

/** The runs of the script, with the options in our names. */
const runs: Record<string, Make> = {
  sgd: (p) => new optim.SGD(p, { lr: 0.1 }),
  sgd_nesterov: (p) =>
    new optim.SGD(p, { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.1 }),
  sgd_dampening: (p) =>
    new optim.SGD(p, { lr: 0.1, momentum: 0.8, dampening: 0.3, maximize: true }),
  adam: (p) => new optim.Adam(p),
  adam_decay: (p) =>
    new optim.Adam(p, { lr: 0.05, betas: [0.8, 0.95], eps: 1e-3, weightDecay: 0.1 }),
  adam_amsgrad: (p) =>
    new optim.Adam(p, { lr: 0.05, betas: [0.5, 0.7], amsgrad: true, maximize: true }),
  adamw: (p) => new optim.AdamW(p, { lr: 0.05 }),
  adamw_amsgrad: (p) =>
    new optim.AdamW(p, { lr: 0.1, betas: [0.5, 0.6], weightDecay: 0.5, amsgrad: true }),
  nadam: (p) => new optim.NAdam(p, { lr: 0.05 }),
  nadam_decay: (p) =>
    new optim.NAdam(p, {
      lr: 0.05,
      betas: [0.8, 0.9],
      weightDecay: 0.1,
      momentumDecay: 0.1,
      eps: 1e-4,
    }),
  nadam_decoupled: (p) =>
    new optim.NAdam(p, { lr: 0.05, weightDecay: 0.5, decoupledWeightDecay: true }),
  rmsprop: (p) => new optim.RMSprop(p, { lr: 0.02 }),
  rmsprop_centered: (p) =>
    new optim.RMSprop(p, { lr: 0.02, alpha: 0.9, centered: true, weightDecay: 0.1 }),
  rmsprop_momentum: (p) => new optim.RMSprop(p, { lr: 0.02, alpha: 0.8, momentum: 0.5, eps: 1e-3 }),
  rmsprop_all: (p) => new optim.RMSprop(p, { lr: 0.01, alpha: 0.8, momentum: 0.9, centered: true }),
  adagrad: (p) => new optim.Adagrad(p, { lr: 0.1 }),
  adagrad_decay: (p) =>
    new optim.Adagrad(p, {
      lr: 0.2,
      lrDecay: 0.1,
      weightDecay: 0.1,
      initialAccumulatorValue: 0.5,
      eps: 1e-3,
    }),
  muon: (p) => new optim.Muon(p, { lr: 0.02 }),
  muon_match: (p) =>
    new optim.Muon(p, {
      lr: 0.02,
      weightDecay: 0,
      momentum: 0.8,
      nesterov: false,
      adjustLrFn: "match_rms_adamw",
    }),
};

// The largest numbers are about 20 (SGD's, whose gradients are), and 20 steps add some roundings
// up.
const tolerances = { float32: 2e-6, float64: 1e-13 };
const kept = [1, 2, 5, 10, 15, 20];

for (const { device } of found) {
  for (const dtype of ["float32", "float64"] as const) {
    for (const [name, make] of Object.entries(runs)) {
      cleanTest(`optimizers: ${name} in ${dtype} on ${device} moves as PyTorch's`, async () => {
        const all = await io.loadSafetensors(file, { device });
        const wanted = all[`${dtype}.${name}`]!.dataSync();
        const p = all["start"]!.to(dtype).clone();
        p.requiresGrad = true;
        const grads = all["grads"]!.to(dtype);
        const optimizer = later(make([p]));
        for (let step = 1; step <= 20; step++) {
          p.grad = grads.view((step - 1) * 30, [6, 5]);
          optimizer.step();
          const row = kept.indexOf(step);
          if (row < 0) continue;
          p.dataSync().forEach((x, i) => {
            const y = wanted[row * 30 + i]!;
            const error = Math.abs(x - y) / Math.max(1, Math.abs(y));
            assert(error <= tolerances[dtype], `step ${step}: [${i}] is ${x}, PyTorch's ${y}`);
          });
        }
      });
    }
  }
}

/** Numbers that look random, the same each time. */
const noise = (seed: number) => {
  const x = Math.sin(seed * 12.9898) * 43758.5453;
  return 4 * (x - Math.floor(x)) - 2;
};

/** Gives every parameter a gradient that depends on its place and the step. */
function setGrads(params: readonly Tensor[], step: number) {
  params.forEach((p, k) => {
    const values = Float64Array.from(
      { length: p.size },
      (_, i) => noise(1 + k + 7 * i + 91 * step),
    );
    p.grad?.dispose();
    p.grad = tensor(values, { shape: p.shape, device: p.device }).to(p.dtype);
  });
}

const parameter = (shape: number[], dtype: DType, device = found[0]!.device, seed = 0) => {
  const size = shape.reduce((a, b) => a * b, 1);
  const values = Float64Array.from({ length: size }, (_, i) => noise(5 + seed + 3 * i));
  const p = tensor(values, { shape, device }).to(dtype).detach();
  p.requiresGrad = true;
  return p;
};

/** Those that take parameters of any shape. */
const anyShape = Object.entries(runs).filter(([name]) => !name.startsWith("muon"));

for (const { device } of found) {
  cleanTest(`optimizers: many parameters together on ${device} move as each alone`, () => {
    const shapes = Array.from(
      { length: 170 },
      (_, i) => [[0, 1, 3, 1023, 1024, 1025, 2500][i % 7]!],
    );
    for (const [name, make] of anyShape) {
      const together = shapes.map((shape, i) => parameter(shape, "float32", device, i));
      const optimizer = later(make(together));
      for (let step = 0; step < 2; step++) {
        setGrads(together, step);
        optimizer.step();
      }
      for (const i of [0, 1, 5, 6, 63, 64, 65, 128, 169]) {
        const alone = parameter(shapes[i]!, "float32", device, i);
        const own = later(make([alone]));
        for (let step = 0; step < 2; step++) {
          const values = Float64Array.from(
            { length: alone.size },
            (_, j) => noise(1 + i + 7 * j + 91 * step),
          );
          alone.grad = tensor(values, { device }).to("float32");
          own.step();
        }
        assertEquals(together[i]!.dataSync(), alone.dataSync(), `${name} ${i}`);
      }
    }
  });

  cleanTest(`optimizers: 16-bit parameters move as float32 ones, rounded, on ${device}`, () => {
    for (const dtype of ["float16", "bfloat16"] as const) {
      // Half of the last place, of the parameter and (through the states) of the change.
      const ulp = dtype === "float16" ? 2 ** -11 : 2 ** -8;
      for (const [name, make] of Object.entries(runs)) {
        const p = parameter([7, 6], dtype, device);
        const wide = p.to("float32").detach();
        wide.requiresGrad = true;
        const [narrow, full] = [later(make([p])), later(make([wide]))];
        setGrads([p], 0);
        wide.grad = p.grad!.to("float32");
        const before = wide.dataSync();
        narrow.step();
        full.step();
        const wanted = wide.dataSync();
        assertEquals(p.dtype, dtype);
        const changes = wanted.map((x, i) => Math.abs(x - before[i]!));
        p.dataSync().forEach((x, i) => {
          // Muon's elements depend on one another, and small ones are blown up.
          const change = name.startsWith("muon") ? 8 * Math.max(...changes) : changes[i]!;
          const error = Math.abs(x - wanted[i]!);
          const bound = ulp * (Math.abs(wanted[i]!) + 4 * change) + 1e-7;
          assert(error <= bound, `${name} ${dtype}[${i}]: ${x}, in float32 ${wanted[i]}`);
        });
      }
    }
  });

  cleanTest(`optimizers: states of 16-bit parameters are those of float32, on ${device}`, () => {
    // without weight decay the states depend on the gradients alone
    const rules: Record<string, Make> = {
      sgd: (p) => new optim.SGD(p, { lr: 0.01, momentum: 0.999, nesterov: true }),
      adam: (p) => new optim.Adam(p, { amsgrad: true }),
      adamw: (p) => new optim.AdamW(p, { weightDecay: 0 }),
      nadam: (p) => new optim.NAdam(p),
      rmsprop: (p) =>
        new optim.RMSprop(p, { lr: 1e-3, alpha: 0.999, momentum: 0.5, centered: true }),
      adagrad: (p) => new optim.Adagrad(p),
      muon: (p) => new optim.Muon(p, { momentum: 0.999 }),
    };
    for (const dtype of ["float16", "bfloat16"] as const) {
      for (const [name, make] of Object.entries(rules)) {
        const [p, wide] = ([dtype, "float32"] as const).map((type) =>
          zeros([1, 3], { dtype: type, device, requiresGrad: true })
        ) as [Tensor, Tensor];
        const [narrow, full] = [later(make([p])), later(make([wide]))];
        for (let step = 0; step < 40; step++) {
          // Their squares are less than float16 holds; sums of them stand still in bfloat16.
          p.grad = tensor([[1e-4, -2e-4, 3e-5]], { dtype, device });
          wide.grad = p.grad.to("float32");
          narrow.step();
          full.step();
        }
        const [found, wanted] = [narrow.stateDict().tensors, full.stateDict().tensors];
        for (const [key, x] of Object.entries(wanted)) {
          assertEquals(
            [found[key]!.dtype, found[key]!.dataSync()],
            ["float32", x.dataSync()],
            name,
          );
        }
        const ends = wide.dataSync();
        const ulp = dtype === "float16" ? 2 ** -11 : 2 ** -8;
        p.dataSync().forEach((x, i) => {
          const off = Math.abs(x - ends[i]!); // each of 40 steps rounds the parameter
          assert(off <= 20 * ulp * Math.abs(ends[i]!) + 1e-9, `${name} ${dtype}: ${x}, ${ends[i]}`);
        });
        // A state that was saved in 16 bits is widened.
        const { tensors, ...rest } = narrow.stateDict();
        const old = Object.fromEntries(Object.entries(tensors).map(([k, x]) => [k, x.to(dtype)]));
        later(full).loadStateDict({ tensors: old, ...rest });
        for (const [key, x] of Object.entries(full.stateDict().tensors)) {
          assertEquals([x.dtype, [...x.dataSync()]], ["float32", [...old[key]!.dataSync()]], key);
        }
      }
    }
    const p = zeros([1], { dtype: "float16", device, requiresGrad: true });
    const adam = later(new optim.Adam([p]));
    for (let step = 0; step < 500; step++) {
      p.grad = tensor([1e-3], { dtype: "float16", device });
      adam.step();
    }
    const end = p.itemSync(); // the step is lr, but for eps and the rounding of p
    assert(Math.abs(end + 0.5) < 0.02, `${end}`);
  });
}

cleanTest("optimizers: what is loaded goes on with the very same bits", async () => {
  for (const [name, make] of Object.entries(runs)) {
    const shapes = [[4, 3], [2, 9], [5, 5]];
    const first = shapes.map((shape, i) => parameter(shape, "float32", undefined, i));
    const optimizer = later(make(first));
    const skipLast = (params: Tensor[], step: number) => {
      setGrads(params, step);
      if (step % 3 !== 1) return;
      params[2]!.grad!.dispose();
      params[2]!.grad = null; // so that step counts differ
    };
    for (let step = 0; step < 5; step++) {
      skipLast(first, step);
      optimizer.step();
    }
    // Through a file and JSON, as a program that ends and begins again would have it.
    const { tensors, ...rest } = optimizer.stateDict();
    const bytes = await io.toSafetensors(tensors);
    const text = JSON.stringify(rest);
    const second = first.map((p) => {
      const q = p.detach().clone();
      q.requiresGrad = true;
      return q;
    });
    const resumed = later(make(second));
    resumed.lr = 123;
    resumed.loadStateDict({ tensors: io.fromSafetensors(bytes), ...JSON.parse(text) });
    for (let step = 5; step < 10; step++) {
      for (const params of [first, second]) skipLast(params, step);
      optimizer.step();
      resumed.step();
    }
    first.forEach((p, i) => assertEquals(second[i]!.dataSync(), p.dataSync(), `${name} ${i}`));
    assertEquals(resumed.stateDict().numbers, optimizer.stateDict().numbers);
    assertEquals(resumed.stateDict().groups, optimizer.stateDict().groups);
  }
});

cleanTest("optimizers: a step allocates nothing, and fills the lists of the step before", () => {
  const calls = ["sgd", "adam", "nadam", "rmsprop", "adagrad"].map((name) => `cdn_${name}_step`);
  for (const [name, make] of anyShape) { // not Muon, whose step is made of products
    const params = [parameter([3], "float32"), parameter([2], "float32")];
    const idle = parameter([4], "float32");
    const optimizer = later(make([...params, idle]));
    setGrads(params, 0);
    optimizer.step();
    optimizer.step(); // momentum's first step is one of its own
    const listsOf = () =>
      nativeCalls(calls, () => optimizer.step()).map(({ args }) =>
        args.filter((arg) => ArrayBuffer.isView(arg))
      );
    const lists = listsOf();
    assertEquals(lists.length, 1, name);
    const before = memory().allocations;
    for (let i = 0; i < 100; i++) optimizer.step();
    assertEquals(memory().allocations, before, name);
    setGrads(params, 1); // other tensors than before
    for (const [i, list] of listsOf()[0]!.entries()) assert(list === lists[0]![i], name);
    assertEquals([...lists[0]![1] as Uint32Array], params.map((p) => p.grad!.handle), name);
    setGrads([idle], 0);
    const trained = listsOf().flatMap(([handles]) => [...handles as Uint32Array]);
    assertEquals(new Set(trained), new Set([...params, idle].map((p) => p.handle)), name);
  }
});

cleanTest("optimizers: a state that does not fit is refused, and nothing changes", () => {
  const [a, b] = [parameter([2], "float32"), parameter([3], "float32")];
  const optimizer = later(new optim.Adam([a, b]));
  setGrads([a, b], 0);
  optimizer.step();
  const state = optimizer.stateDict();
  const other = later(new optim.Adam([parameter([2], "float32"), parameter([4], "float32")]));
  assertThrows(() => other.loadStateDict(state), ShapeError, "1.expAvg is [3]");
  const one = later(new optim.Adam([parameter([2], "float32")]));
  assertThrows(() => one.loadStateDict(state), ArgumentError, "groups with [2] parameters");
  const wrong = { ...state, groups: [{ ...state.groups[0], lr: -1 }] };
  assertThrows(() => optimizer.loadStateDict(wrong), ArgumentError, "lr is -1");
  const unknown = { ...state, groups: [{ ...state.groups[0], alpha: 1 }] };
  assertThrows(() => optimizer.loadStateDict(unknown), ArgumentError, "no option alpha");
  let deep: unknown = 1;
  for (let i = 0; i < 20_000; i++) deep = [deep];
  const endless = { ...state, groups: [{ ...state.groups[0], eps: deep }] };
  assertThrows(() => optimizer.loadStateDict(endless), ArgumentError, "plain data");
  const astray = { ...state, numbers: { "7.step": 1 } };
  assertThrows(() => optimizer.loadStateDict(astray), ArgumentError, "7.step");
  for (const optimizer of [other, one]) assertEquals(optimizer.stateDict().numbers, {});
  assertEquals(optimizer.lr, 1e-3);
});

cleanTest("optimizers: groups have options of their own", () => {
  const [a, b, c] = [1, 2, 3].map(() => parameter([4], "float64"));
  const optimizer = later(
    new optim.AdamW([{ params: [a!] }, { params: [b!], lr: 0.5, weightDecay: 0 }], { lr: 0.1 }),
  );
  optimizer.addGroup({ params: [c!], betas: [0.5, 0.5] });
  assertEquals(optimizer.groups.map(({ lr }) => lr), [0.1, 0.5, 0.1]);
  assertEquals(optimizer.groups.map(({ weightDecay }) => weightDecay), [0.01, 0, 0.01]);
  const options = [{ lr: 0.1 }, { lr: 0.5, weightDecay: 0 }, {
    lr: 0.1,
    betas: [0.5, 0.5] as const,
  }];
  const alone = options.map((option) => {
    const p = parameter([4], "float64");
    return { p, optimizer: later(new optim.AdamW([p], option)) };
  });
  for (let step = 0; step < 3; step++) {
    [a!, b!, c!, ...alone.map(({ p }) => p)].forEach((p) => setGrads([p], step));
    optimizer.step();
    for (const { optimizer } of alone) optimizer.step();
  }
  [a!, b!, c!].forEach((p, i) => assertEquals(p.dataSync(), alone[i]!.p.dataSync()));
  assertEquals(optimizer.lr, 0.1);
  optimizer.lr = 0.3;
  assertEquals(optimizer.groups.map(({ lr }) => lr), [0.3, 0.3, 0.3]);
  optimizer.zeroGrad();
  assert([a!, b!, c!].every((p) => p.grad === null));
});

cleanTest("optimizers: a parameter without a gradient stays and does not count the step", () => {
  for (const [name, make] of Object.entries(runs)) {
    const [a, b] = [parameter([3, 2], "float64"), parameter([3, 2], "float64")];
    const optimizer = later(make([a, b]));
    setGrads([a], 0);
    optimizer.step();
    assertEquals(b.dataSync(), parameter([3, 2], "float64").dataSync());
    a.grad = null;
    setGrads([b], 0);
    optimizer.step();
    assertEquals(b.dataSync(), a.dataSync(), name);
    assertEquals(optimizer.stateDict().numbers["1.step"], 1);
  }
});

cleanTest("optimizers: options may change between steps, but not to nonsense", () => {
  const p = parameter([2], "float64");
  const optimizer = later(new optim.Adam([p]));
  setGrads([p], 0);
  optimizer.groups[0]!.betas = [0.5, 1];
  const before = p.dataSync();
  assertThrows(() => optimizer.step(), ArgumentError, "betas[1] is 1");
  assertEquals(p.dataSync(), before);
});

cleanTest("optimizers: momentum and amsgrad may begin later", () => {
  const p = parameter([2], "float64");
  const optimizer = later(new optim.SGD([p], { lr: 0.1 }));
  setGrads([p], 0);
  optimizer.step();
  optimizer.groups[0]!.momentum = 0.9;
  optimizer.groups[0]!.dampening = 0.5;
  const before = p.dataSync();
  optimizer.step(); // its first velocity is the gradient itself
  p.dataSync().forEach((x, i) =>
    assertEquals(x.toFixed(12), (before[i]! - 0.1 * p.grad!.dataSync()[i]!).toFixed(12))
  );
});

cleanTest("optimizers: wrong options and parameters are refused", () => {
  const p = parameter([2, 2], "float32");
  const refuse = (
    make: () => optim.Optimizer,
    message: string,
    error: new (message: string) => CudenoError = ArgumentError,
  ) => assertThrows(make, error, message);
  refuse(() => new optim.Adam([p], { lr: -1 }), "Adam: lr is -1");
  refuse(() => new optim.Adam([p], { betas: [1, 0.9] }), "betas[0] is 1");
  refuse(() => new optim.Adam([p], { betas: [0.9] as never }), "it must be two numbers");
  refuse(() => new optim.AdamW([p], { weightDecay: NaN }), "AdamW: weightDecay is NaN");
  refuse(() => new optim.AdamW([p], { weight_decay: 1 } as never), "did you mean weightDecay?");
  refuse(() => new optim.NAdam([p], { momentumDecay: -1 }), "NAdam: momentumDecay is -1");
  refuse(() => new optim.RMSprop([p], { alpha: 1 }), "RMSprop: alpha is 1");
  refuse(() => new optim.Adagrad([p], { lrDecay: -1 }), "Adagrad: lrDecay is -1");
  refuse(() => new optim.Muon([p], { nsSteps: 0 }), "Muon: nsSteps is 0");
  refuse(() => new optim.Muon([p], { adjustLrFn: "none" as never }), 'adjustLrFn is "none"');
  refuse(() => new optim.Muon([p], { nsCoefficients: [1, 2] as never }), "three finite numbers");
  const bias = parameter([2], "float32");
  refuse(() => new optim.Muon([bias]), "it must be a matrix", ShapeError);
  refuse(() => new optim.Adam([{ params: [p] }, { params: [p] }]), "a parameter is there twice");
  refuse(() => new optim.Adam([{ params: [] }]), "there are no parameters");
  refuse(() => new optim.Adam([{ params: [p], lrs: 1 } as never]), "no option lrs");
  refuse(() => new optim.Adam([p, 1 as never]), "wanted is a tensor");
  refuse(() => new optim.Adam([p.mul(2)]), "a parameter was computed", GradientError);
  refuse(() => new optim.Adam([zeros([2])]), "requiresGrad", GradientError);
  const gone = parameter([2], "float32");
  const optimizer = new optim.Adam([gone]);
  gone.dispose();
  assertThrows(() => optimizer.step(), DisposedError);
});

cleanTest("optimizers: dispose() frees the state, and steps leave nothing else", () => {
  for (const [name, make] of Object.entries(runs)) {
    const p = parameter([6, 4], "float32");
    setGrads([p], 0);
    const before = memory().tensors;
    const optimizer = make([p]);
    optimizer.step();
    const after = memory().tensors;
    optimizer.step();
    assertEquals(memory().tensors, after, name);
    // and the clock
    assertEquals(after - before, Object.keys(optimizer.stateDict().tensors).length + 1, name);
    optimizer.dispose();
    assertEquals(memory().tensors, before, name);
  }
});

cleanTest("optimizers: NaN and infinity in a gradient stay in their place", () => {
  for (const [name, make] of anyShape) {
    const p = zeros([3], { requiresGrad: true });
    p.grad = tensor([NaN, 1, Infinity]);
    later(make([p])).step();
    const [a, b, c] = p.dataSync();
    assert(Number.isNaN(a!) && Number.isFinite(b!) && b !== 0, name);
    assert(!Number.isFinite(c!), name); // infinite, or infinity divided by itself
  }
});

cleanTest("optimizers: Muon's updates do not depend on the size of the gradients", () => {
  for (const nsDType of ["float32", "bfloat16"] as const) {
    const moved = [1, 1e-6, 1e20].map((size) => {
      const p = later(zeros([2, 3], { requiresGrad: true }));
      p.grad = tensor([[300, -200, 100], [50, 250, -150]]).mul(size);
      later(new optim.Muon([p], { nsDType })).step();
      return [...p.dataSync()];
    });
    for (const found of moved.slice(1)) {
      found.forEach((x, i) => assertAlmostEquals(x, moved[0]![i]!, 2e-5));
      assert(found.every((x) => Math.abs(x) > 5e-5));
    }
  }
});

cleanTest("optimizers: Muon's updates are nearly orthogonal, in bfloat16 too", () => {
  for (const shape of [[6, 6], [3, 8], [8, 3], [1, 5], [0, 4]]) {
    for (const nsDType of ["float32", "float64", "bfloat16"] as const) {
      const p = zeros(shape, { requiresGrad: true });
      setGrads([p], 0);
      const options = { lr: 1, weightDecay: 0, nesterov: false, nsDType };
      const optimizer = later(new optim.Muon([p], options));
      optimizer.step();
      const [rows, cols] = shape as [number, number];
      if (rows === 0) continue;
      const scale = Math.sqrt(Math.max(1, rows / cols));
      const small = rows > cols ? p.detach().transpose() : p.detach();
      // The singular values are those of the Gram matrix, squared; the iteration leaves them in
      // about 0.7..1.2.
      const trace = noGrad(() => small.mul(small).sum().itemSync()) / scale ** 2;
      const least = Math.min(rows, cols);
      assert(trace > 0.4 * least && trace < 1.5 * least, `${shape}: ${trace}`);
    }
  }
});
