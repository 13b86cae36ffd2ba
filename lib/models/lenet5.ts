import { refuse } from "../core/options.ts";
import { Flatten } from "../nn/flatten.ts";
import { MaxPool2d } from "../nn/pooling.ts";
import { Sequential } from "../nn/sequential.ts";
import type { Activation } from "./activation.ts";
import { activationLayer } from "./_activation_layer.ts";
import { imageModel } from "./_layers.ts";
import type { ImageModelOptions } from "./image_model.ts";

/** Options of {@linkcode lenet5}; 10 classes and 1 channel unless they say otherwise. */
export interface LeNet5Options extends ImageModelOptions {
  /** The height and width of the images; those of 28, MNIST's, get a border of 2. Default 28. */
  imageSize?: 28 | 32 | undefined;
  /** What follows each layer. Default `"relu"`. */
  activation?: Activation | undefined;
}

/**
 * LeNet-5 (LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998), with
 * max-pooling: 61,706 parameters, with the keys of PyTorch's tutorials, `conv1` to `fc3`. Images
 * [n, 1, 28, 28] give scores [n, 10].
 *
 * ```ts
 * import { models, rand } from "@cudeno/cudeno";
 * const model = models.lenet5();
 * console.log(model.forward(rand([4, 1, 28, 28])).shape); // [4, 10]
 * ```
 */
export function lenet5(options: LeNet5Options = {}): Sequential {
  const defaults = { classes: 10, channels: 1 };
  const more = ["imageSize", "activation"] as const;
  return imageModel("lenet5", options, more, (layers, { classes, channels }) => {
    const { imageSize = 28, activation = "relu" } = options;
    if (imageSize !== 28 && imageSize !== 32) {
      refuse("lenet5", "imageSize", imageSize, "28 or 32");
    }
    const activated = () => activationLayer("lenet5", activation);
    const padding = (32 - imageSize) / 2;
    return new Sequential({
      conv1: layers.conv(channels, 6, 5, padding ? { padding } : {}),
      ...{ activation1: activated(), pool1: new MaxPool2d(2) },
      conv2: layers.conv(6, 16, 5),
      ...{ activation2: activated(), pool2: new MaxPool2d(2), flatten: new Flatten() },
      ...{ fc1: layers.linear(16 * 5 * 5, 120), activation3: activated() },
      ...{ fc2: layers.linear(120, 84), activation4: activated() },
      fc3: layers.linear(84, classes),
    });
  }, defaults);
}
