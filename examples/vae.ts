// A variational autoencoder: writes digits that nobody has written. An encoder says of an image
// where it lies in a space of a few dimensions, and how sure that is; a decoder draws what lies at
// a place. Both learn together, so that places as randn() gives them are good ones.
//
//   deno run --allow-ffi --allow-write=digits.png examples/vae.ts --out digits.png
//
// The data is what mnist.ts takes: imported, not read.
import {
  bceWithLogitsLoss,
  data,
  io,
  models,
  nn,
  noGrad,
  optim,
  ProgressBar,
  randn,
  type Tensor,
  Trainer,
} from "../mod.ts";
import { loadMnist } from "./data/load_mnist.ts";
import { checkWrite, MemoryWatch, program } from "./program.ts";

const help = `Trains a variational autoencoder on MNIST, and draws digits by it.

  --epochs N    passes over the data (10)
  --batch N     images a step (128)
  --hidden N    units in the hidden layer of either half (400)
  --latent N    dimensions of the space between them (20)
  --lr X        learning rate of Adam (0.001)
  --out FILE    draw 64 digits to this .png (needs --allow-write)`;

const defaults = {
  ...{ epochs: 10, batch: 128, hidden: 400, latent: 20, lr: 0.001 },
  out: undefined as string | undefined,
};

const pixels = 28 * 28;

/** What the network makes of images. */
interface Guess {
  /** Of each pixel being white: [n, 784]. */
  logits: Tensor;
  /** Where they lie: [n, latent]. */
  mean: Tensor;
  /** The logarithm of the variance there, which stays positive so: [n, latent]. */
  logVariance: Tensor;
}

class Vae extends nn.Module<Tensor, Guess> {
  readonly encoder: nn.Module;
  readonly decoder: nn.Module;
  constructor(hidden: number, latent: number) {
    super();
    this.encoder = models.mlp({ in: pixels, hidden: [hidden], out: 2 * latent });
    this.decoder = models.mlp({ in: latent, hidden: [hidden], out: pixels });
  }
  override forward(images: Tensor): Guess {
    const [mean, logVariance] = this.encoder.forward(images.flatten(1)).chunk(2, 1);
    // A place at random, so written that the gradient gets to the mean and the variance.
    const deviation = logVariance!.mul(0.5).exp();
    const place = mean!.add(deviation.mul(randn(mean!.shape)));
    return { logits: this.decoder.forward(place), mean: mean!, logVariance: logVariance! };
  }
}

/** How far the places of each image are from randn()'s (Kullback and Leibler): [n]. */
const divergence = ({ mean, logVariance }: Guess) =>
  mean.pow(2).add(logVariance.exp()).sub(logVariance).sub(1).sum(1).mul(0.5);

await program(help, defaults, async ({ epochs, batch, hidden, latent, lr, out }) => {
  if (out) checkWrite("--out", out);
  const { train, test } = await loadMnist();
  const itself = ({ input }: data.Batch) => ({ input, target: input.flatten(1) });
  const model = new Vae(hidden, latent);
  console.log(model.summary());
  const trainer = new Trainer(model, {
    optimizer: new optim.Adam(model.parameters(), { lr }),
    loss: (guess, target) =>
      bceWithLogitsLoss(guess.logits, target).mul(pixels).add(divergence(guess).mean()),
    metrics: [divergence],
  });
  const memory = new MemoryWatch("epoch");
  await trainer.fit(data.map(train, itself), {
    ...{ epochs, batchSize: batch, callbacks: [new ProgressBar({ unit: "images" }), memory] },
  });
  console.log(`${memory}`);
  if (out) {
    const drawn = noGrad(() => model.decoder.forward(randn([64, latent])).sigmoid());
    // Digits beside one another: the rows of a picture go through those of eight.
    const grid = drawn.reshape([8, 8, 28, 28]).permute([0, 2, 1, 3]).reshape([8 * 28, 8 * 28]);
    await Deno.writeFile(out, await io.encodePng(grid));
    console.log(`64 digits: ${out}`);
  }
  const { loss, metrics } = await trainer.evaluate(data.map(test, itself));
  return `loss ${loss.toFixed(2)} an image, of which divergence ${
    (metrics!.divergence as number).toFixed(2)
  }`;
});
