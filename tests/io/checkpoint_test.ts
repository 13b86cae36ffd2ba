// Whole trainings through one file: they go on bit for bit, and nothing is changed by a file that
// does not fit.
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  ArgumentError,
  CudenoError,
  DataError,
  dropout,
  DTypeError,
  io,
  memory,
  nn,
  optim,
  rand,
  randn,
  scope,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from "../../mod.ts";
import { limits } from "../../lib/io/_stored.ts";
import { cleanTest, inFolder, later } from "../_helpers.ts";

function test(name: string, fn: (folder: string) => void | Promise<void>) {
  cleanTest(`checkpoint: ${name}`, () => inFolder(fn));
}

type Params = Tensor[];
type Make<T> = (of: T) => optim.schedule.Schedule;

const { schedule } = optim;
const optimizers: Record<string, (params: Params) => optim.Optimizer> = {
  SGD: (p) => new optim.SGD(p, { lr: 0.1, momentum: 0.9, nesterov: true }),
  Adam: (p) => new optim.Adam(p, { lr: 0.01 }),
  AMSGrad: (p) => new optim.Adam(p, { lr: 0.01, amsgrad: true }),
  AdamW: (p) => new optim.AdamW([{ params: p.slice(0, 2), lr: 0.02 }, { params: p.slice(2) }]),
  NAdam: (p) => new optim.NAdam(p, { lr: 0.01 }),
  RMSprop: (p) => new optim.RMSprop(p, { lr: 0.01, momentum: 0.5, centered: true }),
  Adagrad: (p) => new optim.Adagrad(p, { lr: 0.01 }),
  Muon: (p) => {
    for (const x of p) x.requiresGrad = x.rank === 2;
    return new optim.Muon(p.filter((x) => x.requiresGrad), { lr: 0.01 });
  },
};

const schedules: Record<string, Make<optim.Optimizer>> = {
  StepLR: (o) => new schedule.StepLR(o, { stepSize: 2 }),
  MultiStepLR: (o) => new schedule.MultiStepLR(o, { milestones: [2, 4] }),
  ExponentialLR: (o) => new schedule.ExponentialLR(o, { gamma: 0.9 }),
  PolynomialLR: (o) => new schedule.PolynomialLR(o, { totalIters: 6 }),
  LinearLR: (o) => new schedule.LinearLR(o),
  LinearWarmup: (o) => new schedule.LinearWarmup(o, { steps: 4 }),
  CosineAnnealingLR: (o) => new schedule.CosineAnnealingLR(o, { tMax: 5 }),
  CosineAnnealingWarmRestarts: (o) => new schedule.CosineAnnealingWarmRestarts(o, { t0: 2 }),
  OneCycleLR: (o) => new schedule.OneCycleLR(o, { maxLr: 0.1, totalSteps: 8 }),
  ReduceLROnPlateau: (o) => new schedule.ReduceLROnPlateau(o, { patience: 0 }),
  LambdaLR: (o) => new schedule.LambdaLR(o, { lrLambda: (t) => 1 / (t + 1) }),
  ChainedScheduler: (o) =>
    new schedule.ChainedScheduler([
      new schedule.LinearLR(o),
      new schedule.ExponentialLR(o, { gamma: 0.7 }),
    ]),
  SequentialLR: (o) =>
    new schedule.SequentialLR([
      new schedule.LinearLR(o),
      new schedule.ExponentialLR(o, { gamma: 0.7 }),
    ], { milestones: [2] }),
};

