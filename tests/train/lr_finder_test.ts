// The learning-rate range test.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { ArgumentError, data, lrFinder, manualSeed, nn, optim } from "../../mod.ts";
import { rand, type Tensor, Trainer } from "../../mod.ts";
import { cleanTest as test, halves, later, network } from "../_helpers.ts";

test("lrFinder: a rate between too small and too large; all is as it was", async () => {
  manualSeed(1); // of a net that has learned by chance it would suggest nothing
  const model = later(
    new nn.Sequential(
      new nn.Linear(2, 8),
      new nn.BatchNorm1d(8),
      new nn.Dropout(0.1),
      new nn.Linear(8, 2),
    ),
  );
  const optimizer = later(new optim.Adam(model.parameters(), { lr: 0.01 }));
  const schedule = new optim.schedule.StepLR(optimizer, { stepSize: 1 });
  const options = { loss: new nn.CrossEntropyLoss(), optimizer, schedule };
  const trainer = new Trainer(model, options);
  using loader = new data.DataLoader(halves(200), { batchSize: 20, shuffle: true });
  await trainer.fit(loader, { epochs: 2, callbacks: [] });
  const values = (tensors: object) => Object.values(tensors).map((x) => x.dataSync());
  const all = () => {
    const { tensors, ...others } = optimizer.stateDict();
    const { epoch } = loader, { history } = trainer;
    return [
      values(model.stateDict()),
      values(tensors),
      others,
      epoch,
      history.length,
      schedule.stateDict(),
    ];
  };
  const before = all();
  const found = await lrFinder(trainer, loader, { steps: 60 });
  assertEquals(all(), before);
  const again = await lrFinder(trainer, loader, { steps: 60 });
  assertEquals(again, found, "random numbers are where they were");
  assertEquals(model.parameters().filter((x) => x.grad), []);
  const { rates, losses, suggestion } = found;
  assert(rates.length === losses.length && rates.length > 20);
  assert(Math.abs(rates[1]! / rates[0]! - 1e8 ** (1 / 59)) < 1e-9);
  assert(suggestion! > 1e-4 && suggestion! < 5, `${suggestion}`);
});

test("lrFinder: stops when the loss explodes, at once where it is not finite", async () => {
  const { model, trainer, optimizer } = network({ momentum: 0.9 });
  const found = await lrFinder(trainer, halves(64), { max: 1e30, steps: 50 });
  assert(found.rates.length < 50 && found.losses.every(Number.isFinite), `${found.losses}`);
  assertEquals(Object.keys(optimizer.stateDict().tensors), [], "an unused optimizer stays so");
  const bare = new Trainer(model, { loss: new nn.MSELoss() });
  const x = later(new data.TensorDataset(rand([2, 2]), rand([2, 2])));
  await assertRejects(() => lrFinder(bare, x), ArgumentError, "without an optimizer");
  await assertRejects(() => lrFinder(trainer, x, { smoothing: 1 }), ArgumentError, "below 1");
});

test("lrFinder: a fall from a spike, after the least loss, suggests nothing", async () => {
  const told = [...Array(12).fill(10), 9, 8, 6, 5, 4, 30, 5, ...Array(31).fill(6)];
  const model = later(new nn.Linear(2, 1));
  const optimizer = later(new optim.SGD(model.parameters(), { lr: 1 }));
  let step = 0;
  const loss = (y: Tensor) => y.mul(0).sum().add(told[step++]!);
  const trainer = new Trainer(model, { loss, optimizer });
  const options = { steps: 50, smoothing: 0, explode: 100 };
  const { rates, suggestion } = await lrFinder(trainer, halves(64), options);
  assertEquals(suggestion, rates[13]); // from 9 to 6
});
