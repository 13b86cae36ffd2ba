// What fit() can be told: structures, weights, parts of the data, when to stop.
import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import {
  ArgumentError,
  type Callback,
  concat,
  crossEntropy,
  data,
  manualSeed,
  memory,
  mseLoss,
  nn,
  optim,
  rand,
  scope,
  ShapeError,
  type Tensor,
  tensor,
  Trainer,
  zeros,
} from "../../mod.ts";
import { cleanTest, halves, later, modUrl, network, program, xor } from "../_helpers.ts";

const test = (name: string, fn: () => void | Promise<void>) => cleanTest(`fit: ${name}`, fn);
const quiet = { callbacks: [] };

interface Pair {
  left: Tensor;
  right: Tensor;
}

interface Targets {
  total: Tensor;
  joint: Tensor;
}

class Two extends nn.Module<Pair, [Tensor, Tensor]> {
  a = new nn.Linear(2, 4);
  b = new nn.Linear(3, 4);
  override forward({ left, right }: Pair): [Tensor, Tensor] {
    const joint = this.a.forward(left).add(this.b.forward(right)).tanh();
    return [joint.sum(1), joint];
  }
}

test("a model of two inputs and two outputs trains, is measured and predicts", async () => {
  manualSeed(4);
  const left = rand([40, 2]), right = rand([40, 3]);
  const set = later(
    new data.TensorDataset(
      { left, right },
      { total: left.sum(1).mul(0.5), joint: zeros([40, 4]) },
    ),
  );
  const model = later(new Two());
  const optimizer = later(new optim.Adam(model.parameters(), { lr: 0.05 }));
  const trainer = new Trainer(model, {
    loss: ([sum, joint], target: Targets) =>
      mseLoss(sum, target.total).add(mseLoss(joint, target.joint).mul(0.01)),
    optimizer,
    metrics: [function sumError([sum], { total }) {
      return sum.sub(total).abs();
    }],
  });
  const history = await trainer.fit(set, { epochs: 30, batchSize: 10, validation: set, ...quiet });
  assert(history.at(-1)!.valLoss! < history[0]!.valLoss! / 4);
  assert((history.at(-1)!.metrics!["sumError"] as number) < 0.2);
  const [sum, joint] = trainer.predict({ left, right });
  assertEquals([sum.shape, joint.shape], [[40], [40, 4]]);
  assertEquals(
    (model.summary({ input: { left, right } }).match(/\[40\], \[40, 4\]/) ?? []).length,
    1,
  );
  await assertRejects(
    () =>
      new Trainer(model, {
        loss: ([sum], _target: Targets) => sum.mean(),
        optimizer,
        metrics: ["accuracy"],
      })
        .evaluate(set),
    ArgumentError,
    "accuracy: the model or the data has several outputs",
  );
});

/** One step of SGD from the same weights. */
async function stepped(
  set: data.Dataset,
  loss: (output: Tensor, target: Tensor, weight?: Tensor) => Tensor,
  options: object = {},
) {
  const model = new nn.Linear(2, 3);
  const optimizer = new optim.SGD(model.parameters(), { lr: 1 });
  try {
    model.weight.copyFrom(Float32Array.of(0.1, -0.2, 0.3, 0.4, -0.5, 0.6));
    model.bias!.fill(0.1);
    const trainer = new Trainer(model, { loss, optimizer });
    const history = await trainer.fit(set, { batchSize: 8, shuffle: false, ...quiet, ...options });
    return { loss: history[0]!.loss, weight: [...model.weight.dataSync()] };
  } finally {
    model.dispose();
    optimizer.dispose();
  }
}

function near(a: Awaited<ReturnType<typeof stepped>>, b: typeof a) {
  assertAlmostEquals(a.loss, b.loss, 1e-6);
  a.weight.forEach((x, i) => assertAlmostEquals(x, b.weight[i]!, 1e-5));
}

