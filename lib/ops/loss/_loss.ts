import { formatValue } from "../../core/describe.ts";
import { gradEnabled, record } from "../../core/autograd.ts";
import { type DType, dtypeInfo } from "../../core/dtype.ts";
import { checkOptions } from "../../core/options.ts";
import { broadcastShapes, formatShape, sameShape, type Shape } from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import { calls } from "../../native/calls.ts";
import { ArgumentError, ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { div, mul } from "../elementwise/binary.ts";
import { cast } from "../elementwise/_cast.ts";
import { eq } from "../elementwise/compare.ts";
import { where } from "../elementwise/where.ts";
import { weigh } from "../elementwise/_binary.ts";
import {
  autocasted,
  checkDType,
  checkSameDevice,
  checkSameDType,
  floats,
  inFloat32,
} from "../_operands.ts";
import { mean } from "../reduce/mean.ts";
import { sum } from "../reduce/sum.ts";
import { broadcastTo, reshape } from "../shape/movement.ts";

/** How the losses of a batch become one. */
export type Reduction = "mean" | "sum" | "none";

/** Options of losses. */
export interface LossOptions {
  /** `"mean"` (default) and `"sum"` give one number, `"none"` one an element or sample. */
  reduction?: Reduction | undefined;
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
    throw new ArgumentError(
      `${op}: reduction is ${formatValue(reduction)}; it must be mean, sum or none`,
    );
  }
  return reduction;
}

// What each sample counts, while a trainer says so, and whether a loss has heeded it.
let weights: { readonly weight: Tensor; heeded: boolean } | undefined;

/** Whether a reduced loss is to count some samples more than others. */
export const weighing = (reduction: Reduction): boolean =>
  weights !== undefined && reduction !== "none";

/**
 * Runs `fn` with losses that count each sample of a batch by its weight, [n] or as the targets are:
 * a mean divides by the sum of the weights. Throws when none of the library's losses was reduced.
 */
export function withSampleWeights<T>(weight: Tensor, fn: () => T): T {
  const before = weights;
  const own = weights = { weight, heeded: false };
  try {
    const result = fn();
    if (own.heeded) return result;
  } finally {
    weights = before;
  }
  throw new ArgumentError(
    "the loss heeds no weights of samples or classes: make it of the library's losses with the " +
      'reduction "mean", or a function of three: (output, target, weight) => Tensor',
  );
}

/** Losses reduced, those of a shape's elements; `counts`: what each counts beside its sample. */
export function reduceLosses(
  losses: Tensor,
  reduction: Reduction,
  counts?: Tensor,
  shape: Shape = losses.shape,
): Tensor {
  if (reduction === "none") return losses;
  if (weighing(reduction)) return reduceWeighed(losses, reduction, counts, shape);
  if (reduction === "sum") return note(sum(losses), () => ({ divisor: null }));
  return note(mean(losses), () => ({ divisor: losses.size }));
}

function reduceWeighed(
  losses: Tensor,
  reduction: Reduction,
  counts: Tensor | undefined,
  shape: Shape,
): Tensor {
  weights!.heeded = true;
  const { weight } = weights!;
  if (!sameShape(weight.shape, shape.slice(0, weight.rank))) {
    throw new ShapeError(
      `weights are ${formatShape(weight.shape)}, losses ${formatShape(shape)}; there must be one ` +
        "weight a sample, [n], or one a loss",
    );
  }
  const wide = reshape(cast(weight.detach(), losses.dtype), [
    ...weight.shape,
    ...shape.slice(weight.rank).map(() => 1),
  ]);
  const each = reshape(broadcastTo(wide, shape), losses.shape);
  const total = sum(weigh(losses, each));
  if (reduction === "sum") return note(total, () => ({ divisor: null }));
  const divisor = sum(counts ? mul(each, counts) : each);
  // of nothing the mean is 0, and so are the gradients
  return note(div(total, where(eq(divisor, 0), Infinity, divisor)), () => ({
    divisor,
    weighed: true,
  }));
}

/** What a loss has compared, and how to tell right answers by it. */
export interface Answers {
  /** As the loss saw it. */
  output: Tensor;
  /** As the loss saw it: class numbers, or values of the output's shape. */
  target: Tensor;
  /** Of the classes, where the loss is of classes. */
  axis?: number | undefined;
  /** Above which the output says yes, where the loss is of yes and no. */
  threshold?: number | undefined;
  /** A class number that does not count. */
  ignoreIndex?: number | undefined;
  /** The classes' weights, or null; then the mean's divisor is the number of targets that count. */
  weight?: Tensor | null | undefined;
}

/** How a loss was made. */
export interface LossNote {
  /** What its mean was divided by; null of a sum. */
  divisor?: Tensor | number | null | undefined;
  /** Whether that is of weights of samples, too. */
  weighed?: boolean | undefined;
  /** What was divided, before it was added up. */
  losses?: Tensor | undefined;
  /** What it compared. */
  answers?: Answers | undefined;
}

let notes: Map<Tensor, LossNote> | undefined; // while a trainer asks

