// What mixup() and cutmix() share.
import { checkInteger, checkNumber, checkOptions, refuse } from "../../core/options.ts";
import { scope } from "../../core/scope.ts";
import { formatShape } from "../../core/shape.ts";
import { tensor } from "../../create.ts";
import { call } from "../../native/call.ts";
import { ShapeError } from "../../native/errors.ts";
import { cast } from "../../ops/elementwise/_cast.ts";
import { oneHot } from "../../ops/index/one_hot.ts";
import { checkDType, checkSameDevice, checkTensor } from "../../ops/_operands.ts";
import type { Tensor } from "../../tensor.ts";
import { beta } from "./_beta.ts";

/** Options of {@linkcode mixup} and {@linkcode cutmix}. */
export interface MixOptions {
  /** How many classes there are; needed where targets are class numbers. */
  classes?: number | undefined;
  /** Of the beta distribution of shares, both its parameters; above 0. Default 1: uniform. */
  alpha?: number | undefined;
}

/** From a batch to another one, for data.map(). */
export type BatchTransform = <B extends { input: Tensor; target: Tensor }>(batch: B) => B;

/**
 * `mix` gives the inputs that a share of a batch and another one of its samples make, and says what
 * share that is in the end.
 */
export function mixing(
  op: string,
  options: MixOptions,
  mix: (x: Tensor, other: Tensor, share: number) => [input: Tensor, share: number],
): BatchTransform {
  checkOptions(op, options, ["classes", "alpha"]);
  const { classes, alpha = 1 } = options;
  if (classes !== undefined) checkInteger(op, "classes", classes, 1);
  checkNumber(op, "alpha", alpha, 0);
  if (alpha === 0) refuse(op, "alpha", alpha, "a number above 0");
  return (batch) => {
    const { input, target } = Object(batch) as typeof batch;
    checkTensor(`${op}: the input`, input);
    checkSameDevice(op, input, target);
    const [n] = input.shape,
      probable = target.rank === 2 && target.shape[1] === (classes ?? target.shape[1]);
    if (n !== target.shape[0] || (target.rank !== 1 && !probable)) {
      throw new ShapeError(
        `${op}: the input is ${formatShape(input.shape)}, the target ${
          formatShape(target.shape)
        }; they must be [n, ...] and [n] or [n, ${classes ?? "classes"}]`,
      );
    }
    if (target.rank === 1 && classes === undefined) {
      refuse(op, "classes", classes, "how many there are, as targets are class numbers");
    }
    if (target.rank === 1) checkDType(`${op}: the target`, target, ["int32", "uint8"]);
    const share = beta(alpha);
    return scope(() => {
      const before = tensor(Int32Array.from({ length: n! }, (_, i) => (i + n! - 1) % n!), {
        device: input.device,
      });
      const [mixed, kept] = mix(input, rowsOf(input, before), share);
      const sure = target.rank === 2
        ? cast(target, target.dtype === "float64" ? "float64" : "float32")
        : oneHot(cast(target, "int32"), classes!, { dtype: "float32" });
      return { ...batch, input: mixed, target: blend(sure, rowsOf(sure, before), kept) };
    });
  };
}

/** share a + (1 - share) b. */
export const blend = (a: Tensor, b: Tensor, share: number): Tensor =>
  a.mul(share).add(b.mul(1 - share));

// gatherRows() in any format: the first axis is the outermost in each.
function rowsOf(x: Tensor, index: Tensor): Tensor {
  const { format, code } = x, n = index.size;
  const y = x.make(x.shape, x.dtype, format);
  if (x.size === 0) return y;
  const [to, from] = [y.stored(format), x.stored(format)];
  call("cdn_gather_rows", to, from, index, n, x.size / n, n, 1, 0, code, code);
  return y;
}
