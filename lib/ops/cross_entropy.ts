import { gradEnabled, record } from "../core/autograd.ts";
import { checkOptions } from "../core/options.ts";
import { formatShape } from "../core/shape.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";
import { mul } from "./binary.ts";
import { autocasted, checkDType, checkSameDevice, floats } from "./operands.ts";
import { mean, sum } from "./reduce.ts";
import { unsqueeze } from "./movement.ts";

/** How the losses of a batch become one. */
export type Reduction = "mean" | "sum" | "none";

/** Options of losses. */
export interface LossOptions {
  /** `"mean"` (default) and `"sum"` give one number, `"none"` one a sample. */
  reduction?: Reduction;
}

/** The reduction asked for, checked. */
export function reductionOf(op: string, options: LossOptions): Reduction {
  checkOptions(op, options, ["reduction"]);
  const { reduction = "mean" } = options;
  if (!["mean", "sum", "none"].includes(reduction)) {
    throw new ArgumentError(`${op}: reduction is ${reduction}; it must be mean, sum or none`);
  }
  return reduction;
}

/**
 * The cross-entropy of class scores: log(sum(e^x)) - x[target] for logits x [n, classes] and targets [n] of int32 or
 * uint8, then the reduction; as torch.nn.functional.cross_entropy. The gradient, softmax(x) - onehot(target), is
 * computed in the same pass. A target out of range gives NaN and is reported by the next read.
 */
export function crossEntropy(logits: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  const reduction = reductionOf("crossEntropy", options);
  [logits] = autocasted("float32", logits);
  checkDType("crossEntropy", logits, floats);
  checkDType("crossEntropy: target", target, ["int32", "uint8"]);
  checkSameDevice("crossEntropy", logits, target);
  if (logits.rank !== 2 || target.rank !== 1 || target.size !== logits.shape[0]) {
    throw new ShapeError(
      `crossEntropy: logits are ${formatShape(logits.shape)}, target ${
        formatShape(target.shape)
      }; ` +
        "wanted are [n, classes] and [n]",
    );
  }
  const [rows, cols] = [logits.shape[0]!, logits.shape[1]!];
  if (cols === 0) throw new ShapeError("crossEntropy: there are no classes");
  const grad = gradEnabled() && logits.requiresGrad ? logits.make(logits.shape) : null;
  using losses = logits.make([rows]);
  const { backend } = logits;
  backend.check(
    backend.functions.cdn_cross_entropy(
      losses.handle,
      grad?.handle ?? 0,
      logits.handle,
      target.handle,
      BigInt(rows),
      BigInt(cols),
      reduction === "mean" ? 1 / rows : 1,
      logits.code,
      target.code,
    ),
  );
  const loss = reduction === "mean"
    ? mean(losses)
    : reduction === "sum"
    ? sum(losses)
    : losses.alias();
  return record(loss, "crossEntropy", [logits], (upstream) => [
    mul(grad!, reduction === "none" ? unsqueeze(upstream, 1) : upstream),
  ]);
}
