// Faults that were found in fit(), each with its right value.
import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import {
  ArgumentError,
  bceWithLogitsLoss,
  type Callback,
  callbacks,
  crossEntropy,
  data,
  DataError,
  io,
  manualSeed,
  metrics,
  mseLoss,
  nn,
  optim,
  type Tensor,
  tensor,
  Trainer,
  zeros,
} from "../../mod.ts";
import { cleanTest, halves, inFolder, later, network, xor } from "../_helpers.ts";

const test = (name: string, fn: () => void | Promise<void>) => cleanTest(`fit: ${name}`, fn);
const quiet = { callbacks: [] };
const ints = (list: number[]) => tensor(list, { dtype: "int32" });

/** Scores that are given, and what they are for. */
const scored = (scores: number[][], target: Tensor, weights?: number[]) =>
  later(new data.TensorDataset(tensor(scores), target, weights && { weights: tensor(weights) }));

test("accuracy and metrics count samples by their weights, not by those of classes", async () => {
  const scores = [[2, 1], [2, 1], [1, 2], [2, 1]], labels = ints([0, 0, 1, 1]); // the last is wrong
  const trainer = new Trainer(later(new nn.Identity()), {
    loss: new nn.CrossEntropyLoss(),
    metrics: ["accuracy", metrics.accuracy({ name: "same" }), function own(output, target) {
      return output.argmax(1).eq(target);
    }],
  });
  for (
    const [weights, right] of [[[1, 1, 1, 1], 0.75], [[1, 1, 1, 5], 0.375], [[0.1, 0, 0, 0], 1]]
  ) {
    const set = scored(scores, labels, weights as number[]);
    for (const batchSize of [4, 3]) {
      const { accuracy, metrics } = await trainer.evaluate(set, { batchSize });
      const found = [accuracy!, metrics!["same"] as number, metrics!["own"] as number];
      for (const value of found) assertAlmostEquals(value, right as number, 1e-6);
    }
  }
  const model = later(new nn.Linear(2, 2));
  const fitted = new Trainer(model, {
    loss: new nn.CrossEntropyLoss(),
    optimizer: later(new optim.SGD(model.parameters(), { lr: 0 })),
    metrics: ["accuracy"],
  });
  const plain = scored(scores, labels);
  const { accuracy } = await fitted.evaluate(plain);
  const history = await fitted.fit(plain, { classWeight: { 1: 5 }, batchSize: 2, ...quiet });
  assertAlmostEquals(history[0]!.accuracy!, accuracy!, 1e-6);
});

test("a target of weight 0 may be NaN for metrics too", async () => {
  const set = scored([[1], [2], [3]], tensor([[2], [NaN], [5]]), [1, 0, 3]);
  const trainer = new Trainer(later(new nn.Identity()), {
    loss: new nn.L1Loss(),
    metrics: ["mae"],
  });
  const { loss, metrics } = await trainer.evaluate(set);
  assertAlmostEquals(loss, 7 / 4, 1e-6);
  assertAlmostEquals(metrics!["mae"] as number, 7 / 4, 1e-6);
});

/** One step of SGD on w x, from w = 0.5. */
async function slope(
  set: data.Dataset | data.IterableDataset,
  loss: nn.Loss["forward"],
  options: object,
) {
  const model = new nn.Linear(1, 1, { bias: false });
  const optimizer = new optim.SGD(model.parameters(), { lr: 1 });
  try {
    model.weight.fill(0.5);
    await new Trainer(model, { loss, optimizer }).fit(set, { ...quiet, ...options });
    return 0.5 - model.weight.itemSync();
  } finally {
    model.dispose();
    optimizer.dispose();
  }
}

test("classWeight on yes and no: both count", async () => {
  const set = scored([[1], [-2], [3]], tensor([[0], [0], [1]]));
  const loss = (x: Tensor, y: Tensor) => bceWithLogitsLoss(x, y);
  const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
  const wanted = (sigmoid(0.5) * 1 + sigmoid(-1) * -2 + 5 * (sigmoid(1.5) - 1) * 3) / 7;
  const options = { classWeight: { 1: 5 }, batchSize: 3 };
  assertAlmostEquals(await slope(set, loss, options), wanted, 1e-6);
  const flat = later(new data.TensorDataset(set.inputs, tensor([0, 0, 1])));
  const unsqueezed = (x: Tensor, y: Tensor) => bceWithLogitsLoss(x.reshape([-1]), y);
  assertAlmostEquals(await slope(flat, unsqueezed, options), wanted, 1e-6);
  const several = scored([[1], [2]], tensor([[1, 1], [0, 0]]));
  const both = (x: Tensor, y: Tensor) => bceWithLogitsLoss(x.add(zeros([1, 2])), y);
  await assertRejects(() => slope(several, both, options), Error, "several labels a sample");
  await assertRejects(
    () => slope(set, loss, { classWeight: new Map([[1, 5]]) }),
    ArgumentError,
    "classWeight is",
  );
});

