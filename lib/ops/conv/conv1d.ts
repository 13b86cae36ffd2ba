import { checkOptions } from "../../core/options.ts";
import { formatShape } from "../../core/shape.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { checkTensor } from "../_operands.ts";
import { reshape } from "../shape/movement.ts";
import { conv2d, type Conv2dOptions } from "./conv2d.ts";

/** Options of {@linkcode conv1d}: those of conv2d, of one axis, but for `maxPool`. */
export interface Conv1dOptions
  extends Omit<Conv2dOptions, "stride" | "padding" | "dilation" | "maxPool"> {
  /** Default 1. */
  stride?: number | undefined;
  /** What is added at both ends, or [before, after]. Default 0. */
  padding?: number | readonly [before: number, after: number] | "same" | "valid" | undefined;
  /** Default 1. */
  dilation?: number | undefined;
}

/**
 * y = activation(x * weight + bias) along one axis: x [n, c, l] or [c, l], weight [k, c / groups,
 * s], bias [k], y [n, k, q], as {@linkcode conv2d} of images of height 1.
 *
 * @throws {ShapeError} as conv2d.
 *
 * ```ts
 * import { conv1d, tensor } from "@cudeno/cudeno";
 * console.log(conv1d(tensor([[[1, 2, 4, 8]]]), tensor([[[1, -1]]])).dataSync()); // -1, -2, -4
 * ```
 */
export function conv1d(
  x: Tensor,
  weight: Tensor,
  bias?: Tensor | null,
  options: Conv1dOptions = {},
): Tensor {
  checkOptions("conv1d", options, [
    ...["stride", "padding", "paddingMode", "dilation", "groups"],
    ...["activation", "precision", "variant"],
  ]);
  checkTensor("conv1d", x);
  checkTensor("conv1d", weight);
  const { stride = 1, padding = 0, dilation = 1, ...others } = options;
  if ((x.rank !== 3 && x.rank !== 2) || weight.rank !== 3) {
    throw new ShapeError(
      `conv1d: input is ${formatShape(x.shape)} and weight ${
        formatShape(weight.shape)
      }; they must ` +
        "be [n, channels, length] or [channels, length], and [out, in / groups, length]",
    );
  }
  const sides = Array.isArray(padding) ? padding : [padding, padding];
  const y = conv2d(
    reshape(x, [...x.shape.slice(0, -1), 1, x.shape.at(-1)!]),
    reshape(weight, [weight.shape[0]!, weight.shape[1]!, 1, weight.shape[2]!]),
    bias,
    {
      ...others,
      stride: [1, stride],
      padding: typeof padding === "string" ? padding : [[0, 0], sides as [number, number]],
      dilation: [1, dilation],
    },
  );
  return reshape(y, [...y.shape.slice(0, -2), y.shape.at(-1)!]);
}
