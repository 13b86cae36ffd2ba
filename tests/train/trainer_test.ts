import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  bceLoss,
  bceWithLogitsLoss,
  type Callback,
  crossEntropy,
  CudenoError,
  data,
  type DType,
  hingeLoss,
  manualSeed,
  memory,
  mseLoss,
  multiMarginLoss,
  type NestedNumbers,
  nllLoss,
  nn,
  optim,
  ProgressBar,
  scope,
  ShapeError,
  type Tensor,
  tensor,
  Trainer,
  zeros,
} from "../../mod.ts";
import { cleanTest, failing, halves, later, network, xor } from "../_helpers.ts";

const test = (name: string, fn: () => void | Promise<void>) => cleanTest(`Trainer: ${name}`, fn);
const quiet = { callbacks: [] };

const snapshot = (model: nn.Module) => model.parameters().map((p) => p.dataSync());

test("it learns XOR, and what a line separates", async () => {
  manualSeed(1);
  const set = xor();
  const { trainer } = network();
  const history = await trainer.fit(set, { epochs: 200, batchSize: 4, ...quiet });
  assert(history.at(-1)!.loss < 0.05);
  assertEquals((await trainer.evaluate(set)).accuracy, 1);
  assertEquals([...trainer.predict(set.inputs).argmax(1).dataSync()], [0, 1, 1, 0]);

  const [train, unseen] = [halves(500), halves(500)];
  const line = network({ hidden: 4 });
  await line.trainer.fit(train, { epochs: 60, batchSize: 50, ...quiet });
  assert((await line.trainer.evaluate(train)).accuracy! > 0.99);
  assert((await line.trainer.evaluate(unseen)).accuracy! > 0.97);
});

test("the history says what each epoch was", async () => {
  manualSeed(2);
  const { trainer } = network();
  const history = await trainer.fit(halves(50), {
    epochs: 3,
    batchSize: 20,
    validation: halves(30),
    ...quiet,
  });
  assertEquals(history.map((result) => result.epoch), [1, 2, 3]);
  for (const result of history) {
    assertEquals(Object.keys(result).sort(), [
      "accuracy",
      "epoch",
      "loss",
      "samplesPerSecond",
      "seconds",
      "valAccuracy",
      "valLoss",
    ]);
    assert(Object.values(result).every((v) => Number.isFinite(v) && v >= 0));
    assertAlmostEquals(result.samplesPerSecond, 50 / result.seconds, 1e-6);
    assert(Number.isInteger(Math.round(result.accuracy! * 50 * 1e9) / 1e9));
  }
  assert(history[2]!.valLoss! < history[0]!.valLoss!);
  const bare = new Trainer(new nn.Tanh(), { loss: new nn.CrossEntropyLoss() });
  assertEquals(Object.keys(await bare.evaluate(xor())), ["loss"]);
  assertEquals((await trainer.fit(xor(), { epochs: 0, ...quiet })).epochs, []);
});

test("an uneven last batch counts by its samples", async () => {
  manualSeed(3);
  const set = halves(10);
  const { model, loss, trainer } = network({ lr: 0 });
  const whole = scope(() => loss.forward(model.forward(set.inputs), set.targets)).itemSync();
  for (const batchSize of [1, 3, 4, 7, 10, 100]) {
    const [result] = await trainer.fit(set, { batchSize, ...quiet });
    assertAlmostEquals(result!.loss, whole, 1e-6);
    const evaluation = await trainer.evaluate(set, { batchSize });
    assertAlmostEquals(evaluation.loss, whole, 1e-6);
    assertEquals(evaluation.accuracy, result!.accuracy);
  }
});

test("a loss that is not one number is refused, not misread", async () => {
  const set = halves(10);
  const { model, optimizer } = network();
  const loss = new nn.CrossEntropyLoss({ reduction: "none" });
  const trainer = new Trainer(model, { loss, optimizer });
  await assertRejects(() => trainer.evaluate(set, { batchSize: 4 }), CudenoError, "[4]");
  await assertRejects(() => trainer.fit(set, { batchSize: 4, ...quiet }), CudenoError, "[4]");
});