/** A training of which each part matters: random inputs, dropout, norms, a scale that grows. */
function training(optimizerName = "Adam", scheduleName = "StepLR") {
  const model = later(
    new nn.Sequential(new nn.Linear(3, 4), new nn.BatchNorm1d(4), new nn.Linear(4, 2)),
  );
  const optimizer = later(optimizers[optimizerName]!(model.parameters()));
  const schedule = schedules[scheduleName]!(optimizer);
  const scaler = later(new optim.GradScaler({ initScale: 8, growthInterval: 2 }));
  const ema = later(new optim.EMA(model, { decay: 0.9 }));
  const parts = { model, optimizer, schedule, scaler, ema };
  const step = () =>
    scope(() => {
      const loss = dropout(model.forward(randn([5, 3])), { p: 0.3 }).pow(2).mean();
      optimizer.zeroGrad();
      scaler.scale(loss).backward();
      scaler.step(optimizer);
      scaler.update();
      ema.update(scaler);
      schedule.step(loss.itemSync());
    });
  const bits = () => [
    ...[model.stateDict(), optimizer.stateDict().tensors, ema.stateDict().tensors].map((state) =>
      Object.entries(state).map(([name, x]) => [name, [...x.dataSync()]]).sort()
    ),
    optimizer.stateDict().numbers,
    optimizer.stateDict().groups,
    schedule.stateDict(),
    scaler.stateDict(),
    ema.updates,
    scope(() => [...rand([2]).dataSync()]),
  ];
  return { parts, step, bits, ...parts };
}

test("every optimizer and schedule goes on bit for bit", async (folder) => {
  const path = `${folder}/last.safetensors`;
  const pairs = [
    ...Object.keys(optimizers).map((name) => [name, "StepLR"]),
    ...Object.keys(schedules).map((name) => ["Adam", name]),
  ];
  for (const [optimizer, schedule] of pairs) {
    const one = training(optimizer, schedule);
    for (let i = 0; i < 3; i++) one.step();
    await io.saveCheckpoint(path, { ...one.parts, state: { i: 3 } });
    for (let i = 0; i < 3; i++) one.step();
    const wanted = one.bits();
    const other = training(optimizer, schedule);
    for (let i = 0; i < 2; i++) other.step(); // what was there before is gone
    assertEquals((await io.loadCheckpoint(path, other.parts)).state, { i: 3 });
    for (let i = 0; i < 3; i++) other.step();
    assertEquals(other.bits(), wanted, `${optimizer} ${schedule}`);
  }
});

test("saving takes all as it is at the call; a larger one must be awaited", async (folder) => {
  const path = `${folder}/w`;
  const one = training();
  one.step();
  const wanted = one.bits().slice(0, -1);
  const saving = io.saveCheckpoint(path, one.parts);
  one.step();
  await saving;
  await io.loadCheckpoint(path, one.parts);
  assertEquals(one.bits().slice(0, -1), wanted);
  const { atOnce } = limits;
  try {
    limits.atOnce = 0;
    const late = io.saveCheckpoint(path, one.parts);
    one.step();
    await assertRejects(() => late, ArgumentError, "await saveCheckpoint() first");
    await io.loadCheckpoint(path, one.parts);
    assertEquals(one.bits().slice(0, -1), wanted);
    one.step();
    await io.saveCheckpoint(path, one.parts);
  } finally {
    limits.atOnce = atOnce;
  }
  const after = one.bits().slice(0, -1);
  await io.loadCheckpoint(path, one.parts);
  assertEquals(one.bits().slice(0, -1), after);
});

test("state is kept exactly, tensors in place or new, random numbers or not", async (folder) => {
  const path = `${folder}/w`;
  const state = {
    numbers: [NaN, Infinity, -Infinity, -0, 0, 0.1, 5e-324, 1.7976931348623157e308],
    big: [-(2n ** 70n), 0n],
    nested: { $: "NaN", deep: { $: { $: -0 } }, list: [null, true, [], {}] },
    text: "\ud800 \u0000 ü \u{1f600}",
    ...JSON.parse('{ "__proto__": 1, "": { "__proto__": 2 } }'),
  };
  const w = tensor([1, -0, NaN]);
  const half = tensor([1, 2], { dtype: "bfloat16" });
  await io.saveCheckpoint(path, { tensors: { w, half, none: zeros([0, 2]) }, state });
  const next = rand([4]).dataSync();
  w.fill(7);
  const back = await io.loadCheckpoint<typeof state>(path, { tensors: { w } });
  assertEquals(back.state, state);
  assert(Object.is(back.state.numbers[3], -0) && Object.is(back.state.nested.deep.$.$, -0));
  assertEquals(Object.keys(back.state), Object.keys(state));
  assert(back.tensors["w"] === w && Object.is(w.dataSync()[1], -0));
  assertEquals(back.tensors["half"]!.dtype, "bfloat16");
  assertEquals(back.tensors["none"]!.shape, [0, 2]);
  assertEquals(rand([4]).dataSync(), next);
  await io.loadCheckpoint(path, { random: false });
  assert(rand([4]).dataSync()[0] !== next[0]);

  await io.saveCheckpoint(path, { random: false });
  assertEquals(await io.loadCheckpoint(path, {}), { state: undefined, tensors: {} });
  await assertRejects(() => io.loadCheckpoint(path, { random: true }), ArgumentError, "no part");
  await io.saveCheckpoint(path, { state: null });
  assertEquals((await io.loadCheckpoint(path, {})).state, null);
});

