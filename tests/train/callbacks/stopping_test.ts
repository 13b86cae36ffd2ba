// EarlyStopping, TerminateOnNaN and LearningRateMonitor.
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  ArgumentError,
  type Callback,
  callbacks,
  type EpochResult,
  memory,
  nn,
  optim,
  Trainer,
} from "../../../mod.ts";
import { cleanTest, halves, later, network, refuse } from "../../_helpers.ts";
import { playFit } from "./_fit.ts";

const { EarlyStopping, LearningRateMonitor, TerminateOnNaN } = callbacks;
const valLosses = (...values: number[]) => values.map((valLoss) => ({ valLoss }));
const epochsOf = async (callback: Callback, epochs: Partial<EpochResult>[], options = {}) => {
  const { history } = await playFit(callback, epochs, options);
  return [history.length, history.stopped];
};

cleanTest("EarlyStopping: patience, and what it exposes", async () => {
  const early = new EarlyStopping({ patience: 2 });
  assertEquals([early.best, early.bestEpoch], [undefined, 0]);
  const losses = valLosses(3, 2, 2.5, 1, 1.5, 1.2, 0);
  assertEquals(await epochsOf(early, losses), [
    6,
    "EarlyStopping: valLoss has not improved for 2 epochs; the best was 1 in epoch 4",
  ]);
  assertEquals([early.best, early.bestEpoch], [1, 4]);
  assertEquals((await epochsOf(new EarlyStopping(), losses))[0], 3);
  assertEquals((await epochsOf(new EarlyStopping({ patience: 1 }), losses))[0], 3);
  assertEquals(await epochsOf(early, valLosses(9, 8)), [2, undefined]); // anew
  assertEquals([early.best, early.bestEpoch], [8, 2]);
});

cleanTest("EarlyStopping: minDelta, baseline, startFromEpoch", async () => {
  const losses = valLosses(1, 0.95, 0.91, 0.5);
  assertEquals((await epochsOf(new EarlyStopping({ minDelta: 0.1, patience: 2 }), losses))[0], 3);
  assertEquals((await epochsOf(new EarlyStopping({ minDelta: 0.04 }), losses))[0], 3);
  // improvements that do not reach the baseline give no new patience
  const [count, why] = await epochsOf(
    new EarlyStopping({ baseline: 0.9, patience: 2 }),
    valLosses(1, 0.95, 0.96, 0.5),
  );
  assertEquals(count, 3);
  assertStringIncludes(`${why}`, "valLoss was not better than 0.9 for 3 epochs; the best was 0.95");
  const reached = new EarlyStopping({ baseline: 0.9, patience: 2 });
  assertEquals((await epochsOf(reached, valLosses(1, 0.8, 0.85, 0.86, 0)))[0], 4);
  assertEquals(
    (await epochsOf(new EarlyStopping({ startFromEpoch: 3 }), valLosses(1, 2, 3, 4)))[0],
    4,
  );
});

cleanTest("EarlyStopping: NaN is never better, and what follows it is", async () => {
  const early = new EarlyStopping({ patience: 2 });
  assertEquals((await epochsOf(early, valLosses(NaN, 5, NaN, NaN, 1)))[0], 4);
  assertEquals([early.best, early.bestEpoch], [5, 2]);
  assertEquals(await epochsOf(early, valLosses(NaN, NaN, 1)), [
    2,
    "EarlyStopping: valLoss has not improved for 2 epochs; it never was a number",
  ]);
});

cleanTest("EarlyStopping: figures by name, and which way they get better", async () => {
  const falling = [
    { accuracy: 0.9, metrics: { f1: 0.9, mse: 1 }, valMetrics: { f1: 0.9, mse: 1 } },
    {
      ...{ accuracy: 0.8, metrics: { f1: 0.8, mse: 0.5 }, valMetrics: { f1: 0.8, mse: 0.5 } },
    },
    {},
  ];
  for (const monitor of ["accuracy", "f1", "metrics.f1", "valF1", "valMetrics.f1"]) {
    assertEquals((await epochsOf(new EarlyStopping({ monitor }), falling))[0], 2, monitor);
    const less = new EarlyStopping({ monitor, mode: "min" });
    assertEquals((await epochsOf(less, falling.slice(0, 2)))[0], 2);
    assertEquals(less.bestEpoch, 2);
  }
  const mse = new EarlyStopping({ monitor: "valMse" });
  await playFit(mse, falling.slice(0, 2));
  assertEquals(mse.bestEpoch, 2);
  const own = new EarlyStopping({ monitor: "mine", mode: "max" });
  await playFit(own, [{ metrics: { mine: 1 } }, { metrics: { mine: 2 } }]);
  assertEquals(own.best, 2);
});