// Output and target as they are, with the loss that says what is an answer.
const outputs: [
  name: string,
  loss: (y: Tensor, target: Tensor) => Tensor,
  output: NestedNumbers,
  target: NestedNumbers,
  dtype: DType,
  wanted: number,
][] = [
  ["logits", bceWithLogitsLoss, [[0.4], [-0.1], [2], [-3]], [[1], [1], [0], [0]], "float32", 0.5],
  ["probabilities", bceLoss, [[0.4], [0.9], [0.2], [0.7]], [[1], [1], [0], [0]], "float32", 0.5],
  ["several a sample", bceLoss, [[0.9, 0.9], [0.4, 0.1]], [[1, 0], [0, 0]], "float32", 0.75],
  ["scores", hingeLoss, [0.4, -0.3, 2, -1], [1, 1, 1, -1], "float32", 0.75],
  [
    "squares of [n, 1]",
    mseLoss,
    [[0.4], [0.9], [0.2], [0.7]],
    [[1], [1], [0], [0]],
    "float32",
    0.5,
  ],
  ["squares of [n]", mseLoss, [0.4, 0.9, 0.2], [1, 1, 0], "float32", 2 / 3],
  [
    "squares of one-hot",
    mseLoss,
    [[1, 2], [3, 1], [0, 9]],
    [[0, 1], [0, 1], [0, 1]],
    "float32",
    2 / 3,
  ],
  ["[n, 1] and [n]", (y) => y.mean(), [[0.4], [0.9], [0.2]], [1, 1, 0], "int32", 2 / 3],
  ["[n] and [n, 1]", (y) => y.mean(), [0.4, 0.9, 0.2], [[1], [1], [0]], "uint8", 2 / 3],
  ["[n, steps, 1] and [n, steps]", (y) => y.mean(), [[[0.4], [0.9]]], [[1, 1]], "int32", 0.5],
  [
    "classes in axis 1",
    crossEntropy,
    [[[5, 0], [1, 9]], [[0, 3], [9, 2]]],
    [[0, 1], [0, 0]],
    "int32",
    0.75,
  ],
  [
    "classes that the loss was given last",
    (y, t) => crossEntropy(y.transpose(1, 2), t),
    [[[5, 0], [1, 9]], [[0, 3], [9, 2]]],
    [[0, 1], [0, 0]],
    "int32",
    0.75,
  ],
  [
    "rows of a sequence",
    (y, t) => crossEntropy(y.reshape([-1, 2]), t.reshape([-1])),
    [[[5, 0], [9, 1]], [[0, 3], [9, 2]]],
    [[0, 1], [0, -100]],
    "int32",
    1 / 3,
  ],
  [
    "[n, steps, classes] by its shape",
    (y) => y.mean(),
    [[[5, 0, 0], [1, 9, 0]]],
    [[0, 2]],
    "int32",
    0.5,
  ],
  [
    "[n, classes, steps] by its shape",
    (y) => y.mean(),
    [[[5, 0, 9], [1, 9, 0]]],
    [[0, 1, -100]],
    "int32",
    1,
  ],
  [
    "probabilities of classes",
    crossEntropy,
    [[1, 2], [3, 1]],
    [[0.4, 0.6], [0, 1]],
    "float32",
    0.5,
  ],
  [
    "an ignored class",
    (y, t) => crossEntropy(y, t, { ignoreIndex: 0 }),
    [[2, 1], [1, 3], [4, 1], [0, 1]],
    [0, 1, 1, 0],
    "int32",
    0.5,
  ],
  ["ignored targets", crossEntropy, [[2, 1], [1, 3], [4, 1]], [-100, 1, 0], "int32", 1],
  [
    "class weights count no answer twice",
    (y, t) => nllLoss(y, t, { weight: tensor([9, 1]) }),
    [[2, 1], [1, 3], [4, 1]],
    [-100, 1, 1],
    "int32",
    0.5,
  ],
  ["margins", multiMarginLoss, [[2, 1], [1, 3], [4, 1]], [0, 0, 0], "int32", 2 / 3],
  [
    "scaled logits' loss",
    (y, t) => bceWithLogitsLoss(y, t).mul(2),
    [[0.4], [-0.1], [0.3], [-3]],
    [[1], [1], [0], [0]],
    "float32",
    0.5,
  ],
  [
    "a masked loss",
    (y, t) => crossEntropy(y, t, { reduction: "none", ignoreIndex: 1 }).mul(2).mean(),
    [[2, 1], [1, 3], [4, 1]],
    [0, 1, 0],
    "int32",
    1,
  ],
  ["one class", crossEntropy, [[2], [1]], [0, 0], "int32", 1],
];

for (const [name, loss, output, target, dtype, wanted] of outputs) {
  test(`accuracy: ${name}`, async () => {
    const set = later(new data.TensorDataset(tensor(output), tensor(target, { dtype })));
    const trainer = new Trainer(new nn.Identity(), { loss, metrics: ["accuracy"] });
    for (const batchSize of [1, 2, 100]) {
      const { accuracy } = await trainer.evaluate(set, { batchSize });
      assertAlmostEquals(accuracy!, wanted, 1e-12);
    }
  });
}

