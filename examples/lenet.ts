// Trains LeNet-5, a convolutional network, to read handwritten digits.
//
//   deno run --allow-ffi examples/lenet.ts --help
//
// The data is what mnist.ts takes: imported, not read.
import { models, nn, optim, Trainer } from "../mod.ts";
import { loadMnist } from "./data/load_mnist.ts";
import { program } from "./program.ts";

const help = `Trains LeNet-5 on MNIST.

  --epochs N    passes over the data (8)
  --batch N     samples a step (128)
  --lr X        highest learning rate of AdamW, in one cycle over all steps (0.005)`;

const defaults = { epochs: 8, batch: 128, lr: 0.005 };

await program(help, defaults, async ({ epochs, batch, lr }) => {
  const { train, test } = await loadMnist();
  const model = models.lenet5();
  console.log(model.summary({ inputShape: [1, 1, 28, 28] }));

  const optimizer = new optim.AdamW(model.parameters(), { lr });
  const totalSteps = Math.max(1, epochs * Math.ceil(train.length / batch));
  const schedule = new optim.schedule.OneCycleLR(optimizer, { maxLr: lr, totalSteps });
  const loss = new nn.CrossEntropyLoss();
  const how = { loss, optimizer, schedule, scheduleEvery: "step", metrics: ["accuracy"] } as const;
  const trainer = new Trainer(model, how);
  await trainer.fit(train, { epochs, batchSize: batch, validation: test });
  const { accuracy } = await trainer.evaluate(test);
  return `test accuracy ${accuracy!.toFixed(4)}`;
});
