import { eq } from "../../ops/elementwise/compare.ts";
import { where } from "../../ops/elementwise/where.ts";
import type { ClassMetricOptions, Metric } from "./metric.ts";
import { rowsOf } from "./_classes.ts";
import { checkClassOptions } from "./_options.ts";
import { accumulator } from "./_accumulator.ts";

/**
 * The share of right answers, Σ w [found = wanted] / Σ w. The class found is the highest of the
 * scores [n, classes], [n, classes, …] (each pixel of [n, classes, h, w]) or [n, …, classes];
 * targets are class numbers [n, …] of int32 or uint8, or probabilities (one-hot ones, say) of the
 * scores' shape. Predictions may be class numbers too: int32 of the targets' shape. Throws a
 * ShapeError or DTypeError for other shapes and dtypes; compute() throws an ArgumentError where
 * scores were NaN, targets no class, or nothing counted.
 *
 * ```ts
 * import { metrics, tensor } from "@cudeno/cudeno";
 * const accuracy = metrics.accuracy();
 * const target = tensor([1, 1, -100], { dtype: "int32" }); // the last does not count
 * accuracy.update(tensor([[1, 2], [4, 3], [0, 1]]), target);
 * console.log(await accuracy.compute()); // 0.5
 * accuracy.reset();
 * ```
 */
export function accuracy(options: ClassMetricOptions = {}): Metric<number> {
  const op = "accuracy";
  checkClassOptions(op, options);
  return accumulator(op, options.name, {
    add(state, ...batch) {
      const { found, wanted, counts } = rowsOf(op, state, { ...options, classes: Infinity }, batch);
      state.addSum("right", where(eq(found, wanted), counts, 0));
      state.addSum("counted", counts);
    },
    value: ({ right, counted }) => right![0]! / counted![0]!,
  });
}
