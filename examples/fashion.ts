// Trains a convolutional network, or a multi-layer perceptron, to tell articles of clothing apart.
//
//   make data DATA=fashion_mnist
//   deno run --allow-ffi --allow-read examples/fashion.ts --help
import { data, models, nn } from "../mod.ts";
import { photoDefaults, photoHelp, trainOnPhotos } from "./photos.ts";
import { fail, program } from "./program.ts";

const own = { epochs: 15, batch: 256, lr: 0.2 };
const help = `Trains a network on Fashion-MNIST.
${photoHelp(own, "fashion_mnist")}
  --model M        cnn, six convolutions and a linear layer, or mlp, three linear layers (cnn)
  --width N        channels of the first convolutions; later ones have 2 and 4 times as many, and
                   the mlp's hidden layers 8 times (64)`;

/** A convolution that keeps the size, its norm, and ReLU. */
const layer = (from: number, to: number) => [
  new nn.Conv2d(from, to, 3, { padding: 1, bias: false }),
  new nn.BatchNorm2d(to),
  new nn.ReLU(),
];

/** Six convolutions; the images' sides are halved twice on the way. */
const cnn = (width: number) =>
  new nn.Sequential(
    ...[...layer(1, width), ...layer(width, width), new nn.MaxPool2d(2)],
    ...[...layer(width, 2 * width), ...layer(2 * width, 2 * width), new nn.MaxPool2d(2)],
    ...[...layer(2 * width, 4 * width), ...layer(4 * width, 4 * width)],
    ...[new nn.AdaptiveAvgPool2d(1), new nn.Flatten(), new nn.Linear(4 * width, 10)],
  );

/** Knows nothing of what is beside what: each pixel is a number by itself. */
const mlp = (width: number) =>
  new nn.Sequential(
    new nn.Flatten(),
    models.mlp({ in: 784, hidden: [8 * width, 8 * width], out: 10, dropout: 0.2 }),
  );

const defaults = { ...photoDefaults, ...own, model: "cnn", width: 64 };

await program(help, defaults, async ({ model: kind, width, ...options }) => {
  if (kind !== "cnn" && kind !== "mlp") fail(`--model is ${kind}; it must be cnn or mlp`);
  const { data: dir, limit } = options;
  const sets = await data.fashionMnist({ dir, verify: limit === 0, normalize: true });
  const model = kind === "cnn" ? cnn(width) : mlp(width);
  console.log(model.summary({ inputShape: [1, 1, 28, 28] }));
  const { compose, randomCrop, randomHorizontalFlip } = data.transforms;
  // Around the clothes it is black, which is not 0 after normalisation.
  const crop = randomCrop(28, { padding: 2, paddingMode: "replicate" });
  const augment = compose(
    kind === "cnn" ? [crop, randomHorizontalFlip()] : [randomHorizontalFlip()],
  );
  const recipe = { name: "fashion_mnist", model, sets, augment, prepare: compose([]) };
  return await trainOnPhotos({ ...recipe, labelSmoothing: 0.1 }, options);
});
