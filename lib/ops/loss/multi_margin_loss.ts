import { formatShape } from "../../core/shape.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { autocasted } from "../_operands.ts";
import { weigh } from "../elementwise/_binary.ts";
import { relu } from "../elementwise/activations.ts";
import { add, div, mul } from "../elementwise/binary.ts";
import { neg } from "../elementwise/unary.ts";
import { lossInFloat32, note, reduceLosses, reductionOf } from "./_loss.ts";
import { exponentOf, marginOf } from "./_options.ts";
import type { HingeLossOptions } from "./hinge_loss.ts";
import { classesOf, pick, spread } from "./_classes.ts";
import { sum } from "../reduce/sum.ts";
import { broadcastTo, reshape } from "../shape/movement.ts";

/** Options of {@linkcode multiMarginLoss}. */
export interface MultiMarginLossOptions extends HingeLossOptions {
  /** The exponent, 1 or 2. Default 1. */
  p?: number | undefined;
  /** [classes]: what a sample of each class counts. Default 1. */
  weight?: Tensor | null | undefined;
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
