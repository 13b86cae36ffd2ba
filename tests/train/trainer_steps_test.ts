// What a Trainer does with gradients besides a plain step: schedules, clipping, accumulation,
// averages, scaled losses.
import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  ArgumentError,
  type Callback,
  clipGradNorm,
  crossEntropy,
  data,
  type EpochResult,
  keep,
  klDivLoss,
  manualSeed,
  nllLoss,
  nn,
  noGrad,
  optim,
  ProgressBar,
  rand,
  scope,
  type Tensor,
  tensor,
  Trainer,
  type TrainerOptions,
} from "../../mod.ts";
import { cleanTest, halves, later, xor } from "../_helpers.ts";

const test = (name: string, fn: () => void | Promise<void>) => cleanTest(`Trainer: ${name}`, fn);
const quiet = { callbacks: [] };

type Optimize = (model: nn.Module) => optim.Optimizer;
const sgd: Optimize = (model) => new optim.SGD(model.parameters(), { lr: 0.5, momentum: 0.9 });

/** The same network each time, and what trains it. */
function setting(optimize: Optimize = sgd) {
  manualSeed(5);
  const model = later(
    new nn.Sequential(new nn.Linear(2, 8), new nn.Tanh(), new nn.Linear(8, 2)).train(),
  );
  return { model, optimizer: later(optimize(model)), loss: new nn.CrossEntropyLoss() };
}

const weights = (model: nn.Module) => model.parameters().flatMap((p) => [...p.dataSync()]);

async function trained(
  set: data.TensorDataset,
  batchSize: number,
  more: (made: ReturnType<typeof setting>) => Partial<TrainerOptions> = () => ({}),
) {
  const made = setting();
  const trainer = new Trainer(made.model, {
    loss: made.loss,
    optimizer: made.optimizer,
    ...more(made),
  });
  const history = await trainer.fit(set, { epochs: 3, batchSize, shuffle: false, ...quiet });
  return { ...made, history, weights: weights(made.model) };
}

function assertNear(found: number[], wanted: number[], tolerance = 2e-6) {
  assertEquals(found.length, wanted.length);
  found.forEach((x, i) => assertAlmostEquals(x, wanted[i]!, tolerance));
}

test("accumulated batches step as one large batch, also at an epoch's uneven end", async () => {
  for (const n of [64, 50, 51]) {
    const set = halves(n);
    const whole = await trained(set, 16);
    const parts = await trained(set, 4, () => ({ accumulate: 4 }));
    assertNear(parts.weights, whole.weights);
    parts.history.forEach(({ loss }, i) => assertAlmostEquals(loss, whole.history[i]!.loss, 1e-5));
  }
});

/** A linear model [n, 2] -> [n, ...shape], of the same weights each time. */
class Projection extends nn.Module {
  linear: nn.Linear;
  constructor(readonly shape: number[]) {
    super();
    manualSeed(9);
    this.linear = new nn.Linear(2, shape.reduce((a, b) => a * b, 1));
  }
  override forward(x: Tensor) {
    return this.linear.forward(x).reshape([-1, ...this.shape]);
  }
}

const classWeight = tensor([1, 5, 0.25]);
const int = { dtype: "int32" } as const;
const [few, one] = [[0, 1, 2, -100, 1, -100, -100, -100], [2, 1, 0, 0, 2, 1, 0, 1]];
const steps = [few, one.toReversed(), few.map(() => -100), one].map((_, i, all) =>
  all.map((row) => [row[i]!, row[i + 4]!])
).flatMap((rows) => [rows.slice(0, 2), rows.slice(2)]).map((pair) => pair.flat());

/**
 * Losses whose means are not over samples, the shape of the output and the targets of eight
 * samples.
 */
