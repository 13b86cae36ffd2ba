import { checkNoGradient, record } from "../../core/autograd.ts";
import { computeDType } from "../../core/dtype.ts";
import { checkInteger } from "../../core/options.ts";
import { formatShape, sameShape, type Shape, sizeOf } from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import { ArgumentError, ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { checkDType, checkSameDevice, checkSameDType, floats } from "../_operands.ts";
import { cast } from "../elementwise/_cast.ts";
import { div } from "../elementwise/binary.ts";
import { lt } from "../elementwise/compare.ts";
import { where } from "../elementwise/where.ts";
import { note, reduceLosses, type Reduction, weighing } from "./_loss.ts";
import type { ClassLossOptions } from "./nll_loss.ts";
import { broadcastTo } from "../shape/movement.ts";

/** Scores as [outer, classes, inner]. */
export interface Scores {
  outer: number;
  classes: number;
  inner: number;
}

/** Scores with class numbers [outer, inner]. */
export interface Classes extends Scores {
  target: Tensor;
  weight: Tensor | null;
  ignoreIndex: number;
}

/** Scores [classes], [n, classes] or [n, classes, d1, …], and their shape without classes. */
export function scoresOf(op: string, x: Tensor): Scores & { others: Shape } {
  checkDType(op, x, floats);
  if (x.rank === 0) throw new ShapeError(`${op}: input is []; it must have an axis of classes`);
  const at = x.rank === 1 ? 0 : 1;
  const classes = x.shape[at]!;
  if (classes === 0) throw new ShapeError(`${op}: there are no classes`);
  return {
    outer: at === 0 ? 1 : x.shape[0]!,
    classes,
    inner: sizeOf(x.shape.slice(at + 1)),
    others: x.shape.filter((_, d) => d !== at),
  };
}

/** Scores, and class numbers of their shape without classes, checked. */
export function classesOf(
  op: string,
  x: Tensor,
  target: Tensor,
  options: ClassLossOptions,
): Classes {
  const { others, ...scores } = scoresOf(op, x);
  checkDType(`${op}: target`, target, ["int32", "uint8"]);
  checkSameDevice(op, x, target);
  if (!sameShape(target.shape, others)) {
    throw new ShapeError(
      `${op}: input is ${formatShape(x.shape)}, target ${formatShape(target.shape)}; ` +
        "wanted are [n, classes] and [n], [classes] and [], or [n, classes, d1, …] and [n, d1, …]",
    );
  }
  const ignoreIndex = options.ignoreIndex ?? -100;
  checkInteger(op, "ignoreIndex", ignoreIndex, -(2 ** 31));
  if (ignoreIndex >= 2 ** 31) {
    throw new ArgumentError(`${op}: ignoreIndex is ${ignoreIndex}; it must fit int32`);
  }
  const weight = checkClassWeight(op, x, scores.classes, options.weight);
  return { ...scores, target, weight, ignoreIndex };
}

/** The weights of classes, checked; null when there are none. */
export function checkClassWeight(
  op: string,
  x: Tensor,
  classes: number,
  weight: Tensor | null | undefined,
): Tensor | null {
  if (!weight) return null;
  checkSameDevice(`${op}: weight`, x, weight);
  checkSameDType(`${op}: weight`, x, weight);
  checkNoGradient(`${op}: weight`, weight);
  if (!sameShape(weight.shape, [classes])) {
    throw new ShapeError(
      `${op}: weight is ${
        formatShape(weight.shape)
      }; there are ${classes} classes: it must be [${classes}]`,
    );
  }
  return weight;
}

/** -x of each target times its weight, of the targets' shape; 0 for ignored ones. */
export function pick(x: Tensor, classes: Classes): Tensor {
  const { target, weight, ignoreIndex, outer, inner } = classes;
  const y = x.make(target.shape);
  call(
    "cdn_nll_loss",
    y,
    x,
    target,
    weight,
    outer,
    classes.classes,
    inner,
    ignoreIndex,
    x.code,
    target.code,
  );
  const { shape } = x;
  return record(y, "nllLoss", [x], (grad) => [spread(grad, shape, classes)]);
}

/**
 * The transpose of pick(): each goes, negative and weighted, to its target's place; the others are
 * 0.
 */
export function spread(dy: Tensor, shape: Shape, classes: Classes): Tensor {
  const { target, weight, ignoreIndex, outer, inner } = classes;
  const dx = dy.make(shape);
  call(
    "cdn_nll_loss_grad",
    dx,
    dy,
    target,
    weight,
    outer,
    classes.classes,
    inner,
    ignoreIndex,
    dy.code,
    target.code,
  );
  return record(dx, "nllLoss", [dy], (grad) => [pick(grad, classes)]);
}

/**
 * The sum of losses over the sum of the weights of the targets that count; that sum too,
 * unrecorded, and infinite where nothing counts, so that gradients are 0.
 */
export function classMean(losses: Tensor, classes: Classes): { mean: Tensor; total: Tensor } {
  const { target, weight, ignoreIndex } = classes;
  const mean = losses.make([]);
  const total = losses.make([], computeDType(losses.dtype));
  call(
    "cdn_nll_mean",
    mean,
    total,
    losses,
    target,
    weight,
    losses.size,
    classes.classes,
    ignoreIndex,
    losses.code,
    target.code,
  );
  const { shape } = losses;
  record(mean, "mean", [losses], (grad) => {
    return [broadcastTo(cast(div(cast(grad, total.dtype), total), grad.dtype), shape)];
  });
  note(mean, () => ({
    divisor: where(lt(total, Infinity), total, 0),
    losses: losses.detach(),
  }));
  return { mean, total };
}

/** Losses of class numbers, reduced; `shape`: that of the targets, where losses are flat. */
export function reduceClassLosses(
  losses: Tensor,
  classes: Classes,
  reduction: Reduction,
  shape: Shape = losses.shape,
): Tensor {
  if (!weighing(reduction)) {
    return reduction === "mean" ? classMean(losses, classes).mean : reduceLosses(losses, reduction);
  }
  const { outer, classes: count, inner } = classes;
  const counts = pick(losses.make([outer, count, inner]).fill(-1), classes);
  return reduceLosses(losses, reduction, counts, shape);
}