test("accumulated batches of unequal sizes are as one", async () => {
  for (
    const [sizes, accumulate] of [[[2, 4], 2], [[1, 3, 6], 3], [[6, 2], 2], [[3, 3, 1], 4]] as const
  ) {
    const total = sizes.reduce((n, size) => n + size, 0);
    const x = tensor(Array.from({ length: total }, (_, i) => [i + 1]));
    const y = tensor(Array.from({ length: total }, (_, i) => [i % 3]));
    const loss = (output: Tensor, target: Tensor) => mseLoss(output, target);
    const whole = later(new data.TensorDataset(x, y));
    const wanted = await slope(whole, loss, { batchSize: total });
    const parts = {
      *[Symbol.iterator]() {
        let at = 0;
        for (const size of sizes) {
          yield { input: x.slice(0, at, at + size), target: y.slice(0, at, at += size) };
        }
      },
    };
    const loader = new data.DataLoader(parts, { batchSize: null });
    const found = await slope(loader as unknown as data.Dataset, loss, { accumulate });
    assertAlmostEquals(found, wanted, 1e-4 * Math.abs(wanted));
  }
});

test("weights of samples multiply those of what is in them", async () => {
  const output = [[[1, 0], [0, 1], [2, 0]], [[0, 3], [1, 1], [0, 0]], [[1, 2], [0, 1], [4, 0]]];
  const target = ints([0, 1, 1, 0, 0, 1, 1, 1, 0]).reshape([3, 3]);
  const own = tensor([[1, 2, 0], [1, 1, 1], [0.5, 0, 2]]);
  const set = later(new data.TensorDataset(tensor(output), target, { weights: own }));
  const sampleWeight = [1, 10, 2];
  const losses = crossEntropy(tensor(output.flat()), target.reshape([9]), { reduction: "none" });
  const weights = own.mul(tensor([[1], [10], [2]])).reshape([9]);
  const wanted = losses.mul(weights).sum().div(weights.sum()).itemSync();
  class Bias extends nn.Module {
    bias = zeros([2], { requiresGrad: true });
    override forward(x: Tensor): Tensor {
      return x.add(this.bias).permute([0, 2, 1]);
    }
  }
  const model = later(new Bias());
  const optimizer = later(new optim.SGD(model.parameters(), { lr: 0 }));
  const trainer = new Trainer(model, { loss: new nn.CrossEntropyLoss(), optimizer });
  for (const batchSize of [3, 2]) {
    const history = await trainer.fit(set, { sampleWeight, batchSize, ...quiet });
    assertAlmostEquals(history[0]!.loss, wanted, 1e-6);
  }
});

test("a seeded loader goes on with its next order after an epoch's end", async () => {
  const set = halves(20);
  const loader = () => new data.DataLoader(set, { batchSize: 2, shuffle: true, seed: 7 });
  const start = () => {
    manualSeed(1);
    return network({ lr: 0.1 }).trainer;
  };
  const wanted = [...(await start().fit(loader(), { epochs: 3, ...quiet })).stepLosses];
  await inFolder(async (folder) => {
    const path = `${folder}/a.safetensors`;
    const save: Callback = {
      onEpochEnd: ({ epoch }, { trainer }) =>
        epoch === 1 ? trainer.saveCheckpoint(path) : undefined,
    };
    await start().fit(loader(), { epochs: 1, callbacks: [save] });
    const next = start();
    await next.loadCheckpoint(path);
    // an option that is wrong does not forget what was loaded
    await assertRejects(() => next.fit(loader(), { validationEvery: 0, ...quiet }), ArgumentError);
    const history = await next.fit(loader(), { epochs: 3, ...quiet });
    assertEquals(history.stepLosses, wanted);
  });
});

