import { checkInteger, checkOptions, refuse } from "../../core/options.ts";
import { type MatmulPrecision, precisionOf } from "../../core/precision.ts";
import { formatShape } from "../../core/shape.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import {
  autocasted,
  checkDType,
  checkSameDevice,
  checkSameDType,
  checkTensor,
  floats,
} from "../_operands.ts";
import { biased, gradOfInput } from "./_convolution.ts";
import { checkBias, checkRanks, variantNumber, withBatch, withoutBatch } from "./_shapes.ts";
import { type Pair, pairOf } from "../_pair.ts";
import { extentOf } from "./_window.ts";

/** Options of {@linkcode convTranspose2d}. */
export interface ConvTranspose2dOptions {
  /** Default 1. */
  stride?: Pair | undefined;
  /** What the convolution that it transposes has around its image. Default 0. */
  padding?: Pair | undefined;
  /** Added below and on the right of the result; less than stride or dilation. Default 0. */
  outputPadding?: Pair | undefined;
  /** Default 1. */
  dilation?: Pair | undefined;
  /** Default 1. */
  groups?: number | undefined;
  /** As of conv2d. */
  precision?: MatmulPrecision | undefined;
  /** As of conv2d. */
  variant?: string | undefined;
}

/**
 * The transposed convolution, which is conv2d's gradient for its input: x [n, c, h, w], weight [c,
 * k / groups, r, s], bias [k], y [n, k, p, q] with p = (h - 1) stride - 2 padding + dilation
 * (r - 1) + outputPadding + 1. As torch.nn.functional.conv_transpose2d. Floats; under autocast()
 * its dtype is used.
 *
 * @throws {ShapeError} when channels and groups do not go together, or nothing is left of the
 * result.
 *
 * ```ts
 * import { convTranspose2d, ones } from "@cudeno/cudeno";
 * const y = convTranspose2d(ones([1, 1, 2, 2]), ones([1, 1, 2, 2]), null, { stride: 2 });
 * console.log(y.shape); // [1, 1, 4, 4]
 * ```
 */
export function convTranspose2d(
  x: Tensor,
  weight: Tensor,
  bias?: Tensor | null,
  options: ConvTranspose2dOptions = {},
): Tensor {
  const op = "convTranspose2d";
  checkOptions(op, options, [
    ...["stride", "padding", "outputPadding", "dilation", "groups"],
    ...["precision", "variant"],
  ]);
  checkTensor(op, weight);
  checkDType(op, x, floats);
  checkSameDevice(op, x, weight, ...(bias ? [bias] : []));
  [x, weight, bias] = autocasted("lower", x, weight, bias);
  checkSameDType(op, x, weight, ...(bias ? [bias] : []));
  if (x.rank === 3) return withoutBatch(convTranspose2d(withBatch(x), weight, bias, options));
  checkRanks(op, x, weight);
  const { groups = 1 } = options;
  checkInteger(op, "groups", groups, 1);
  const stride = pairOf(op, "stride", options.stride ?? 1, 1);
  const padding = pairOf(op, "padding", options.padding ?? 0, 0);
  const more = pairOf(op, "outputPadding", options.outputPadding ?? 0, 0);
  const dilation = pairOf(op, "dilation", options.dilation ?? 1, 1);
  const [n, c, ...size] = x.shape as [number, number, number, number];
  const [k, each, ...taps] = weight.shape as [number, number, number, number];
  if (k !== c || c % groups !== 0) {
    throw new ShapeError(
      `${op}: input is ${formatShape(x.shape)} and weight is ${formatShape(weight.shape)}; ${
        k !== c
          ? `its axis 0 must be ${c}, the input's channels`
          : `${c} channels are no multiple of ${groups} groups`
      }`,
    );
  }
  checkBias(op, bias, each * groups);
  const out = [0, 1].map((i) => {
    if (more[i]! >= Math.max(stride[i]!, dilation[i]!)) {
      refuse(op, "outputPadding", options.outputPadding, "less than the stride or the dilation");
    }
    return (size[i]! - 1) * stride[i]! - 2 * padding[i]! + extentOf(taps[i]!, dilation[i]!) +
      more[i]!;
  }) as [number, number];
  if (out.some((extent) => extent < 1)) {
    throw new ShapeError(
      `${op}: nothing is left of the result, ${formatShape(out)}, with padding ${
        formatShape(padding)
      } for input ${formatShape(x.shape)}`,
    );
  }
  const y = gradOfInput(x, weight, {
    input: [n, each * groups, ...out],
    weight: weight.shape,
    output: x.shape,
    stride,
    padding,
    dilation,
    groups,
    precision: precisionOf(op, options.precision),
    variant: variantNumber(op, x, options.variant),
  });
  return biased(y, bias);
}