test("a sample of weight 2 counts as twice the sample, one of weight 0 as none", async () => {
  manualSeed(5);
  const x = rand([6, 2]), y = tensor([0, 1, 2, 1, 0, 2], { dtype: "int32" });
  const set = later(new data.TensorDataset(x, y));
  const twice = [0, 1, 1, 2, 4, 4, 5, 5]; // 3 is left out
  const wanted = later(new data.Subset(set, twice));
  const sampleWeight = [1, 2, 1, 0, 2, 2];
  const ce = (output: Tensor, target: Tensor) => crossEntropy(output, target);
  near(await stepped(set, ce, { sampleWeight }), await stepped(wanted, ce));
  near(await stepped(set, ce, { sampleWeight: tensor(sampleWeight) }), await stepped(wanted, ce));
  const smooth = (output: Tensor, target: Tensor) =>
    crossEntropy(output, target, { labelSmoothing: 0.1, ignoreIndex: 0 });
  near(await stepped(set, smooth, { sampleWeight }), await stepped(wanted, smooth));
  const squared = (output: Tensor, target: Tensor) =>
    mseLoss(
      output,
      target.reshape([-1, 1])
        .to("float32").add(zeros([1, 3])),
    );
  near(await stepped(set, squared, { sampleWeight }), await stepped(wanted, squared));
  // by the data set, in several batches, and as one step of them
  const own = later(new data.TensorDataset(x, y, { weights: tensor(sampleWeight) }));
  near(await stepped(own, ce), await stepped(wanted, ce));
  near(await stepped(own, ce, { batchSize: 3, accumulate: 2 }), await stepped(wanted, ce));
  // a loss of one's own takes them
  const third = (output: Tensor, target: Tensor, weight?: Tensor) => {
    const losses = crossEntropy(output, target, { reduction: "none" });
    return weight ? losses.mul(weight).sum().div(weight.sum()) : losses.mean();
  };
  near(await stepped(own, third), await stepped(wanted, ce));
  await assertRejects(
    () => stepped(own, (output) => output.mul(output).mean()),
    ArgumentError,
    "heeds no weights",
  );
  // what is left out may be anything
  const broken = concat([x.slice(0, 0, 3), x.slice(0, 3, 4).mul(NaN), x.slice(0, 4, 6)]);
  const wrong = later(new data.TensorDataset(broken, y, { weights: tensor(sampleWeight) }));
  assertAlmostEquals((await stepped(wrong, ce)).loss, (await stepped(wanted, ce)).loss, 1e-6);
});

test("classWeight is as the loss's own weight, or as samples' weights", async () => {
  manualSeed(6);
  const x = rand([6, 2]), y = tensor([0, 1, 2, 1, 0, 2], { dtype: "int32" });
  const set = later(new data.TensorDataset(x, y));
  const weight = tensor([1, 3, 0.5]);
  const ce = (output: Tensor, target: Tensor) => crossEntropy(output, target);
  const own = (output: Tensor, target: Tensor) => crossEntropy(output, target, { weight });
  near(await stepped(set, ce, { classWeight: { 1: 3, 2: 0.5 } }), await stepped(set, own));
  near(await stepped(set, ce, { classWeight: [1, 3, 0.5] }), await stepped(set, own));
  near(
    await stepped(set, ce, { classWeight: { 1: 3 }, sampleWeight: [1, 1, 0.5, 1, 1, 0.5] }),
    await stepped(set, own),
  );
  const shares = later(
    new data.TensorDataset(
      x,
      tensor([
        [1, 0, 0],
        [0, 1, 0],
        [0, 0, 1],
        [0, 1, 0],
        [1, 0, 0],
        [0, 0, 1],
      ]),
    ),
  );
  near(await stepped(shares, ce, { classWeight: [1, 3, 0.5] }), await stepped(set, own));
  for (
    const [options, part] of [
      [{ classWeight: { a: 1 } }, "a key of classWeight"],
      [{ classWeight: [1, -1] }, "classWeight[1] is -1"],
      [{ classWeight: 3 }, "classWeight is 3"],
      [{ sampleWeight: [1, 2] }, "sampleWeight has 2 numbers; there are 6 samples"],
      [{ sampleWeight: [1, 2, 3, 4, 5, NaN] }, "sampleWeight[5] is NaN"],
    ] as const
  ) {
    const error = await assertRejects(() => stepped(set, ce, options));
    assert((error as Error).message.includes(part), (error as Error).message);
  }
});

test("it stops by callback, by signal, before it begins and in between", async () => {
  const { trainer } = network();
  const set = halves(64);
  const stops: Callback = {
    onEpochEnd: ({ epoch }, { trainer }) => epoch === 2 ? trainer.stop("enough") : undefined,
  };
  const history = await trainer.fit(set, { epochs: 10, callbacks: [stops] });
  assertEquals([history.length, history.stopped, history.stepLosses.length], [2, "enough", 4]);

  const controller = new AbortController();
  controller.abort(new Error("no time"));
  const none = await trainer.fit(set, { epochs: 10, signal: controller.signal, ...quiet });
  assertEquals([none.length, none.stopped], [0, "aborted: no time"]);

  const timed = await trainer.fit(set, {
    epochs: 1e6,
    batchSize: 1,
    signal: AbortSignal.timeout(150),
    ...quiet,
  });
  assert(timed.stopped!.startsWith("aborted"), timed.stopped);
  assertEquals(trainer.step, timed.stepLosses.length);
  assert(trainer.history === timed);
});

