// Learns to tell apart whatever is on the pictures of a folder that has a folder for each class:
// photos/cat/1.jpg, photos/cat/2.png, photos/dog/1.jpg, …
//
//   deno run --allow-ffi --allow-read examples/image_folder.ts --help
import { data, nn, optim, ProgressBar, Trainer } from "../mod.ts";
import { fail, MemoryWatch, program } from "./program.ts";

const help = `Trains a small convolutional network on a folder of pictures.

  --data DIR    the folder, with a folder of .png and .jpg files for each class; needs --allow-read
  --size N      height and width that pictures are resized to (32)
  --width N     channels of the first convolution; the others have 2 and 4 times as many (16)
  --epochs N    passes over the data (20)
  --batch N     pictures a step (32)
  --lr X        highest learning rate of AdamW, in one cycle over all steps (0.01)`;

const defaults = {
  data: undefined as string | undefined,
  ...{ size: 32, width: 16, epochs: 20, batch: 32, lr: 0.01 },
};

/** A convolution that halves the picture's sides. */
const layer = (from: number, to: number) => [
  new nn.Conv2d(from, to, 3, { padding: 1, bias: false }),
  new nn.BatchNorm2d(to),
  new nn.ReLU(),
  new nn.MaxPool2d(2),
];

await program(help, defaults, async ({ data: dir, size, width, epochs, batch, lr }) => {
  if (!dir) fail("--data is needed; see --help");
  const pictures = await data.imageFolder(dir, { size });
  const { classes, targets } = pictures;
  console.log(`${pictures.length} pictures of ${classes.length} classes: ${classes.join(", ")}`);

  // A fifth of each class is for testing. With the labels given, no picture is decoded for them.
  const [train, test] = data.stratifiedSplit(pictures, [0.8, 0.2], { labels: targets });
  // Each epoch sees every picture a little turned, shifted, enlarged, brighter or darker. Where
  // left and right do not matter, as they do in letters, add randomHorizontalFlip().
  const { colorJitter, compose, randomAffine } = data.transforms;
  const augment = compose([
    randomAffine({ degrees: 10, translate: [0.1, 0.1], scale: [0.9, 1.1], paddingMode: "border" }),
    colorJitter({ brightness: 0.2, contrast: 0.2, saturation: 0.2 }),
  ]);
  const augmented = new data.TransformedDataset(train, augment);

  const model = new nn.Sequential(
    ...[...layer(3, width), ...layer(width, 2 * width), ...layer(2 * width, 4 * width)],
    ...[new nn.AdaptiveAvgPool2d(1), new nn.Flatten(), new nn.Linear(4 * width, classes.length)],
  );
  console.log(model.summary({ inputShape: [1, ...pictures.shape] }));
  const optimizer = new optim.AdamW(model.parameters(), { lr });
  const totalSteps = Math.max(1, epochs * Math.ceil(train.length / batch));
  const schedule = new optim.schedule.OneCycleLR(optimizer, { maxLr: lr, totalSteps });
  const trainer = new Trainer(model, {
    loss: new nn.CrossEntropyLoss(),
    metrics: ["accuracy", "confusionMatrix"],
    ...{ optimizer, schedule, scheduleEvery: "step" },
  });
  const memory = new MemoryWatch("epoch");
  const bar = new ProgressBar({ unit: "pictures" });
  await trainer.fit(augmented, { epochs, batchSize: batch, callbacks: [bar, memory] });
  console.log(`${memory}`);

  const { accuracy, metrics } = await trainer.evaluate(test);
  // Row i has how often pictures of class i were taken for each of the classes.
  const confusion = metrics!.confusionMatrix as number[][];
  const mistakes = confusion.flatMap((row, i) =>
    row.map((count, j) => ({ count: i === j ? 0 : count, of: i, as: j }))
  );
  const { count, of, as } = mistakes.reduce((worst, m) => m.count > worst.count ? m : worst);
  const all = confusion[of]!.reduce((a, b) => a + b);
  console.log(
    count > 0
      ? `worst pair: ${count} of ${all} of ${classes[of]} were taken for ${classes[as]}`
      : "worst pair: there is none, all are right",
  );
  return `accuracy ${accuracy!.toFixed(4)} on ${test.length} pictures that it has not seen`;
});
