import { checkOptions } from "../core/options.ts";
import { blocksOf, permutation } from "../core/random.ts";
import { checkDataset } from "./_check.ts";
import type { Dataset, SampleDataset } from "./dataset.ts";
import { partSizes, subsets } from "./_parts.ts";
import type { Tensor } from "../tensor.ts";
import type { Subset } from "./subset.ts";

/** Options of {@linkcode randomSplit}. */
export interface RandomSplitOptions {
  /** For the same parts each time. Default: the library's random numbers, as manualSeed() says. */
  seed?: number | undefined;
}

/**
 * Parts of a data set, drawn at random, that share no sample: by their lengths, or by fractions,
 * which come to 1 and are rounded down; of the samples that are left over one each goes to the
 * first parts. One seed gives the same parts on every device. dispose() of a part frees its
 * indices. As torch.utils.data.random_split.
 *
 * @throws {ArgumentError} when lengths do not come to the data set's, nor fractions to 1.
 *
 * ```ts
 * import { data, rand, zeros } from "@cudeno/cudeno";
 * const all = new data.TensorDataset(rand([10, 3]), zeros([10]));
 * const [train, test] = data.randomSplit(all, [0.8, 0.2], { seed: 1 });
 * console.log(train.length, test.length); // 8 2
 * ```
 */
export function randomSplit<
  Input = Tensor,
  Target = Tensor,
  const Sizes extends readonly number[] = readonly number[],
>(
  dataset: Dataset<Input, Target> | SampleDataset,
  lengths: Sizes,
  options: RandomSplitOptions = {},
): { -readonly [K in keyof Sizes]: Subset<Input, Target> } {
  const op = "randomSplit";
  checkOptions(op, options, ["seed"]);
  checkDataset(op, dataset);
  const sizes = partSizes(op, dataset.length, lengths);
  const order = permutation(dataset.length, blocksOf(op, options.seed));
  let end = 0;
  return subsets(dataset, sizes.map((size) => order.subarray(end, end += size))) as {
    -readonly [K in keyof Sizes]: Subset<Input, Target>;
  };
}
