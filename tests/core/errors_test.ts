// Bad input: each is a typed error that says what was found and what was wanted, and everything
// else stays usable.
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  arange,
  argsort,
  ArgumentError,
  broadcastTo,
  crossEntropy,
  CudenoError,
  data,
  devices,
  eye,
  full,
  gatherRows,
  init,
  io,
  linear,
  manualSeed,
  matmul,
  mseLoss,
  nn,
  ones,
  optim,
  permute,
  rand,
  randint,
  randn,
  relu,
  softmax,
  softplus,
  synchronize,
  tensor,
  Trainer,
  zeros,
} from "../../mod.ts";
import { cleanTest, later, network, refuse, says, xor } from "../_helpers.ts";

const found = devices();

/** A test that starts with a tensor, and at its end has it unchanged and fit for use. */
function test(name: string, fn: () => void | Promise<void>) {
  cleanTest(`bad input: ${name}`, async () => {
    const witness = later(tensor([[1, 2], [3, 4]], { requiresGrad: true }));
    await fn();
    assertEquals([...matmul(witness, witness).dataSync()], [7, 10, 15, 22]);
    witness.sum().backward();
    later(witness.grad!);
    await synchronize();
  });
}

/** The code of an error, and parts of its message. */
type Wanted = [code: string, ...parts: string[]];

const reject = async (fn: () => Promise<unknown>, ...wanted: Wanted) =>
  says(await assertRejects(fn, CudenoError), ...wanted);

const int = (...values: number[]) => tensor(values, { dtype: "int32" });

test("options that are no object", () => {
  const wanted = ["argument", "options such as {"] as const;
  refuse(() => new nn.Dropout("0.1" as never), ...wanted, "Dropout", "p: …", 'found "0.1"');
  refuse(() => zeros([2], "int32" as never), ...wanted, "zeros", "dtype: …", 'found "int32"');
  refuse(() => softplus(zeros([2]), 1 as never), ...wanted, "softplus", "beta: …", "found 1");
});

test("arguments of another kind: what was found, what is wanted, what to write", async () => {
  const model = new nn.Linear(3, 2);
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
  const loss = new nn.CrossEntropyLoss();
  const any = (x: unknown) => x as never;
  const trainer = (options: object) => new Trainer(model, { loss, optimizer, ...options });
  const set = new data.TensorDataset(zeros([2, 3]), int(0, 1));
  refuse(
    () => new nn.Sequential(any(relu)),
    "argument",
    "module 0 is the function relu",
    "nn.ReLU",
  );
  refuse(() => new nn.Sequential(any(nn.ReLU)), "argument", "the class ReLU", "new ReLU(");
  refuse(
    () => new optim.SGD(any(model), any(undefined)),
    "argument",
    "a Linear",
    "model.parameters()",
  );
  refuse(() => new optim.SGD(model.parameters(), { lr: any("0.1") }), "argument", 'lr is "0.1"');
  refuse(() => zeros([2]).sum(any({ axis: 0 })), "argument", "axes is { axis }", "array of axes");
  refuse(() => trainer({ optimizer: "adam" }), "argument", '"adam"', "new optim.SGD(");
  refuse(() => trainer({ loss: "crossEntropy" }), "argument", 'loss is "crossEntropy"', "new nn.");
  refuse(
    () => trainer({ loss: nn.CrossEntropyLoss }),
    "argument",
    "loss is the class CrossEntropyLoss",
    "new CrossEntropyLoss()",
  );
  refuse(() => model.loadStateDict(any("a.safetensors")), "argument", "io.loadSafetensors(path)");
  refuse(() => model.to(any("gpu")), "dtype", 'the target is "gpu"', "cpu, cuda or cuda:N");
  refuse(() => zeros([]).softmax(), "shape", "softmax: axis is -1", "[] is one number");
  await reject(() => io.saveSafetensors("a", any(model)), "argument", "a Linear", "stateDict()");
  await reject(() => io.saveSafetensors(any({}), any("a")), "argument", '"a"', "the path comes");
  await reject(() => data.readIdx(any("a.gz")), "argument", '"a.gz"', "Deno.readFile(path)");
  const loader = new data.DataLoader(set);
  const subset = () => new data.Subset(any(loader), [0]);
  await reject(async () => await any(subset()), "argument", "a DataLoader", ".dataset");
  const later = { length: 2, device: "cpu", batch: () => Promise.resolve(set.batch(int(0))) };
  const fit = () => trainer({}).fit(any(later), { callbacks: [] });
  await reject(fit, "argument", "what batch() returns is a Promise", "{ input, target, weight? }");
  for (const x of [model, optimizer, set]) x.dispose();
});