test("what cannot be saved is refused before anything is written", async (folder) => {
  const path = `${folder}/w`;
  const round: unknown[] = [];
  round.push(round);
  const cases: [unknown, string][] = [
    [{ at: new Date(0) }, "parts.state.at is a Date"],
    [{ list: [1, new Float32Array(2)] }, "parts.state.list[1] is a Float32Array"],
    [() => 1, "parts.state is the function"],
    [[undefined], "parts.state[0] is undefined"],
    [new Map(), "parts.state is a Map"],
    [round, "holds itself"],
  ];
  for (const [state, message] of cases) {
    await assertRejects(() => io.saveCheckpoint(path, { state }), ArgumentError, message);
  }
  const one = training();
  const wrong: [object, string][] = [
    [{ modell: one.model }, "did you mean model?"],
    [{ model: one.model.stateDict() }, "model is"],
    [{ optimizer: optim.Adam }, "the class Adam"],
    [{ random: 1 }, "random is 1"],
    [{ optimizer: training().optimizer, schedule: one.schedule }, "of another optimizer"],
  ];
  for (const [parts, message] of wrong) {
    await assertRejects(() => io.saveCheckpoint(path, parts), ArgumentError, message);
    await assertRejects(() => io.loadCheckpoint(path, parts), ArgumentError, message);
  }
  one.ema.apply();
  await assertRejects(() => io.saveCheckpoint(path, one.parts), ArgumentError, "restore()");
  assertEquals([...Deno.readDirSync(folder)], []);
});

test("a file that does not fit is refused, and changes nothing", async (folder) => {
  const path = `${folder}/w`;
  const one = training();
  one.step();
  const before = one.bits().slice(0, -1);
  const small = later(new nn.Linear(2, 2));
  const other = (layer: nn.Module) => later(new nn.Sequential(layer));
  type Case = [
    save: io.CheckpointContents,
    load: io.CheckpointParts,
    error: new (message: string) => CudenoError,
    text: string,
  ];
  const like = (model: nn.Module) => later(new optim.EMA(model));
  const halved = other(new nn.Linear(2, 2));
  halved.loadStateDict({ "0.weight": zeros([2, 2]), "0.bias": zeros([2]) });
  const cases: Case[] = [
    [{ model: small }, { model: one.model }, ArgumentError, "missing there are [0.weight, 0.bias"],
    [{ model: small }, one.parts, ArgumentError, "has model, random; asked for are model, optim"],
    [
      { model: other(new nn.Linear(3, 2)) },
      { model: halved },
      ShapeError,
      "model.0.weight is [2, 3]",
    ],
    [
      { tensors: { w: zeros([2]) } },
      { tensors: { w: zeros([2], { dtype: "float64" }) } },
      DTypeError,
      "tensors.w is float32 there; wanted is float64",
    ],
    [
      { tensors: { w: zeros([2]) } },
      { tensors: { v: zeros([2]) } },
      ArgumentError,
      "missing there are [v]",
    ],
    [
      { optimizer: training("SGD").optimizer },
      { optimizer: one.optimizer },
      ArgumentError,
      "the optimizer SGD; given is Adam",
    ],
    [
      { optimizer: later(new optim.Adam(small.parameters())) },
      { optimizer: one.optimizer, model: undefined },
      ArgumentError,
      "groups with [2] parameters",
    ],
    [
      { schedule: training("Adam", "LinearLR").schedule },
      { schedule: one.schedule },
      ArgumentError,
      "the schedule LinearLR",
    ],
    [{ ema: like(small) }, { ema: one.ema }, ArgumentError, "missing there are [2, 3"],
  ];
  for (const [save, load, error, text] of cases) {
    await io.saveCheckpoint(path, save);
    const random = rand([1]).itemSync();
    assert(random >= 0);
    const { tensors } = memory();
    const { message } = await assertRejects(
      () => io.loadCheckpoint(path, load),
      error,
    );
    assertStringIncludes(message, text);
    assertEquals(memory().tensors, tensors);
    assertEquals(one.bits().slice(0, -1), before, text);
  }
});

