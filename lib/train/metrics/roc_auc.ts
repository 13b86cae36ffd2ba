import { checkOptions } from "../../core/options.ts";
import { ArgumentError } from "../../native/errors.ts";
import { where } from "../../ops/elementwise/where.ts";
import { cumsum } from "../../ops/reduce/cumsum.ts";
import { indexSelect } from "../../ops/index/index_select.ts";
import { sort } from "../../ops/index/sort.ts";
import { cast } from "../../ops/elementwise/_cast.ts";
import type { Tensor } from "../../tensor.ts";
import { binaryOf } from "./_binary.ts";
import type { Metric, MetricOptions } from "./metric.ts";
import { accumulator } from "./_accumulator.ts";

/**
 * The area under the ROC curve: the chance that a yes has a higher score than a no, where equal
 * ones count half. Exact: it keeps all scores on the device, and sorts them there in compute().
 * Scores [n] or [n, 1] of any scale, of a yes; targets 1 or 0. compute() throws an ArgumentError
 * where there is no yes or no no, where scores are NaN or targets neither 1 nor 0.
 *
 * ```ts
 * import { metrics, tensor } from "@cudeno/cudeno";
 * const auc = metrics.rocAuc();
 * auc.update(tensor([0.1, 0.4, 0.35, 0.8]), tensor([0, 0, 1, 1]));
 * console.log(await auc.compute()); // 0.75
 * auc.reset();
 * ```
 */
export function rocAuc(options: MetricOptions = {}): Metric<number> {
  const op = "rocAuc";
  checkOptions(op, options, ["name"]);
  return accumulator(op, options.name, {
    add(state, ...batch) {
      const { scores, wanted, counts } = binaryOf(op, state, batch);
      state.push("scores", scores);
      state.push("yes", where(wanted, counts, 0));
      state.push("no", where(wanted, 0, counts));
      state.addSum("counted", counts);
    },
    more(state): Record<string, Tensor> {
      const all = state.rows("scores");
      if (!all) return {};
      const { values, indices } = sort(all, { descending: true });
      const summed = (name: string) => cumsum(indexSelect(state.rows(name)!, 0, indices), 0);
      return { scores: cast(values, "float64"), yes: summed("yes"), no: summed("no") };
    },
    value({ scores = [], yes = [], no = [] }) {
      const [allYes, allNo] = [yes.at(-1)!, no.at(-1)!];
      if (allYes === 0 || allNo === 0) {
        throw new ArgumentError(
          `${op}: all targets are ${allYes === 0 ? 0 : 1}; wanted are both 0 and 1`,
        );
      }
      let [area, lastYes, lastNo] = [0, 0, 0];
      for (let i = 0; i < scores.length; i++) {
        if (scores[i] === scores[i + 1]) continue; // one step of the curve for equal scores
        area += (no[i]! - lastNo) * (yes[i]! + lastYes) / 2;
        [lastYes, lastNo] = [yes[i]!, no[i]!];
      }
      return area / (allYes * allNo);
    },
  });
}
