import { checkList, refuse } from "../core/options.ts";
import { ReLU } from "../nn/activations.ts";
import type { ConvTranspose2d } from "../nn/conv.ts";
import { Module } from "../nn/module.ts";
import { MaxPool2d } from "../nn/pooling.ts";
import { Sequential } from "../nn/sequential.ts";
import { concat } from "../ops/shape/concat.ts";
import { pad } from "../ops/shape/pad.ts";
import type { Tensor } from "../tensor.ts";
import { imageModel, type Layers } from "./_layers.ts";
import type { ImageModelOptions } from "./image_model.ts";

/** Options of {@linkcode unet}; 2 classes unless they say otherwise. */
export interface UNetOptions extends ImageModelOptions {
  /**
   * The channels at each size of the image, from its own to the smallest. Default
   * [64, 128, 256, 512, 1024].
   */
  widths?: readonly number[] | undefined;
}

const twoConvolutions = (layers: Layers, inC: number, outC: number) =>
  new Sequential({
    double_conv: new Sequential(
      ...[...layers.normed(inC, outC, 3), new ReLU()],
      ...[...layers.normed(outC, outC, 3), new ReLU()],
    ),
  });

// Doubles the size of x, sets what was there at that size beside it, and convolves both.
class Up extends Module {
  readonly up: ConvTranspose2d;
  readonly conv: Sequential;

  constructor(layers: Layers, inC: number, outC: number) {
    super();
    this.up = layers.doubling(inC, outC);
    this.conv = twoConvolutions(layers, 2 * outC, outC);
  }

  override forward(x: Tensor, skip?: Tensor): Tensor {
    const y = this.up.forward(x);
    return this.conv.forward(skip ? concat([skip, bordered(y, skip)], 1) : y);
  }
}

// With zeros around it, as high and wide as the other: pooling has rounded down.
function bordered(y: Tensor, other: Tensor): Tensor {
  const missing = [2, 3].map((axis) => other.shape[axis]! - y.shape[axis]!);
  if (missing.every((extent) => extent === 0)) return y;
  const sides = missing.map((n) => [Math.floor(n / 2), Math.ceil(n / 2)] as const);
  return pad(y, [[0, 0], [0, 0], ...sides]);
}

class UNet extends Module {
  readonly inc: Sequential;
  readonly outc: Sequential;
  readonly #downs: Sequential[];
  readonly #ups: Up[];

  constructor(layers: Layers, channels: number, classes: number, widths: readonly number[]) {
    super();
    const narrower = widths.slice(0, -1);
    this.inc = twoConvolutions(layers, channels, widths[0]!);
    this.#downs = narrower.map((width, i) =>
      new Sequential({
        maxpool_conv: new Sequential(
          new MaxPool2d(2),
          twoConvolutions(layers, width, widths[i + 1]!),
        ),
      })
    );
    this.#ups = narrower.map((width, i) => new Up(layers, widths[i + 1]!, width)).reverse();
    this.outc = new Sequential({ conv: layers.conv(widths[0]!, classes, 1) });
  }

  override *namedChildren(): Generator<[string, Module]> {
    yield ["inc", this.inc];
    for (const [i, down] of this.#downs.entries()) yield [`down${i + 1}`, down];
    for (const [i, up] of this.#ups.entries()) yield [`up${i + 1}`, up];
    yield ["outc", this.outc];
  }

  override forward(x: Tensor): Tensor {
    const skips = [this.inc.forward(x)];
    for (const down of this.#downs) skips.push(down.forward(skips.at(-1)!));
    let y = skips.pop()!;
    for (const up of this.#ups) y = up.forward(y, skips.pop());
    return this.outc.forward(y);
  }
}

/**
 * U-Net (Ronneberger et al., "Convolutional Networks for Biomedical Image Segmentation", 2015),
 * with padded convolutions and batch normalisation, and the keys of the PyTorch U-Net in wide use
 * (milesial/Pytorch-UNet, with transposed convolutions): 31,037,698 parameters. Images [n, 3, h, w]
 * give scores for each pixel, [n, 2, h, w].
 *
 * ```ts
 * import { models, rand } from "@cudeno/cudeno";
 * const model = models.unet({ channels: 1, widths: [8, 16, 32] });
 * console.log(model.eval().forward(rand([1, 1, 30, 40])).shape); // [1, 2, 30, 40]
 * ```
 */
export function unet(options: UNetOptions = {}): Module {
  return imageModel("unet", options, ["widths"], (layers, { classes, channels }) => {
    const { widths = [64, 128, 256, 512, 1024] } = options;
    const wanted = "whole numbers from 1 on, such as [64, 128]";
    const whole = (x: unknown) => Number.isSafeInteger(x) && (x as number) >= 1;
    checkList("unet", "widths", widths, whole, wanted);
    if (widths.length === 0) refuse("unet", "widths", widths, wanted);
    return new UNet(layers, channels, classes, widths);
  }, { classes: 2, channels: 3 });
}
