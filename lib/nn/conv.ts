import type { FusedActivation } from "../core/node.ts";
import { checkInteger } from "../core/options.ts";
import { type Pair, pairOf } from "../ops/_pair.ts";
import type { Padding, PaddingMode } from "../ops/conv/_window.ts";
import { conv1d, type Conv1dOptions } from "../ops/conv/conv1d.ts";
import { conv2d } from "../ops/conv/conv2d.ts";
import { convTranspose2d } from "../ops/conv/conv_transpose2d.ts";
import type { Tensor } from "../tensor.ts";
import { ConvBase, type ConvLayerOptions, optionsOf } from "./_conv_base.ts";

/** Options of {@linkcode Conv2d}. */
export interface Conv2dLayerOptions extends ConvLayerOptions {
  /** Of the filters, [height, width]; needed here if it is not the third argument. */
  kernelSize?: Pair | undefined;
  /** Default 1. */
  stride?: Pair | undefined;
  /** What is added around the image. Default 0. */
  padding?: Padding | undefined;
  /** What that is. Default `"zeros"`. */
  paddingMode?: PaddingMode | undefined;
  /** Default 1. */
  dilation?: Pair | undefined;
}

/** Options of {@linkcode Conv1d}. */
export interface Conv1dLayerOptions extends ConvLayerOptions {
  /** Of the filters; needed here if it is not the third argument. */
  kernelSize?: number | undefined;
  /** Default 1. */
  stride?: number | undefined;
  /** What is added at both ends, or [before, after]. Default 0. */
  padding?: Conv1dOptions["padding"];
  /** What that is: zeros, or as pad() makes it. Default `"zeros"`. */
  paddingMode?: PaddingMode | undefined;
  /** Default 1. */
  dilation?: number | undefined;
}

/** Options of {@linkcode ConvTranspose2d}. */
export interface ConvTranspose2dLayerOptions extends ConvLayerOptions {
  /** Of the filters, [height, width]; needed here if it is not the third argument. */
  kernelSize?: Pair | undefined;
  /** Default 1. */
  stride?: Pair | undefined;
  /** Default 0. */
  padding?: Pair | undefined;
  /** Added below and on the right of the result. Default 0. */
  outputPadding?: Pair | undefined;
  /** Default 1. */
  dilation?: Pair | undefined;
}

/**
 * y = x * weight + bias, as {@linkcode conv2d}: x [n, in, h, w], weight [out, in / groups, height,
 * width], bias [out].
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * const layer = new nn.Conv2d(3, 8, 3, { padding: 1 });
 * console.log(layer.forward(rand([2, 3, 16, 16])).shape); // [2, 8, 16, 16]
 * ```
 */
export class Conv2d extends ConvBase<Conv2dLayerOptions> {
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: Pair | Conv2dLayerOptions,
    options: Conv2dLayerOptions = {},
  ) {
    const given = optionsOf("Conv2d", kernelSize, options, [
      ...["stride", "padding", "paddingMode", "dilation"],
    ]);
    const taps = pairOf("Conv2d", "kernelSize", given.kernelSize, 1);
    super([inChannels, outChannels], given, taps, false);
  }

  /** x * weight + bias. */
  override forward(x: Tensor): Tensor {
    return this.activated(x);
  }

  /** activation(forward(x)), and pooled if asked, as one operation. */
  activated(x: Tensor, activation?: FusedActivation, maxPool?: 2): Tensor {
    const { stride, padding, paddingMode, dilation, groups } = this.options;
    const options = { stride, padding, paddingMode, dilation, groups, activation, maxPool };
    return conv2d(x, this.weight, this.bias, options);
  }
}

/**
 * y = x * weight + bias along one axis, as {@linkcode conv1d}: x [n, in, l], weight [out, in /
 * groups, length], bias [out].
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * console.log(new nn.Conv1d(3, 8, 5).forward(rand([2, 3, 16])).shape); // [2, 8, 12]
 * ```
 */
export class Conv1d extends ConvBase<Conv1dLayerOptions> {
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: number | Conv1dLayerOptions,
    options: Conv1dLayerOptions = {},
  ) {
    const given = optionsOf<Conv1dLayerOptions>(
      ...["Conv1d", kernelSize as number, options] as const,
      ["stride", "padding", "paddingMode", "dilation"],
    );
    checkInteger("Conv1d", "kernelSize", given.kernelSize as number, 1);
    super([inChannels, outChannels], given, [given.kernelSize as number], false);
  }

  /** x * weight + bias. */
  override forward(x: Tensor): Tensor {
    const { stride, padding, paddingMode, dilation, groups } = this.options;
    return conv1d(x, this.weight, this.bias, { stride, padding, paddingMode, dilation, groups });
  }
}

/**
 * The transposed convolution, as {@linkcode convTranspose2d}: x [n, in, h, w], weight [in, out /
 * groups, height, width], bias [out].
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * const layer = new nn.ConvTranspose2d(8, 3, 2, { stride: 2 });
 * console.log(layer.forward(rand([1, 8, 4, 4])).shape); // [1, 3, 8, 8]
 * ```
 */
export class ConvTranspose2d extends ConvBase<ConvTranspose2dLayerOptions> {
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: Pair | ConvTranspose2dLayerOptions,
    options: ConvTranspose2dLayerOptions = {},
  ) {
    const name = "ConvTranspose2d";
    const known = ["stride", "padding", "outputPadding", "dilation"];
    const given = optionsOf(name, kernelSize, options, known);
    const taps = pairOf(name, "kernelSize", given.kernelSize, 1);
    super([inChannels, outChannels], given, taps, true);
  }

  /** The transposed convolution of x, and the bias. */
  override forward(x: Tensor): Tensor {
    const { stride, padding, outputPadding, dilation, groups } = this.options;
    const options = { stride, padding, outputPadding, dilation, groups };
    return convTranspose2d(x, this.weight, this.bias, options);
  }
}
