// Trains a perceptron with one hidden layer to read handwritten digits.
//
//   deno run --allow-ffi examples/mnist.ts --help
//
// No other permission is needed: the data is imported, not read. It is all of MNIST where `make
// data` has fetched it, else a subset that comes with the repository.
import { dirname } from "@std/path";
import { callbacks, data, io, nn, optim, ProgressBar, Trainer } from "../mod.ts";
import { loadMnist } from "./data/load_mnist.ts";
import { checkWrite, fail, MemoryWatch, program } from "./program.ts";

const help = `Trains a 784-HIDDEN-10 network on MNIST.

  --epochs N    passes over the data (5)
  --batch N     samples a step (128)
  --lr X        highest learning rate of AdamW, in one cycle over all steps (0.01)
  --hidden N    units in the hidden layer (256)
  --patience N  epochs that may pass without a better loss on the validation data (3)
  --out FILE    save the best weights as .safetensors (needs --allow-write)`;

const defaults = {
  ...{ epochs: 5, batch: 128, lr: 0.01, hidden: 256, patience: 3 },
  out: undefined as string | undefined,
};

await program(help, defaults, async ({ epochs, batch, lr, hidden, patience, out }) => {
  if (out) checkWrite("--out", dirname(out));
  if (out && !out.endsWith(".safetensors")) fail(`--out is ${out}; it must end in .safetensors`);
  const { train: known, test } = await loadMnist();
  // Which weights are best is seen on data that is kept for this: had the test's a say in it, its
  // accuracy would be too good.
  const [train, validation] = data.stratifiedSplit(known, [0.9, 0.1]);
  const model = new nn.Sequential(
    new nn.Flatten(),
    new nn.Linear(784, hidden),
    new nn.ReLU(),
    new nn.Linear(hidden, 10),
  );
  console.log(model.summary());

  const optimizer = new optim.AdamW(model.parameters(), { lr });
  // Small steps at first, then large ones to get far, then smaller and smaller ones to settle.
  const steps = epochs * new data.DataLoader(train, { batchSize: batch }).length;
  const schedule = new optim.schedule.OneCycleLR(optimizer, {
    maxLr: lr,
    totalSteps: Math.max(1, Math.ceil(steps)),
  });
  const trainer = new Trainer(model, {
    loss: new nn.CrossEntropyLoss(),
    metrics: ["accuracy"],
    ...{ optimizer, schedule, scheduleEvery: "step" },
  });
  const memory = new MemoryWatch("epoch");
  const early = new callbacks.EarlyStopping({ patience, restoreBestWeights: true });
  const best = { saveBest: true, weightsOnly: true };
  const save = out ? [new callbacks.ModelCheckpoint({ path: out, ...best })] : [];
  const history = await trainer.fit(train, {
    ...{ epochs, batchSize: batch, validation },
    callbacks: [new ProgressBar({ unit: "images" }), ...save, early, memory],
  });
  console.log(`${memory}`);
  if (history.stopped) console.log(history.stopped);
  if (epochs > 0) console.log(`best epoch: ${early.bestEpoch}`);
  else if (out) await io.saveSafetensors(out, model.stateDict());
  if (out) console.log(`weights: ${out}`);
  const { accuracy } = await trainer.evaluate(test);
  return `test accuracy ${accuracy!.toFixed(4)}`;
});
