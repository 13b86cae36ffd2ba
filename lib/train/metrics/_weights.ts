import { formatShape, sameShape, type Shape } from "../../core/shape.ts";
import { ShapeError } from "../../native/errors.ts";
import { cast } from "../../ops/elementwise/_cast.ts";
import { ne } from "../../ops/elementwise/compare.ts";
import { where } from "../../ops/elementwise/where.ts";
import { reshape } from "../../ops/shape/movement.ts";
import type { Tensor } from "../../tensor.ts";
import type { State } from "./_state.ts";

/** Counts those of what counts that a condition, uint8, holds for: what spoils the value. */
export function tally(state: State, fault: string, condition: Tensor, counts: Tensor): void {
  state.addSum(fault, where(condition, ne(counts, 0), 0));
}

/** A shape without a last axis of 1, so that [n] and [n, 1] are alike. */
export function bare(shape: Shape): Shape {
  return shape.at(-1) === 1 && shape.length > 1 ? shape.slice(0, -1) : shape;
}

/** A weight for each of what is of some shape [n, …], as float64. Throws if it does not fit. */
export function weightOf(op: string, weight: Tensor | undefined, shape: Shape): Tensor | undefined {
  if (!weight) return undefined;
  const wide = cast(weight, "float64");
  if (sameShape(bare(weight.shape), bare(shape))) return reshape(wide, shape);
  if (weight.rank === 1 && weight.size === shape[0]) {
    return reshape(wide, [weight.size, ...shape.slice(1).map(() => 1)]).broadcastTo(shape);
  }
  throw new ShapeError(
    `${op}: weight is ${formatShape(weight.shape)}; it must be ${formatShape(shape)} or ` +
      formatShape(shape.slice(0, 1)),
  );
}
