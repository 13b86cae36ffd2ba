import { checkInteger, checkOptions } from "../../core/options.ts";
import { formatShape } from "../../core/shape.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { type Ordered, ordered } from "./sort.ts";

/** Options of {@linkcode topK}. */
export interface TopKOptions {
  /** The axis to choose along. Default -1, the last. */
  axis?: number | undefined;
  /** Whether the largest are wanted, not the smallest. Default true. */
  largest?: boolean | undefined;
}

/**
 * The k largest elements along an axis (or smallest, with `largest: false`), in order, and their
 * int32 indices. Any dtype. Of equal elements the one with the lower index comes first; NaN counts
 * as the largest. Gradients go back to where the values came from. As torch.topk with sorted =
 * True.
 *
 * ```ts
 * import { tensor, topK } from "@cudeno/cudeno";
 * const { values, indices } = topK(tensor([[1, 9, 5], [7, 3, 7]]), 2);
 * console.log(values.dataSync(), indices.dataSync()); // 9, 5, 7, 7; 1, 2, 0, 2
 * ```
 */
export function topK(x: Tensor, k: number, options: TopKOptions = {}): Ordered {
  checkOptions("topK", options, ["axis", "largest"]);
  const { axis = -1, largest = true } = options;
  checkInteger("topK", "k", k, 0);
  return ordered("topK", x, axis, (extent) => {
    if (k > extent) {
      throw new ShapeError(
        `topK: k is ${k}; axis ${axis} of shape ${formatShape(x.shape)} has ${extent} elements`,
      );
    }
    return k;
  }, largest);
}
