import type { Tensor } from "../../tensor.ts";
import { cast } from "../elementwise/_cast.ts";
import { add } from "../elementwise/binary.ts";
import { where } from "../elementwise/where.ts";
import { maskedSoftmax } from "../reduce/_softmax.ts";
import { tril } from "../shape/triangle.ts";

/** What the scores come to, before dropout. */
export function weightsOf(scores: Tensor, mask: Tensor | undefined, causal: boolean): Tensor {
  if (causal) scores = where(causalMask(scores), scores, -Infinity);
  if (mask?.dtype === "uint8") scores = where(mask, scores, -Infinity);
  else if (mask) scores = add(scores, cast(mask, scores.dtype));
  return maskedSoftmax(scores);
}

// 1 where a key does not come after the query.
function causalMask(scores: Tensor): Tensor {
  return tril(scores.make(scores.shape.slice(-2), "uint8").fill(1));
}
