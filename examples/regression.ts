// How many miles does a car go on a gallon? Predicts a number from the rows of a table, in which
// there are numbers, words, and gaps.
//
//   make data DATA=cars
//   deno run --allow-ffi --allow-read examples/regression.ts --help
import {
  arange,
  callbacks,
  concat,
  data,
  models,
  nn,
  optim,
  type Tensor,
  Trainer,
  where,
} from "../mod.ts";
import { MemoryWatch, program } from "./program.ts";

const help = `Predicts the miles that cars go on a gallon.

  --data FILE     the table (what \`make data DATA=cars\` fetches); needs --allow-read
  --epochs N      passes over the data, at most (300)
  --patience N    epochs that may pass without a better loss on the validation data (30)
  --batch N       cars a step (32)
  --hidden N      units in each of the two hidden layers (32)
  --lr X          learning rate of AdamW (0.003)`;

const here = `${import.meta.dirname}/../data/cars/cars.csv.gz`;
const defaults = { data: here, epochs: 300, patience: 30, batch: 32, hidden: 32, lr: 0.003 };

const wanted = "Miles_per_Gallon";
const numbers = ["Cylinders", "Displacement", "Horsepower", "Weight_in_lbs", "Acceleration"];

/** All samples of a data set as one batch. */
const all = (set: data.Dataset) => set.batch(arange(0, set.length, 1, { dtype: "int32" }));

await program(help, defaults, async ({ data: path, epochs, patience, batch, hidden, lr }) => {
  const table = await data.csv(path);
  const miles = table.columns[wanted] as Float64Array; // NaN where there was nothing
  const known = Array.from(miles.keys()).filter((row) => !Number.isNaN(miles[row]));
  console.log(`${table.rows} cars, of which ${known.length} have been measured`);

  // Words in no order become a 1 in the column of its own, words in an order their places in it.
  const origin = data.CategoryEncoder.fit(table, ["Origin"]).transform(table, { oneHot: true });
  const year = data.CategoryEncoder.fit(table, ["Year"]).transform(table).to("float32");
  const inputs = concat([table.toTensor(numbers), origin, year], 1);
  const cars = new data.Subset(
    new data.TensorDataset(inputs, table.toTensor([wanted])),
    known,
  );
  const [train, validation, test] = data.randomSplit(cars, [0.7, 0.15, 0.15]);

  // Networks learn best from numbers around 0. What is added and multiplied comes from the training
  // rows alone: of the others nothing is known yet. Gaps become 0, which is now the mean.
  const { input, target } = all(train);
  const scaleInput = data.Normalizer.fit(input);
  const scaleMiles = data.Normalizer.fit(target);
  const prepare = ({ input, target }: data.Batch): data.Batch => {
    const x = scaleInput.transform(input);
    return { input: where(x.eq(x), x, 0), target: scaleMiles.transform(target) };
  };

  const model = models.mlp({ in: inputs.shape[1]!, hidden: [hidden, hidden], out: 1 });
  console.log(model.summary());
  const inMiles = (far: Tensor) => far.abs().mul(scaleMiles.scale[0]!);
  const trainer = new Trainer(model, {
    loss: new nn.MSELoss(),
    optimizer: new optim.AdamW(model.parameters(), { lr }),
    metrics: ["r2", function error(prediction, target) {
      return inMiles(prediction.sub(target));
    }],
  });
  const memory = new MemoryWatch("epoch");
  const history = await trainer.fit(data.map(train, prepare), {
    ...{ epochs, batchSize: batch, validation: data.map(validation, prepare) },
    callbacks: [new callbacks.EarlyStopping({ patience, restoreBestWeights: true }), memory],
  });
  console.log(`${history.length} epochs; ${history.stopped ?? "no more were asked for"}`);
  console.log(`${memory}`);

  const unseen = all(data.map(test, prepare));
  const guesses = scaleMiles.inverse(trainer.predict(unseen.input)).dataSync();
  Array.from(test.indices.dataSync()).slice(0, 5).forEach((place, i) => {
    const row = known[place]!;
    console.log(`${table.columns.Name![row]}: ${guesses[i]!.toFixed(1)}, measured ${miles[row]}`);
  });
  const { metrics } = await trainer.evaluate(data.map(test, prepare));
  const mean = inMiles(unseen.target).mean().itemSync(); // 0 is the mean of the training rows
  console.log(`error of the mean of all: ${mean.toFixed(2)} miles a gallon`);
  const [r2, error] = [metrics!.r2 as number, metrics!.error as number];
  return `test error ${error.toFixed(2)} miles a gallon, R2 ${r2.toFixed(3)}`;
});
