// What the examples that train on photos have in common: their options, the loop, what is written.
import { data, nn, optim, ProgressBar, setMatmulPrecision, Trainer } from "../mod.ts";
import { fail, MemoryWatch } from "./program.ts";

/** The options that they share, with these defaults. */
export const photoHelp = (o: { epochs: number; batch: number; lr: number }, folder: string) => `
  --data DIR       the files (data/${folder}); needs --allow-read
  --epochs N       passes over the data (${o.epochs})
  --batch N        images a step (${o.batch})
  --lr X           highest learning rate of SGD, in one cycle over all steps (${o.lr})
  --precision P    float32, tf32 or bfloat16: how products are computed (bfloat16; on CPUs float32)
  --limit N        take the first N images alone, of any files; 0 for all (0)
  --out FILE       write the result as JSON; needs --allow-write`;

/** Their defaults. */
export const photoDefaults = {
  ...{ data: undefined as string | undefined, out: undefined as string | undefined },
  ...{ precision: "auto", limit: 0 },
};

type Options = typeof photoDefaults & { epochs: number; batch: number; lr: number };

/** The first samples of a data set, or all of them for 0. */
export function first(set: data.Dataset, limit: number): data.Dataset {
  if (limit <= 0 || limit >= set.length) return set;
  return { length: limit, device: set.device, batch: (index) => set.batch(index) };
}

/** Writes a result as one object in a list, as the benchmarks' are. */
export async function writeResult(path: string | undefined, result: object): Promise<void> {
  if (path) await Deno.writeTextFile(path, `[\n  ${JSON.stringify(result)}\n]\n`);
}

/** The mean of some runs' figures, and their standard deviation, of which one alone has 0. */
export function spread(values: number[]): { mean: number; deviation: number } {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const square = values.map((x) => (x - mean) ** 2).reduce((a, b) => a + b, 0);
  return { mean, deviation: Math.sqrt(square / Math.max(1, values.length - 1)) };
}

/** What a run is made of. */
export interface Recipe {
  /** What the result is called. */
  name: string;
  model: nn.Module;
  sets: data.Splits;
  /** For training. */
  augment: data.transforms.Transform;
  /** For testing. */
  prepare: data.transforms.Transform;
  /** The share of each target that all classes get. */
  labelSmoothing?: number;
}

/**
 * Trains by SGD with Nesterov's momentum in one cycle of the learning rate, tests after each epoch,
 * and returns the last line.
 */
export async function trainOnPhotos(recipe: Recipe, options: Options): Promise<string> {
  const { name, model, sets, labelSmoothing = 0 } = recipe;
  const { epochs, batch, lr, limit, out } = options;
  const usual = sets.train.device === "cpu" ? "float32" : "bfloat16";
  const precision = options.precision === "auto" ? usual : options.precision;
  if (!["float32", "tf32", "bfloat16"].includes(precision)) {
    fail(`--precision is ${precision}; it must be float32, tf32 or bfloat16`);
  }
  if (precision === "tf32") setMatmulPrecision("tf32");
  const train = new data.TransformedDataset(first(sets.train, limit), recipe.augment);
  const test = new data.TransformedDataset(first(sets.test, limit), recipe.prepare);
  const decay = { momentum: 0.9, nesterov: true, weightDecay: 5e-4 };
  const optimizer = new optim.SGD(model.parameters(), { lr, ...decay });
  const totalSteps = Math.max(1, epochs * Math.ceil(train.length / batch));
  const schedule = new optim.schedule.OneCycleLR(optimizer, {
    ...{ maxLr: lr, totalSteps, pctStart: 0.25, cycleMomentum: false },
  });
  const trainer = new Trainer(model, {
    loss: new nn.CrossEntropyLoss({ labelSmoothing }),
    ...{ optimizer, schedule, scheduleEvery: "step", metrics: ["accuracy"] },
    autocast: precision === "bfloat16" ? "bfloat16" : undefined,
  });
  const memory = new MemoryWatch("epoch");
  const history = await trainer.fit(train, {
    ...{ epochs, batchSize: batch, validation: test },
    callbacks: [new ProgressBar({ unit: "images" }), memory],
  });
  console.log(`${memory}`);
  const accuracy = history.at(-1)?.valAccuracy ?? (await trainer.evaluate(test)).accuracy!;
  const seconds = history.reduce((sum, epoch) => sum + epoch.seconds, 0);
  await writeResult(out, {
    ...{ name, device: train.device, epochs, batch, lr, precision, images: train.length },
    ...{ accuracy, seconds, images_per_second: history.at(-1)?.samplesPerSecond ?? null },
    accuracies: history.map(({ valAccuracy }) => valAccuracy),
  });
  console.log(`training took ${seconds.toFixed(1)} s`);
  return `test accuracy ${accuracy.toFixed(4)}`;
}