test("foreign, damaged and cut files are refused, and change nothing", async (folder) => {
  const path = `${folder}/w`;
  const one = training();
  one.step();
  await io.saveSafetensors(path, one.model.stateDict());
  const load = () => io.loadCheckpoint(path, one.parts);
  await assertRejects(load, DataError, "is no checkpoint");
  await io.saveSafetensors(path, {}, { metadata: { "cudeno.checkpoint": '{"version":2}' } });
  await assertRejects(load, DataError, "of version 2; this library reads version 1");
  for (const text of ["", "[]", '{"version":1,"model":5}', '{"$":"x"}', "[".repeat(5000)]) {
    await io.saveSafetensors(path, {}, { metadata: { "cudeno.checkpoint": text } });
    await assertRejects(load, DataError);
  }
  await io.saveCheckpoint(path, one.parts);
  await load();
  const good = await Deno.readFile(path);
  const before = JSON.stringify(one.bits().slice(0, -1));
  const { tensors } = memory();
  const text = new TextDecoder("latin1").decode(good);
  const header = text.indexOf("}}", text.indexOf("data_offsets"));
  let refused = 0;
  for (let i = 0; i < 700; i++) {
    // bytes of the metadata and of the entries; each fourth file is cut
    const bytes = good.slice(0, i % 4 ? undefined : i * good.length / 700);
    if (i % 4) bytes[8 + (i * 37) % header]! ^= 1 << (i % 7);
    await Deno.writeFile(path, bytes);
    try {
      await load();
    } catch (error) {
      if (!(error instanceof CudenoError)) throw error;
      assert(error.message.length < 2000);
      assertEquals(JSON.stringify(one.bits().slice(0, -1)), before, `round ${i}: ${error}`);
      refused++;
    }
    await Deno.writeFile(path, good);
    await load();
    assertEquals(memory().tensors, tensors, `round ${i}`);
  }
  assert(refused > 500, `${refused} refused`);
  assertEquals(JSON.stringify(one.bits().slice(0, -1)), before);
});

test("a place that is full or read-only leaves the old file", async (folder) => {
  const path = `${folder}/w`;
  const one = training();
  await io.saveCheckpoint(path, one.parts);
  const old = await Deno.readFile(path);
  one.step();
  const { write } = Deno.FsFile.prototype;
  Deno.FsFile.prototype.write = function (bytes) { // one piece, and no more
    if (bytes.length < 50) throw new Error("No space left on device (os error 28)");
    return write.call(this, bytes);
  };
  try {
    const save = () => io.saveCheckpoint(path, one.parts);
    await assertRejects(save, DataError, "cannot be written: No space left");
  } finally {
    Deno.FsFile.prototype.write = write;
  }
  assertEquals(await Deno.readFile(path), old);
  assertEquals(Array.from(Deno.readDirSync(folder), ({ name }) => name), ["w"]);
  for (const place of ["/proc/w.safetensors", `${folder}/none/w`, `${path}/w`]) {
    await assertRejects(() => io.saveCheckpoint(place, one.parts), DataError, "cannot be written");
  }
});
