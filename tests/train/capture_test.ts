// fit() with captured steps gives what it gives without, bit for bit.
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  ArgumentError,
  callbacks,
  crossEntropy,
  data,
  History,
  manualSeed,
  memory,
  metrics,
  nn,
  optim,
  rand,
  randint,
  type Tensor,
  Trainer,
} from "../../mod.ts";
import type { FitOptions, TrainerOptions } from "../../mod.ts";
import { cleanTest, later } from "../_helpers.ts";

const test = (name: string, fn: () => Promise<void>) => cleanTest(`captured fit: ${name}`, fn);

const count = 100, features = 6, classes = 3;

class Recurrent extends nn.Module {
  lstm = new nn.LSTM(3, 8, { numLayers: 2, dropout: 0.2, batchFirst: true });
  head = new nn.Linear(8, classes);
  override forward(x: Tensor): Tensor {
    const steps = x.reshape([x.shape[0]!, 2, 3]);
    return this.head.forward(this.lstm.forward(steps).mean(1));
  }
}

const network = (): nn.Module =>
  new nn.Sequential(
    new nn.Linear(features, 16),
    new nn.BatchNorm1d(16),
    new nn.ReLU(),
    new nn.Dropout(0.3),
    new nn.Linear(16, classes),
  );

interface Setting {
  model?: () => nn.Module;
  set?: () => data.Dataset | data.SampleDataset;
  optimizer?: (model: nn.Module) => optim.Optimizer;
  trainer?: (optimizer: optim.Optimizer, model: nn.Module) => Partial<TrainerOptions>;
  fit?: (trainer: Trainer) => FitOptions;
}

const tensors = () =>
  later(new data.TensorDataset(rand([count, features]), randint(0, classes, [count])));
const bytes = () => {
  const images = randint(0, 256, [count, features]).to("uint8");
  return later(new data.TensorDataset(images, randint(0, classes, [count]), { scale: 1 / 255 }));
};
const samples = (): data.SampleDataset => ({
  length: count,
  classes,
  get: (i, random = Math.random) => ({
    input: Float32Array.from({ length: features }, (_, k) => Math.sin(i + k) + 0.1 * random()),
    target: i % classes,
  }),
});

async function trained(setting: Setting, capture: FitOptions["capture"]) {
  manualSeed(5);
  const model = later((setting.model ?? network)());
  const set = (setting.set ?? tensors)();
  const optimizer = later(
    setting.optimizer?.(model) ??
      new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9, weightDecay: 1e-3 }),
  );
  const trainer = new Trainer(model, {
    loss: new nn.CrossEntropyLoss(),
    optimizer,
    metrics: ["accuracy"],
    ...setting.trainer?.(optimizer, model),
  });
  const options = { epochs: 4, batchSize: 16, callbacks: [], ...setting.fit?.(trainer) };
  const history = await trainer.fit(set, { ...options, capture });
  const figures = history.epochs.map(({ seconds: _, samplesPerSecond: __, ...rest }) => rest);
  const weights = model.parameters().map((p) => [...p.dataSync()]);
  return { history, all: { figures, losses: history.stepLosses, weights } };
}

async function same(setting: Setting, path: History["path"] = "captured"): Promise<History> {
  const eager = await trained(setting, false);
  const { history, all } = await trained(setting, "auto");
  assertEquals(all, eager.all);
  assertEquals([eager.history.path, history.path], ["eager", path], history.notCaptured);
  return history;
}

