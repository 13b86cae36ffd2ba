// Which learning rate, width and activation suit a small network? Searches for them, stops what
// does not go well early, and prints all that was tried.
//
//   deno run --allow-ffi examples/sweep.ts --help
import { checkWrite, program } from "./program.ts";
import { type Callback, data, nn, optim, rand, sweep, Trainer } from "../mod.ts";

const help =
  `Searches for hyper-parameters of a network that tells which of two rings a point is in.

  --trials N    how many to try (30)
  --epochs N    epochs of a whole trial (27)
  --lr X        the highest learning rate to try (1)
  --path FILE   note trials there, and go on from there when it is interrupted; needs to read
                and write it`;

const defaults = { trials: 30, epochs: 27, lr: 1, path: undefined as string | undefined };

await program(help, defaults, async ({ trials, epochs, lr, path }) => {
  if (path) checkWrite("--path", path);
  const x = rand([600, 2], { low: -1 });
  const rings = x.mul(x).sum(1).mul(3).floor().to("int32").remainder(2);
  const [train, validation] = data.randomSplit(new data.TensorDataset(x, rings), [0.7, 0.3]);

  const space = {
    lr: { min: lr / 1e4, max: lr, scale: "log" },
    width: [4, 16, 64],
    activation: ["relu", "tanh"],
  } as const;
  const result = await sweep(space, async ({ lr, width, activation }, { report, signal }) => {
    const middle = activation === "relu" ? new nn.ReLU() : new nn.Tanh();
    const layers = [new nn.Linear(2, width), middle, new nn.Linear(width, width), middle];
    const model = new nn.Sequential(...layers, new nn.Linear(width, 2));
    const trainer = new Trainer(model, {
      loss: new nn.CrossEntropyLoss(),
      optimizer: new optim.AdamW(model.parameters(), { lr }),
      metrics: ["accuracy"],
    });
    const tell: Callback = { onEpochEnd: ({ epoch, valLoss }) => report(epoch, valLoss!) };
    await trainer.fit(train, { epochs, batchSize: 30, validation, signal, callbacks: [tell] });
    return (await trainer.evaluate(validation)).loss;
  }, {
    trials,
    halving: { minResource: 3, maxResource: Math.max(4, epochs) },
    ...(path && { path }),
    onTrial: ({ trial, value, status }) => console.log(`trial ${trial}: ${value} (${status})`),
  });
  console.log(`\n${result.table()}`);
  const { params, value } = result.best!;
  return `best loss ${value.toFixed(4)} by ${JSON.stringify(params)}`;
});
