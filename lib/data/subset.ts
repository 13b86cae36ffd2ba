import { refuse } from "../core/options.ts";
import { keep, scope } from "../core/scope.ts";
import { tensor } from "../create.ts";
import { ArgumentError } from "../native/errors.ts";
import { gatherRows } from "../ops/index/gather_rows.ts";
import type { Tensor } from "../tensor.ts";
import type { Batch } from "./batch.ts";
import { checkDataset, checkedBatch, isDataset, isSamples, numbersOf } from "./_check.ts";
import type { Dataset, SampleDataset } from "./dataset.ts";
import { derive } from "./_origin.ts";

/**
 * Some samples of a data set, in an order of their own; one may come several times. The indices are
 * copied to the data set's device, where batches are looked up. As torch.utils.data.Subset.
 *
 * @throws {ArgumentError} when an index is no whole number below the data set's length.
 *
 * ```ts
 * import { arange, data } from "@cudeno/cudeno";
 * const all = new data.TensorDataset(arange(6), arange(6).to("int32"));
 * const odd = new data.Subset(all, [5, 3, 1]);
 * for (const { target } of new data.DataLoader(odd, { batchSize: 3 })) {
 *   console.log(target.dataSync()); // 5, 3, 1
 * }
 * ```
 */
export class Subset<Input = Tensor, Target = Tensor> implements Dataset<Input, Target> {
  /** Where samples come from. */
  readonly dataset: Dataset<Input, Target> | SampleDataset;
  /** Which they are: int32 [n], on the device. */
  readonly indices: Tensor;
  /** The classes, where the data set has them. */
  readonly classes?: SampleDataset["classes"];
  /** One sample, where the data set gives samples. */
  readonly get?: SampleDataset["get"];

  /** `indices`: n numbers, or a tensor of them, which is read here. */
  constructor(
    dataset: Dataset<Input, Target> | SampleDataset,
    indices: ArrayLike<number> | Tensor,
  ) {
    checkDataset("Subset", dataset);
    const list = Int32Array.from(numbersOf("Subset", "indices", indices), (at, i) => {
      if (Number.isInteger(at) && at >= 0 && at < dataset.length) return at;
      return refuse(
        "Subset",
        `indices[${i}]`,
        at,
        `a whole number from 0 up, below ${dataset.length}`,
      );
    });
    this.dataset = dataset;
    const { device } = dataset;
    this.indices = keep(tensor(list, { ...(device && { device }) }));
    derive(this, dataset, { numbers: list });
    if (!isSamples(dataset)) return;
    this.get = (i, random) => dataset.get(list[i]!, random);
    if (dataset.classes !== undefined) this.classes = dataset.classes;
  }

  /** The number of samples. */
  get length(): number {
    return this.indices.size;
  }

  /** Where the data lives. */
  get device(): Tensor["device"] {
    return this.indices.device;
  }

  /** The samples that `index` names among these, of a data set that has batch(). */
  batch(index: Tensor): Batch<Input, Target> {
    const { dataset } = this;
    if (!isDataset(dataset)) {
      throw new ArgumentError("Subset: the data set gives samples only; use a DataLoader");
    }
    const whole = dataset as Dataset<Input, Target>;
    return scope(() => checkedBatch("Subset", whole.batch(gatherRows(this.indices, index))));
  }

  /** Frees the indices; the data set stays. */
  dispose(): void {
    this.indices.dispose();
  }
}
