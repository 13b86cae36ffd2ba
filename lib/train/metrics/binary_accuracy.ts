import { eq } from "../../ops/elementwise/compare.ts";
import { where } from "../../ops/elementwise/where.ts";
import { binaryOf, yesOf } from "./_binary.ts";
import { checkBinaryOptions } from "./_options.ts";
import type { BinaryMetricOptions, Metric } from "./metric.ts";
import { accumulator } from "./_accumulator.ts";

/**
 * The share of right answers to yes or no: a score above the threshold is a yes, a target 1 or 0.
 * Scores and targets [n], [n, 1] or of any one shape, where each element is a question.
 * Probabilities by default; compute() throws an ArgumentError where one is outside of 0..1, as
 * logits are without `logits: true`, where a score is NaN, or a target neither 0 nor 1.
 *
 * ```ts
 * import { metrics, tensor } from "@cudeno/cudeno";
 * const accuracy = metrics.binaryAccuracy({ logits: true });
 * accuracy.update(tensor([[2.5], [-1], [0.5], [-3]]), tensor([1, 0, 0, 0]));
 * console.log(await accuracy.compute()); // 0.75
 * accuracy.reset();
 * ```
 */
export function binaryAccuracy(options: BinaryMetricOptions = {}): Metric<number> {
  const op = "binaryAccuracy";
  checkBinaryOptions(op, options);
  return accumulator(op, options.name, {
    add(state, ...batch) {
      const rows = binaryOf(op, state, batch);
      const right = eq(yesOf(state, rows, options), rows.wanted);
      state.addSum("right", where(right, rows.counts, 0));
      state.addSum("counted", rows.counts);
    },
    value: ({ right, counted }) => right![0]! / counted![0]!,
  });
}