test("what PyTorch writes in another way: how it is written here", () => {
  const any = (x: unknown) => x as never;
  for (const make of [zeros, ones, rand, randn, full]) {
    refuse(
      () => make(any(2), any(3), any(4)),
      "argument",
      `${make.name}: the shape is 2`,
      "one array",
    );
  }
  refuse(() => zeros([4]).reshape(any(2)), "argument", "reshape: the shape is 2", "one array");
  refuse(() => tensor([1, 2, 3, 4], any([2, 2])), "argument", "tensor: ", "{ shape: [2, 2] }");
  const x = zeros([2, 3]);
  refuse(() => x.sort(any(0)), "argument", "sort: ", "found 0", "write { axis: 0 }");
  refuse(() => argsort(x, any(1)), "argument", "argsort: ", "write { axis: 1 }");
  refuse(() => x.topK(2, any(0)), "argument", "topK: ", "found 0", "write { axis: 0 }");
  refuse(() => x.sum(0, any(true)), "argument", "sum: ", "write { keepDims: true }");
  const lstm = later(new nn.LSTM(3, 4)), cell = later(new nn.LSTMCell(3, 4));
  const states = [zeros([1, 1, 4]), zeros([1, 1, 4])];
  refuse(
    () => lstm.run(zeros([2, 1, 3]), any(states)),
    "argument",
    "LSTM: the state is",
    "{ h, c }",
  );
  refuse(() => cell.run(x, any({ h: x })), "argument", "LSTMCell: the state is { h }", "{ h, c }");
  refuse(() => new optim.AdamW(any(lstm.parameters)), "argument", "call it: model.parameters()");
});

test("options with another name: which one is meant", () => {
  const x = zeros([2, 2]);
  const named = (fn: (options: never) => unknown, name: string, wanted: string) =>
    refuse(() => fn({ [name]: true } as never), "argument", `${name}; did you mean ${wanted}?`);
  named((options) => matmul(x, x, options), "transB", "transposeB");
  named((options) => matmul(x, x, options), "transA", "transposeA");
  named((options) => x.to(options), "memoryFormat", "format");
  named((options) => new optim.SGD([], options), "weight_decay", "weightDecay");
  const attention = later(new nn.MultiHeadAttention(2, 1));
  const sequence = zeros([1, 2, 2]);
  named((options) => attention.forward(sequence, sequence, sequence, options), "attnMask", "mask");
  refuse(() => x.sum(0, { lr: 1 } as never), "argument", "no option lr. The options are keepDims");
});

test("states of another optimizer, and graphs that are used up, are told of what to do", () => {
  const w = later(tensor([1], { requiresGrad: true }));
  const [adam, sgd] = [later(new optim.Adam([w])), later(new optim.SGD([w], { lr: 1 }))];
  const other = "not of another optimizer";
  refuse(() => sgd.loadStateDict(adam.stateDict()), "argument", "SGD: ", "betas", other);
  refuse(() => adam.loadStateDict(sgd.stateDict()), "argument", "Adam: ", "momentum", other);
  const layer = later(new nn.LSTM(1, 1));
  const first = layer.run(ones([1, 1, 1]));
  first.output.sum().backward();
  const next = layer.run(ones([1, 1, 1]), first.state).output.sum();
  refuse(() => next.backward(), "gradient", "lstm was used up", "retainGraph: true", "detach()");
  const { h, c } = first.state;
  layer.run(ones([1, 1, 1]), { h: h.detach(), c: c.detach() }).output.sum().backward();
  for (const p of layer.parameters()) later(p.grad!);
});

