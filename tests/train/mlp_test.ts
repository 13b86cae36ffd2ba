// Steps of a perceptron in one native call, against the same steps one operation after another.
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  type DeviceName,
  manualSeed,
  nn,
  optim,
  rand,
  randint,
  randn,
  scope,
  type Tensor,
  tensor,
} from "../../mod.ts";
import { fitsMlp, type Mlp, type MlpData, trainMlp, trainsMlp } from "../../lib/train/_mlp.ts";
import { deviceTest, later } from "../_helpers.ts";

interface Net {
  inputs: number;
  hidden: number;
  classes: number;
  options?: Partial<optim.SGDOptions>;
}

function network(device: DeviceName, { inputs, hidden, classes, options }: Net) {
  const model = later(
    new nn.Sequential(
      new nn.Flatten(),
      new nn.Linear(inputs, hidden, { device }),
      new nn.ReLU(),
      new nn.Linear(hidden, classes, { device }),
    ),
  );
  const optimizer = later(new optim.SGD(model.parameters(), { lr: 0.1, ...options }));
  const mlp = trainsMlp(model, new nn.CrossEntropyLoss(), optimizer);
  assert(mlp);
  return { model, optimizer, mlp };
}

/**
 * Two networks that begin alike, and alike each time: where a hidden unit's sum is nearly 0,
 * rounding decides whether it is passed on, which no tolerance of sums covers.
 */
function twins(device: DeviceName, net: Net) {
  manualSeed(1);
  const ours = network(device, net), theirs = network(device, net);
  theirs.model.loadStateDict(ours.model.stateDict());
  return { ours, theirs };
}

function samples(
  device: DeviceName,
  n: number,
  { inputs, classes }: Net,
  steps: number,
  batch: number,
) {
  return {
    x: randint(0, 256, [n, inputs], { device }).to("uint8"),
    scale: tensor([2 / 255], { device }),
    shift: tensor([-1], { device }),
    target: randint(0, classes, [n], { device }),
    order: randint(0, n, [steps * batch], { device }),
    batchSize: batch,
  };
}

/** The general path: gather, normalise, forward, backward, step. */
async function eager(
  { model, optimizer }: ReturnType<typeof network>,
  { x, target, order, batchSize, rates, scale, shift }: MlpData,
) {
  const losses: number[] = [], correct: number[] = [];
  for (let t = 0; t < order.size / batchSize; t++) {
    await scope(async () => {
      if (rates) optimizer.lr = rates[t]!;
      const index = order.view(t * batchSize, [batchSize]);
      let rows = x.indexSelect(0, index).to("float32").reshape([batchSize, -1]);
      if (scale) rows = rows.mul(scale);
      if (shift) rows = rows.add(shift);
      const y = target.indexSelect(0, index);
      const scores = model.forward(rows);
      const loss = new nn.CrossEntropyLoss().forward(scores, y);
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
      losses.push(await loss.item());
      correct.push(await scores.argmax(1).eq(y).sum().item());
    });
  }
  return { losses, correct };
}

async function close(actual: Tensor, expected: Tensor | number[], tolerance: number, what: string) {
  const a = await actual.data(), b = expected instanceof Array ? expected : await expected.data();
  assertEquals(a.length, b.length, what);
  let scale = 1e-3;
  for (const v of b) scale = Math.max(scale, Math.abs(Number(v)));
  for (let i = 0; i < a.length; i++) {
    const off = Math.abs(Number(a[i]) - Number(b[i]));
    assert(off <= tolerance * scale, `${what} [${i}]: ${a[i]}, not ${b[i]}`);
  }
}

/** All parameters and velocities, and the clocks. */
async function alike(
  ours: ReturnType<typeof network>,
  theirs: ReturnType<typeof network>,
  tolerance: number,
) {
  const [a, b] = [ours.optimizer.stateDict(), theirs.optimizer.stateDict()];
  assertEquals(a.numbers, b.numbers);
  assertEquals(Object.keys(a.tensors), Object.keys(b.tensors));
  for (const [name, x] of Object.entries(a.tensors)) {
    await close(x, b.tensors[name]!, tolerance, name);
  }
  const [p, q] = [ours.model.stateDict(), theirs.model.stateDict()];
  for (const [name, x] of Object.entries(p)) await close(x, q[name]!, tolerance, name);
}

