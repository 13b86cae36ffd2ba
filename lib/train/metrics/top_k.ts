import { checkInteger } from "../../core/options.ts";
import { ArgumentError } from "../../native/errors.ts";
import { eq } from "../../ops/elementwise/compare.ts";
import { where } from "../../ops/elementwise/where.ts";
import { topK as largest } from "../../ops/index/topk.ts";
import { max } from "../../ops/reduce/max.ts";
import { cast } from "../../ops/elementwise/_cast.ts";
import { unsqueeze } from "../../ops/shape/movement.ts";
import type { ClassMetricOptions, Metric } from "./metric.ts";
import { rowsOf } from "./_classes.ts";
import { checkClassOptions } from "./_options.ts";
import { accumulator } from "./_accumulator.ts";

/** Options of {@linkcode topK}. */
export interface TopKMetricOptions extends ClassMetricOptions {
  /** How many classes are looked at. Default 5. */
  k?: number | undefined;
}

/**
 * The share of answers among whose k highest scores the wanted class is; of equal scores the lower
 * class comes first. Scores and targets as of {@linkcode accuracy}, which it is for k = 1. Throws a
 * ShapeError where there are fewer classes than k, and else as accuracy.
 *
 * ```ts
 * import { metrics, tensor } from "@cudeno/cudeno";
 * const top2 = metrics.topK({ k: 2 });
 * top2.update(tensor([[3, 2, 1], [3, 2, 1]]), tensor([1, 2], { dtype: "int32" }));
 * console.log(await top2.compute()); // 0.5
 * top2.reset();
 * ```
 */
export function topK(options: TopKMetricOptions = {}): Metric<number> {
  const op = "topK";
  checkClassOptions(op, options, "k");
  const { k = 5 } = options;
  checkInteger(op, "k", k, 1);
  return accumulator(op, options.name, {
    add(state, ...batch) {
      const { scores, wanted, counts } = rowsOf(
        op,
        state,
        { ...options, classes: Infinity },
        batch,
      );
      if (!scores) throw new ArgumentError(`${op}: the predictions are class numbers, not scores`);
      const among = eq(largest(scores(), k).indices, unsqueeze(wanted, 1));
      state.addSum("right", where(max(cast(among, "int32"), 1).eq(1), counts, 0));
      state.addSum("counted", counts);
    },
    value: ({ right, counted }) => right![0]! / counted![0]!,
  });
}
