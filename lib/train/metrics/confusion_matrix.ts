import { checkInteger } from "../../core/options.ts";
import { tensor, zeros } from "../../create.ts";
import { add, mul } from "../../ops/elementwise/binary.ts";
import { indexAdd } from "../../ops/index/index_add.ts";
import type { Tensor } from "../../tensor.ts";
import { rowsOf } from "./_classes.ts";
import { checkClassOptions } from "./_options.ts";
import type { ClassMetricOptions, Metric } from "./metric.ts";
import { accumulator } from "./_accumulator.ts";

/** Options of {@linkcode confusionMatrix}. */
export interface ConfusionMatrixOptions extends ClassMetricOptions {
  /** How many classes there are, where predictions are class numbers. */
  classes?: number | undefined;
}

/**
 * How often which class was taken for which: float64 [classes, classes], at [i, j] the sum of the
 * weights of targets i that were found to be j, as scikit-learn's. Scores and targets as of
 * {@linkcode accuracy}, and so the errors. A Trainer notes it as an array of rows.
 *
 * ```ts
 * import { metrics, tensor } from "@cudeno/cudeno";
 * const confusion = metrics.confusionMatrix();
 * confusion.update(tensor([[2, 1], [4, 3], [0, 1]]), tensor([0, 1, 1], { dtype: "int32" }));
 * console.log((await confusion.compute()).dataSync()); // 1, 0, 1, 1
 * confusion.reset();
 * ```
 */
export function confusionMatrix(options: ConfusionMatrixOptions = {}): Metric<Tensor> {
  const op = "confusionMatrix";
  checkClassOptions(op, options, "classes");
  if (options.classes !== undefined) checkInteger(op, "classes", options.classes, 1);
  return accumulator(op, options.name, {
    add(state, ...batch) {
      const { found, wanted, counts, classes } = rowsOf(op, state, options, batch);
      const { device } = counts;
      const none = zeros([classes * classes], { dtype: "float64", device });
      const place = add(mul(wanted, classes), found);
      state.add("counted", indexAdd(none, 0, place, counts));
    },
    value({ counted = [] }, { device }) {
      const classes = Math.sqrt(counted.length);
      return tensor(new Float64Array(counted), { shape: [classes, classes], device });
    },
  });
}