const uneven: Record<string, [loss: TrainerOptions["loss"], shape: number[], target: Tensor]> = {
  "ignored targets": [new nn.CrossEntropyLoss(), [3], tensor(few, int)],
  "an ignored class": [new nn.CrossEntropyLoss({ ignoreIndex: 1 }), [3], tensor(one, int)],
  weights: [new nn.CrossEntropyLoss({ weight: classWeight }), [3], tensor(one, int)],
  "weights, ignored targets and smoothing": [
    new nn.CrossEntropyLoss({ weight: classWeight, labelSmoothing: 0.1 }),
    [3],
    tensor(few, int),
  ],
  "weights of a class alone": [
    new nn.CrossEntropyLoss({ weight: tensor([0, 1, 0]) }),
    [3],
    tensor([0, 1, 2, 0, 0, 2, 0, 2], int),
  ],
  sequences: [new nn.CrossEntropyLoss(), [3, 4], tensor(steps, int)],
  logarithms: [
    (y, t) => nllLoss(y.logSoftmax(1), t, { weight: classWeight }),
    [3],
    tensor(few, int),
  ],
  "a function": [(y, t) => crossEntropy(y, t, { ignoreIndex: 0 }), [3], tensor(one, int)],
  "a function that scales": [(y, t) => crossEntropy(y, t).mul(2).add(1), [3], tensor(few, int)],
  "a sum": [new nn.CrossEntropyLoss({ reduction: "sum" }), [3], tensor(few, int)],
  squares: [new nn.MSELoss(), [3], tensor(one.map((t) => [t, 1, -t]))],
  "a sum of squares": [
    new nn.MSELoss({ reduction: "sum" }),
    [3],
    tensor(one.map((t) => [t, 1, 0])),
  ],
  divergence: [
    (y, t) => klDivLoss(y.logSoftmax(1), t, { reduction: "batchmean" }),
    [2],
    tensor(one.map((t) => [0.2 + t / 4, 0.8 - t / 4])),
  ],
  "yes and no": [
    new nn.BCEWithLogitsLoss({ posWeight: tensor([3]) }),
    [2],
    tensor(one.map((t) => [t > 0 ? 1 : 0, t > 1 ? 1 : 0])),
  ],
};
for (const [, , target] of Object.values(uneven)) keep(target);
keep(classWeight);

for (const [name, [loss, shape, target]] of Object.entries(uneven)) {
  test(`batches come to the same as one: ${name}`, async () => {
    const inputs = tensor(one.map((t, i) => [Math.sin(i + 1), t / 2 - i / 8]));
    const set = new data.TensorDataset(inputs, target.clone());
    later(set);
    const fit = async (batchSize: number, accumulate: number, lr: number, scaled = false) => {
      const model = later(new Projection(shape));
      const optimizer = later(new optim.SGD(model.parameters(), { lr }));
      const scaler = scaled ? { scaler: later(new optim.GradScaler({ initScale: 4 })) } : {};
      const metrics = ["accuracy"] as const;
      const trainer = new Trainer(model, { loss, optimizer, accumulate, metrics, ...scaler });
      const [result] = await trainer.fit(set, { batchSize, shuffle: false, ...quiet });
      return { model, trainer, result: result!, weights: weights(model) };
    };
    const forward = typeof loss === "function" ? loss : loss.forward.bind(loss);
    for (const whole of [8, 4]) {
      const wanted = await fit(whole, 1, 0.1);
      assert(wanted.weights.every(Number.isFinite));
      for (const part of [1, 2]) {
        assertNear((await fit(part, whole / part, 0.1)).weights, wanted.weights);
        assertNear((await fit(part, whole / part, 0.1, true)).weights, wanted.weights);
      }
    }
    const { model, trainer } = await fit(8, 1, 0);
    const value = noGrad(() => forward(model.forward(inputs), target)).itemSync();
    const { accuracy } = await trainer.evaluate(set);
    assert(accuracy! >= 0 && accuracy! <= 1);
    for (const batchSize of [1, 2, 3, 4, 8]) {
      const measured = await trainer.evaluate(set, { batchSize });
      assertAlmostEquals(measured.loss, value, 2e-6);
      assertEquals(measured.accuracy, accuracy);
      const { result } = await fit(batchSize, 1, 0);
      assertAlmostEquals(result.loss, value, 2e-6);
      assertEquals(result.accuracy, accuracy);
    }
  });
}

test("a loss of nothing but ignored targets is NaN and trains nothing", async () => {
  const set = later(new data.TensorDataset(rand([4, 2]), tensor([-100, -100, -100, -100], int)));
  for (const accumulate of [1, 2]) {
    const { model, optimizer, loss } = setting();
    const before = weights(model);
    const trainer = new Trainer(model, { loss, optimizer, accumulate, metrics: ["accuracy"] });
    const [result] = await trainer.fit(set, { batchSize: 2, ...quiet });
    assertEquals([result!.loss, result!.accuracy], [NaN, NaN]);
    assertEquals(weights(model), before);
  }
});

test("the loss may be a function", async () => {
  const set = halves(40);
  const object = await trained(set, 8);
  const plain = await trained(set, 8, () => ({ loss: (y, t) => crossEntropy(y, t) }));
  assertEquals(plain.weights, object.weights);
  const { model } = setting();
  const trainer = new Trainer(model, { loss: (y, t) => crossEntropy(y, t).mul(2) });
  const twice = await trainer.evaluate(set);
  const once = await new Trainer(model, { loss: new nn.CrossEntropyLoss() }).evaluate(set);
  assertAlmostEquals(twice.loss, 2 * once.loss, 1e-6);
});

