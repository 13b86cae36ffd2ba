import { isTensor, refuse } from "../core/options.ts";
import type { Tensor } from "../tensor.ts";
import type { Dataset } from "./dataset.ts";

/** Throws unless x is a data set; a loader of one says which to give instead. */
export function checkDataset(op: string, x: unknown): asserts x is Dataset {
  const { length, batch } = Object(x) as Partial<Dataset>;
  if (Number.isSafeInteger(length) && length! >= 0 && typeof batch === "function") return;
  const hint = "dataset" in Object(x) ? ": give its .dataset, and batchSize as an option" : "";
  refuse(op, "the data set", x, `one such as new data.TensorDataset(inputs, targets)${hint}`);
}

/** A batch of a user's data set, or what a user's function makes of one, as it should be. */
export function checkedBatch(
  op: string,
  batch: ReturnType<Dataset["batch"]>,
  from = "batch()",
): typeof batch {
  const { input, target } = Object(batch);
  if (!isTensor(input) || !isTensor(target)) {
    refuse(op, `what ${from} returns`, batch, "{ input, target }, two tensors, and no Promise");
  }
  return batch;
}

/** The numbers of an array, or of a tensor, which is read. */
export function numbersOf(
  op: string,
  name: string,
  x: ArrayLike<number> | Tensor,
): ArrayLike<number> {
  if (isTensor(x)) return (x as Tensor).dataSync();
  if (Array.isArray(x) || (ArrayBuffer.isView(x) && "length" in x)) return x;
  return refuse(op, name, x, "an array of numbers or a tensor");
}
