import { gradEnabled, record } from "../core/autograd.ts";
import { checkOptions } from "../core/options.ts";
import { broadcastShapes, formatShape, sameShape } from "../core/shape.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";
import { div, weigh } from "./binary.ts";
import {
  autocasted,
  checkDType,
  checkSameDevice,
  checkSameDType,
  floats,
  inFloat32,
} from "./operands.ts";
import { mean, sum } from "./reduce.ts";

/** How the losses of a batch become one. */
export type Reduction = "mean" | "sum" | "none";

/** Options of losses. */
export interface LossOptions {
  /** `"mean"` (default) and `"sum"` give one number, `"none"` one an element or sample. */
  reduction?: Reduction;
}

/** Throws for a reduction that is none, and for options that there are not. */
export function reductionOf(
  op: string,
  options: LossOptions,
  others: readonly string[] = [],
): Reduction {
  checkOptions(op, options, ["reduction", ...others]);
  const { reduction = "mean" } = options;
  if (!["mean", "sum", "none"].includes(reduction)) {
    throw new ArgumentError(`${op}: reduction is ${reduction}; it must be mean, sum or none`);
  }
  return reduction;
}

/** Losses reduced. */
export function reduceLosses(losses: Tensor, reduction: Reduction): Tensor {
  return reduction === "mean" ? mean(losses) : reduction === "sum" ? sum(losses) : losses;
}

/** Throws unless input and target are floats alike: of one shape, dtype and device. */
export function checkAlike(op: string, x: Tensor, target: Tensor): void {
  checkDType(op, x, floats);
  checkSameDevice(op, x, target);
  checkSameDType(op, x, target);
  if (!sameShape(x.shape, target.shape)) {
    throw new ShapeError(
      `${op}: input is ${formatShape(x.shape)}, target ${
        formatShape(target.shape)
      }; they must be equal`,
    );
  }
}

/** Throws unless a weight, if there is one, is of x's device and dtype and broadcasts to its shape. */
export function checkWeightShape(
  op: string,
  name: string,
  weight: Tensor | null | undefined,
  x: Tensor,
): void {
  if (!weight) return;
  checkSameDevice(`${op}: ${name}`, x, weight);
  checkSameDType(`${op}: ${name}`, x, weight);
  if (!sameShape(broadcastShapes(`${op}: ${name}`, x.shape, weight.shape), x.shape)) {
    throw new ShapeError(
      `${op}: ${name} is ${formatShape(weight.shape)}; it must broadcast to the input, ${
        formatShape(x.shape)
      }`,
    );
  }
}

type Name = `${
  | "mse"
  | "l1"
  | "smooth_l1"
  | "huber"
  | "bce"
  | "bce_with_logits"
  | "hinge"
  | "kl_div"
  | "kl_div_log"}_loss`;

/** A loss of one number against another. */
export interface Pointwise {
  /** The function's name, for messages. */
  op: string;
  /** The kernel's name in cudeno.h, without `cdn_`. */
  kernel: Name;
  /** beta, delta or margin. */
  parameter?: number;
  /** d loss / d x in operations that can be differentiated again; null where it is constant but for jumps. */
  slope: ((x: Tensor, target: Tensor) => Tensor) | null;
  /** d loss / d target in operations, from x, target and d loss / d x. */
  targetSlope: (x: Tensor, target: Tensor, slope: Tensor) => Tensor;
}

/** The losses of x against target, reduced: one launch for the losses, one for the gradient. */
export function pointwise(
  loss: Pointwise,
  x: Tensor,
  target: Tensor,
  reduction: Reduction,
): Tensor {
  [x, target] = autocasted("float32", x, target);
  checkAlike(loss.op, x, target);
  return inFloat32([x, target], (x, target) => computed(loss, x, target, reduction));
}

function computed(loss: Pointwise, x: Tensor, target: Tensor, reduction: Reduction): Tensor {
  const { op, kernel, parameter = 0 } = loss;
  const { backend } = x;
  const losses = x.make(x.shape);
  const n = BigInt(x.size);
  backend.check(
    backend.functions[`cdn_${kernel}`](
      losses.handle,
      x.handle,
      target.handle,
      n,
      parameter,
      x.code,
    ),
  );
  const y = reduceLosses(losses, reduction);
  if (y !== losses) losses.dispose();

  // The slope, times the one number that is the gradient of a reduced loss.
  const fused = (grad: Tensor | null, scale: number) => {
    const dx = x.make(x.shape);
    backend.check(
      backend.functions[`cdn_${kernel}_grad`](
        dx.handle,
        grad?.handle ?? 0,
        x.handle,
        target.handle,
        n,
        parameter,
        scale,
        x.code,
      ),
    );
    return dx;
  };
  const scale = reduction === "mean" ? 1 / x.size : 1;
  return record(y, op, [x, target], (grad) => {
    if (!gradEnabled() && reduction !== "none" && !target.requiresGrad) {
      return [fused(grad, scale), null];
    }
    const upstream = reduction === "mean" ? div(grad, x.size) : grad;
    const slope = gradEnabled() && loss.slope ? loss.slope(x, target) : fused(null, 1);
    // Where the gradient is 0 the loss is not wanted, and its slope may be NaN.
    return [
      x.requiresGrad ? weigh(slope, upstream) : null,
      target.requiresGrad ? weigh(loss.targetSlope(x, target, slope), upstream) : null,
    ];
  });
}