cleanTest("EarlyStopping: an error says which figures there are", async () => {
  const fails = (
    options: callbacks.EarlyStoppingOptions,
    epoch: Partial<EpochResult>,
    text: string,
  ) => assertRejects(() => playFit(new EarlyStopping(options), [epoch]), ArgumentError, text);
  await fails(
    {},
    { accuracy: 0.5, metrics: { f1: 1 } },
    'EarlyStopping: epoch 1 has no figure "valLoss"; it has loss, accuracy, f1; give fit() ' +
      "validation data, or name one of these",
  );
  await fails(
    { monitor: "val_loss" },
    { valLoss: 1, valMetrics: { f1: 1 } },
    'EarlyStopping: epoch 1 has no figure "val_loss"; it has loss, valLoss, valF1',
  );
  await fails({ monitor: "metrics.f2", mode: "max" }, { metrics: { f1: 1 } }, "it has loss, f1");
  await fails(
    { monitor: "recall" },
    { metrics: { recall: [0.5, 0.25] } },
    "EarlyStopping: recall is not one number but an array of them",
  );
});

cleanTest("EarlyStopping: epochs without validation are not counted", async () => {
  const early = new EarlyStopping({ patience: 2 });
  const epochs = [{}, { valLoss: 1 }, {}, { valLoss: 2 }, {}, { valLoss: 3 }, {}];
  assertEquals((await epochsOf(early, epochs, { validationEvery: 2 }))[0], 6);
  const none = () => playFit(early, [{}, {}], { validationEvery: 2 });
  await assertRejects(none, ArgumentError, 'epoch 2 has no figure "valLoss"');
});

cleanTest("EarlyStopping: the best weights come back, and no copy is left", async () => {
  const { trainer, model, optimizer } = network();
  const set = halves(16);
  const seen: number[][] = [];
  const values = () => Object.values(model.stateDict()).flatMap((x) => [...x.dataSync()]);
  const watch: Callback = {
    onEpochEnd(result) {
      seen.push(values());
      result.valLoss = result.epoch; // the first is the best
    },
  };
  const early = new EarlyStopping({ patience: 2, restoreBestWeights: true });
  const before = memory().tensors;
  const history = await trainer.fit(set, { epochs: 9, callbacks: [watch, early] });
  assertEquals([history.length, early.bestEpoch], [3, 1]);
  assertEquals(values(), seen[0]);
  assert(values().some((value, i) => value !== seen[2]![i]));
  model.zeroGrad();
  optimizer.dispose();
  assertEquals(memory().tensors, before);
  // also where training ends otherwise, and with an error
  const norm = later(new nn.BatchNorm1d(2));
  const play = (extra: Callback[] = []) => {
    const valLoss = [{ valLoss: 1 }, { valLoss: 2 }];
    const best = new EarlyStopping({ patience: 9, restoreBestWeights: true });
    const beforeEnd = (epoch: number) => void norm.running_mean!.fill(epoch);
    return playFit([best, ...extra], valLoss, { model: norm, beforeEnd });
  };
  await play();
  assertEquals([...norm.running_mean!.dataSync()], [1, 1]);
  norm.running_mean!.fill(7);
  const failing = {
    onEpochEnd: ({ epoch }: EpochResult) => {
      if (epoch === 2) throw new Error("disk full");
    },
  };
  await assertRejects(() => play([failing]), Error, "disk full");
  assertEquals([...norm.running_mean!.dataSync()], [1, 1]);
});

cleanTest("EarlyStopping: options that make no sense", () => {
  const wrong = (options: object, ...parts: string[]) =>
    refuse(() => new EarlyStopping(options), "argument", "EarlyStopping", ...parts);
  wrong({ pacience: 1 }, "did you mean patience?");
  wrong({ patience: -1 }, "patience is -1");
  wrong({ patience: 1.5 }, "patience is 1.5");
  wrong({ minDelta: -1 }, "minDelta is -1");
  wrong({ minDelta: NaN }, "minDelta is NaN");
  wrong({ baseline: NaN }, "baseline is NaN");
  wrong({ startFromEpoch: 0 }, "startFromEpoch is 0");
  wrong({ restoreBestWeights: 1 }, "restoreBestWeights is 1", "true or false");
  wrong({ mode: "most" }, 'mode is "most"', "min, max, auto");
  wrong({ monitor: "" }, 'monitor is ""', '"valLoss"');
  wrong({ monitor: 3 }, "monitor is 3");
  wrong({ monitor: "mine" }, 'whether more or less of "mine" is better', 'give mode: "max"');
});

