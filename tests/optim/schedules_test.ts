// Learning rate schedules against PyTorch's over 100 steps, recorded by
// tests/fixtures/make_optimizer_runs.py.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { ArgumentError, io, optim, type Tensor, tensor } from "../../mod.ts";
import { cleanTest } from "../_helpers.ts";

const { schedule } = optim;
const file = new URL("../fixtures/optimizer_runs.safetensors", import.meta.url);

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
}

/** Schedules of schedules. */
const nested: Record<string, Make> = {
  warmup_one_cycle: (o) =>
    new schedule.SequentialLR([
      new schedule.LinearWarmup(o, { steps: 5 }),
      new schedule.OneCycleLR(o, { maxLr: 2, totalSteps: 20 }),
      new schedule.OneCycleLR(o, { maxLr: 3, totalSteps: 9, maxMomentum: 0.8 }),
    ], { milestones: [5, 40] }),
  sequences: (o) =>
    new schedule.SequentialLR([
      makes["sequential"]!(o),
      new schedule.SequentialLR([makes["restarts"]!(o), makes["chained"]!(o)], { milestones: [8] }),
    ], { milestones: [20] }),
  chained_sequence: (o) =>
    new schedule.ChainedScheduler([makes["sequential"]!(o), makes["plateau"]!(o)]),
};

for (const [name, make] of Object.entries({ ...makes, ...nested })) {
  cleanTest(`schedules: ${name} goes on from its state with the same rates`, () => {
    const settings = (o: optim.Optimizer) => o.groups.map(({ params: _, ...rest }) => rest);
    for (const at of [0, 1, 9, 10, 23, 101]) {
      // The optimizer's state is loaded before the schedule is made, after it, or after its state.
      for (const order of [0, 1, 2]) {
        const optimizer = twoGroups();
        const made = make(optimizer);
        for (let step = 0; step < at; step++) made.step(metric(step));
        optimizer.lr *= 1.5; // by hand
        const saved = JSON.parse(JSON.stringify([optimizer.stateDict(), made.stateDict()]));
        const other = twoGroups();
        if (order === 0) other.loadStateDict(saved[0]);
        const resumed = make(other);
        if (order === 1) other.loadStateDict(saved[0]);
        resumed.loadStateDict(saved[1]);
        if (order === 2) other.loadStateDict(saved[0]);
        for (let step = at; step < at + 60; step++) {
          assertEquals(settings(other), settings(optimizer), `${order}: ${at}, ${step}`);
          made.step(metric(step));
          resumed.step(metric(step));
        }
        assertEquals(resumed.stateDict(), made.stateDict());
      }
    }
  });

  cleanTest(`schedules: ${name} leaves a group that was added later alone`, () => {
    const [optimizer, alone] = [twoGroups(), twoGroups()];
    const [made, wanted] = [make(optimizer), make(alone)];
    const add = { params: [leaf()], lr: 0.5, momentum: 0.7 };
    for (let step = 0; step < 60; step++) {
      if (step === 3) optimizer.addGroup(add as optim.ParameterGroup<optim.SGDOptions>);
      made.step(step); // metrics that rise, by which a plateau lowers all
      wanted.step(step);
      assertEquals(rates(optimizer).slice(0, 2), rates(alone), `step ${step}`);
    }
    const { lr, momentum } = optimizer.groups[2]!;
    assertEquals(momentum, 0.7);
    if (!name.includes("plateau") && name !== "chained_sequence") assertEquals(lr, 0.5);
    // It goes on with the same groups, and with no others.
    const saved = JSON.parse(JSON.stringify(made.stateDict()));
    const other = twoGroups();
    const resumed = make(other);
    assertThrows(() => resumed.loadStateDict(saved), ArgumentError, "the state is of 3 groups");
    other.addGroup(add as optim.ParameterGroup<optim.SGDOptions>);
    resumed.loadStateDict(saved);
    for (const s of [made, resumed]) s.step(0);
    assertEquals(rates(other), rates(optimizer));
  });
}

cleanTest(
  "schedules: a rate that was loaded is not overwritten by a schedule made after it",
  () => {
    const optimizer = new optim.SGD([leaf()], { lr: 1 });
    const make = (o: optim.Optimizer) =>
      new schedule.LinearLR(o, { startFactor: 0.1, totalIters: 10 });
    const made = make(optimizer);
    for (let t = 0; t < 8; t++) made.step();
    const other = new optim.SGD([leaf()], { lr: 1 });
    other.loadStateDict(optimizer.stateDict());
    const resumed = make(other);
    resumed.loadStateDict(made.stateDict());
    assertClose(other.lr, 0.82, "loaded"); // 0.1 + 8 * 0.09
    resumed.step();
    assertClose(other.lr, 0.91, "next");
  },
);

