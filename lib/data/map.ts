import { checkFunction } from "../core/options.ts";
import { checkDataset, checkedBatch } from "./_check.ts";
import type { Dataset } from "./dataset.ts";
import { mapped } from "./_mapped.ts";

/**
 * A data set whose batches go through a function, each time anew: from inputs and targets of a
 * whole batch to others. It runs on the device as operations do, and what it makes on the way is
 * freed. For images alone there are {@linkcode TransformedDataset} and transforms. The data set
 * stays the caller's to dispose of.
 *
 * @throws {ArgumentError} for what is no data set or function; and as a batch is made, when the
 * function returns anything but `{ input, target }`, two tensors.
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
export function map(
  dataset: Dataset,
  fn: (batch: ReturnType<Dataset["batch"]>) => ReturnType<Dataset["batch"]>,
): Dataset {
  checkDataset("map", dataset);
  checkFunction("map", "fn", fn);
  return mapped("map", dataset, (batch) => checkedBatch("map", fn(batch), "fn"));
}