cleanTest("TerminateOnNaN: a loss that is no finite number stops training", async () => {
  const stops = async (epochs: Partial<EpochResult>[], options = {}) =>
    await epochsOf(new TerminateOnNaN(options), epochs);
  assertEquals(await stops([{}, { loss: NaN }, {}]), [
    2,
    "TerminateOnNaN: the loss is NaN in epoch 2",
  ]);
  assertEquals(
    (await stops([{ loss: -Infinity }]))[1],
    "TerminateOnNaN: the loss is -Infinity in epoch 1",
  );
  const diverged = [{ valLoss: Infinity }, {}];
  assertEquals(await stops(diverged), [1, "TerminateOnNaN: the valLoss is Infinity in epoch 1"]);
  assertEquals(await stops(diverged, { validation: false }), [2, undefined]);
  assertEquals(await stops([{ valLoss: 1 }, {}]), [2, undefined]);
  refuse(() => new TerminateOnNaN({ validation: 1 as never }), "argument", "validation is 1");
  refuse(
    () => new TerminateOnNaN({ every: 1 } as never),
    "argument",
    "TerminateOnNaN: there is no option",
  );
});

cleanTest("LearningRateMonitor: the rates that steps used, of each group", async () => {
  const [a, b] = [later(new nn.Linear(2, 2)), later(new nn.Linear(2, 2))];
  const optimizer = later(
    new optim.SGD([{ params: a.parameters() }, { params: b.parameters(), lr: 2, momentum: 0.5 }], {
      lr: 1,
    }),
  );
  const halving: Callback = { // as a schedule for each step does, before the callbacks
    onStepEnd: () => optimizer.groups.forEach((group) => group.lr /= 2),
  };
  const steps = new LearningRateMonitor({ every: "step", momentum: true });
  const epochs = new LearningRateMonitor();
  const { history } = await playFit([halving, epochs, steps], [{}, {}], { optimizer, steps: 2 });
  assertEquals(steps.values, [
    { epoch: 1, step: 1, lrs: [1, 2], momenta: [0, 0.5] },
    { epoch: 1, step: 2, lrs: [0.5, 1], momenta: [0, 0.5] },
    { epoch: 2, step: 3, lrs: [0.25, 0.5], momenta: [0, 0.5] },
    { epoch: 2, step: 4, lrs: [0.125, 0.25], momenta: [0, 0.5] },
  ]);
  assertEquals(epochs.values, [{ epoch: 1, lrs: [1, 2] }, { epoch: 2, lrs: [0.25, 0.5] }]);
  assertEquals(history.map(({ lrs }) => lrs), [[0.5, 1], [0.125, 0.25]]);
  const adam = later(new optim.Adam(a.parameters()));
  await playFit(steps, [{}], { optimizer: adam, steps: 1 });
  assertEquals(steps.values, [{ epoch: 1, step: 1, lrs: [0.001], momenta: [0.9] }]);
});

cleanTest("LearningRateMonitor: in a training whose schedule steps after each epoch", async () => {
  const { model, optimizer, loss } = network({ lr: 0.5 });
  const schedule = new optim.schedule.ExponentialLR(optimizer, { gamma: 0.5 });
  const trainer = new Trainer(model, { loss, optimizer, schedule });
  const rates = new LearningRateMonitor();
  await trainer.fit(halves(4), { epochs: 3, callbacks: [rates] });
  assertEquals(rates.values.map(({ lrs }) => lrs), [[0.5], [0.25], [0.125]]);
  refuse(
    () => new LearningRateMonitor({ every: "batch" as never }),
    "argument",
    'every is "batch"',
  );
  refuse(() => new LearningRateMonitor({ momentum: 1 as never }), "argument", "momentum is 1");
  refuse(() => new LearningRateMonitor({ log: 1 } as never), "argument", "there is no option log");
});
