// Whole training runs against PyTorch's, recorded by tests/fixtures/make_torch_runs.py.
import { assert, assertEquals } from "@std/assert";
import { devices, io, nn, optim, scope, type Tensor } from "../../mod.ts";
import { part, type Place, testRuns, within } from "../_runs.ts";

const folder = new URL("../fixtures/", import.meta.url);

interface Run {
  model: (options: nn.LinearOptions) => nn.Sequential;
  loss: nn.Loss;
  sgd: optim.SGDOptions;
  /** The sizes of the batches, taken in turn. */
  batches: number[];
}

const reluModel = (options: nn.LinearOptions) =>
  new nn.Sequential(new nn.Linear(5, 7, options), new nn.ReLU(), new nn.Linear(7, 3, options));
const smoothModel = (options: nn.LinearOptions) =>
  new nn.Sequential(
    new nn.Linear(5, 7, options),
    new nn.Tanh(),
    new nn.Linear(7, 3, options),
    new nn.Sigmoid(),
  );

const normModel = (options: nn.LinearOptions) => {
  const { dtype, device } = options;
  const place = { ...(dtype && { dtype }), ...(device && { device }) };
  return new nn.Sequential(
    new nn.Linear(5, 8, options),
    new nn.LayerNorm(8, place),
    new nn.GELU(),
    new nn.Dropout({ p: 0 }),
    new nn.Linear(8, 6, options),
    new nn.LayerNorm(6, place),
    new nn.SiLU(),
    new nn.Linear(6, 3, options),
  );
};

const runs: Record<string, Run> = {
  relu_cross_entropy_nesterov: {
    model: reluModel,
    loss: new nn.CrossEntropyLoss(),
    sgd: { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 1e-3 },
    batches: [6],
  },
  tanh_sigmoid_mse_dampening: {
    model: smoothModel,
    loss: new nn.MSELoss(),
    sgd: { lr: 0.5, momentum: 0.9, dampening: 0.5 },
    batches: [6],
  },
  relu_cross_entropy_plain: {
    model: reluModel,
    loss: new nn.CrossEntropyLoss(),
    sgd: { lr: 0.2 },
    batches: [6],
  },
  uneven_last_batch: {
    model: reluModel,
    loss: new nn.CrossEntropyLoss(),
    sgd: { lr: 0.1, momentum: 0.9 },
    batches: [7, 2],
  },
  layer_norm_mlp: {
    model: normModel,
    loss: new nn.CrossEntropyLoss(),
    sgd: { lr: 0.1, momentum: 0.9, weightDecay: 1e-3 },
    batches: [6],
  },
};

// The numbers are of order 1. float32 rounds to 6e-8; eight steps add some up.
const assertNear = within({ float32: 1e-6, float64: 1e-12 });

function replay(run: Run, recorded: nn.StateDict, place: Place) {
  const model = run.model({ bias: true, ...place });
  model.loadStateDict(part(recorded, "initial."));
  const optimizer = new optim.SGD(model.parameters(), run.sgd);
  const losses = recorded.losses!.dataSync();
  let begin = 0;
  for (let step = 0; step < losses.length; step++) {
    const size = run.batches[step % run.batches.length]!;
    scope(() => {
      const batch = (x: Tensor) =>
        x.view(begin * x.size / x.shape[0]!, [size, ...x.shape.slice(1)]);
      const output = model.forward(batch(recorded.inputs!));
      const loss = run.loss.forward(output, batch(recorded.targets!));
      assertNear(loss, recorded.losses!.view(step, []), `loss of step ${step}`);
      optimizer.zeroGrad();
      loss.backward();
    });
    const when = step === 0 ? "first" : step === losses.length - 1 ? "last" : undefined;
    if (when) {
      for (const [name, p] of model.namedParameters()) {
        assertNear(p.grad!, recorded[`${when}.${name}`]!, `${when} gradient of ${name}`);
      }
    }
    optimizer.step();
    begin += size;
  }
  assertEquals(begin, recorded.inputs!.shape[0]);
  for (const [name, p] of model.namedParameters()) {
    assertNear(p, recorded[`final.${name}`]!, `final ${name}`);
  }
  model.dispose();
  optimizer.dispose();
}

testRuns(runs, replay);

for (const { device } of devices()) {
  Deno.test(`torch: a state dict of PyTorch's loads on ${device} without renaming`, async () => {
    const state = await io.loadSafetensors(new URL("model.safetensors", folder), { device });
    assertEquals(Object.keys(state).sort(), ["0.bias", "0.weight", "2.bias", "2.weight"]);
    const model = reluModel({ device });
    assertEquals(model.loadStateDict(state), { missing: [], unexpected: [] });
    for (const [name, x] of Object.entries(model.stateDict())) {
      assertEquals(x.dataSync(), state[name]!.dataSync(), name);
      assert(x.requiresGrad, name);
    }
    for (const x of Object.values(state)) x.dispose();
    model.dispose();
  });
}

Deno.test("torch: a state dict is saved byte by byte as PyTorch's safetensors does", async () => {
  const file = await Deno.readFile(new URL("model.safetensors", folder));
  const state = io.fromSafetensors(file);
  const model = reluModel({});
  model.loadStateDict(state);
  assertEquals(await io.toSafetensors(model.stateDict()), file);
  for (const x of Object.values(state)) x.dispose();
  model.dispose();
});