test("a device that is not there is not said to be asked for", () => {
  const error = assertThrows(() => zeros([1], { device: "cuda:99" }));
  for (const text of [init().note, (error as Error).message]) {
    assert(!text.includes("asked for"), text);
  }
});

test("values are named as what they are, without running their code", () => {
  const cases: [unknown, string][] = [
    ["0.1", '"0.1"'],
    [10n, "10n"],
    [null, "null"],
    [Symbol("s"), "Symbol(s)"],
    [[1, [2, "a"]], '[1, [2, "a"]]'],
    [new Array(9).fill(0), "an array of 9"],
    [{}, "{}"],
    [Object.create(null), "{}"],
    [{ a: 1, b: 2 }, "{ a, b }"],
    [new Map(), "a Map"],
    [new Error("e"), "an Error"],
    [nn.Linear, "the class Linear"],
    [relu, "the function relu"],
    [Promise.resolve(), "a Promise, which wants await"],
  ];
  for (const [value, wanted] of cases) {
    refuse(() => zeros([1]).fill(value as never), "argument", `fill: ${wanted} is no number`);
  }
});

test("shapes that do not fit", () => {
  const a = zeros([2, 3]);
  refuse(() => a.add(zeros([2, 4])), "shape", "add", "[2, 3]", "[2, 4]", "is 3 and 4");
  refuse(() => a.lt(zeros([3, 3])), "shape", "lt", "[2, 3]", "[3, 3]");
  refuse(() => a.matmul(zeros([4, 5])), "shape", "matmul", "[2, 3]", "[4, 5]", "3 and 4");
  refuse(() => a.matmul(zeros([5, 3])), "shape", "did you mean transposeB: true?");
  refuse(() => linear(a, zeros([5, 4])), "shape", "linear", "[2, 3]", "4");
  refuse(() => linear(a, zeros([5, 3]), zeros([4])), "shape", "bias is [4]", "[5]");
  refuse(() => a.reshape([4, 2]), "shape", "reshape", "[2, 3] has 6", "[4, 2]");
  refuse(() => a.reshape([-1, 4]), "shape", "[-1, 4]");
  refuse(() => a.reshape([-1, -1]), "shape", "[-1, -1]");
  refuse(() => broadcastTo(a, [2, 4]), "shape", "[2, 3]", "[2, 4]");
  refuse(() => permute(a, [0]), "argument", "permute", "[0]", "2 axes");
  refuse(() => permute(a, [0, 0]), "argument", "[0, 0]");
  refuse(() => a.transpose(0, 2), "shape", "axis is 2", "-2..1");
  refuse(() => a.sum(2), "shape", "sum: axis is 2");
  refuse(() => a.sum([0, -2]), "argument", "sum", "one axis twice");
  refuse(() => zeros([0, 2]).max(0), "shape", "max", "[0, 2]", "no elements");
  refuse(() => softmax(a, 2), "shape", "softmax", "axis is 2");
  refuse(() => crossEntropy(a, int(0, 1, 2)), "shape", "[2, 3]", "[3]", "[n, classes] and [n]");
  refuse(() => crossEntropy(zeros([2, 0]), int(0, 0)), "shape", "no classes");
  refuse(() => mseLoss(a, zeros([3, 2])), "shape", "mseLoss", "[2, 3]", "[3, 2]");
  refuse(() => gatherRows(tensor(1), int(0)), "shape", "gatherRows", "[]");
  refuse(() => tensor([[1, 2], [3]]), "shape", "rows are not alike", "a row of 1", "2");
  refuse(() => tensor([1, 2, 3], { shape: [2, 2] }), "shape", "3 numbers", "[2, 2] has 4");
  refuse(() => zeros([2, -1]), "shape", "zeros", "[2, -1]");
  refuse(() => zeros([1, 1, 1, 1, 1, 1, 1, 1, 1]), "shape", "more than 8 dimensions");
  refuse(() => zeros([2 ** 40, 2 ** 40]), "shape", "more elements than can be counted");
  refuse(() => a.itemSync(), "shape", "item", "[2, 3]", "one element");
  refuse(() => a.copyFrom(zeros([2, 2])), "shape", "copyFrom", "[2, 2]", "[2, 3]");
  refuse(() => a.copyFrom(zeros([3, 2])), "shape", "copyFrom", "[3, 2]", "[2, 3]");
  refuse(() => a.copyFrom(new Float32Array(5)), "shape", "20 bytes", "24");
  refuse(() => new data.TensorDataset(a, int(1)), "shape", "TensorDataset", "[2, 3]", "[1]");
});

