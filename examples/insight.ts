// What a convolutional network sees of a digit while it learns, as one page of HTML: what its
// layers give at some moments, their filters, and what it takes the digit for, second by second, by
// plain loops in TypeScript and by the library.
//
//   deno run --allow-ffi --allow-write=insight.html examples/insight.ts --out insight.html
//
// The data is what mnist.ts takes: imported, not read.
import { arange, concat, crossEntropy, data, featureMaps, models, optim } from "../mod.ts";
import { plot, scope, synchronize, type Tensor } from "../mod.ts";
import { type Course, mosaic, type Numbers, race } from "./insight_pictures.ts";
import { TypescriptLeNet } from "../bench/typescript_lenet.ts";
import { loadMnist } from "./data/load_mnist.ts";
import { checkWrite, fail, MemoryWatch, program, writePage } from "./program.ts";

const help = `Trains LeNet-5 on MNIST, twice by the same steps, and looks inside.

  --steps N     steps of SGD (300)
  --batch N     samples a step (8)
  --lr X        learning rate (0.1)
  --digit N     which of the test images to look at, from 0 on (0)
  --out FILE    the page, .html (needs --allow-write)`;

const defaults = {
  ...{ steps: 300, batch: 8, lr: 0.1, digit: 0 },
  out: undefined as string | undefined,
};

await program(help, defaults, async ({ steps, batch, lr, digit, out }) => {
  if (out) checkWrite("--out", out);
  if (steps < 1) fail(`--steps is ${steps}; it must be at least 1`);
  const { train, test } = await loadMnist();
  const first = (from: number, n: number) => arange(from, from + n, 1, { dtype: "int32" });
  const { input, target } = test.batch(first(digit, 1));
  const model = models.lenet5();
  const start = model.parameters().map((p) => p.dataSync() as Numbers);
  const put = (values: readonly Numbers[]) =>
    model.parameters().forEach((p, i) => p.copyFrom(values[i]!));

  // The clock stands still while the network is looked at.
  async function course(step: (samples: data.Batch) => void, look: (done: number) => void) {
    const found: Course = [];
    const loader = new data.DataLoader(train, { batchSize: batch, shuffle: true, seed: 1 });
    for (let seconds = 0; found.length < steps;) {
      for (const samples of loader) {
        await synchronize();
        const begin = performance.now();
        step(samples);
        await synchronize();
        seconds += (performance.now() - begin) / 1000;
        look(found.length + 1);
        const shares = scope(() => model.forward(input).detach().softmax(1).dataSync());
        if (found.push({ seconds, shares: shares as Numbers }) === steps) break;
      }
    }
    return found;
  }

  const optimizer = new optim.SGD(model.parameters(), { lr });
  const step = ({ input, target }: data.Batch) =>
    scope(() => {
      optimizer.zeroGrad();
      crossEntropy(model.forward(input), target).backward();
      optimizer.step();
    });
  step(train.batch(first(0, batch))); // the first one takes longer
  put(start);
  const memory = new MemoryWatch();
  const fast = await course(step, () => memory.step());
  console.log(`${memory}`);

  const maps: Tensor[] = [], captions: string[] = [], filters: Tensor[] = [];
  const look = (moment: string) => {
    const { fc3, ...seen } = featureMaps(model, input, { layers: /^(activation|pool|fc3)/ });
    const shares = fc3!.softmax(1);
    maps.push(...[input, ...Object.values(seen)].map((map) => mosaic(map)), mosaic(shares, 1));
    const guess = `${shares.argmax(1).itemSync()}: ${shares.max().itemSync().toFixed(2)}`;
    captions.push(moment, "conv1", "pool1", "conv2", "pool2", "fc1", "fc2", guess);
    filters.push(model.stateDict()["conv1.weight"]!.detach().clone());
  };
  const loops = new TypescriptLeNet(start);
  const moments = [0.1, 0.25, 0.5, 1].map((share) => Math.ceil(share * steps));
  const loopsStep = ({ input, target }: data.Batch) => {
    loops.step(input.dataSync() as Numbers, target.dataSync(), lr);
  };
  put(start);
  look("at first");
  const slow = await course(loopsStep, (done) => {
    put(loops.parameters);
    if (moments.includes(done)) look(`step ${done}`);
  });
  const [took, looped] = [fast.at(-1)!.seconds, slow.at(-1)!.seconds];
  if (out) {
    const last = model.stateDict()["conv2.weight"]!.detach().transpose(0, 1); // [6, 16, 5, 5]
    const text = `LeNet-5, ${steps} steps of ${batch} images, and a ${target.itemSync()} that it ` +
      `was not trained on. On ${input.device} the library took ${took.toFixed(2)} seconds, the ` +
      `loops ${looped.toFixed(2)}.`;
    await writePage(out, "What a network sees", text, [
      await plot.grid(maps, {
        ...{ title: "What layers give for the digit: a tile for each channel", columns: 8 },
        captions,
      }),
      race(fast, slow, {
        ...{ title: "What it takes the digit for", xScale: "log", yLabel: "probability" },
        xLabel: "seconds; lines: the library, dots: plain loops",
      }),
      await plot.grid(concat(filters, 0), {
        ...{ title: "The first layer's filters at these moments", columns: 6 },
        ...{ width: 480, normalize: true },
      }),
      await plot.grid(last.reshape([96, 5, 5]), {
        title: "The second layer's at the end, a row for each channel of the first",
        ...{ columns: 16, normalize: true },
      }),
    ]);
  }
  return `${(looped / took).toFixed(1)} times as fast as plain loops`;
});
