import { isFloat } from "../../core/dtype.ts";
import { cast } from "../../ops/elementwise/_cast.ts";
import { eq, gt, lt, ne } from "../../ops/elementwise/compare.ts";
import { where } from "../../ops/elementwise/where.ts";
import { reshape } from "../../ops/shape/movement.ts";
import { ones } from "../../create.ts";
import type { Tensor } from "../../tensor.ts";
import type { BinaryMetricOptions } from "./metric.ts";
import { checkPairs } from "./_pairs.ts";
import type { State } from "./_state.ts";
import { tally, weightOf } from "./_weights.ts";

/** Yes and no as rows [m]. */
export interface Binary {
  /** In the dtype of the predictions, or int32. */
  scores: Tensor;
  /** Whether the answer wanted is yes; uint8. */
  wanted: Tensor;
  /** What each counts; float64. */
  counts: Tensor;
}

/** Scores and answers of yes and no; what spoils them is counted. */
export function binaryOf(
  op: string,
  state: State,
  [prediction, target, weight]: readonly [Tensor, Tensor, (Tensor | undefined)?],
): Binary {
  checkPairs(op, prediction, target);
  const scores = reshape(prediction.dtype === "uint8" ? cast(prediction, "int32") : prediction, [
    -1,
  ]);
  const given = reshape(target, [-1]);
  const weights = weightOf(op, weight, prediction.shape);
  const counts = weights
    ? reshape(weights, [-1])
    : ones([scores.size], { dtype: "float64", device: scores.device });
  const wanted = eq(given, 1);
  tally(state, "unsure", where(wanted, 0, ne(given, 0)), counts);
  tally(state, "nan", ne(scores, scores), counts);
  return { scores, wanted, counts };
}

/** Whether the answer found is yes; uint8. Probabilities outside of 0..1 are counted. */
export function yesOf(state: State, rows: Binary, options: BinaryMetricOptions): Tensor {
  const { logits = false, threshold } = options;
  const { scores, counts } = rows;
  if (threshold === undefined && !logits) {
    tally(state, "outside", where(gt(scores, 1), 1, lt(scores, 0)), counts); // NaN is neither
  }
  const wide = isFloat(scores.dtype) ? scores : cast(scores, "float64");
  return gt(wide, threshold ?? (logits ? 0 : 0.5));
}