test("the event loop is free at least every tenth of a second, in evaluate() too", async () => {
  const { trainer } = network();
  const set = halves(12);
  const slow: data.Dataset = {
    length: 12,
    device: set.device,
    batch(index) {
      for (const end = performance.now() + 60; performance.now() < end;);
      return set.batch(index);
    },
  };
  const fit = () => trainer.fit(slow, { batchSize: 1, capture: false, ...quiet });
  for (const run of [fit, () => trainer.evaluate(slow, { batchSize: 1 })]) {
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await run();
    clearInterval(timer);
    assert(turns >= 3, `${turns} turns in twelve batches of 60 ms`);
  }
});

test("stepsPerEpoch goes on in the data; validationEvery leaves epochs out", async () => {
  const { trainer } = network();
  const set = halves(50); // five batches
  const seen: number[] = [];
  const history = await trainer.fit(set, {
    epochs: 4,
    batchSize: 10,
    stepsPerEpoch: 3,
    validation: set,
    validationEvery: 3,
    callbacks: [{ onProgress: ({ epoch, done }) => void (seen[epoch - 1] = done) }], // the last
  });
  assertEquals(history.stepLosses.length, 12);
  assertEquals(history.map(({ valLoss }) => valLoss !== undefined), [false, false, true, true]);
  assertEquals(seen, [30, 30, 30, 30]);
});

test("data that comes in turn: samples, batches, sync and async", async () => {
  manualSeed(8);
  const { trainer } = network();
  const sample = (i: number) => ({ input: [i % 2, i % 3 - 1], target: i % 2 });
  const samples = {
    classes: 2,
    *[Symbol.iterator]() {
      for (let i = 0; i < 20; i++) yield sample(i);
    },
  };
  const history = await trainer.fit(samples, { epochs: 3, batchSize: 8, ...quiet });
  assertEquals(history.stepLosses.length, 9);
  assertEquals(
    history.map(({ samplesPerSecond, seconds }) => Math.round(samplesPerSecond * seconds)),
    [20, 20, 20],
  );
  const later = {
    classes: 2,
    async *[Symbol.asyncIterator]() {
      for (let i = 0; i < 20; i++) {
        if (i % 5 === 0) await Promise.resolve();
        yield sample(i);
      }
    },
  };
  await trainer.fit(later, { epochs: 2, batchSize: 8, validation: later, ...quiet });
  const endless = {
    *[Symbol.iterator]() {
      for (;;) {
        yield { input: rand([4, 2]), target: tensor([0, 1, 1, 0], { dtype: "int32" }) };
      }
    },
  };
  const ready = new data.DataLoader(endless, { batchSize: null });
  const steps = await trainer.fit(ready, { epochs: 2, stepsPerEpoch: 5, ...quiet });
  assertEquals(steps.stepLosses.length, 10);
  const once = (function* () {
    for (let i = 0; i < 4; i++) yield sample(i);
  })();
  await assertRejects(
    () => trainer.fit(Object.assign(once, { classes: 2 }), { epochs: 2, ...quiet }),
    ArgumentError,
    "a generator can be walked once only",
  );
});

test("validationSplit keeps the same samples each time, and never trains on them", async () => {
  const seen: number[][] = [[], []];
  const x = tensor(Array.from({ length: 20 }, (_, i) => [i / 20, 1]));
  const y = tensor(Array.from({ length: 20 }, (_, i) => i % 2), { dtype: "int32" });
  const set = later(new data.TensorDataset(x, y));
  const { trainer } = network();
  let run = 0, training = true;
  const watched = data.map(set, (batch) => {
    const numbers = [...batch.input.slice(1, 0, 1).mul(20).dataSync()].map(Math.round);
    if (training) seen[run]!.push(...numbers);
    return batch;
  });
  for (run = 0; run < 2; run++) {
    const history = await trainer.fit(watched, {
      validationSplit: 0.25,
      batchSize: 5,
      callbacks: [{
        onEpochBegin: () => void (training = true),
        onProgress: ({ done }) => void (training = done < 15), // in between too, if it is slow
      }],
    });
    assert(history[0]!.valLoss! > 0);
    seen[run]!.sort((a, b) => a - b);
  }
  assertEquals(seen[0]!.length, 15);
  assertEquals(seen[0], seen[1]);
});

