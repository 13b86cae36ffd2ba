import { scope } from "../core/scope.ts";
import { checkedBatch } from "./_check.ts";
import type { Dataset } from "./dataset.ts";

/** The samples of a data set, each batch of which goes through fn. */
export function mapped(
  op: string,
  dataset: Dataset,
  fn: (batch: ReturnType<Dataset["batch"]>) => ReturnType<Dataset["batch"]>,
): Dataset {
  return {
    get length() {
      return dataset.length;
    },
    get device() {
      return dataset.device;
    },
    batch: (index) => scope(() => fn(checkedBatch(op, dataset.batch(index)))),
  };
}
