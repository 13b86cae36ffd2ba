// TerminateOnNaN: which step, which layer, which operation; and that nothing was changed by it.
import { assert, assertEquals } from "@std/assert";
import {
  callbacks,
  data,
  manualSeed,
  mseLoss,
  nn,
  ones,
  optim,
  rand,
  type Tensor,
  tensor,
  Trainer,
  zeros,
} from "../../mod.ts";
import { cleanTest, later } from "../_helpers.ts";

const test = (name: string, fn: () => Promise<void>) => cleanTest(`TerminateOnNaN: ${name}`, fn);

class Root extends nn.Module {
  inner = new nn.Linear(2, 3);
  override forward(x: Tensor): Tensor {
    return this.inner.forward(x).sqrt();
  }
}

class Log extends nn.Module {
  override forward(x: Tensor): Tensor {
    return x.log();
  }
}

async function stopped(
  model: nn.Module,
  set: data.Dataset,
  options: object = {},
  lr = 0.1,
  more: object = {},
) {
  const optimizer = later(new optim.SGD(model.parameters(), { lr }));
  const trainer = new Trainer(model, { loss: new nn.MSELoss(), optimizer, ...more });
  const history = await trainer.fit(set, {
    batchSize: 4,
    shuffle: false,
    callbacks: [new callbacks.TerminateOnNaN()],
    ...options,
  });
  return history;
}

const weights = (model: nn.Module) => model.parameters().map((x) => [...x.dataSync()]);

test("data that is not finite, with its place", async () => {
  manualSeed(1);
  const x = rand([12, 2]).dataSync();
  x[13] = Infinity;
  const set = later(new data.TensorDataset(tensor(x, { shape: [12, 2] }), zeros([12, 1])));
  // found as the epoch ends, or before, as losses are read each tenth of a second
  const slow = { onStepEnd: () => new Promise<void>((go) => setTimeout(go, 150)) };
  for (const more of [[], [slow]]) {
    const model = later(new nn.Linear(2, 1));
    const clean = later(new nn.Linear(2, 1));
    clean.loadStateDict(model.stateDict());
    const options = { callbacks: [new callbacks.TerminateOnNaN(), ...more] };
    const history = await stopped(model, set, options);
    assertEquals(
      history.stopped,
      "TerminateOnNaN: step 2, in epoch 1, has the loss Infinity: the data: input is Infinity at " +
        "[2, 1] (1 of 8 not finite)",
    );
    assertEquals([history.length, history.stepLosses.length], [0, 2]);
    // the first step counts, the others change nothing
    const first = later(new data.Subset(set, [0, 1, 2, 3]));
    await stopped(clean, first);
    assertEquals(weights(model), weights(clean));
  }
});

test("an operation in a layer, forwards and backwards", async () => {
  manualSeed(2);
  const set = later(new data.TensorDataset(rand([8, 2]), zeros([8, 3])));
  const negative = later(new nn.Sequential(new nn.Linear(2, 3), new nn.Tanh(), new Log()));
  const { stopped: forward } = await stopped(negative, set);
  assert(
    forward!.includes("step 1, in epoch 1, has the loss NaN: log in 2: Log gave NaN at ["),
    forward,
  );
  const root = later(new Root()); // sqrt(0), whose slope is infinite
  for (const parameter of root.parameters()) parameter.fill(0);
  const one = later(new data.TensorDataset(rand([8, 2]), ones([8, 3])));
  const before = weights(root);
  const { stopped: backward } = await stopped(root, one, { epochs: 3 });
  assert(
    /has a gradient that is not finite: the gradient of \w+ in Root is/.test(backward!),
    backward,
  );
  assertEquals(weights(root), before);
});

test("a loss of one's own, accumulated and shuffled batches with dropout", async () => {
  manualSeed(3);
  const set = later(new data.TensorDataset(rand([40, 2]), zeros([40, 1])));
  const model = later(
    new nn.Sequential(new nn.Linear(2, 4), new nn.Dropout(0.5), new nn.Linear(4, 1)),
  );
  let calls = 0;
  const { stopped: reason, stepLosses } = await stopped(
    model,
    set,
    { accumulate: 2, shuffle: true, epochs: 5, capture: false }, // the loss counts its calls
    0.1,
    {
      loss: (output: Tensor, target: Tensor) => {
        calls++;
        const loss = mseLoss(output, target);
        return output.shape[0] === 4 && calls === 7 ? loss.div(0) : loss;
      },
    },
  );
  // the seventh batch is of step 4; done again it is fine
  assertEquals(stepLosses.length, 4);
  assert(reason!.startsWith("TerminateOnNaN: step 4, in epoch 1, "), reason);
  assert(reason!.endsWith("though not when it is done again"), reason);
});

test("a step too far, found in the parameters' values", async () => {
  manualSeed(4);
  const set = later(new data.TensorDataset(rand([8, 2]).mul(100), rand([8, 1])));
  const model = later(new nn.Linear(2, 1));
  const { stopped: reason } = await stopped(model, set, { epochs: 100 }, 1e6);
  // the loss may overflow before its gradient does
  assert(/ has the loss (Infinity|NaN)|a gradient|the loss is Infinity/.test(reason!), reason);
  assert(weights(model).flat().every(Number.isFinite));
});

test("finite training is the same with it", async () => {
  const run = async (list: callbacks.TerminateOnNaN[]) => {
    manualSeed(5);
    const set = later(new data.TensorDataset(rand([20, 2]), rand([20, 1])));
    const model = later(
      new nn.Sequential(new nn.Linear(2, 8), new nn.Dropout(0.2), new nn.Linear(8, 1)),
    );
    const history = await stopped(model, set, { epochs: 4, shuffle: true, callbacks: list }, 0.1, {
      clipGradNorm: 1,
    });
    return { weights: weights(model), losses: [...history.stepLosses] };
  };
  assertEquals(await run([new callbacks.TerminateOnNaN()]), await run([]));
});