test("arrays nested without end are errors like any other", () => {
  const a = zeros([2, 3]);
  const circle: unknown[] = [];
  circle.push(circle);
  let deep: unknown = 1;
  for (let i = 0; i < 20_000; i++) deep = [deep];
  for (const value of [circle, deep] as never[]) {
    refuse(() => tensor(value), "shape", "tensor: arrays are nested more than 8 deep");
    refuse(() => tensor([1], { shape: value }), "shape", "no whole number");
    refuse(() => zeros(value), "shape", "zeros", "no whole number");
    refuse(() => a.reshape(value), "shape", "reshape");
    refuse(() => a.sum(value), "argument", "sum: axis is");
    refuse(() => a.add(value), "argument", "add: the second operand is");
    refuse(() => zeros([2]).fill(value), "argument", "fill", "is no number");
    refuse(() => a.leakyRelu(value), "argument", "leakyRelu: wanted are options");
    refuse(() => a.leakyRelu({ negativeSlope: value }), "argument", "negativeSlope is");
    refuse(() => new nn.Linear(value, 1), "argument", "inFeatures");
  }
});

test("dtypes that do not fit", () => {
  const a = zeros([2, 2]);
  refuse(() => a.add(int(1, 2)), "dtype", "add", "float32 and int32", 'to("float32")');
  refuse(() => int(1, 2).add(a), "dtype", "add", "int32 and float32", 'to("float32")');
  refuse(() => int(1).add(zeros([1], { dtype: "uint8" })), "dtype", "uint8");
  refuse(() => a.matmul(zeros([2, 2], { dtype: "float64" })), "dtype", "float32 and float64");
  refuse(() => int(1).exp(), "dtype", "exp", "int32", "float32 or float64 or float16 or bfloat16");
  refuse(() => int(1).mean(), "dtype", "mean", "int32");
  refuse(() => softmax(int(1)), "dtype", "softmax");
  refuse(() => crossEntropy(a, zeros([2])), "dtype", "target", "float32", "int32 or uint8");
  refuse(() => gatherRows(a, zeros([1])), "dtype", "index", "float32", "int32");
  refuse(() => gatherRows(a, int(0), { dtype: "float64" }), "dtype", "only uint8", "float32");
  refuse(() => tensor(new BigInt64Array(1)), "dtype", "no dtype", "Float32Array");
  refuse(
    () => zeros([1], { dtype: "float8" as "float32" }),
    "dtype",
    "float8",
    "float32, float64",
  );
  refuse(() => a.to("int64" as "int32"), "dtype", "int64", "int32");
  refuse(() => a.copyFrom(new Int32Array(4)), "dtype", "copyFrom", "float32");
  refuse(
    () => zeros([1], { dtype: "int32", requiresGrad: true }),
    "gradient",
    "int32",
    "use a float",
  );
  refuse(() => new nn.Linear(1, 1, { dtype: "int32" }), "dtype", "int32");
});

