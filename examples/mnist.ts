// Trains a perceptron with one hidden layer to read handwritten digits.
//
//   deno run --allow-ffi examples/mnist.ts --help
//
// No other permission is needed: the data is imported, not read. It is all of MNIST where `make
// data` has fetched it, else a subset that comes with the repository.
import { type Callback, data, io, nn, optim, ProgressBar, Trainer } from "../mod.ts";
import { loadMnist } from "./data/load_mnist.ts";
import { fail, MemoryWatch, program } from "./program.ts";

const help = `Trains a 784-HIDDEN-10 network on MNIST.

  --epochs N    passes over the data (5)
  --batch N     samples a step (128)
  --lr X        highest learning rate of AdamW, in one cycle over all steps (0.01)
  --hidden N    units in the hidden layer (256)
  --out FILE    save the weights as .safetensors (needs --allow-write)`;

const defaults = {
  ...{ epochs: 5, batch: 128, lr: 0.01, hidden: 256 },
  out: undefined as string | undefined,
};

await program(help, defaults, async ({ epochs, batch, lr, hidden, out }) => {
  if (out && Deno.permissions.querySync({ name: "write", path: out }).state !== "granted") {
    fail(`--out ${out} needs the permission to write it: run with --allow-write=${out}`);
  }
  const { train, test } = await loadMnist();
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
  const watch: Callback = { onEpochEnd: () => memory.step() };
  const history = await trainer.fit(train, {
    epochs,
    batchSize: batch,
    validation: test,
    callbacks: [new ProgressBar({ unit: "images" }), watch],
  });
  console.log(`${memory}`);
  const accuracy = history.at(-1)?.valAccuracy ?? (await trainer.evaluate(test)).accuracy;
  if (out) {
    await io.saveSafetensors(out, model.stateDict());
    console.log(`weights: ${out}`);
  }
  return `test accuracy ${accuracy!.toFixed(4)}`;
});
