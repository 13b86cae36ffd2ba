// A report of a training as one page of HTML, without anything from outside: learning curves, which
// digits are taken for which, what the first layer looks for, and what it got wrong.
//
//   deno run --allow-ffi --allow-write=report.html examples/report.ts --out report.html
//
// The data is what mnist.ts takes: imported, not read.
import { data, metrics, models, nn, noGrad, optim, plot, ProgressBar, scope } from "../mod.ts";
import { type History, Trainer } from "../mod.ts";
import { loadMnist } from "./data/load_mnist.ts";
import { checkWrite, MemoryWatch, program, writePage } from "./program.ts";

const help = `Trains a 784-HIDDEN-10 network on MNIST, and reports.

  --epochs N    passes over the data (5)
  --batch N     samples a step (128)
  --lr X        learning rate of AdamW (0.003)
  --hidden N    units in the hidden layer (64)
  --out FILE    the page, .html (needs --allow-write)`;

const defaults = {
  ...{ epochs: 5, batch: 128, lr: 0.003, hidden: 64 },
  out: undefined as string | undefined,
};

/** The pictures of the report, one after another. */
async function pictures(model: nn.Module, history: History, test: data.TensorDataset) {
  const { input, target } = test.all();
  const filters = model.parameters()[0]!; // [hidden, 784]
  const found = noGrad(() => scope(() => model.forward(input).argmax(1)));
  const counts = metrics.confusionMatrix({ classes: 10 });
  counts.update(found, target);
  const [guesses, digits] = [await found.data(), await target.data()];
  const wrong = Array.from(digits, (_, i) => i).filter((i) => guesses[i] !== digits[i])
    .slice(0, 24);
  const missed = wrong.map((i) => input.select(0, i));
  return [
    history.toSVG({ title: "Learning curves" }),
    plot.confusion(await counts.compute(), { title: "Which digits are taken for which" }),
    await plot.grid(filters.reshape([filters.shape[0]!, 28, 28]), {
      ...{ title: "What the first layer looks for", normalize: true, columns: 16 },
    }),
    await plot.grid(missed, {
      title: "What it got wrong",
      captions: wrong.map((i) => `${digits[i]}, not ${guesses[i]}`),
    }),
  ];
}

await program(help, defaults, async ({ epochs, batch, lr, hidden, out }) => {
  if (out) checkWrite("--out", out);
  const { train, test } = await loadMnist();
  const model = new nn.Sequential(
    new nn.Flatten(),
    models.mlp({ in: 784, hidden: [hidden], out: 10 }),
  );
  const optimizer = new optim.AdamW(model.parameters(), { lr });
  const how = { loss: new nn.CrossEntropyLoss(), optimizer, metrics: ["accuracy"] } as const;
  const trainer = new Trainer(model, how);
  const memory = new MemoryWatch("epoch");
  const history = await trainer.fit(train, {
    ...{ epochs, batchSize: batch, validation: test },
    callbacks: [new ProgressBar({ unit: "images" }), memory],
  });
  console.log(`${memory}`);
  const { accuracy } = await trainer.evaluate(test);
  if (out) {
    const text =
      `${epochs} epochs, ${hidden} hidden units: accuracy ${accuracy!.toFixed(4)} on the ` +
      "test images.";
    await writePage(out, "MNIST by a perceptron", text, await pictures(model, history, test));
  }
  return `test accuracy ${accuracy!.toFixed(4)}`;
});
