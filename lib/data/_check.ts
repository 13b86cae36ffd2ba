import { isTensor, refuse } from "../core/options.ts";
import type { Dataset } from "./dataset.ts";

/** Throws unless x is a data set; a loader of one says which to give instead. */
export function checkDataset(op: string, x: unknown): asserts x is Dataset {
  const { length, batch } = Object(x) as Partial<Dataset>;
  if (Number.isSafeInteger(length) && length! >= 0 && typeof batch === "function") return;
  const hint = "dataset" in Object(x) ? ": give its .dataset, and batchSize as an option" : "";
  refuse(op, "the data set", x, `one such as new data.TensorDataset(inputs, targets)${hint}`);
}

/** A batch of a user's data set as it should be. */
export function checkedBatch(op: string, batch: ReturnType<Dataset["batch"]>): typeof batch {
  const { input, target } = Object(batch);
  if (!isTensor(input) || !isTensor(target)) {
    refuse(op, "what batch() returns", batch, "{ input, target }, two tensors, and no Promise");
  }
  return batch;
}
