// Learning rate schedules against PyTorch's over 100 steps, recorded by tests/fixtures/make_optimizer_runs.py.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { ArgumentError, io, optim, type Tensor, tensor } from "../mod.ts";
import { cleanTest } from "./fixtures/helpers.ts";

const { schedule } = optim;
const file = new URL("fixtures/optimizer_runs.safetensors", import.meta.url);

type Make = (optimizer: optim.Optimizer) => optim.schedule.Schedule;

const makes: Record<string, Make> = {
  step: (o) => new schedule.StepLR(o, { stepSize: 7, gamma: 0.3 }),
  multi_step: (o) => new schedule.MultiStepLR(o, { milestones: [3, 10, 10, 55], gamma: 0.5 }),
  exponential: (o) => new schedule.ExponentialLR(o, { gamma: 0.93 }),
  linear: (o) => new schedule.LinearLR(o, { startFactor: 0.1, endFactor: 0.8, totalIters: 12 }),
  linear_default: (o) => new schedule.LinearLR(o),
  polynomial: (o) => new schedule.PolynomialLR(o, { totalIters: 60, power: 1.7 }),
  lambda: (o) => new schedule.LambdaLR(o, { lrLambda: [(t) => 0.95 ** t, (t) => 1 / (1 + t)] }),
  cosine: (o) => new schedule.CosineAnnealingLR(o, { tMax: 30, etaMin: 0.01 }),
  cosine_short: (o) => new schedule.CosineAnnealingLR(o, { tMax: 1 }),
  restarts: (o) => new schedule.CosineAnnealingWarmRestarts(o, { t0: 5, tMult: 2, etaMin: 0.02 }),
  restarts_even: (o) => new schedule.CosineAnnealingWarmRestarts(o, { t0: 7 }),
  one_cycle: (o) => new schedule.OneCycleLR(o, { maxLr: [1, 0.4], totalSteps: 101 }),
  one_cycle_three: (o) =>
    new schedule.OneCycleLR(o, {
      maxLr: 1,
      epochs: 13,
      stepsPerEpoch: 8,
      pctStart: 0.25,
      annealStrategy: "linear",
      threePhase: true,
      divFactor: 10,
    }),
  chained: (o) =>
    new schedule.ChainedScheduler([
      new schedule.LinearLR(o, { startFactor: 0.2, totalIters: 6 }),
      new schedule.ExponentialLR(o, { gamma: 0.9 }),
    ]),
  sequential: (o) =>
    new schedule.SequentialLR([
      new schedule.LinearLR(o, { startFactor: 0.2, totalIters: 6 }),
      new schedule.CosineAnnealingLR(o, { tMax: 50 }),
      new schedule.ExponentialLR(o, { gamma: 0.9 }),
    ], { milestones: [10, 70] }),
  plateau: (o) =>
    new schedule.ReduceLROnPlateau(o, { factor: 0.5, patience: 3, cooldown: 2, minLr: 0.01 }),
  plateau_max: (o) =>
    new schedule.ReduceLROnPlateau(o, {
      mode: "max",
      factor: 0.7,
      patience: 1,
      threshold: 0.1,
      thresholdMode: "abs",
    }),
};

/** A loss that falls and then wavers, as the script's. */
const metric = (step: number) => 1 / (1 + step) + 0.05 * Math.sin(step * 1.7);

const leaf = (): Tensor => tensor([0], { requiresGrad: true });
const twoGroups = () =>
  new optim.SGD([{ params: [leaf()], lr: 0.5 }, { params: [leaf()], lr: 0.2 }], {
    lr: 1,
    momentum: 0.9,
  });
const rates = (optimizer: optim.Optimizer) => optimizer.groups.map((group) => group.lr!);

// A few roundings a step, relative.
function assertClose(found: number, wanted: number, what: string) {
  const error = Math.abs(found - wanted);
  assert(error <= 1e-13 * Math.abs(wanted) + 1e-16, `${what}: ${found}, PyTorch's ${wanted}`);
}

for (const [name, make] of Object.entries(makes)) {
  cleanTest(`schedules: ${name} gives PyTorch's rates`, async () => {
    const all = await io.loadSafetensors(file);
    const wanted = all[`schedule.${name}`]!.dataSync();
    const momenta = all[`momentum.${name}`]?.dataSync();
    const optimizer = twoGroups();
    const made = make(optimizer);
    for (let step = 0; step <= 100; step++) {
      rates(optimizer).forEach((lr, i) =>
        assertClose(lr, wanted[2 * step + i]!, `step ${step}, group ${i}`)
      );
      assertEquals([...made.lastLr], rates(optimizer));
      if (momenta) assertClose(optimizer.groups[1]!.momentum, momenta[step]!, `momentum ${step}`);
      if (step < 100) made.step(metric(step));
    }
    assertEquals(made.count, 100);
    assertEquals([...made.baseLrs], [0.5, 0.2]);
  });

  cleanTest(`schedules: ${name} goes on from its state with the same rates`, () => {
    const optimizer = twoGroups();
    const made = make(optimizer);
    for (let step = 0; step < 23; step++) made.step(metric(step));
    const saved = JSON.parse(JSON.stringify([optimizer.stateDict(), made.stateDict()]));
    const other = twoGroups();
    const resumed = make(other);
    other.loadStateDict(saved[0]);
    resumed.loadStateDict(saved[1]);
    for (let step = 23; step < 90; step++) {
      made.step(metric(step));
      resumed.step(metric(step));
      assertEquals(rates(other), rates(optimizer), `step ${step}`);
    }
    assertEquals(resumed.stateDict(), made.stateDict());
  });
}