test("gradients are clipped before the step", async () => {
  const set = halves(32);
  const byNorm = await trained(set, 8, () => ({ clipGradNorm: 0.1 }));
  const byHand = setting();
  for (let epoch = 0; epoch < 3; epoch++) {
    for (let b = 0; b < 4; b++) {
      scope(() => {
        const [x, t] = [set.inputs.view(16 * b, [8, 2]), set.targets.view(8 * b, [8])];
        byHand.optimizer.zeroGrad();
        byHand.loss.forward(byHand.model.forward(x), t).backward();
        clipGradNorm(byHand.model.parameters(), 0.1);
        byHand.optimizer.step();
      });
    }
  }
  assertEquals(byNorm.weights, weights(byHand.model));
  const byValue = await trained(set, 8, () => ({ clipGradValue: 0 }));
  assertEquals(byValue.weights, weights(setting().model));
});

test("a scaled loss trains as the plain one", async () => {
  const set = halves(32);
  const plain = await trained(set, 8, () => ({ clipGradNorm: 0.5 }));
  const scaler = later(new optim.GradScaler({ growthInterval: 3 }));
  const scaled = await trained(set, 8, () => ({ clipGradNorm: 0.5, scaler }));
  assertNear(scaled.weights, plain.weights);
  assertEquals(scaler.getScale(), 65536 * 2 ** 4); // after 12 steps
});

test("autocast trains in 16 bits, nearly as in 32", async () => {
  const set = halves(64);
  const plain = await trained(set, 16);
  const half = await trained(set, 16, () => ({
    autocast: "float16",
    // the default overflows once, and skips a step
    scaler: later(new optim.GradScaler({ initScale: 1024 })),
  }));
  const brain = await trained(set, 16, () => ({ autocast: "bfloat16" }));
  assertNear(half.weights, plain.weights, 0.01);
  assertNear(brain.weights, plain.weights, 0.1);
  assert(half.weights.some((w, i) => w !== plain.weights[i]));
  assert(half.model.parameters().every((p) => p.dtype === "float32"));
});

test("a schedule of steps counts those asked for, which the scaler may leave out", async () => {
  const { model, optimizer } = setting();
  const loss = (output: Tensor, target: Tensor) => crossEntropy(output, target).mul(100);
  const schedule = new optim.schedule.ExponentialLR(optimizer, { gamma: 0.5 });
  const scaler = later(new optim.GradScaler({ initScale: 1e38 })); // at first gradients overflow
  const trainer = new Trainer(model, { loss, optimizer, schedule, scheduleEvery: "step", scaler });
  await trainer.fit(xor(), { epochs: 3, batchSize: 1, ...quiet });
  const taken = optimizer.stateDict().numbers["0.step"]!;
  assert(taken > 0 && taken < 12, `${taken} of 12 steps were taken`);
  assertEquals([schedule.count, optimizer.lr], [12, 0.5 * 0.5 ** 12]);
});

test("a schedule is stepped after each epoch, or after each step", async () => {
  const set = halves(32);
  const gamma = 0.5;
  const epochs = await trained(set, 8, ({ optimizer }) => ({
    schedule: new optim.schedule.ExponentialLR(optimizer, { gamma }),
  }));
  assertEquals(epochs.history.map(({ lr }) => lr), [0.5, 0.25, 0.125]);
  assertEquals(epochs.optimizer.lr, 0.0625);
  const steps = await trained(set, 8, ({ optimizer }) => ({
    schedule: new optim.schedule.ExponentialLR(optimizer, { gamma }),
    scheduleEvery: "step",
    accumulate: 2, // two steps an epoch
  }));
  assertEquals(steps.history.map(({ lr }) => lr), [0.25, 0.0625, 0.015625]);
  assertEquals(steps.optimizer.lr, 0.5 ** 7);
  assert((await trained(set, 8)).history.every((result) => !("lr" in result)));
});

test("ReduceLROnPlateau gets the validation loss, or else the training loss", async () => {
  for (const validation of [undefined, halves(16)]) {
    const seen: (number | undefined)[] = [];
    class Spy extends optim.schedule.ReduceLROnPlateau {
      override step(metric?: number) {
        seen.push(metric);
        super.step(metric);
      }
    }
    const { model, optimizer, loss } = setting();
    const trainer = new Trainer(model, { loss, optimizer, schedule: new Spy(optimizer) });
    const history = await trainer.fit(halves(32), { epochs: 2, validation, ...quiet });
    assertEquals(seen, history.map((result) => validation ? result.valLoss : result.loss));
  }
});

