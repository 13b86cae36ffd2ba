import { gradEnabled, record } from "../../core/autograd.ts";
import { throughOps } from "../../core/backward.ts";
import { autocastRegion } from "../../core/autocast.ts";
import { computeDType, isFloat } from "../../core/dtype.ts";
import { formatShape } from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import { ArgumentError, DTypeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { autocasted, checkDType, checkTensor, floats } from "../_operands.ts";
import { weigh } from "../elementwise/_binary.ts";
import { cast } from "../elementwise/_cast.ts";
import { add, mul } from "../elementwise/binary.ts";
import { ne } from "../elementwise/compare.ts";
import { neg } from "../elementwise/unary.ts";
import { where } from "../elementwise/where.ts";
import {
  checkAlike,
  lossInFloat32,
  note,
  reduceLosses,
  type Reduction,
  roundedLoss,
  weighing,
} from "./_loss.ts";
import { crossEntropyOptions } from "./_options.ts";
import {
  checkClassWeight,
  type Classes,
  classesOf,
  classMean,
  pick,
  reduceClassLosses,
  type Scores,
  scoresOf,
} from "./_classes.ts";
import type { ClassLossOptions } from "./nll_loss.ts";
import { sum } from "../reduce/sum.ts";
import { logSoftmax } from "../reduce/softmax.ts";
import { permute, reshape } from "../shape/movement.ts";

/** Options of {@linkcode crossEntropy}. */
export interface CrossEntropyOptions extends ClassLossOptions {
  /** The part of each target that is shared evenly by all classes, in [0, 1]. Default 0. */
  labelSmoothing?: number | undefined;
}

/**
 * The cross-entropy of class scores, as torch.nn.functional.cross_entropy: for logits x [n,
 * classes] and class numbers [n] of int32 or uint8, log(sum(e^x)) - x[target], times the class's
 * weight; then the reduction, whose mean divides by the sum of the targets' weights. Also [classes]
 * and [], and [n, classes, d1, …] and [n, d1, …].
 *
 * A float target of the logits' shape holds the probabilities of the classes: -sum(target * weight
 * * logSoftmax(x)), and the mean divides by the number of samples.
 *
 * Without weight and smoothing, the loss and its gradient, softmax(x) - onehot(target), are a pass
 * over the logits each, and nothing of their size is kept between. A target out of range gives NaN
 * and is reported by the next read.
 *
 * ```ts
 * import { crossEntropy, tensor } from "@cudeno/cudeno";
 * const logits = tensor([[2, 0, 0], [0, 2, 0]]);
 * console.log(crossEntropy(logits, tensor([0, 1], { dtype: "int32" })).itemSync()); // 0.239
 * console.log(crossEntropy(logits, tensor([[1, 0, 0], [0, 0.5, 0.5]])).itemSync()); // 0.739
 * ```
 */
export function crossEntropy(
  logits: Tensor,
  target: Tensor,
  options: CrossEntropyOptions = {},
): Tensor {
  const { reduction, labelSmoothing } = crossEntropyOptions("crossEntropy", options);
  checkTensor("crossEntropy", logits);
  checkDType("crossEntropy: target", target, ["int32", "uint8", ...floats]);
  if (!isFloat(target.dtype) && !options.weight && labelSmoothing === 0) {
    // Computed in float32 from 16-bit floats, of which autocast needs no float32 copies.
    const found = classesOf("crossEntropy", logits, target, options);
    const losses = () => ofClasses(logits, found, reduction, labelSmoothing);
    return autocastRegion() ? losses() : roundedLoss(logits.dtype, losses);
  }
  const [x, to, given] = autocasted("float32", logits, target, options.weight);
  options = { ...options, weight: given ?? null };
  if (isFloat(to.dtype)) return ofProbabilities(x, to, options, reduction, labelSmoothing);
  const found = classesOf("crossEntropy", x, target, options);
  return lossInFloat32([x, found.weight], (x, weight) => {
    return ofClasses(x, { ...found, weight }, reduction, labelSmoothing);
  });
}

function ofClasses(
  logits: Tensor,
  found: Classes,
  reduction: Reduction,
  labelSmoothing: number,
): Tensor {
  const { target } = found;
  const rows = byRows(logits, found);
  const classes = {
    ...found,
    target: target.rank === 1 ? target : target.view(0, [target.size]),
    outer: target.size,
    inner: 1,
  };
  const inOrder = (losses: Tensor) =>
    note(reduction === "none" ? reshape(losses, target.shape) : losses, () => ({
      answers: { ...classes, output: rows, axis: 1 },
    }));
  const { shape } = target;
  if (!classes.weight && labelSmoothing === 0) {
    return inOrder(
      weighing(reduction)
        ? reduceClassLosses(fused(rows, classes, "none"), classes, reduction, shape)
        : fused(rows, classes, reduction),
    );
  }
  const logs = logSoftmax(rows);
  let losses = pick(logs, classes);
  if (labelSmoothing > 0) {
    const even = neg(sum(classes.weight ? weigh(logs, classes.weight) : logs, 1));
    // As int32, since the number that is ignored may be none of uint8.
    const counts = ne(cast(classes.target, "int32"), classes.ignoreIndex);
    losses = add(
      mul(losses, 1 - labelSmoothing),
      mul(where(counts, even, 0), labelSmoothing / classes.classes),
    );
  }
  return inOrder(reduceClassLosses(losses, classes, reduction, shape));
}

// [outer, classes, inner] as [outer * inner, classes].
function byRows(x: Tensor, { outer, classes, inner }: Scores): Tensor {
  const apart = inner === 1 ? x : permute(reshape(x, [outer, classes, inner]), [0, 2, 1]);
  return reshape(apart, [outer * inner, classes]);
}

function fused(rows: Tensor, classes: Classes, reduction: Reduction): Tensor {
  const { target, ignoreIndex } = classes;
  const sizes = [classes.outer, classes.classes, ignoreIndex, rows.code, target.code] as const;
  // What follows of 16-bit floats is float32.
  const losses = rows.make(target.shape, computeDType(rows.dtype));
  call("cdn_cross_entropy", losses, rows, target, ...sizes);
  let y = losses;
  let total: Tensor | null = null;
  if (reduction === "mean") ({ mean: y, total } = classMean(losses, classes));
  if (reduction === "sum") y = reduceLosses(losses, reduction);
  if (y !== losses) losses.dispose();
  return record(y, "crossEntropy", [rows], (grad) => {
    if (gradEnabled()) {
      const composed = (x: Tensor) =>
        reduceClassLosses(pick(logSoftmax(cast(x, losses.dtype)), classes), classes, reduction);
      return throughOps(composed, [rows], grad);
    }
    const dx = rows.make(rows.shape);
    call("cdn_cross_entropy_grad", dx, grad, total, rows, target, grad.size, ...sizes);
    return [dx];
  });
}

function ofProbabilities(
  logits: Tensor,
  target: Tensor,
  options: CrossEntropyOptions,
  reduction: Reduction,
  labelSmoothing: number,
): Tensor {
  if (logits.rank !== target.rank && isFloat(logits.dtype)) {
    throw new DTypeError(
      `crossEntropy: target is ${target.dtype} ${formatShape(target.shape)}; class numbers are ` +
        'int32 or uint8: cast them with to("int32"). A float target holds probabilities and must ' +
        `be ${formatShape(logits.shape)}`,
    );
  }
  checkAlike("crossEntropy", logits, target);
  if (options.ignoreIndex !== undefined) {
    throw new ArgumentError("crossEntropy: ignoreIndex is for class numbers, not probabilities");
  }
  const { others, ...scores } = scoresOf("crossEntropy", logits);
  const { classes } = scores;
  const weight = checkClassWeight("crossEntropy", logits, classes, options.weight);
  return lossInFloat32([logits, target, weight], (logits, target, weight) => {
    const answers = { output: byRows(logits, scores), target: byRows(target, scores), axis: 1 };
    let share = answers.target;
    if (labelSmoothing > 0) {
      share = add(mul(share, 1 - labelSmoothing), labelSmoothing / classes);
    }
    if (weight) share = mul(share, weight);
    const losses = neg(sum(weigh(logSoftmax(answers.output), share), 1));
    const y = reduceLosses(losses, reduction, undefined, others);
    return note(reduction === "none" ? reshape(y, others) : y, () => ({ answers }));
  });
}