cleanTest("schedules: LinearWarmup reaches the whole rate after its steps", () => {
  for (const steps of [1, 2, 5]) {
    const optimizer = twoGroups();
    const made = new schedule.LinearWarmup(optimizer, { steps });
    for (let t = 0; t < 8; t++) {
      assertClose(optimizer.lr, 0.5 * Math.min(1, (t + 1) / steps), `${steps}: ${t}`);
      made.step();
    }
  }
});

cleanTest("schedules: restarts may be asked for between whole steps", () => {
  const optimizer = twoGroups();
  const made = new schedule.CosineAnnealingWarmRestarts(optimizer, { t0: 4, tMult: 2 });
  made.moveToStep(5.5);
  assertClose(optimizer.lr, 0.25 * (1 + Math.cos(Math.PI * 1.5 / 8)), "5.5");
  made.moveToStep(12);
  assertClose(optimizer.lr, 0.5, "12");
});

cleanTest("schedules: one cycle moves Adam's first beta, and ends", () => {
  const optimizer = new optim.Adam([leaf()]);
  const made = new schedule.OneCycleLR(optimizer, { maxLr: 1, totalSteps: 3, pctStart: 0.5 });
  assertEquals(optimizer.groups[0]!.betas, [0.95, 0.999]);
  for (let t = 0; t < 3; t++) made.step();
  assertThrows(() => made.step(), ArgumentError, "the cycle has 3");
  const adagrad = new optim.Adagrad([leaf()]);
  const options = { maxLr: 1, totalSteps: 3 };
  assertThrows(() => new schedule.OneCycleLR(adagrad, options), ArgumentError, "cycleMomentum");
  new schedule.OneCycleLR(adagrad, { ...options, cycleMomentum: false });
});

cleanTest("schedules: NaN is no better metric", () => {
  const optimizer = twoGroups();
  const made = new schedule.ReduceLROnPlateau(optimizer, { patience: 1 });
  for (const loss of [1, NaN, NaN]) made.step(loss);
  assertClose(optimizer.lr, 0.05, "lr");
});

cleanTest("schedules: wrong options are refused", () => {
  const o = twoGroups();
  const refuse = (make: () => unknown, message: string) =>
    assertThrows(make, ArgumentError, message);
  refuse(() => new schedule.StepLR(o, {} as never), "StepLR: stepSize is undefined");
  refuse(() => new schedule.StepLR(o, { stepSize: 1, gama: 1 } as never), "did you mean gamma?");
  refuse(() => new schedule.MultiStepLR(o, { milestones: [0.5] }), "milestones[0] is 0.5");
  refuse(() => new schedule.MultiStepLR(o, {} as never), "it must be an array");
  refuse(() => new schedule.ExponentialLR(o, { gamma: NaN }), "gamma is NaN");
  refuse(() => new schedule.LinearLR(o, { startFactor: 0 }), "startFactor is 0");
  refuse(() => new schedule.PolynomialLR(o, { totalIters: 0 }), "totalIters is 0");
  refuse(() => new schedule.LambdaLR(o, { lrLambda: [() => 1] }), "there are 1 functions");
  refuse(() => new schedule.LambdaLR(o, {} as never), "must be a function");
  refuse(() => new schedule.LambdaLR(o, { lrLambda: () => NaN }), "lrLambda(0) is NaN");
  refuse(() => new schedule.CosineAnnealingLR(o, { tMax: 0 }), "tMax is 0");
  refuse(() => new schedule.CosineAnnealingWarmRestarts(o, { t0: 1, tMult: 0 }), "tMult is 0");
  refuse(() => new schedule.OneCycleLR(o, { maxLr: 1 }), "totalSteps is 0");
  refuse(() => new schedule.OneCycleLR(o, { maxLr: [1], totalSteps: 5 }), "each of the 2 groups");
  refuse(() => new schedule.OneCycleLR(o, { maxLr: 1, totalSteps: 5, pctStart: 2 }), "pctStart");
  refuse(() => new schedule.ReduceLROnPlateau(o, { factor: 1 }), "factor is 1");
  refuse(() => new schedule.ReduceLROnPlateau(o, { mode: "low" as never }), 'mode is "low"');
  refuse(() => new schedule.ReduceLROnPlateau(o).step(), "needs the metric");
  refuse(() => new schedule.ChainedScheduler([]), "there are no schedules");
  const [mine, others] = [o, twoGroups()].map((x) => new schedule.LinearLR(x));
  refuse(() => new schedule.ChainedScheduler([mine!, others!]), "of the same optimizer");
  refuse(() => new schedule.SequentialLR([mine!], { milestones: [1] }), "must be 0 numbers");
  refuse(() => new schedule.LinearLR({} as never), "it must be one such as new optim.SGD(");
  const single = new schedule.LinearLR(new optim.SGD([leaf()], { lr: 1 }));
  refuse(() => mine!.loadStateDict(single.stateDict()), "the state is of 1 groups");
});