/** Whether the device takes it; what a GPU does not hold is trained elsewhere. */
function held(mlp: Mlp, data: MlpData): boolean {
  if (fitsMlp(mlp, data)) return true;
  assert(data.x.device !== "cpu");
  return false;
}

const nets: (Net & { steps: number; batch: number })[] = [
  { inputs: 784, hidden: 128, classes: 10, steps: 6, batch: 64, options: { momentum: 0.9 } },
  { inputs: 784, hidden: 128, classes: 10, steps: 5, batch: 128 },
  {
    inputs: 784,
    hidden: 256,
    classes: 10,
    steps: 3,
    batch: 128,
    options: { momentum: 0.9, nesterov: true },
  },
  {
    inputs: 1024,
    hidden: 256,
    classes: 32,
    steps: 4,
    batch: 32,
    options: { momentum: 0.5, weightDecay: 1e-2 },
  },
  { inputs: 5, hidden: 3, classes: 2, steps: 9, batch: 1, options: { momentum: 0.9 } },
  {
    inputs: 33,
    hidden: 37,
    classes: 7,
    steps: 7,
    batch: 19,
    options: { momentum: 0.9, weightDecay: 1e-3, nesterov: true },
  },
  { inputs: 129, hidden: 65, classes: 33, steps: 5, batch: 77, options: { weightDecay: 0.1 } },
  { inputs: 1, hidden: 1, classes: 1, steps: 3, batch: 3 },
];
for (const [net, dtype] of nets.flatMap((n) => [[n, "uint8"], [n, "float32"]] as const)) {
  const { inputs, hidden, classes, steps, batch } = net;
  const name = `${inputs}-${hidden}-${classes}, batches of ${batch}, ${dtype}`;
  deviceTest(`mlp: ${name}: as operations one by one`, async (device) => {
    const { ours, theirs } = twins(device, net);
    const rates = Float32Array.from({ length: steps }, (_, t) => 0.1 / (1 + t));
    const bytes = { ...samples(device, 200, net, steps, batch), rates };
    const floats = { ...bytes, x: randn([200, inputs], { device }), scale: null, shift: null };
    const data = dtype === "uint8" ? bytes : floats;
    if (!held(ours.mlp, data)) return;
    const result = trainMlp(ours.mlp, data);
    const expected = await eager(theirs, data);
    await close(result.losses, expected.losses, 1e-5, "losses");
    await close(result.correct, expected.correct, 0, "correct");
    // the optimizer goes on from there
    theirs.optimizer.lr = ours.optimizer.lr = 0.05;
    await eager(ours, { ...data, rates: undefined });
    await eager(theirs, { ...data, rates: undefined });
    await alike(ours, theirs, 2e-5);
  });
}

for (const kind of ["alone", "by features", "without a shift"]) {
  deviceTest(`mlp: bytes, normalised ${kind}`, async (device) => {
    const net = { inputs: 50, hidden: 24, classes: 5, options: { momentum: 0.9 } };
    const { ours, theirs } = twins(device, net);
    const number = (by: number) => tensor([by], { device });
    const data = {
      ...samples(device, 90, net, 8, 30),
      x: randint(0, 256, [90, 5, 10], { device }).to("uint8"),
      scale: kind === "by features" ? rand([50], { device }).mul(0.01) : number(1 / 255),
      shift: kind === "alone"
        ? number(-0.5)
        : kind === "by features"
        ? randn([50], { device })
        : null,
    };
    if (!held(ours.mlp, data)) return;
    const result = trainMlp(ours.mlp, data);
    const expected = await eager(theirs, data);
    await close(result.losses, expected.losses, 1e-5, "losses");
    await alike(ours, theirs, 2e-5);
  });
}

deviceTest("mlp: the same bits each time, whatever the pieces", async (device) => {
  const net = { inputs: 100, hidden: 40, classes: 10, options: { momentum: 0.9 } };
  const { ours, theirs } = twins(device, net);
  const data = samples(device, 100, net, 12, 20);
  if (!held(ours.mlp, data)) return;
  trainMlp(ours.mlp, data);
  for (const [first, steps] of [[0, 5], [5, 1], [6, 6]] as const) {
    trainMlp(theirs.mlp, { ...data, order: data.order.view(first * 20, [steps * 20]) });
  }
  await alike(ours, theirs, 0);
});

