import { formatValue } from "../../core/format.ts";
import { checkNumber } from "../../core/options.ts";
import { formatShape, sameShape } from "../../core/shape.ts";
import { ArgumentError, ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { relu } from "../elementwise/activations.ts";
import { add, div, mul, sub, weigh } from "../elementwise/binary.ts";
import { eq, gt } from "../elementwise/compare.ts";
import {
  lossInFloat32,
  type LossOptions,
  note,
  pointwise,
  reduceLosses,
  reductionOf,
} from "./_loss.ts";
import { broadcastTo, reshape } from "../shape/movement.ts";
import { classesOf, pick, spread } from "./nll_loss.ts";
import { norm } from "../reduce/norm.ts";
import { autocasted, checkDType, checkSameDevice, checkSameDType, floats } from "../_operands.ts";
import { pad } from "../shape/pad.ts";
import { sum } from "../reduce/reduce.ts";
import { neg } from "../elementwise/unary.ts";
import { where } from "../elementwise/where.ts";

/** Options of {@linkcode hingeLoss}. */
export interface HingeLossOptions extends LossOptions {
  /** Default 1. */
  margin?: number | undefined;
}

/** Options of {@linkcode multiMarginLoss}. */
export interface MultiMarginLossOptions extends HingeLossOptions {
  /** The exponent, 1 or 2. Default 1. */
  p?: number | undefined;
  /** [classes]: what a sample of each class counts. Default 1. */
  weight?: Tensor | null | undefined;
}

/** Options of {@linkcode cosineEmbeddingLoss}. */
export interface CosineEmbeddingLossOptions extends LossOptions {
  /** The cosine below which a pair that differs costs nothing, from -1 to 1. Default 0. */
  margin?: number | undefined;
}

/** margin, checked. */
export function marginOf(
  op: string,
  { margin }: { margin?: number | undefined },
  otherwise = 1,
): number {
  checkNumber(op, "margin", margin ?? otherwise);
  return margin ?? otherwise;
}

/** The margin of a cosine, checked. */
export function cosineMarginOf(op: string, options: CosineEmbeddingLossOptions): number {
  const margin = marginOf(op, options, 0);
  if (Math.abs(margin) > 1) {
    throw new ArgumentError(`${op}: margin is ${margin}; a cosine is in [-1, 1]`);
  }
  return margin;
}

/** p, checked. */
export function exponentOf(op: string, { p = 1 }: MultiMarginLossOptions): number {
  if (p !== 1 && p !== 2) {
    throw new ArgumentError(`${op}: p is ${formatValue(p)}; it must be 1 or 2`);
  }
  return p;
}

/**
 * The hinge loss of two classes: max(0, margin - target x) for scores x and targets of 1 and -1 of
 * one shape, then the reduction. Floats. PyTorch has it for several classes only:
 * multiMarginLoss().
 *
 * ```ts
 * import { hingeLoss, tensor } from "@cudeno/cudeno";
 * console.log(hingeLoss(tensor([0.5, 3, 0.5]), tensor([1, 1, -1])).itemSync()); // 2 / 3
 * ```
 */
export function hingeLoss(x: Tensor, target: Tensor, options: HingeLossOptions = {}): Tensor {
  const reduction = reductionOf("hingeLoss", options, ["margin"]);
  const margin = marginOf("hingeLoss", options);
  const active = (x: Tensor, target: Tensor) => gt(add(neg(mul(x, target)), margin), 0);
  const loss = pointwise(
    {
      op: "hingeLoss",
      kernel: "hinge_loss",
      parameter: margin,
      slope: (x, target) => where(active(x, target), neg(target), 0),
      targetSlope: (x, target) => where(active(x, target), neg(x), 0),
    },
    x,
    target,
    reduction,
  );
  return note(loss, () => ({ answers: { output: x, target, threshold: 0 } }));
}

/**
 * The hinge loss of several classes: the sum over classes j other than the target y of max(0,
 * margin - x[y] + x[j])^p, divided by the number of classes, times the weight of y; then the
 * reduction. x is [n, classes] or [classes], target [n] or [] of int32 or uint8; as
 * torch.nn.functional.multi_margin_loss. A target out of range gives NaN and is reported by the
 * next read.
 *
 * ```ts
 * import { multiMarginLoss, tensor } from "@cudeno/cudeno";
 * const scores = tensor([[0.1, 0.2, 0.4, 0.8]]);
 * console.log(multiMarginLoss(scores, tensor([3], { dtype: "int32" })).itemSync()); // 0.325
 * ```
 */
export function multiMarginLoss(
  x: Tensor,
  target: Tensor,
  options: MultiMarginLossOptions = {},
): Tensor {
  const op = "multiMarginLoss";
  const reduction = reductionOf(op, options, ["margin", "p", "weight"]);
  const margin = marginOf(op, options);
  const p = exponentOf(op, options);
  const [input, weight] = autocasted("float32", x, options.weight);
  // -2^31 is no class number: nothing is ignored.
  const all = classesOf(op, input, target, { ignoreIndex: -(2 ** 31), weight: weight ?? null });
  if (all.inner !== 1 || x.rank > 2) {
    throw new ShapeError(`${op}: input is ${formatShape(x.shape)}; it must be [n, classes]`);
  }
  const { outer, classes } = all;
  const unweighted = { ...all, weight: null };
  return lossInFloat32([input, all.weight], (x, weight) => {
    const rows = reshape(x, [outer, classes]);
    const wanted = reshape(pick(rows, unweighted), [outer, 1]); // -x[y]
    // 0 at y, else 1
    const others = add(spread(x.make(target.shape).fill(1), rows.shape, unweighted), 1);
    const over = weigh(relu(add(add(rows, wanted), margin)), others);
    let losses = div(reshape(sum(p === 2 ? mul(over, over) : over, 1), target.shape), classes);
    if (weight) {
      losses = weigh(losses, neg(pick(broadcastTo(weight, [outer, classes]), unweighted)));
    }
    return note(reduceLosses(losses, reduction), () => ({
      answers: { output: rows, target: reshape(target, [outer]), axis: 1 },
    }));
  });
}

/**
 * For pairs x1, x2 of [n, features] or [features] with the cosine c of the angle between them: 1 -
 * c where the target is 1, max(0, c - margin) where it is -1; then the reduction. The target is [n]
 * or [], of int32 or a float; as torch.nn.functional.cosine_embedding_loss.
 *
 * ```ts
 * import { cosineEmbeddingLoss, tensor } from "@cudeno/cudeno";
 * const [a, b] = [tensor([[1, 0], [1, 0]]), tensor([[1, 1], [1, 1]])];
 * console.log(cosineEmbeddingLoss(a, b, tensor([1, -1])).itemSync()); // 0.5
 * ```
 */
export function cosineEmbeddingLoss(
  x1: Tensor,
  x2: Tensor,
  target: Tensor,
  options: CosineEmbeddingLossOptions = {},
): Tensor {
  const op = "cosineEmbeddingLoss";
  const reduction = reductionOf(op, options, ["margin"]);
  const margin = cosineMarginOf(op, options);
  [x1, x2] = autocasted("float32", x1, x2);
  checkDType(op, x1, floats);
  checkSameDevice(op, x1, x2, target);
  checkSameDType(op, x1, x2);
  checkDType(`${op}: target`, target, ["int32", ...floats]);
  const fits = sameShape(x1.shape, x2.shape) && sameShape(target.shape, x1.shape.slice(0, -1));
  if ((x1.rank !== 1 && x1.rank !== 2) || !fits) {
    throw new ShapeError(
      `${op}: inputs are ${formatShape(x1.shape)} and ${formatShape(x2.shape)}, target ${
        formatShape(target.shape)
      }; wanted are twice [n, features] and [n], or twice [features] and []`,
    );
  }
  return lossInFloat32([x1, x2], (x1, x2) => {
    const cosine = sum(mul(unit(x1), unit(x2)), -1);
    const apart = where(eq(target, -1), relu(sub(cosine, margin)), 0);
    return reduceLosses(where(eq(target, 1), add(neg(cosine), 1), apart), reduction);
  });
}

// x / sqrt(|x|^2 + 1e-12) along the last axis, as in PyTorch, without squares that overflow.
function unit(x: Tensor): Tensor {
  const longer = pad(x, x.shape.map((_, d) => [0, d === x.rank - 1 ? 1 : 0]), { value: 1e-6 });
  return div(x, norm(longer, -1, { keepDims: true }));
}