test("stop() and saving in the midst of an accumulated step wait for its end", async () => {
  const run = async (act?: (trainer: Trainer) => unknown) => {
    manualSeed(2);
    const { trainer, model } = network({ lr: 0.1 });
    const set = halves(16);
    let seen = 0;
    const watched = data.map(set, (batch) => {
      if (++seen === 6) act?.(trainer as unknown as Trainer);
      return batch;
    });
    const history = await trainer.fit(watched, {
      batchSize: 2,
      accumulate: 4,
      shuffle: false,
      epochs: 2,
      ...quiet,
    });
    return { trainer, watched, history, weights: [...model.parameters()[0]!.dataSync()] };
  };
  const whole = await run();
  const stopped = await run((trainer) => trainer.stop("now"));
  assertEquals(stopped.history.stepLosses, whole.history.stepLosses.slice(0, 2));
  const rest = await stopped.trainer.fit(stopped.watched, {
    batchSize: 2,
    accumulate: 4,
    shuffle: false,
    epochs: 2,
    resume: true,
    ...quiet,
  });
  assertEquals(rest.stepLosses, whole.history.stepLosses);
});

test("ReduceLROnPlateau looks at validation only, where there is validation", async () => {
  const { model, loss } = network();
  const optimizer = later(new optim.SGD(model.parameters(), { lr: 1e-4 }));
  const schedule = new optim.schedule.ReduceLROnPlateau(optimizer, { patience: 0, factor: 0.5 });
  const trainer = new Trainer(model, { loss, optimizer, schedule });
  const poor = data.map(halves(8), ({ input, target }) => ({ input: input.mul(50), target }));
  await trainer.fit(halves(32), { epochs: 6, validation: poor, validationEvery: 2, ...quiet });
  const steps = schedule.stateDict() as unknown as Record<string, unknown>;
  assertEquals(steps["lastEpoch"] ?? steps["steps"] ?? 3, 3);
});

test("the signal is heard during validation, and while data stalls", async () => {
  const { trainer } = network();
  const controller = new AbortController();
  let asked = 0;
  const slow = {
    length: 400,
    classes: 2,
    get(i: number) {
      if (++asked === 20) setTimeout(() => controller.abort());
      return new Promise<data.Sample>((done) => {
        setTimeout(() => done({ input: [0, 1], target: i % 2 }), 5);
      });
    },
  };
  const history = await trainer.fit(xor(), {
    epochs: 3,
    validation: new data.DataLoader(slow, { batchSize: 1, prefetch: 0 }),
    signal: controller.signal,
    ...quiet,
  });
  assert(asked <= 21, `${asked} samples were read`);
  assertEquals([history.length, history[0]!.valLoss], [1, undefined]);
  const second = new AbortController();
  const never = {
    length: 4,
    classes: 2,
    get(i: number) {
      if (i === 0) setTimeout(() => second.abort(), 20);
      return new Promise<data.Sample>(() => {});
    },
  };
  const stalled = await trainer.fit(never, { signal: second.signal, shuffle: false, ...quiet });
  assert(stalled.stopped!.startsWith("aborted"));
});

test("an error while validating leaves the epoch in the history", async () => {
  const { trainer } = network();
  const broken: data.SampleDataset = {
    length: 1,
    get: () => {
      throw new Error("no such file");
    },
  };
  const fit = () => trainer.fit(xor(), { epochs: 3, validation: broken, ...quiet });
  await assertRejects(fit, Error, "no such file");
  assertEquals(trainer.history.length, 1);
  const history = await trainer.fit(xor(), { epochs: 3, resume: true, ...quiet });
  assertEquals(history.map(({ epoch }) => epoch), [1, 2, 3]);
});

test("what is under way is not disturbed", async () => {
  const { trainer } = network();
  const set = halves(40);
  const first = trainer.fit(set, { batchSize: "auto", ...quiet });
  await assertRejects(
    () => trainer.fit(set, { batchSize: "auto", ...quiet }),
    ArgumentError,
    "is under way",
  );
  await first;
  await inFolder(async (folder) => {
    const path = `${folder}/a.safetensors`;
    await trainer.saveCheckpoint(path);
    const loading = trainer.loadCheckpoint(path);
    await assertRejects(
      () => trainer.fit(set, quiet),
      ArgumentError,
      "a loadCheckpoint() is under way",
    );
    await loading;
    // a save that nobody awaits is of one moment
    manualSeed(3);
    const saves: Promise<void>[] = [];
    const whole = await trainer.fit(set, {
      epochs: 6,
      batchSize: 10,
      callbacks: [{
        onStepEnd({ step, trainer }) {
          if (step === 5) saves.push(trainer.saveCheckpoint(path));
        },
      }],
    });
    await Promise.all(saves);
    const other = network().trainer;
    await other.loadCheckpoint(path);
    const history = await other.fit(set, { batchSize: 10, ...quiet });
    assertEquals(history.stepLosses, whole.stepLosses);
  });
});

