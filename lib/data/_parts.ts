// How many samples each part of a data set gets, and the parts.
import { checkList } from "../core/options.ts";
import { ArgumentError } from "../native/errors.ts";
import type { Dataset, SampleDataset } from "./dataset.ts";
import { Subset } from "./subset.ts";

const sum = (numbers: readonly number[]) => numbers.reduce((total, x) => total + x, 0);

/** The sizes of parts of n samples, by their lengths or their fractions. */
export function partSizes(op: string, n: number, lengths: readonly number[]): number[] {
  const ok = (x: unknown) => Number.isFinite(x) && (x as number) >= 0;
  checkList(op, "lengths", lengths, ok, "lengths or fractions, numbers from 0 up");
  const total = sum(lengths);
  if (total === n && lengths.every(Number.isInteger)) return [...lengths];
  if (Math.abs(total - 1) > 1e-9) {
    throw new ArgumentError(
      `${op}: the parts come to ${total} in all; lengths must come to ${n}, the data set's ` +
        "length, and fractions to 1",
    );
  }
  // 0.29 of 100 is a little below 29 only because it is rounded
  const sizes = lengths.map((share) => Math.floor(n * share / total + 1e-9));
  let left = n - sum(sizes);
  return sizes.map((size, i) => (lengths[i]! > 0 && left-- > 0 ? size + 1 : size));
}

/** The parts of a data set, or none if there is no room for one. */
export function subsets<Input, Target>(
  dataset: Dataset<Input, Target> | SampleDataset,
  parts: readonly ArrayLike<number>[],
): Subset<Input, Target>[] {
  const made: Subset<Input, Target>[] = [];
  try {
    for (const part of parts) made.push(new Subset(dataset, part));
    return made;
  } catch (error) {
    for (const part of made) part.dispose();
    throw error;
  }
}
