// What models of images are made with.
import type { DeviceName } from "../core/backend.ts";
import type { DType } from "../core/dtype.ts";
import { checkInteger, checkOptions } from "../core/options.ts";
import { BatchNorm2d } from "../nn/batch_norm.ts";
import { Conv2d, type Conv2dLayerOptions, ConvTranspose2d } from "../nn/conv.ts";
import * as init from "../nn/init.ts";
import { Linear } from "../nn/linear.ts";
import type { Module } from "../nn/module.ts";
import type { Pair } from "../ops/_pair.ts";
import type { ImageModelOptions } from "./image_model.ts";

interface Place {
  device?: DeviceName | undefined;
  dtype?: DType | undefined;
}

/** Makes layers in one place, and remembers them. */
export class Layers {
  readonly #place: Place;
  readonly #made: Module[] = [];

  constructor(place: Place) {
    this.#place = place;
  }

  #keep<M extends Module>(layer: M): M {
    this.#made.push(layer);
    return layer;
  }

  /** A convolution. */
  conv(inC: number, outC: number, kernelSize: Pair, options: Conv2dLayerOptions = {}): Conv2d {
    return this.#keep(new Conv2d(inC, outC, kernelSize, { ...options, ...this.#place }));
  }

  /** A convolution without a bias, which keeps the size but for its stride, and its norm. */
  normed(
    inC: number,
    outC: number,
    kernel: number,
    options: Conv2dLayerOptions = {},
  ): [conv: Conv2d, norm: BatchNorm2d] {
    const padding = kernel === 1 ? undefined : (kernel - 1) / 2;
    return [
      this.conv(inC, outC, kernel, { ...options, padding, bias: false }),
      this.norm(outC),
    ];
  }

  /** A transposed convolution that doubles the size. */
  doubling(inC: number, outC: number): ConvTranspose2d {
    return this.#keep(new ConvTranspose2d(inC, outC, 2, { stride: 2, ...this.#place }));
  }

  /** Batch normalisation. */
  norm(features: number): BatchNorm2d {
    return this.#keep(new BatchNorm2d(features, this.#place));
  }

  /** A linear layer. */
  linear(inFeatures: number, outFeatures: number): Linear {
    return this.#keep(new Linear(inFeatures, outFeatures, this.#place));
  }

  /**
   * Starts convolutions in a way, with biases of 0, and linear layers normally distributed where a
   * deviation is given.
   */
  start(convolution: (weight: Conv2d["weight"]) => void, deviation?: number): void {
    for (const layer of this.#made) {
      const isConv = layer instanceof Conv2d;
      if (isConv) convolution(layer.weight);
      else if (layer instanceof Linear && deviation) init.normal(layer.weight, { std: deviation });
      else continue;
      if (layer.bias) init.zeros(layer.bias);
    }
  }

  /** Frees them. */
  dispose(): void {
    for (const layer of this.#made) layer.dispose();
  }
}

/** He's initialisation by the outputs, which ResNet, VGG and MobileNet start with. */
export const heByOutputs = (weight: Conv2d["weight"]): void => {
  init.kaimingNormal(weight, { mode: "fanOut", nonlinearity: "relu" });
};

/**
 * Checks the options of a model, which has `more` than all have, and builds it; frees what was
 * made should the rest fail.
 */
export function imageModel<O extends ImageModelOptions, M extends Module>(
  op: string,
  options: O,
  more: readonly (keyof O & string)[],
  build: (layers: Layers, sizes: { classes: number; channels: number }) => M,
  defaults: { classes: number; channels: number } = { classes: 1000, channels: 3 },
): M {
  checkOptions(op, options, ["classes", "channels", ...more, "device", "dtype"]);
  const { classes = defaults.classes, channels = defaults.channels, device, dtype } = options;
  checkInteger(op, "classes", classes, 1);
  checkInteger(op, "channels", channels, 1);
  const layers = new Layers({ device, dtype });
  using undo = new DisposableStack();
  undo.defer(() => layers.dispose());
  const model = build(layers, { classes, channels });
  undo.move();
  return model;
}