test("a file that is no trainer's changes nothing", async () => {
  const { trainer, model, optimizer } = network();
  await inFolder(async (folder) => {
    const path = `${folder}/a.safetensors`;
    for (const state of [{ step: 5 }, { cursor: { epochs: -5, steps: 1 } }, null]) {
      await io.saveCheckpoint(path, { model, optimizer, state });
      model.parameters()[0]!.fill(9);
      await assertRejects(() => trainer.loadCheckpoint(path), DataError, "no place in a training");
      assertEquals(model.parameters()[0]!.dataSync()[0], 9);
    }
  });
});

test("an infinite loss with finite gradients is stopped at its step", async () => {
  const set = later(
    new data.TensorDataset(tensor([[1], [1], [1], [1]]), tensor([[0], [1e20], [0], [0]])),
  );
  const model = later(new nn.Linear(1, 1));
  const optimizer = later(new optim.SGD(model.parameters(), { lr: 1e-3 }));
  const history = await new Trainer(model, { loss: new nn.MSELoss(), optimizer }).fit(set, {
    batchSize: 1,
    shuffle: false,
    callbacks: [new callbacks.TerminateOnNaN()],
  });
  assert(history.stopped!.includes("step 2, in epoch 1, has the loss Infinity: "), history.stopped);
  assertEquals(history.stepLosses.length, 2);
  assert(Math.abs(model.weight.itemSync()) < 10);
  // a batch in which nothing counts is none
  const ignored = scored([[1, 2], [2, 1]], ints([-100, 1]));
  const linear = later(new nn.Linear(2, 2));
  const sgd = later(new optim.SGD(linear.parameters(), { lr: 0.1 }));
  const fine = await new Trainer(linear, { loss: new nn.CrossEntropyLoss(), optimizer: sgd }).fit(
    ignored,
    { batchSize: 1, shuffle: false, epochs: 2, callbacks: [new callbacks.TerminateOnNaN()] },
  );
  assertEquals([fine.stopped, fine.length], [undefined, 2]);
});

test("a data set may give tensors that it keeps", async () => {
  const input = later(zeros([4, 2])), target = later(ints([0, 1, 0, 1]));
  const kept = { length: 4, device: input.device, batch: () => ({ input, target }) };
  const { trainer } = network();
  await trainer.fit(kept, { epochs: 2, batchSize: 4, ...quiet });
  assertEquals([input.disposed, target.disposed], [false, false]);
});

test("samples with weights are drawn by the same random numbers", async () => {
  const drawn: number[][] = [];
  const set: data.SampleDataset = {
    length: 4,
    classes: 2,
    get(i, random) {
      drawn.at(-1)!.push(random!());
      return { input: [i, 1], target: i % 2, weight: 2 };
    },
  };
  for (const sampleWeight of [undefined, [1, 2, 3, 4]]) {
    drawn.push([]);
    manualSeed(4);
    const { trainer } = network();
    await trainer.fit(set, { sampleWeight, shuffle: false, ...quiet });
  }
  assertEquals(drawn[0], drawn[1]);
});

test("weights under a prefix are named as such, and what fits nothing is refused", async () => {
  const model = later(new nn.Linear(2, 2));
  const wrapped = Object.fromEntries(
    Object.entries(model.stateDict()).map(([name, x]) => [`module.${name}`, x]),
  );
  for (const strict of [true, false]) {
    const error = await assertRejects(
      // deno-lint-ignore require-await -- what it throws becomes a rejection
      async () => model.loadStateDict(wrapped, { strict }),
      ArgumentError,
      'they fit without "module."',
    );
    assert(error.message.includes('{ prefix: "module." }'));
  }
  await assertRejects(
    // deno-lint-ignore require-await -- as above
    async () => model.loadStateDict(Promise.resolve({}) as never, { strict: false }),
    ArgumentError,
    "which wants await",
  );
});