const settings: Record<string, Setting> = {
  "dropout, BatchNorm, a last batch that is not full": {},
  "no shuffling, dropLast": { fit: () => ({ shuffle: false, dropLast: true }) },
  "AdamW": { optimizer: (m) => new optim.AdamW(m.parameters(), { lr: 0.01 }) },
  "a schedule of rate and momentum by steps": {
    trainer: (optimizer) => ({
      schedule: new optim.schedule.OneCycleLR(optimizer, { maxLr: 0.2, totalSteps: 40 }),
      scheduleEvery: "step",
    }),
  },
  "a schedule by epochs": {
    trainer: (optimizer) => ({ schedule: new optim.schedule.StepLR(optimizer, { stepSize: 2 }) }),
  },
  "averages, clipping, validation of the averages": {
    trainer: (_, model) => ({
      ema: later(new optim.EMA(model, { decay: 0.9 })),
      clipGradNorm: 0.5,
    }),
    fit: () => ({ validation: tensors() }),
  },
  "float16 with a scaler": {
    trainer: () => ({ autocast: "float16", scaler: later(new optim.GradScaler()) }),
  },
  "bfloat16": { trainer: () => ({ autocast: "bfloat16", clipGradValue: 0.1 }) },
  "accumulation": { fit: () => ({ accumulate: 3, epochs: 8 }) },
  "weights of classes and samples": {
    fit: () => ({
      classWeight: [1, 2, 3],
      sampleWeight: Array.from({ length: count }, (_, i) => i % 3),
    }),
  },
  "metrics of all kinds": {
    trainer: () => ({
      metrics: ["accuracy", "f1", metrics.confusionMatrix({ classes }), "recall"],
    }),
    fit: () => ({ accumulate: 2, epochs: 6, validation: tensors() }),
  },
  "stepsPerEpoch": { fit: () => ({ stepsPerEpoch: 4, epochs: 6 }) },
  "TerminateOnNaN": { fit: () => ({ callbacks: [new callbacks.TerminateOnNaN()] }) },
  "samples of the host": { set: samples },
  "an LSTM of a class of one's own": { model: () => new Recurrent() },
  "a loss of one's own": {
    trainer: () => ({ loss: (y: Tensor, t: Tensor) => crossEntropy(y, t).add(y.mul(y).mean()) }),
  },
  "uint8 images": {
    model: () =>
      new nn.Sequential(
        new nn.Conv2d(1, 4, { kernelSize: 3 }),
        new nn.Flatten(),
        new nn.Linear(4 * 36, classes),
      ),
    set: () =>
      later(
        new data.TensorDataset(
          rand([count, 1, 8, 8]).mul(255).to("uint8"),
          randint(0, classes, [count]).to("uint8"),
        ),
      ),
  },
  "a rate that a callback changes, layers that it freezes and frees again": {
    fit: (trainer) => ({
      epochs: 7,
      callbacks: [{
        onEpochEnd: ({ epoch }) => {
          const first = trainer.model.parameters()[0]!;
          if (epoch === 2) first.requiresGrad = false;
          if (epoch === 4) first.requiresGrad = true;
          if (epoch === 5) trainer.model.parameters()[1]!.mul(0.5).dispose();
        },
      }],
    }),
  },
};
for (const [name, setting] of Object.entries(settings)) {
  test(name, async () => void await same(setting));
}

test("a perceptron is trained by a kernel of many steps, as near as float32 is", async () => {
  const wide: Setting = {
    model: () =>
      new nn.Sequential(new nn.Linear(features, 16), new nn.ReLU(), new nn.Linear(16, classes)),
    set: bytes,
    fit: () => ({ epochs: 5, validation: bytes() }),
  };
  const variants: Setting[] = [
    {},
    {
      trainer: (optimizer) => ({
        schedule: new optim.schedule.OneCycleLR(optimizer, { maxLr: 0.1, totalSteps: 40 }),
        scheduleEvery: "step",
      }),
    },
    {
      trainer: (optimizer) => ({
        schedule: new optim.schedule.StepLR(optimizer, { stepSize: 2 }),
        metrics: ["accuracy", "f1"],
      }),
    },
    { fit: () => ({ stepsPerEpoch: 5, epochs: 7 }) },
    {
      fit: (trainer) => ({
        epochs: 6,
        callbacks: [{
          onEpochEnd: ({ epoch }) => {
            if (epoch === 3) trainer.model.parameters()[0]!.requiresGrad = false;
          },
        }],
      }),
    },
  ];
  const paths: string[] = [];
  for (const variant of variants) {
    const eager = await trained({ ...wide, ...variant }, false);
    const { history, all } = await trained({ ...wide, ...variant }, "auto");
    paths.push(history.path);
    const near = (a: unknown, b: unknown): boolean =>
      typeof a === "number"
        ? Math.abs(a - (b as number)) <= 1e-4 * Math.max(1, Math.abs(a))
        : typeof a === "object" && a !== null
        ? Object.keys(a).every((key) => near(a[key as never], (b as never)[key]))
        : a === b;
    assert(near(eager.all, all) && near(all, eager.all), `${variants.indexOf(variant)}`);
  }
  assertEquals(paths, ["persistent", "persistent", "captured", "persistent", "captured"]);
});

