import { formatShape, sameShape } from "../../core/shape.ts";
import { ones } from "../../create.ts";
import { ShapeError } from "../../native/errors.ts";
import { cast } from "../../ops/elementwise/_cast.ts";
import { reshape } from "../../ops/shape/movement.ts";
import type { Tensor } from "../../tensor.ts";
import { bare, weightOf } from "./_weights.ts";

/** Throws unless shapes are the same, or are [n, …] and [n, …, 1]. */
export function checkPairs(op: string, prediction: Tensor, target: Tensor): void {
  if (sameShape(bare(prediction.shape), bare(target.shape))) return;
  throw new ShapeError(
    `${op}: the prediction is ${formatShape(prediction.shape)}, the target ` +
      `${formatShape(target.shape)}; they must be of one shape, or [n] and [n, 1]`,
  );
}

/** What update() is given. */
export type Batch = readonly [Tensor, Tensor, (Tensor | undefined)?];

/** Values of one shape, as float64. */
export interface Paired {
  x: Tensor;
  y: Tensor;
  counts: Tensor;
}

/** Prediction, target and what each counts, as float64 of one shape. */
export function paired(op: string, [prediction, target, weight]: Batch): Paired {
  checkPairs(op, prediction, target);
  const { shape } = prediction;
  const [x, y] = [prediction, target].map((x) => reshape(cast(x, "float64"), shape));
  const counts = weightOf(op, weight, shape) ??
    ones(shape, { dtype: "float64", device: prediction.device });
  return { x: x!, y: y!, counts };
}
