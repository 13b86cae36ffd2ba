import { checkFunction } from "../core/options.ts";
import { checkTensor } from "../ops/_operands.ts";
import type { Tensor } from "../tensor.ts";
import { checkDataset } from "./_check.ts";
import type { Dataset } from "./dataset.ts";
import { mapped } from "./_mapped.ts";
import type { Transform } from "./transforms/transform.ts";

/**
 * A data set whose batches go through a transform, each time anew: that for training, say, while
 * the one for testing is used as it is. {@linkcode map} changes targets as well. What it is made of
 * stays the caller's to dispose of.
 *
 * ```ts
 * import { data, rand, zeros } from "@cudeno/cudeno";
 * const photos = new data.TensorDataset(rand([10, 3, 8, 8]), zeros([10]));
 * const train = new data.TransformedDataset(photos, data.transforms.randomHorizontalFlip());
 * for (const { input } of new data.DataLoader(train, { batchSize: 5 })) {
 *   console.log(input.shape); // [5, 3, 8, 8], twice
 * }
 * ```
 */
export class TransformedDataset implements Dataset {
  /** Where samples come from. */
  readonly dataset: Dataset;
  readonly #mapped: Dataset;

  constructor(dataset: Dataset, transform: Transform) {
    checkDataset("TransformedDataset", dataset);
    checkFunction("TransformedDataset", "transform", transform);
    this.dataset = dataset;
    this.#mapped = mapped("TransformedDataset", dataset, ({ input, target, ...others }) => {
      const changed = transform(input);
      checkTensor("TransformedDataset: what the transform returns", changed);
      return { ...others, input: changed, target };
    });
  }

  /** The number of samples. */
  get length(): number {
    return this.#mapped.length;
  }

  /** Where the data lives. */
  get device(): Tensor["device"] {
    return this.#mapped.device;
  }

  /** The targets that `index` names, and the transformed inputs. */
  batch(index: Tensor): { input: Tensor; target: Tensor } {
    return this.#mapped.batch(index);
  }
}