/** Adds to what is known of a loss, if someone asks; returns the loss. */
export function note(loss: Tensor, more: () => LossNote): Tensor {
  notes?.set(loss, { ...notes.get(loss), ...more() });
  return loss;
}

/** {@linkcode inFloat32} for a loss: what is noted of the one inside goes with it. */
export function lossInFloat32<T extends [Tensor, ...unknown[]]>(
  operands: T,
  fn: (...operands: T) => Tensor,
): Tensor {
  let inside: Tensor | undefined;
  const loss = inFloat32(operands, (...wide) => inside = fn(...wide));
  return passNote(inside!, loss);
}

/** The loss that `fn` returns, rounded to a dtype: what is noted of it goes with it. */
export function roundedLoss(dtype: DType, fn: () => Tensor): Tensor {
  const inside = fn();
  return passNote(inside, cast(inside, dtype));
}

function passNote(inside: Tensor, loss: Tensor): Tensor {
  const known = notes?.get(inside);
  if (known && loss !== inside) {
    notes!.delete(inside);
    notes!.set(loss, known);
  }
  return loss;
}

/**
 * The loss that `fn` returns, and how it was made, if one of the library's functions made it; or
 * how the only one was made that it is made of, scaled or with a penalty.
 */
export function noted(fn: () => Tensor): { loss: Tensor; note: LossNote } {
  const before = notes;
  const own = notes = new Map<Tensor, LossNote>();
  try {
    const loss = fn();
    const exact = own.get(loss);
    const { divisor, answers, weighed } = own.size === 1 ? [...own.values()][0]! : {};
    const inside = { ...(divisor && { divisor, weighed }), ...(answers && { answers }) };
    return { loss, note: exact ?? inside };
  } finally {
    notes = before;
  }
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

/**
 * Throws unless a weight, if there is one, is of x's device and dtype and broadcasts to its shape.
 */
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

/** The kinds of losses of one number against another, in the order of cudeno.h's numbers. */
export const lossKinds = [
  "mse",
  "l1",
  "smooth_l1",
  "huber",
  "bce",
  "bce_with_logits",
  "hinge",
  "kl_div",
  "kl_div_log",
] as const;

/** A loss of one number against another. */
export interface Pointwise {
  /** The function's name, for messages. */
  op: string;
  /** The library's name for it. */
  kind: (typeof lossKinds)[number];
  /** beta, delta or margin. */
  parameter?: number | undefined;
  /**
   * d loss / d x in operations that can be differentiated again; null where it is constant but for
   * jumps.
   */
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
  // The kernels compute 16 bits in float32; between several operations there would be rounding.
  if (!weighing(reduction) && !target.requiresGrad) return computed(loss, x, target, reduction);
  return lossInFloat32([x, target], (x, target) => computed(loss, x, target, reduction));
}

function computed(loss: Pointwise, x: Tensor, target: Tensor, reduction: Reduction): Tensor {
  if (weighing(reduction)) return reduceLosses(computed(loss, x, target, "none"), reduction);
  const { op, parameter = 0 } = loss;
  const kind = lossKinds.indexOf(loss.kind);
  const divisor = reduction === "mean" ? x.size : 1;
  const composed = reduction === "none" || target.requiresGrad;
  const y = x.make(reduction === "none" ? x.shape : []);
  // Made of the same reads as the loss; the first pass back takes it. Not in 16 bits: they might
  // not hold it before it is scaled.
  const keeps = !composed && gradEnabled() && x.requiresGrad && dtypeInfo(x.dtype).bytes > 2;
  let ready = keeps ? x.make(x.shape) : null;
  if (reduction === "none") {
    calls.cdn_loss(y, x, target, x.size, parameter, kind, x.code);
  } else {
    calls.cdn_loss_reduced(y, ready, x, target, x.size, parameter, divisor, kind, x.code);
    note(y, () => ({ divisor: reduction === "mean" ? divisor : null }));
  }

  // The slope, times the one number that is the gradient of a reduced loss.
  const fused = (x: Tensor, target: Tensor, grad: Tensor | null, scale: number) => {
    const dx = x.make(x.shape);
    calls.cdn_loss_grad(dx, grad, x, target, x.size, parameter, scale, kind, x.code);
    return dx;
  };
  return record(y, op, [x, target], (grad) => {
    if (!gradEnabled() && !composed) {
      const dx = ready && !ready.disposed ? ready : fused(x, target, grad, 1 / divisor);
      if (dx === ready) call("cdn_scale_grad", dx, grad, x.size, x.code);
      ready = null;
      return [dx, null];
    }
    // Where the gradient is 0 the loss is not wanted, and its slope may be NaN.
    const gradient = (slopeOf: Pointwise["targetSlope"]) =>
      inFloat32([x, target, grad], (x, target, grad) => {
        const slope = gradEnabled() && loss.slope
          ? loss.slope(x, target)
          : fused(x, target, null, 1);
        return weigh(slopeOf(x, target, slope), reduction === "mean" ? div(grad, x.size) : grad);
      });
    return [
      x.requiresGrad ? gradient((_x, _target, slope) => slope) : null,
      target.requiresGrad ? gradient(loss.targetSlope) : null,
    ];
  });
}