test("NaN and fractions where an integer belongs", () => {
  for (const bad of [NaN, 1.5, Infinity, 2 ** 31]) {
    refuse(() => int(bad), "dtype", `${bad} is no int32`, "a whole number");
    refuse(() => full([2], bad, { dtype: "uint8" }), "dtype", `${bad} is no uint8`, "0..255");
    refuse(() => int(1).add(bad), "dtype", "add", `${bad} is no int32`, "use a float dtype");
  }
  for (const bad of [NaN, 1.5]) {
    refuse(() => zeros([bad]), "shape", `[${bad}]`, "whole number");
    refuse(() => zeros([2]).reshape([bad]), "shape", "reshape");
    refuse(() => zeros([2]).sum(bad), "argument", `axis is ${bad}`, "whole number");
    refuse(() => manualSeed(bad), "argument", `${bad}`, "whole number");
    refuse(() => randint(bad, 5, [1]), "argument", `low is ${bad}`);
    refuse(() => randint(0, bad, [1]), "argument", `high is ${bad}`);
    refuse(() => eye(bad), "shape", `${bad}`);
    refuse(() => init({ memoryLimit: bad }), "argument", `${bad}`, "bytes");
    refuse(() => init({ seed: bad }), "argument", `${bad}`);
    refuse(() => zeros([2]).view(bad, [1]), "shape", `${bad}`);
  }
  refuse(() => arange(NaN), "argument", "NaN", "finite");
  refuse(() => tensor(["1"] as unknown as number[]), "argument", '"1" is no number');
  refuse(
    () => tensor([true] as unknown as number[]),
    "argument",
    "true is no number; write 1 or 0",
  );
  refuse(() => tensor([undefined] as unknown as number[]), "argument", "undefined is no number");
});

test("gradients that there are not", () => {
  const x = zeros([2], { requiresGrad: true });
  refuse(() => zeros([1]).backward(), "gradient", "needs no gradient");
  refuse(() => x.mul(2).backward(), "gradient", "[2]", "sum() or mean()");
  refuse(() => x.mul(2).backward(zeros([3])), "shape", "[3]", "[2]");
  refuse(() => gatherRows(x, int(0)), "gradient", "gatherRows has no gradient", "detach()");
  const y = x.mul(x).sum();
  y.backward();
  later(x.grad!);
  refuse(() => y.backward(), "gradient", "used up", "retainGraph");
});

test("options that there are not", () => {
  const misspelt = (key: string) => ({ [key]: 1 }) as object;
  refuse(() => zeros([1], misspelt("dtyp")), "argument", "zeros", "dtyp", "did you mean dtype?");
  refuse(() => init(misspelt("memorylimit")), "argument", "did you mean memoryLimit?");
  refuse(() => matmul(eye(2), eye(2), { variant: "best" }), "argument", 'variant "best"', "naive");
});

test("tensors on different devices", () => {
  const [one, other] = found.map(({ device }) => device);
  if (!one || !other) return; // on a machine without a GPU there is nothing to mix
  const [a, b] = [zeros([2, 2], { device: one }), zeros([2, 2], { device: other })];
  for (const op of [() => a.add(b), () => matmul(a, b), () => linear(a, b), () => mseLoss(a, b)]) {
    refuse(op, "device", one, other, `to("${one}")`);
  }
  refuse(() => crossEntropy(a, int(0, 1).to(other)), "device", one, other);
  refuse(() => gatherRows(b, int(0).to(one)), "device", one, other);
  refuse(() => a.copyFrom(b), "shape", one, other);
  refuse(() => new data.TensorDataset(a, b), "device", one, other);
});

test("devices that there are not", () => {
  refuse(() => init({ device: "gpu" as "cuda" }), "argument", "gpu", '"cpu", "cuda" or "cuda:N"');
  const gpus = found.filter(({ device }) => device !== "cpu").length;
  const error = assertThrows(() => zeros([1], { device: "cuda:77" }), CudenoError);
  assert(["device", "library"].includes(error.code), error.code);
  assertStringIncludes(error.message, "cuda");
  if (gpus === 0) {
    const chosen = zeros([1]).device;
    const none = assertThrows(() => init({ device: "cuda" }), CudenoError);
    assert(["device", "library"].includes(none.code), none.code);
    assertEquals(zeros([1]).device, chosen);
    assertEquals(init().device, "cpu");
  }
});

