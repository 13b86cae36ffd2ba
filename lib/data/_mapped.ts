import { scope } from "../core/scope.ts";
import type { Batch } from "./batch.ts";
import { checkedBatch } from "./_check.ts";
import type { Dataset } from "./dataset.ts";
import { derive } from "./_origin.ts";

/** The samples of a data set, each batch of which goes through fn. */
export function mapped<I, T, J, U>(
  op: string,
  dataset: Dataset<I, T>,
  fn: (batch: Batch<I, T>) => Batch<J, U>,
): Dataset<J, U> {
  const made: Dataset<J, U> = {
    get length() {
      return dataset.length;
    },
    get device() {
      return dataset.device;
    },
    batch: (index) => scope(() => fn(checkedBatch(op, dataset.batch(index)))),
  };
  derive(made, dataset, { change: fn as unknown as (batch: Batch) => Batch });
  return made;
}
