// What Workers are to make batches of, where a data set was made of another.
import type { Batch } from "./batch.ts";
import type { Dataset, SampleDataset } from "./dataset.ts";

/** A data set as another's samples, which may be changed on the device. */
export interface Origin {
  readonly dataset: Dataset<unknown, unknown> | SampleDataset;
  /** Which samples of it; default all. */
  readonly numbers?: Int32Array | undefined;
  /** What becomes of their batches. */
  readonly change?: ((batch: Batch) => Batch) | undefined;
}

const origins = new WeakMap<object, Origin>();

/** Where its samples come from: itself, if nothing else is known. */
export function originOf(dataset: Origin["dataset"]): Origin {
  return origins.get(dataset) ?? { dataset };
}

/** Notes that a data set has these samples of another, or changes its batches. */
export function derive(
  made: object,
  from: Origin["dataset"],
  { numbers, change }: Pick<Origin, "numbers" | "change"> = {},
): void {
  const { dataset, numbers: inner, change: first } = originOf(from);
  origins.set(made, {
    dataset,
    numbers: numbers && inner ? numbers.map((i) => inner[i]!) : numbers ?? inner,
    change: change && first ? (batch) => change(first(batch)) : change ?? first,
  });
}
