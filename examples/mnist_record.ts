// Gets a small convolutional network to 0.99 on MNIST in a few hundred steps, each of them one
// launch: images stay on the device as bytes, steps are captured, and nothing is read in between.
//
//   make data
//   deno run --allow-ffi examples/mnist_record.ts --help
import { data, manualSeed, nn, noGrad, optim, scope, synchronize, Trainer } from "../mod.ts";
import { loadMnist } from "./data/load_mnist.ts";
import { spread, writeResult } from "./photos.ts";
import { fail, MemoryWatch, program } from "./program.ts";

const help = `Trains on MNIST, once for each seed. Time is that of training alone: from a new
network to trained weights, with the data on the device and its kernels loaded.

  --seeds N       how many runs are counted (1); one before them warms up
  --epochs X      passes over the data (1)
  --batch N       images a step (128)
  --lr X          highest learning rate, in one cycle over all steps (0.02)
  --channels LIST of the two convolutions (16,32)
  --hidden N      units of the layer after them, 0 for none (0)
  --out FILE      write the result as JSON; needs --allow-write`;

const defaults = {
  ...{ seeds: 1, epochs: 1, batch: 128, lr: 0.02, channels: "16,32", hidden: 0 },
  out: undefined as string | undefined,
};

/** Two convolutions of 5x5, normalised, and one or two linear layers. */
function network([first, second]: number[], hidden: number): nn.Sequential {
  const convolution = (from: number, to: number) => [
    new nn.Conv2d(from, to, 5, { bias: false }),
    new nn.BatchNorm2d(to),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
  ];
  const width = second! * 16;
  const head = hidden > 0
    ? [new nn.Linear(width, hidden), new nn.ReLU(), new nn.Linear(hidden, 10)]
    : [new nn.Linear(width, 10)];
  return new nn.Sequential(
    ...[...convolution(1, first!), ...convolution(first!, second!)],
    ...[new nn.Flatten(), ...head],
  );
}

/** The share of right answers. */
function shareRight(model: nn.Sequential, test: data.TensorDataset): number {
  model.eval();
  let right = 0;
  for (const index of new data.DataLoader(test, { batchSize: 2000 }).indices()) {
    right += scope(() =>
      noGrad(() => {
        const { input, target } = test.batch(index);
        return model.forward(input).argmax(1).eq(target).to("float32").sum().itemSync();
      })
    );
  }
  return right / test.length;
}

await program(help, defaults, async ({ seeds, epochs, batch, lr, channels, ...o }) => {
  if (!(seeds >= 1)) fail(`--seeds is ${seeds}; it must be at least 1`);
  if (!(epochs > 0)) fail(`--epochs is ${epochs}; it must be above 0`);
  const widths = channels.split(",").map(Number);
  if (widths.length !== 2 || !widths.every((n) => Number.isInteger(n) && n > 0)) {
    fail(`--channels is ${channels}; it must be two counts, such as 16,32`);
  }
  const { train, test } = await loadMnist();
  const totalSteps = Math.max(1, Math.round(epochs * Math.floor(train.length / batch)));
  const watch = new MemoryWatch("run");
  const runs: { accuracy: number; seconds: number; path: string }[] = [];
  for (let run = 0; run <= seeds; run++) {
    manualSeed(run);
    await synchronize();
    const start = performance.now();
    const model = network(widths, o.hidden);
    const optimizer = new optim.AdamW(model.parameters(), { lr, weightDecay: 0.01 });
    const schedule = new optim.schedule.OneCycleLR(optimizer, { maxLr: lr, totalSteps });
    const trainer = new Trainer(model, {
      loss: new nn.CrossEntropyLoss({ labelSmoothing: 0.1 }),
      ...{ optimizer, schedule, scheduleEvery: "step" },
    });
    const { path } = await trainer.fit(train, {
      ...{ epochs: 1, stepsPerEpoch: totalSteps, batchSize: batch, callbacks: [] },
    });
    await synchronize();
    const seconds = (performance.now() - start) / 1000;
    const accuracy = shareRight(model, test);
    optimizer.dispose();
    model.dispose();
    watch.step();
    if (run > 0) runs.push({ accuracy, seconds, path });
    const name = run > 0 ? `run ${run}` : "warm-up";
    console.log(`${name}: accuracy ${accuracy.toFixed(4)}, ${seconds.toFixed(3)} s, ${path}`);
  }
  console.log(`${watch}`);
  const { mean: share, deviation } = spread(runs.map(({ accuracy }) => accuracy));
  const times = runs.map(({ seconds }) => seconds), least = Math.min(...times);
  const { mean: seconds } = spread(times);
  await writeResult(o.out, {
    ...{ name: "mnist_record", device: train.device, seeds, epochs, batch, lr, channels },
    ...{ accuracy: share, deviation, seconds, least, runs },
  });
  return `test accuracy ${share.toFixed(4)}, deviation ${deviation.toFixed(4)}, ` +
    `${seconds.toFixed(3)} s a run, at least ${least.toFixed(3)}`;
});