test("validation is of the averaged parameters, and training goes on with its own", async () => {
  const set = halves(32);
  const plain = await trained(set, 8);
  const { model, optimizer, loss } = setting();
  const ema = later(new optim.EMA(model, { decay: 0.9 }));
  const trainer = new Trainer(model, { loss, optimizer, ema });
  const options = { epochs: 3, batchSize: 8, shuffle: false, validation: set, ...quiet };
  const history = await trainer.fit(set, options);
  assertEquals(weights(model), plain.weights);
  assertEquals(ema.updates, 12);
  const last = history.at(-1)!.valLoss!;
  assert(last !== (await trainer.evaluate(set)).loss);
  ema.apply();
  assertEquals((await trainer.evaluate(set)).loss, last);
});

test("the progress line shows the learning rate where a schedule changes it", async () => {
  const { model, optimizer, loss } = setting();
  const schedule = new optim.schedule.StepLR(optimizer, { stepSize: 1, gamma: 0.1 });
  const trainer = new Trainer(model, { loss, optimizer, schedule });
  const written: string[] = [];
  const stream = {
    isTerminal: () => false,
    writeSync: (b: Uint8Array) => (written.push(new TextDecoder().decode(b)), b.length),
  };
  const ends: EpochResult[] = [];
  const spy: Callback = { onEpochEnd: (result) => void ends.push(result) };
  await trainer.fit(xor(), { epochs: 2, callbacks: [new ProgressBar({ stream }), spy] });
  const lines = written.join("").trim().split("\n");
  assert(lines[0]!.includes(" lr 0.5000 ") && lines[1]!.includes(" lr 0.0500 "), lines.join("\n"));
  assertEquals(ends.map(({ lr }) => lr), [0.5, 0.05]);
});

test("an error in the middle of accumulated batches leaves the next fit whole", async () => {
  const set = halves(32);
  let calls = 0;
  const { model, optimizer } = setting();
  const trainer = new Trainer(model, {
    optimizer,
    accumulate: 4,
    loss: (y, t) => {
      if (++calls === 2) throw new Error("stop");
      return crossEntropy(y, t);
    },
  });
  const options = { epochs: 3, batchSize: 8, shuffle: false, ...quiet };
  await trainer.fit(set, options).catch(() => {});
  assert(calls === 2);
  await trainer.fit(set, options);
  assertNear(weights(model), (await trained(set, 32)).weights);
});

test("an error between a step's parts leaves nothing behind and the next fit whole", async () => {
  const inputs = rand([8, 2]);
  const set = later(new data.TensorDataset(inputs, tensor(few.map((t) => t === 2 ? 1 : t), int)));
  const options = { batchSize: 2, shuffle: false, ...quiet };
  const more = (made: ReturnType<typeof setting>) => ({
    optimizer: made.optimizer,
    scaler: later(new optim.GradScaler({ initScale: 8 })),
    accumulate: 4,
    clipGradNorm: 0.1,
  });
  const wanted = await trained(set, 2, more);
  const made = setting();
  let failing = true;
  let calls = 0;
  const trainer = new Trainer(made.model, {
    ...more(made),
    loss: (y, t) => {
      if (failing && ++calls === 3) throw new Error("stop");
      return crossEntropy(y, t);
    },
  });
  await assertRejects(() => trainer.fit(set, options), Error, "stop");
  failing = false;
  made.optimizer.lr = NaN; // refused by the step itself, after the gradients were unscaled
  await assertRejects(() => trainer.fit(set, options), ArgumentError, "lr is NaN");
  made.optimizer.lr = 0.5;
  await trainer.fit(set, { ...options, epochs: 3 });
  assertEquals(weights(made.model), wanted.weights);
});

test("wrong options are refused", () => {
  const { model, optimizer, loss } = setting();
  const refuse = (options: object, message: string) =>
    assertThrows(
      () => new Trainer(model, { loss, optimizer, ...options }),
      ArgumentError,
      message,
    );
  refuse({ loss: 3 }, "loss is 3; it must be a loss such as new nn.CrossEntropyLoss()");
  refuse({ clipGradNorm: -1 }, "clipGradNorm is -1");
  refuse({ clipGradValue: NaN }, "clipGradValue is NaN");
  refuse({ accumulate: 0 }, "accumulate is 0");
  refuse({ scheduleEvery: "batch" }, "must be epoch or step");
  refuse({ clipGradNrom: 1 }, "did you mean clipGradNorm?");
  const schedule = new optim.schedule.ReduceLROnPlateau(optimizer);
  refuse({ schedule, scheduleEvery: "step" }, "needs the loss of an epoch");
  refuse({ schedule, optimizer: undefined }, "of another optimizer");
});
