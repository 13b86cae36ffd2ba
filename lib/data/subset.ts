import { refuse } from "../core/options.ts";
import { keep, scope } from "../core/scope.ts";
import { tensor } from "../create.ts";
import { gatherRows } from "../ops/index/gather_rows.ts";
import type { Tensor } from "../tensor.ts";
import { checkDataset, checkedBatch, numbersOf } from "./_check.ts";
import type { Dataset } from "./dataset.ts";

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
export class Subset implements Dataset {
  /** Where samples come from. */
  readonly dataset: Dataset;
  /** Which they are: int32 [n], on the device. */
  readonly indices: Tensor;

  /** `indices`: n numbers, or a tensor of them, which is read here. */
  constructor(dataset: Dataset, indices: ArrayLike<number> | Tensor) {
    checkDataset("Subset", dataset);
    const list = numbersOf("Subset", "indices", indices);
    const { length, device } = dataset;
    for (let i = 0; i < list.length; i++) {
      const at = list[i]!;
      if (Number.isInteger(at) && at >= 0 && at < length) continue;
      refuse("Subset", `indices[${i}]`, at, `a whole number from 0 up, below ${length}`);
    }
    this.dataset = dataset;
    this.indices = keep(tensor(Int32Array.from(list), { device }));
  }

  /** The number of samples. */
  get length(): number {
    return this.indices.size;
  }

  /** Where the data lives. */
  get device(): Tensor["device"] {
    return this.dataset.device;
  }

  /** The samples that `index` names among these. */
  batch(index: Tensor): { input: Tensor; target: Tensor } {
    return scope(() => checkedBatch("Subset", this.dataset.batch(gatherRows(this.indices, index))));
  }

  /** Frees the indices; the data set stays. */
  dispose(): void {
    this.indices.dispose();
  }
}
