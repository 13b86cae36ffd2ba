// Trains a convolutional network to tell articles of clothing apart.
//
//   make data DATA=fashion_mnist
//   deno run --allow-ffi --allow-read examples/fashion.ts --help
import { data, nn } from "../mod.ts";
import { photoDefaults, photoHelp, trainOnPhotos } from "./photos.ts";
import { program } from "./program.ts";

const own = { epochs: 15, batch: 256, lr: 0.2 };
const help = `Trains six convolutions and a linear layer on Fashion-MNIST.
${photoHelp(own, "fashion_mnist")}
  --width N        channels of the first convolutions; later ones have 2 and 4 times as many (64)`;

/** A convolution that keeps the size, its norm, and ReLU. */
const layer = (from: number, to: number) => [
  new nn.Conv2d(from, to, 3, { padding: 1, bias: false }),
  new nn.BatchNorm2d(to),
  new nn.ReLU(),
];

const defaults = { ...photoDefaults, ...own, width: 64 };

await program(help, defaults, async ({ width, ...options }) => {
  const { data: dir, limit } = options;
  const sets = await data.fashionMnist({ dir, verify: limit === 0, normalize: true });
  const model = new nn.Sequential(
    ...[...layer(1, width), ...layer(width, width), new nn.MaxPool2d(2)],
    ...[...layer(width, 2 * width), ...layer(2 * width, 2 * width), new nn.MaxPool2d(2)],
    ...[...layer(2 * width, 4 * width), ...layer(4 * width, 4 * width)],
    ...[new nn.AdaptiveAvgPool2d(1), new nn.Flatten(), new nn.Linear(4 * width, 10)],
  );
  console.log(model.summary({ inputShape: [1, 1, 28, 28] }));
  const { compose, randomCrop, randomHorizontalFlip } = data.transforms;
  // Around the clothes it is black, which is not 0 after normalisation.
  const crop = randomCrop(28, { padding: 2, paddingMode: "replicate" });
  const augment = compose([crop, randomHorizontalFlip()]);
  const recipe = { name: "fashion_mnist", model, sets, augment, prepare: compose([]) };
  return await trainOnPhotos({ ...recipe, labelSmoothing: 0.1 }, options);
});