test("accuracy of shapes that do not fit is refused before the first step", async () => {
  for (
    const [output, target] of [[[4, 3], [4, 2]], [[4, 3], [4, 1]], [[4, 3, 5], [4, 4]], [[4], [
      4,
      2,
    ]]]
  ) {
    const set = later(new data.TensorDataset(zeros(output!), zeros(target!)));
    const scale = tensor([1], { requiresGrad: true });
    const optimizer = later(new optim.SGD([scale], { lr: 1 }));
    const loss = (y: Tensor) => y.add(scale).mean();
    const trainer = new Trainer(new nn.Identity(), { loss, optimizer, metrics: ["accuracy"] });
    await assertRejects(() => trainer.fit(set, quiet), ShapeError, "accuracy: the output is [4");
    await assertRejects(() => trainer.evaluate(set), ShapeError, "wanted are [n, classes, …]");
    assertEquals(scale.itemSync(), 1);
  }
});

test("the same seed gives the same losses and weights, bit by bit", async () => {
  const run = async () => {
    manualSeed(7);
    const { model, trainer } = network();
    const history = await trainer.fit(halves(100), { epochs: 3, batchSize: 16, ...quiet });
    const result = { losses: history.map(({ loss }) => loss), weights: snapshot(model) };
    return result;
  };
  const first = await run();
  assertEquals(await run(), first);
  assert(new Set(first.losses).size === 3);
});

test("shuffle: false keeps the order; otherwise each epoch has its own", async () => {
  manualSeed(4);
  const orders = async (shuffle: boolean) => {
    const seen: number[] = [];
    const set = halves(16);
    const watched: data.Dataset = {
      length: 16,
      device: set.device,
      batch: (index) => (seen.push(...index.dataSync()), set.batch(index)),
    };
    await network().trainer.fit(watched, { epochs: 2, batchSize: 5, shuffle, ...quiet });
    return [seen.slice(0, 16), seen.slice(16)] as const;
  };
  const sorted = Array.from({ length: 16 }, (_, i) => i);
  assertEquals(await orders(false), [sorted, sorted]);
  const [a, b] = await orders(true);
  for (const order of [a, b]) assertEquals(order.toSorted((x, y) => x - y), sorted);
  assert(a.join() !== b.join() && a.join() !== sorted.join());
});

test("evaluate() and predict() change no parameter, record nothing and free all", async () => {
  const set = halves(20);
  const { model, trainer } = network();
  const weights = snapshot(model);
  const before = memory().tensors;
  await trainer.evaluate(set, { batchSize: 6 });
  const output = trainer.predict(set.inputs);
  assertEquals([output.shape, output.requiresGrad, output.node], [[20, 2], false, null]);
  output.dispose();
  assertEquals(memory().tensors, before);
  assertEquals(snapshot(model), weights);
  assert(model.parameters().every((p) => p.grad === null && p.requiresGrad));
});

/** Notes in which mode it ran. */
class Spy extends nn.Module {
  modes: boolean[] = [];
  override forward(x: Tensor): Tensor {
    this.modes.push(this.training);
    return x;
  }
}

test("fit() trains, evaluate() and predict() evaluate, and each restores the mode", async () => {
  const set = halves(8);
  const spy = new Spy();
  const model = later(new nn.Sequential(spy, new nn.Linear(2, 2)));
  const optimizer = later(new optim.SGD(model.parameters(), { lr: 0.1 }));
  const trainer = new Trainer(model, { loss: new nn.CrossEntropyLoss(), optimizer });
  for (const mode of [true, false]) {
    model.train(mode);
    spy.modes = [];
    await trainer.fit(set, { batchSize: 4, validation: set, ...quiet });
    assertEquals([spy.modes, spy.training], [[true, true, false], mode]);
    spy.modes = [];
    await trainer.evaluate(set);
    trainer.predict(set.inputs);
    assertEquals([spy.modes, spy.training], [[false, false], mode]);
    assertThrows(() => trainer.predict(zeros([1, 3])), ShapeError);
    assertEquals(spy.training, mode);
  }
});

test("a part that was set to evaluation mode by itself is in it afterwards", async () => {
  const set = halves(8);
  const frozen = new Spy();
  const model = later(new nn.Sequential(frozen, new nn.Linear(2, 2)));
  frozen.eval();
  const trainer = new Trainer(model, { loss: new nn.CrossEntropyLoss() });
  await trainer.evaluate(set);
  trainer.predict(set.inputs);
  assertEquals([model.training, frozen.training], [true, false]);
});

