import { checkFunction, refuse } from "../core/options.ts";
import { checkTensor } from "../ops/_operands.ts";
import type { Tensor } from "../tensor.ts";
import type { Batch } from "./batch.ts";
import { isDataset } from "./_check.ts";
import type { Dataset } from "./dataset.ts";
import { mapped } from "./_mapped.ts";
import { derive } from "./_origin.ts";
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
export class TransformedDataset<Target = Tensor> implements Dataset<Tensor, Target> {
  /** Where samples come from. */
  readonly dataset: Dataset<Tensor, Target>;
  readonly #mapped: Dataset<Tensor, Target>;

  constructor(dataset: Dataset<Tensor, Target>, transform: Transform) {
    if (!isDataset(dataset)) {
      refuse(
        "TransformedDataset",
        "the data set",
        dataset,
        "one with batch(); map() is for samples",
      );
    }
    checkFunction("TransformedDataset", "transform", transform);
    this.dataset = dataset;
    this.#mapped = mapped("TransformedDataset", dataset, ({ input, target, ...others }) => {
      const changed = transform(input);
      checkTensor("TransformedDataset: what the transform returns", changed);
      return { ...others, input: changed, target };
    });
    derive(this, this.#mapped);
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
  batch(index: Tensor): Batch<Tensor, Target> {
    return this.#mapped.batch(index);
  }
}