deviceTest("mlp: ignored targets do not count", async (device) => {
  const net = { inputs: 12, hidden: 9, classes: 4 };
  const { ours, theirs } = twins(device, net);
  const target = tensor(Array.from({ length: 40 }, (_, i) => i % 3 ? i % 4 : -100), {
    dtype: "int32",
    device,
  });
  const data = { ...samples(device, 40, net, 5, 10), target };
  if (!held(ours.mlp, data)) return;
  const result = trainMlp(ours.mlp, data);
  await close(result.losses, (await eager(theirs, data)).losses, 1e-5, "losses");
  await alike(ours, theirs, 2e-5);
});

deviceTest("mlp: bad targets and numbers are told of, and read nothing else", async (device) => {
  const net = { inputs: 20, hidden: 16, classes: 3, options: { momentum: 0.9 } };
  for (const [of, at] of [["target", 3], ["target", -1], ["order", 40], ["order", -7]] as const) {
    const { mlp } = network(device, net);
    const good = samples(device, 40, net, 2, 10);
    const data = { ...good, [of]: good[of].clone() };
    data[of].copyFrom(Int32Array.from({ length: data[of].size }, (_, i) => i === 13 ? at : i % 3));
    if (of === "target") data.order.copyFrom(Int32Array.from({ length: 20 }, (_, i) => i));
    if (!held(mlp, data)) return;
    const { losses } = trainMlp(mlp, data);
    await assertRejects(() => losses.data(), Error, `${at}`);
    const [first, second] = await losses.data();
    assert(Number.isFinite(first) && Number.isNaN(second), `${first}, ${second}`);
    for (const p of mlp.params) assert((await p.data()).every(Number.isFinite));
  }
});

deviceTest("mlp: NaN goes everywhere it would", async (device) => {
  const net = { inputs: 20, hidden: 16, classes: 3 };
  const { mlp } = network(device, net);
  const good = samples(device, 40, net, 2, 20);
  const [weight] = mlp.params, values = Array.from(await weight!.data(), Number);
  weight!.copyFrom(Float32Array.from(values, (v, i) => i === 205 ? NaN : v));
  const data = {
    ...good,
    order: tensor(Array.from({ length: 40 }, (_, i) => i), { dtype: "int32", device }),
  };
  if (!held(mlp, data)) return;
  const losses = await trainMlp(mlp, data).losses.data();
  assert(losses.every(Number.isNaN));
  const [w1, b1, w2, b2] = await Promise.all(mlp.params.map((p) => p.data()));
  for (const w of [w1, b1, w2, b2]) assert(w!.some((v) => Number.isNaN(v)));
  assert(b2!.every((v) => Number.isNaN(v)));
});

deviceTest("mlp: what is not of this form is not recognised", (device) => {
  const options = { device };
  const parts = () => [new nn.Linear(4, 3, options), new nn.ReLU(), new nn.Linear(3, 2, options)];
  const loss = new nn.CrossEntropyLoss();
  const trained = (
    modules: nn.Module[],
    sgd: Partial<optim.SGDOptions> = {},
    by: unknown = loss,
  ) => {
    const model = later(new nn.Sequential(modules));
    return !!trainsMlp(model, by, later(new optim.SGD(model.parameters(), { lr: 1, ...sgd })));
  };
  assert(trained(parts()));
  assert(trained([new nn.Flatten(), ...parts()], { momentum: 0.9, nesterov: true }));
  assert(!trained([new nn.Flatten(0), ...parts()]));
  assert(!trained([...parts(), new nn.ReLU()]));
  assert(!trained(parts(), { momentum: 0.9, dampening: 0.1 }));
  assert(!trained(parts(), { maximize: true }));
  assert(!trained(parts(), {}, new nn.CrossEntropyLoss({ labelSmoothing: 0.1 })));
  assert(!trained(parts(), {}, new nn.MSELoss()));
  const plain = (bias: boolean) => new nn.Linear(4, 4, { bias, device });
  assert(!trained([plain(true), new nn.ReLU(), plain(false)]));
  const hooked = parts();
  hooked[1]!.registerForwardHook(() => {});
  assert(!trained(hooked));
  const model = later(new nn.Sequential(parts()));
  assert(!trainsMlp(model, loss, later(new optim.Adam(model.parameters()))));
  assert(!trainsMlp(model, loss, later(new optim.SGD(model.parameters().slice(1), { lr: 1 }))));
});