test("callbacks are called in their order, and awaited", async () => {
  const calls: string[] = [];
  const callback = (name: string): Callback => ({
    async onEpochBegin({ epoch, epochs, samples }) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      calls.push(`${name} begin ${epoch}/${epochs} ${samples}`);
    },
    async onProgress({ epoch, done, loss }) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      assert(Number.isFinite(loss));
      if (done === 8) calls.push(`${name} done ${epoch}`); // twice, where the epoch took long
    },
    async onEpochEnd(result, state) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      assertEquals(result.epoch, state.epoch);
      calls.push(`${name} end ${state.epoch} ${"valLoss" in result}`);
    },
    onEnd: (history) => void calls.push(`${name} over ${history.length}`),
  });
  const set = halves(8);
  const callbacks = [callback("a"), {}, callback("b")];
  await network().trainer.fit(set, { epochs: 2, batchSize: 4, validation: set, callbacks });
  const epoch = (n: number) => [
    `a begin ${n}/2 8`,
    `b begin ${n}/2 8`,
    `a done ${n}`,
    `b done ${n}`,
    `a end ${n} true`,
    `b end ${n} true`,
  ];
  assertEquals([...new Set(calls)], [...epoch(1), ...epoch(2), "a over 2", "b over 2"]);
});

/** A stand-in for a pipe or a file. */
function plainStream() {
  const written: string[] = [];
  return {
    written,
    isTerminal: () => false,
    writeSync: (bytes: Uint8Array) => (written.push(new TextDecoder().decode(bytes)), bytes.length),
  };
}

test("ProgressBar writes one plain line an epoch where there is no terminal", async () => {
  const stream = plainStream();
  const set = halves(8);
  await network().trainer.fit(set, {
    epochs: 2,
    validation: set,
    callbacks: [new ProgressBar({ stream, unit: "points" })],
  });
  const lines = stream.written.join("").split("\n");
  assertEquals(lines.length, 3);
  for (const [i, line] of lines.slice(0, 2).entries()) {
    const number = String.raw`\d+(\.\d+)?`;
    const wanted = new RegExp(
      `^Epoch ${i + 1}/2 100% 8/8 loss ${number} accuracy ${number}% val loss ${number} ` +
        `val accuracy ${number}% ${number}[KM]? points/s ${number}s$`,
    );
    assert(wanted.test(line), line);
  }
});

/** Fails at its third forward. */
class Broken extends nn.Module {
  inner = new nn.Linear(2, 2);
  calls = 0;
  override forward(x: Tensor): Tensor {
    return this.inner.forward(++this.calls === 3 ? x.reshape([-1, 1]) : x);
  }
}

test("an error in a step ends the bar, tells the callbacks and frees all", async () => {
  const set = halves(8);
  const model = later(new Broken());
  model.eval();
  const optimizer = later(new optim.SGD(model.parameters(), { lr: 0.1 }));
  const trainer = new Trainer(model, { loss: new nn.CrossEntropyLoss(), optimizer });
  const before = memory().tensors;
  const stream = plainStream();
  let ended = -1;
  const callbacks = [new ProgressBar({ stream }), {
    onEnd: (history: unknown[]) => void (ended = history.length),
  }];
  await assertRejects(
    () => trainer.fit(set, { epochs: 2, batchSize: 4, callbacks }),
    ShapeError,
    "its last axis must be 2",
  );
  assertEquals(ended, 1);
  assertEquals(stream.written.join("").split("\n").length, 3);
  assertEquals(model.training, false);
  model.zeroGrad();
  optimizer.dispose();
  assertEquals(memory().tensors, before);
  await trainer.fit(set, quiet); // and it can go on
});

test("an error while evaluating frees all", async () => {
  const set = halves(8);
  const trainer = new Trainer(later(new Broken()), {
    loss: new nn.CrossEntropyLoss(),
    metrics: ["accuracy"],
  });
  const before = memory().tensors;
  await assertRejects(() => trainer.evaluate(set, { batchSize: 2 }), ShapeError);
  assertThrows(() => trainer.predict(zeros([1, 3])), ShapeError);
  await assertRejects(() => trainer.evaluate(failing(set)), Error, "no such file");
  assert(memory().tensors <= before + 1); // the [1, 3] above
});

test("an error in a callback frees all too", async () => {
  const set = halves(8);
  const { model, optimizer, trainer } = network({ momentum: 0 });
  const before = memory().tensors;
  const failing: Callback = {
    onProgress() {
      throw new Error("disk full");
    },
  };
  await assertRejects(() => trainer.fit(set, { callbacks: [failing] }), Error, "disk full");
  model.zeroGrad();
  optimizer.dispose();
  assertEquals(memory().tensors, before);
});
