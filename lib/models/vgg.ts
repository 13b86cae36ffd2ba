import { ReLU } from "../nn/activations.ts";
import { Dropout } from "../nn/dropout.ts";
import { Flatten } from "../nn/flatten.ts";
import type { Module } from "../nn/module.ts";
import { AdaptiveAvgPool2d, MaxPool2d } from "../nn/pooling.ts";
import { Sequential } from "../nn/sequential.ts";
import { checkFlag } from "./_check.ts";
import { heByOutputs, imageModel } from "./_layers.ts";
import type { DropoutModelOptions } from "./image_model.ts";

/** Options of {@linkcode vgg11} and its like. */
export interface VGGOptions extends DropoutModelOptions {
  /** Whether batch normalisation follows each convolution. Default false. */
  batchNorm?: boolean | undefined;
}

const widths = [64, 128, 256, 512, 512];

function vgg(op: string, options: VGGOptions, convolutions: readonly number[]): Sequential {
  return imageModel(op, options, ["batchNorm", "dropout"], (layers, { classes, channels }) => {
    const { batchNorm = false, dropout = 0.5 } = options;
    checkFlag(op, "batchNorm", batchNorm);
    let inC = channels;
    const features = convolutions.flatMap((count, stage) => {
      const made: Module[] = [];
      for (let i = 0; i < count; i++) {
        made.push(layers.conv(inC, inC = widths[stage]!, 3, { padding: 1 }));
        if (batchNorm) made.push(layers.norm(inC));
        made.push(new ReLU());
      }
      return [...made, new MaxPool2d(2)];
    });
    const model = new Sequential({
      features: new Sequential(features),
      avgpool: new AdaptiveAvgPool2d(7),
      flatten: new Flatten(),
      classifier: new Sequential(
        ...[layers.linear(512 * 7 * 7, 4096), new ReLU(), new Dropout(dropout)],
        ...[layers.linear(4096, 4096), new ReLU(), new Dropout(dropout)],
        layers.linear(4096, classes),
      ),
    });
    layers.start(heByOutputs, 0.01);
    return model;
  });
}

/**
 * VGG-11 (Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
 * Recognition", 2014), with torchvision's keys: 132,863,336 parameters. Images [n, 3, 224, 224]
 * give scores [n, 1000]; dropout is 0.5.
 *
 * ```ts
 * import { models, rand } from "@cudeno/cudeno";
 * const model = models.vgg11({ classes: 10, batchNorm: true });
 * console.log(model.eval().forward(rand([1, 3, 32, 32])).shape); // [1, 10]
 * ```
 */
export function vgg11(options: VGGOptions = {}): Sequential {
  return vgg("vgg11", options, [1, 1, 2, 2, 2]);
}

/**
 * VGG-16, with torchvision's keys: 138,357,544 parameters. See {@linkcode vgg11}.
 *
 * ```ts
 * import { models, rand } from "@cudeno/cudeno";
 * const model = models.vgg16({ classes: 10 });
 * console.log(model.eval().forward(rand([1, 3, 32, 32])).shape); // [1, 10]
 * ```
 */
export function vgg16(options: VGGOptions = {}): Sequential {
  return vgg("vgg16", options, [2, 2, 3, 3, 3]);
}

/**
 * VGG-19, with torchvision's keys: 143,667,240 parameters. See {@linkcode vgg11}.
 *
 * ```ts
 * import { models, rand } from "@cudeno/cudeno";
 * const model = models.vgg19({ classes: 10 });
 * console.log(model.eval().forward(rand([1, 3, 32, 32])).shape); // [1, 10]
 * ```
 */
export function vgg19(options: VGGOptions = {}): Sequential {
  return vgg("vgg19", options, [2, 2, 4, 4, 4]);
}