test("it is not captured where JavaScript looks at each step, unless asked for", async () => {
  const seen: number[] = [];
  const setting: Setting = {
    fit: () => ({
      callbacks: [{ onStepEnd: async ({ loss }) => void seen.push(await loss.item()) }],
    }),
  };
  const history = await same(setting, "eager");
  assert(history.notCaptured?.includes("onStepEnd"), history.notCaptured);
  const eager = seen.splice(0).slice(0, history.stepLosses.length);
  const graph = await trained(setting, "graph");
  assertEquals(graph.history.path, "captured");
  assertEquals(seen, eager);
  assertEquals(graph.history.stepLosses, eager);
});

test("a training of few steps is not captured, which would not pay", async () => {
  const history = await same({ fit: () => ({ epochs: 2 }) }, "eager");
  assertEquals(history.notCaptured, "there are few steps");
});

test("what cannot be captured is done as before, or is an error", async () => {
  const reads: Setting = {
    trainer: () => ({
      loss: (y: Tensor, t: Tensor) => {
        const loss = crossEntropy(y, t);
        return loss.itemSync() > 1e9 ? loss.mul(2) : loss;
      },
    }),
  };
  const history = await same(reads, "eager");
  assert(history.notCaptured?.includes("reads a tensor on the host"), history.notCaptured);
  assertEquals(
    History.fromJSON(JSON.parse(JSON.stringify(history))).notCaptured,
    history.notCaptured,
  );
  await assertRejects(() => trained(reads, "graph"), ArgumentError, "reads a tensor on the host");
  await assertRejects(
    () => trained({}, "always" as "auto"),
    ArgumentError,
    'capture is "always"; it must be "auto", "graph" or false',
  );

  let steps = 0;
  const counts: Setting = {
    trainer: () => ({ loss: (y: Tensor, t: Tensor) => crossEntropy(y, t).mul(1 + steps++ / 1000) }),
  };
  const counted = await same({ ...counts, model: () => (steps = 0, network()) }, "eager");
  assert(counted.notCaptured?.includes("mul, operation"), counted.notCaptured);
  const draws: Setting = {
    trainer: () => ({ loss: (y: Tensor, t: Tensor) => crossEntropy(y, t).mul(Math.random()) }),
  };
  const drawn = await trained(draws, "auto");
  assert(drawn.history.notCaptured?.includes("Math.random()"), drawn.history.notCaptured);
});

test("it resumes as it was, and says so", async () => {
  for (const capture of ["auto", false] as const) {
    const eager = await trained({ fit: () => ({ epochs: 6 }) }, false);
    manualSeed(5);
    const model = later(network());
    const set = tensors();
    const optimizer = later(
      new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9, weightDecay: 1e-3 }),
    );
    const loss = new nn.CrossEntropyLoss();
    const trainer = new Trainer(model, { loss, optimizer, metrics: ["accuracy"] });
    const options = { batchSize: 16, callbacks: [] };
    await trainer.fit(set, { ...options, epochs: 3, capture });
    const history = await trainer.fit(set, { ...options, epochs: 6, resume: true });
    assertEquals(history.stepLosses, eager.all.losses);
    assertEquals(history.path, capture ? "captured" : "eager");
  }
});

test("memory does not grow, and comes back", async () => {
  const before = memory().live;
  const peaks: number[] = [];
  await trained({
    fit: () => ({ epochs: 30, callbacks: [{ onEpochEnd: () => void peaks.push(memory().live) }] }),
  }, "auto");
  assertEquals(new Set(peaks.slice(3)).size, 1);
  assert(memory().live >= before);
});
