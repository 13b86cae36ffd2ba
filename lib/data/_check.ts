import { isTensor, refuse } from "../core/options.ts";
import type { Tensor } from "../tensor.ts";
import type { Batch } from "./batch.ts";
import type { AnyDataset, Dataset, SampleDataset } from "./dataset.ts";
import { tensorsIn } from "../_structure.ts";

const hasLength = (x: { length?: unknown }) =>
  Number.isSafeInteger(x.length) && (x.length as number) >= 0;

/** Whether x gives batches. */
export function isDataset(x: unknown): x is Dataset<unknown, unknown> {
  const set = Object(x);
  return hasLength(set) && typeof set.batch === "function";
}

/** Whether x gives samples, which come before batches. */
export function isSamples(x: unknown): x is SampleDataset {
  const set = Object(x);
  return hasLength(set) && typeof set.get === "function";
}

/** What a data set made of another's samples takes over. */
export function alike(
  { device, classes }: SampleDataset,
): Pick<SampleDataset, "device" | "classes"> {
  return { ...(device && { device }), ...(classes !== undefined && { classes }) };
}

/** Throws unless x is a data set that is not iterable; a loader of one says which to give. */
export function checkDataset(
  op: string,
  x: unknown,
): asserts x is Dataset<unknown, unknown> | SampleDataset {
  if (isDataset(x) || isSamples(x)) return;
  const hint = "dataset" in Object(x) ? ": give its .dataset, and batchSize as an option" : "";
  refuse(op, "the data set", x, `one such as new data.TensorDataset(inputs, targets)${hint}`);
}

/** Throws unless x is a data set of any kind. */
export function checkData(op: string, x: unknown): asserts x is AnyDataset<unknown, unknown> {
  const iterable = Symbol.iterator in Object(x) || Symbol.asyncIterator in Object(x);
  if (!iterable || typeof x === "string" || isTensor(x) || "dataset" in Object(x)) {
    checkDataset(op, x);
  }
}

/** A batch of a user's data set, or what a user's function makes of one, as it should be. */
export function checkedBatch<B extends Batch<unknown, unknown>>(
  op: string,
  batch: B,
  from = "batch()",
): B {
  const { input, target, weight } = Object(batch);
  const found = input !== undefined && target !== undefined && !(batch instanceof Promise);
  if (!found || (weight !== undefined && !isTensor(weight))) {
    refuse(op, `what ${from} returns`, batch, wanted);
  }
  tensorsIn(op, `input of what ${from} returns`, input);
  tensorsIn(op, `target of what ${from} returns`, target);
  return batch;
}

const wanted = "{ input, target, weight? }, tensors or structures of them, and no Promise";

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
