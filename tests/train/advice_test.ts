// What fit() warns of, once a model.
import { assertEquals, assertMatch } from "@std/assert";
import {
  manualSeed,
  mseLoss,
  nllLoss,
  nn,
  optim,
  rand,
  type Tensor,
  Trainer,
  type TrainerLoss,
  zeros,
} from "../../mod.ts";
import { data } from "../../mod.ts";
import { cleanTest, later } from "../_helpers.ts";

/** The warnings of two fits of a model. */
async function warnings(
  model: nn.Module,
  set: data.Dataset,
  loss: TrainerLoss,
  options: object = {},
): Promise<string[]> {
  const said: string[] = [];
  const { warn } = console;
  console.warn = (text: string) => void said.push(text);
  try {
    const optimizer = later(new optim.SGD(model.parameters(), { lr: 1e-9 }));
    const trainer = new Trainer(model, { loss, optimizer, ...options });
    for (let i = 0; i < 2; i++) await trainer.fit(set, { epochs: 3, callbacks: [] });
  } finally {
    console.warn = warn;
  }
  return said;
}

const set = (scale = 1, classes = true) =>
  later(
    new data.TensorDataset(
      rand([16, 3], { high: scale }),
      classes ? zeros([16], { dtype: "int32" }) : zeros([16, 2]),
    ),
  );

const test = (name: string, fn: () => Promise<void>) =>
  cleanTest(`fit warns: ${name}`, () => {
    manualSeed(1);
    return fn();
  });

test("not of what is right", async () => {
  const right = (x: Tensor, y: Tensor) => nllLoss(x.logSoftmax(1), y);
  for (const labelSmoothing of [0, 0.1]) {
    const model = later(new nn.Sequential(new nn.Linear(3, 8), new nn.ReLU(), new nn.Linear(8, 2)));
    const loss = new nn.CrossEntropyLoss({ labelSmoothing });
    assertEquals(await warnings(model, set(), loss), []);
    assertEquals(await warnings(later(new nn.Linear(3, 2)), set(), right), []);
  }
});

test("of inputs that are not scaled", async () => {
  const said = await warnings(later(new nn.Linear(3, 2)), set(255), new nn.CrossEntropyLoss());
  assertEquals(said.length, 1);
  assertMatch(said[0]!, /^cudeno: fit: input reaches 2\d\d; networks learn best/);
});

test("of parameters without a gradient", async () => {
  class Unused extends nn.Module {
    used = new nn.Linear(3, 2);
    forgotten = new nn.Linear(3, 2);
    override forward(x: Tensor): Tensor {
      return this.used.forward(x);
    }
  }
  const said = await warnings(later(new Unused()), set(), new nn.CrossEntropyLoss());
  assertEquals(said.length, 1);
  assertMatch(said[0]!, /no gradient came to forgotten\.weight, forgotten\.bias; forward\(\)/);
});

test("of relus that give zeros only", async () => {
  const first = new nn.Linear(3, 8);
  first.bias!.fill(-100);
  const model = later(new nn.Sequential(first, new nn.ReLU(), new nn.Linear(8, 2)));
  const [dead] = await warnings(model, set(), new nn.CrossEntropyLoss());
  assertMatch(dead!, /a relu of \[16, 8\] gives nothing but zeros/);
});

test("of scores given to nllLoss, and of probabilities given to crossEntropy", async () => {
  const scores = later(new nn.Linear(3, 2));
  scores.bias!.fill(3);
  const said = await warnings(scores, set(), (x: Tensor, y: Tensor) => nllLoss(x, y));
  assertMatch(said.join(), /nllLoss\(\) takes logarithms of probabilities/);
  const shares = later(new nn.Sequential(new nn.Linear(3, 2), new nn.Softmax()));
  const others = await warnings(shares, set(), new nn.CrossEntropyLoss());
  assertMatch(others.join(), /crossEntropy\(\) takes scores, not probabilities/);
});

test("of gradients that explode, where they are not clipped", async () => {
  const model = later(new nn.Linear(3, 2));
  const loss = (x: Tensor, y: Tensor) => mseLoss(x, y).mul(1e8);
  const said = await warnings(model, set(1, false), loss);
  assertMatch(said.join(), /the gradients' norm is [\d.e+]+; a lower learning rate/);
  assertEquals(
    await warnings(later(new nn.Linear(3, 2)), set(1, false), loss, { clipGradNorm: 1 }),
    [],
  );
});