cleanTest("schedules: a state that is none, or of others, changes nothing", () => {
  const [optimizer, one] = [twoGroups(), twoGroups()];
  const refuse = (made: optim.schedule.Schedule, state: unknown, message: string) => {
    const before = JSON.stringify([made.stateDict(), optimizer.stateDict()]);
    assertThrows(() => made.loadStateDict(state as never), ArgumentError, message);
    assertEquals(JSON.stringify([made.stateDict(), optimizer.stateDict()]), before);
  };
  const linear = new schedule.LinearLR(optimizer);
  for (const state of [undefined, null, {}, "state.json"]) {
    refuse(linear, state, "what stateDict() gives");
  }
  refuse(linear, { ...linear.stateDict(), count: null }, "count is null");
  refuse(linear, { ...linear.stateDict(), lrs: [NaN, 1] }, "lrs[0] is NaN");
  refuse(makes["sequential"]!(optimizer), makes["chained"]!(one).stateDict(), "of 3 schedules");
  refuse(makes["chained"]!(optimizer), new schedule.LinearLR(one).stateDict(), "of 2 schedules");
  const cycle = (o: optim.Optimizer, cycleMomentum: boolean) =>
    new schedule.OneCycleLR(o, { maxLr: 1, totalSteps: 9, cycleMomentum });
  refuse(cycle(optimizer, true), cycle(one, false).stateDict(), "cycleMomentum false");
});

cleanTest(
  "schedules: a sequence whose milestone was moved before the loaded step goes on after it",
  () => {
    const make = (o: optim.Optimizer, at: number) =>
      new schedule.SequentialLR([
        new schedule.LambdaLR(o, { lrLambda: () => 0.1 }),
        new schedule.ExponentialLR(o, { gamma: 0.5 }),
      ], { milestones: [at] });
    const made = make(twoGroups(), 20);
    for (let t = 0; t < 12; t++) made.step();
    const other = twoGroups();
    const resumed = make(other, 10);
    resumed.loadStateDict(made.stateDict());
    resumed.step();
    assertEquals(rates(other), [0.5, 0.2]);
    resumed.step();
    assertEquals(rates(other), [0.25, 0.1]);
  },
);

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
  for (let t = 0; t < 2; t++) made.step();
  const last = [optimizer.lr, optimizer.groups[0]!.betas];
  assertClose(optimizer.lr, 1 / 25 / 1e4, "last");
  for (let t = 0; t < 5; t++) made.step();
  assertEquals([optimizer.lr, optimizer.groups[0]!.betas], last);
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

cleanTest("schedules: one cycle stays at its last rate, whatever its form", () => {
  for (const annealStrategy of ["cos", "linear"] as const) {
    for (const threePhase of [false, true]) {
      for (const totalSteps of [1, 2, 10]) {
        const optimizer = twoGroups();
        const options = { maxLr: 1, totalSteps, annealStrategy, threePhase };
        const made = new schedule.OneCycleLR(optimizer, options);
        for (let t = 0; t < totalSteps - 1; t++) made.step();
        const last = rates(optimizer);
        assert(last.every((lr) => lr >= 0 && lr < 0.1), `${last}`);
        for (let t = 0; t < 5; t++) made.step();
        assertEquals(rates(optimizer), last);
        twoGroups().loadStateDict(optimizer.stateDict());
      }
    }
  }
});

cleanTest("schedules: a plateau's share of a negative metric is a margin too", () => {
  const better = (metrics: number[], options: optim.schedule.ReduceLROnPlateauOptions) => {
    const made = new schedule.ReduceLROnPlateau(twoGroups(), { threshold: 0.1, ...options });
    for (const metric of metrics) made.step(metric);
    return made.stateDict()["bad"] === 0;
  };
  for (const mode of ["min", "max"] as const) {
    const sign = mode === "min" ? -1 : 1;
    for (const best of [-2, 2, 0]) {
      const margin = 0.1 * Math.abs(best);
      for (const [change, wanted] of [[-0.05, false], [0, false], [0.05, true]] as const) {
        const next = best + sign * (margin + change);
        assertEquals(better([best, next], { mode }), wanted, `${mode} ${best} ${next}`);
      }
    }
    assert(better([-1, -1 + sign * 0.15], { mode, thresholdMode: "abs" }));
    assert(better([5, 5 + sign * 11], { mode, threshold: 2 }));
    assert(!better([1, -Infinity], { mode }) && !better([1, Infinity], { mode }));
  }
  assert(!better([-1, -0.95], { mode: "min" }));
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
