import { checkFunction } from "../core/options.ts";
import type { Batch, Sample } from "./batch.ts";
import { alike, checkDataset, checkedBatch, isSamples } from "./_check.ts";
import type { Dataset, SampleDataset } from "./dataset.ts";
import { mapped } from "./_mapped.ts";

/**
 * A data set whose batches go through a function, each time anew: from inputs and targets of a
 * whole batch to others. It runs on the device as operations do, and what it makes on the way is
 * freed. For images alone there are {@linkcode TransformedDataset} and transforms. Of a data set
 * with get(), each sample goes through the function, on the host. The data set stays the caller's
 * to dispose of.
 *
 * @throws {ArgumentError} for what is no data set or function; and as a batch is made, when the
 * function returns anything but `{ input, target }` of tensors.
 *
 * ```ts
 * import { data, oneHot, rand, tensor } from "@cudeno/cudeno";
 * const labels = tensor([0, 2, 1, 2], { dtype: "int32" });
 * const set = data.map(new data.TensorDataset(rand([4, 5]), labels), ({ input, target }) => ({
 *   input: input.sub(0.5),
 *   target: oneHot(target, 3),
 * }));
 * for (const { target } of new data.DataLoader(set, { batchSize: 2 })) {
 *   console.log(target.shape); // [2, 3], twice
 * }
 * ```
 */
export function map<I, T, J, U>(
  dataset: Dataset<I, T>,
  fn: (batch: Batch<I, T>) => Batch<J, U>,
): Dataset<J, U>;
/** The same of a data set that gives samples, each of which goes through `fn`. */
export function map(
  dataset: SampleDataset,
  fn: (sample: Sample, random?: () => number) => Sample | Promise<Sample>,
): SampleDataset;
export function map<I, T, J, U>(
  dataset: Dataset<I, T> | SampleDataset,
  fn: (item: never, random: never) => unknown,
): Dataset<J, U> | SampleDataset {
  checkDataset("map", dataset);
  checkFunction("map", "fn", fn);
  if (!isSamples(dataset)) {
    const change = fn as (batch: Batch<I, T>) => Batch<J, U>;
    return mapped("map", dataset, (batch) => checkedBatch("map", change(batch), "fn"));
  }
  const change = fn as (sample: Sample, random?: () => number) => Sample | Promise<Sample>;
  return {
    ...alike(dataset),
    get length() {
      return dataset.length;
    },
    get(i, random) {
      const sample = dataset.get(i, random);
      if (!(sample instanceof Promise)) return change(sample, random);
      return sample.then((found) => change(found, random));
    },
  };
}
