import { checkOptions } from "../core/options.ts";
import { blocksOf, permutation } from "../core/random.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";
import { checkDataset, numbersOf } from "./_check.ts";
import { DataLoader } from "./data_loader.ts";
import type { Dataset, SampleDataset } from "./dataset.ts";
import { tensorsIn } from "../_structure.ts";
import { partSizes, subsets } from "./_parts.ts";
import type { RandomSplitOptions } from "./random_split.ts";
import type { Subset } from "./subset.ts";

/** Options of {@linkcode stratifiedSplit}. */
export interface StratifiedSplitOptions extends RandomSplitOptions {
  /**
   * The class of each sample. Default: the targets, of which there must be one a sample: the data
   * set's own `targets`, where that is an array of numbers, or those of its batches.
   */
  labels?: ArrayLike<number> | Tensor | undefined;
}

/**
 * Parts of a data set as {@linkcode randomSplit} draws them, of the same sizes, in each of which
 * all classes have the shares that they have in the whole: of a class a part has its fraction, to
 * within a sample or so. Without `labels` the targets are read, batch by batch, from the device.
 *
 * @throws {ArgumentError} when lengths do not come to the data set's, nor fractions to 1.
 * @throws {ShapeError} when there is not one label a sample.
 *
 * ```ts
 * import { data, rand, tensor } from "@cudeno/cudeno";
 * const labels = tensor([0, 0, 0, 0, 0, 0, 1, 1, 1], { dtype: "int32" }); // a third are 1
 * const all = new data.TensorDataset(rand([9, 4]), labels);
 * const [, test] = data.stratifiedSplit(all, [2 / 3, 1 / 3], { seed: 1 });
 * for (const { target } of new data.DataLoader(test, { batchSize: 3 })) {
 *   console.log(target.sum().itemSync()); // 1: of three
 * }
 * ```
 */
export function stratifiedSplit<
  Input = Tensor,
  Target = Tensor,
  const Sizes extends readonly number[] = readonly number[],
>(
  dataset: Dataset<Input, Target> | SampleDataset,
  fractions: Sizes,
  options: StratifiedSplitOptions = {},
): { -readonly [K in keyof Sizes]: Subset<Input, Target> } {
  const op = "stratifiedSplit";
  checkOptions(op, options, ["seed", "labels"]);
  checkDataset(op, dataset);
  const n = dataset.length;
  const sizes = partSizes(op, n, fractions);
  const blocks = blocksOf(op, options.seed);
  const labels = options.labels === undefined
    ? targetsOf(op, dataset)
    : labelsOf(op, options.labels, n);
  const order = permutation(n, blocks);
  const part = dealt(sizes, Map.groupBy(order, (i) => labels[i]!).values(), n);
  return subsets(dataset, sizes.map((_, p) => order.filter((i) => part[i] === p))) as {
    -readonly [K in keyof Sizes]: Subset<Input, Target>;
  };
}

// Which part each sample goes to: class by class to that which lacks most of its share of those
// seen. So every class is dealt out evenly, and the parts end at their sizes.
function dealt(sizes: readonly number[], classes: Iterable<number[]>, n: number): Int32Array {
  const part = new Int32Array(n);
  const lacking = sizes.map(() => 0); // in n-ths of a sample
  for (const members of classes) {
    for (const i of members) {
      sizes.forEach((size, p) => lacking[p]! += size);
      const most = lacking.indexOf(Math.max(...lacking));
      lacking[most]! -= n;
      part[i] = most;
    }
  }
  return part;
}

function targetsOf(
  op: string,
  dataset: Dataset<unknown, unknown> | SampleDataset,
): ArrayLike<number> {
  const { targets } = dataset as { targets?: unknown }; // numbers that need no decoding
  const known = Array.isArray(targets) && targets.length === dataset.length;
  if (known && targets.every((x) => typeof x === "number")) return targets;
  const labels: number[] = [];
  for (const { target } of new DataLoader(dataset, { batchSize: 256 })) {
    const [only, ...others] = tensorsIn(op, "the target", target);
    if (others.length > 0) {
      throw new ArgumentError(
        `${op}: there are several targets; give one label a sample: { labels }`,
      );
    }
    labels.push(...labelsOf(op, only!, only!.shape[0] ?? 0));
  }
  return labels;
}

function labelsOf(op: string, labels: ArrayLike<number> | Tensor, n: number): number[] {
  const list = Array.from(numbersOf(op, "labels", labels));
  if (list.length === n) return list;
  throw new ShapeError(
    `${op}: there are ${list.length} labels of ${n} samples; wanted is one a sample: give them ` +
      "by { labels }",
  );
}