test('batchSize "auto" takes the largest that fits and leaves everything as it was', async () => {
  manualSeed(9);
  const model = later(
    new nn.Sequential(new nn.Linear(2, 8), new nn.BatchNorm1d(8), new nn.Linear(8, 2)),
  );
  const optimizer = later(new optim.SGD(model.parameters(), { lr: 0 }));
  const before = model.stateDict();
  const values = Object.values(before).map((x) => [...x.dataSync()]);
  const trainer = new Trainer(model, { loss: new nn.CrossEntropyLoss(), optimizer });
  const set = halves(40);
  manualSeed(10);
  const history = await trainer.fit(set, { batchSize: "auto", epochs: 0, ...quiet });
  assertEquals(history.stepLosses.length, 0);
  assertEquals(Object.values(before).map((x) => [...x.dataSync()]), values);
  const drawn = rand([3]).dataSync();
  manualSeed(10);
  assertEquals(rand([3]).dataSync(), drawn);
  const one = await trainer.fit(set, { batchSize: "auto", ...quiet });
  assertEquals(one.stepLosses.length, 1); // all 40 at once
});

test('batchSize "auto" stops where memory ends', async () => {
  const { code, out, err } = await program(`
    import { data, init, memory, nn, optim, Trainer, zeros } from "${modUrl}";
    init({ device: "cpu", memoryLimit: 4e6 });
    const set = new data.TensorDataset(zeros([4096, 4]), zeros([4096], { dtype: "int32" }));
    const model = new nn.Sequential(new nn.Linear(4, 500), new nn.Tanh(), new nn.Linear(500, 2));
    const optimizer = new optim.Adam(model.parameters());
    const trainer = new Trainer(model, { loss: new nn.CrossEntropyLoss(), optimizer });
    const history = await trainer.fit(set, { batchSize: "auto", callbacks: [] });
    console.log(history.stepLosses.length);
  `);
  assertEquals([code, err], [0, ""]);
  const steps = Number(out);
  assert(steps >= 4 && steps <= 32 && Number.isInteger(Math.log2(steps)), out);
});

test("wrong options say what is wrong", async () => {
  const { trainer } = network();
  const set = xor();
  const loader = new data.DataLoader(set, { batchSize: 2 });
  const wrong: [unknown, object, string][] = [
    [set, { epochs: -1 }, "epochs is -1"],
    [set, { initialEpoch: 0.5 }, "initialEpoch is 0.5"],
    [set, { validationEvery: 0 }, "validationEvery is 0"],
    [set, { stepsPerEpoch: 0 }, "stepsPerEpoch is 0"],
    [set, { accumulate: 0 }, "accumulate is 0"],
    [set, { batchSize: "big" }, "batchSize is"],
    [set, { signal: {} }, "signal is"],
    [set, { validationSplit: 1 }, "validationSplit is 1"],
    [set, { validationSplit: 0.5, validation: set }, "not both"],
    [set, { validationsplit: 0.5 }, "did you mean validationSplit"],
    [loader, { batchSize: 3 }, "left out where a DataLoader is given"],
    [[], {}, "gave no batch"],
    [[], { shuffle: true }, "not for iterable data"],
    [[], { batchSize: "auto" }, "not for iterable data"],
    ["data", {}, "the data set is"],
  ];
  for (const [given, options, part] of wrong) {
    const error = await assertRejects(
      () => trainer.fit(given as data.Dataset, { ...quiet, ...options }),
    ) as Error;
    assert(error.message.includes(part), `${part}: ${error.message}`);
  }
  const first = trainer.fit(set, quiet);
  await assertRejects(() => trainer.fit(set, quiet), ArgumentError, "another fit() is under way");
  await first;
});

test("weights of another shape are an error", async () => {
  const set = later(
    new data.TensorDataset(rand([4, 2]), zeros([4], { dtype: "int32" }), {
      weights: zeros([4, 2]),
    }),
  );
  const { trainer } = network();
  await assertRejects(() => trainer.fit(set, quiet), ShapeError, "one weight a sample");
});

test("memory is flat from the second epoch on", async () => {
  const { trainer } = network();
  const set = halves(64);
  const peaks: number[] = [];
  await scope(async () => {
    await trainer.fit(set, {
      epochs: 6,
      callbacks: [{ onEpochEnd: () => void peaks.push(memory().tensors) }],
    });
  });
  assertEquals(new Set(peaks.slice(3)).size, 1); // steps are captured by then
});
