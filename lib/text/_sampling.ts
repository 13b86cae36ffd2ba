import type { Tensor } from "../tensor.ts";
import { div, sub } from "../ops/elementwise/binary.ts";
import { le, lt } from "../ops/elementwise/compare.ts";
import { where } from "../ops/elementwise/where.ts";
import { scatter } from "../ops/index/scatter.ts";
import { sort } from "../ops/index/sort.ts";
import { topK } from "../ops/index/topk.ts";
import { cumsum } from "../ops/reduce/cumsum.ts";
import { max } from "../ops/reduce/max.ts";
import { softmax } from "../ops/reduce/softmax.ts";
import { slice } from "../ops/shape/slice.ts";

/** How scores become probabilities. */
export interface Sampling {
  readonly temperature: number;
  readonly topK: number | undefined;
  readonly topP: number | undefined;
}

/**
 * The probabilities that tokens are drawn by, for scores [rows, tokens]: of the scores over the
 * temperature; then of the k highest, and those as high as the last of them; then of the fewest
 * likely ones that have topP together. In this order, as Hugging Face's.
 */
export function probabilities(scores: Tensor, { temperature, topK: k, topP }: Sampling): Tensor {
  if (temperature !== 1) {
    // below 0, what is beyond float32 has no probability
    const below = sub(scores, max(scores, 1, { keepDims: true }));
    scores = div(below, Math.max(temperature, 2 ** -126));
  }
  if (k !== undefined && k < scores.shape[1]!) {
    const least = slice(topK(scores, k).values, 1, -1);
    scores = where(lt(scores, least), -Infinity, scores);
  }
  if (topP === undefined || topP === 1) return softmax(scores);
  const { values, indices } = sort(scores, { descending: true });
  // The likely ones add up to near 1, with few digits left; the others, from the end, have theirs.
  const rest = cumsum(softmax(values), 1, { reverse: true });
  const gone = le(rest, Math.min(1 - topP, 1 - 2 ** -20)); // never the first
  return softmax(scatter(scores, 1, indices, where(gone, -Infinity, values)));
}