for (const { device } of found) {
  test(`an index out of range is reported by the next read on ${device}, once`, async () => {
    const rows = ones([3, 2], { device });
    const index = (...values: number[]) => tensor(values, { dtype: "int32", device });
    const logits = zeros([2, 3], { device });
    const ops = {
      gatherRows: (bad: number) => gatherRows(rows, index(0, bad)),
      crossEntropy: (bad: number) => crossEntropy(logits, index(bad, 0)),
    };
    for (const [name, op] of Object.entries(ops)) {
      for (const bad of [3, -1, 2 ** 31 - 1]) {
        const wanted: Wanted = ["index", name, `is ${bad};`, "0..2"];
        const y = op(bad);
        refuse(() => y.dataSync(), ...wanted);
        op(bad);
        await reject(() => rows.data(), ...wanted);
        op(bad);
        await reject(() => synchronize(device), ...wanted);
        assertEquals([...rows.dataSync()], [1, 1, 1, 1, 1, 1]);
        await synchronize(device);
        assert(op(2).dataSync().every(Number.isFinite));
      }
    }
  });
}

cleanTest(
  "Trainer: options that it does not know are refused, with the one that was meant",
  async () => {
    const { model, loss, trainer } = network();
    const set = xor();
    const wrong = (options: object) => options as { epochs?: number };
    await assertRejects(
      () => trainer.fit(set, wrong({ batchsize: 4 })),
      ArgumentError,
      "there is no option batchsize; did you mean batchSize?",
    );
    await assertRejects(() => trainer.fit(set, wrong({ epoch: 4 })), ArgumentError, "epochs?");
    await assertRejects(
      () => trainer.evaluate(set, { size: 1 } as object),
      ArgumentError,
      "The options are batchSize",
    );
    const misspelt = { loss, optimiser: null } as { loss: nn.Loss };
    assertThrows(() => new Trainer(model, misspelt), ArgumentError, "did you mean optimizer?");
    const metrics = ["acuracy" as "accuracy"];
    assertThrows(
      () => new Trainer(model, { loss, metrics }),
      ArgumentError,
      'metrics[0] is "acuracy"',
    );
    const error = await assertRejects(
      () => trainer.fit(set, wrong({ zzzzzzzzzz: 1 })),
      ArgumentError,
    );
    assert(error.message.includes("zzzzzzzzzz. The options are"), error.message);
  },
);

cleanTest("Trainer: values that it cannot use are refused before anything is trained", async () => {
  const { model, loss, trainer } = network();
  const set = xor();
  const snapshot = () => model.parameters().map((p) => p.dataSync());
  const weights = snapshot();
  for (const epochs of [-1, 1.5, NaN]) {
    await assertRejects(() => trainer.fit(set, { epochs }), ArgumentError, `epochs is ${epochs}`);
  }
  for (const batchSize of [0, -1, 1.5, NaN]) {
    const options = { batchSize, callbacks: [] };
    await assertRejects(
      () => trainer.fit(set, options),
      ArgumentError,
      `batchSize is ${batchSize}`,
    );
  }
  const empty = new data.TensorDataset(zeros([0, 2]), zeros([0], { dtype: "int32" }));
  await assertRejects(
    () => trainer.fit(empty, { callbacks: [] }),
    ArgumentError,
    "the data set is empty",
  );
  await assertRejects(() => trainer.evaluate(empty), ArgumentError, "the data set is empty");
  await assertRejects(
    () => trainer.fit(set, { validation: empty, callbacks: [] }),
    ArgumentError,
    "empty",
  );
  const blind = new Trainer(model, { loss });
  await assertRejects(
    () => blind.fit(set, { callbacks: [] }),
    ArgumentError,
    "without an optimizer",
  );
  assertEquals(snapshot(), weights);
});
