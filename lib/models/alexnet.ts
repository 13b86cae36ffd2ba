import { ReLU } from "../nn/activations.ts";
import { Dropout } from "../nn/dropout.ts";
import { Flatten } from "../nn/flatten.ts";
import { AdaptiveAvgPool2d, MaxPool2d } from "../nn/pooling.ts";
import { Sequential } from "../nn/sequential.ts";
import { imageModel } from "./_layers.ts";
import type { DropoutModelOptions } from "./image_model.ts";

/**
 * AlexNet (Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014),
 * with torchvision's keys: 61,100,840 parameters. Images [n, 3, 224, 224] give scores [n, 1000];
 * dropout is 0.5.
 *
 * ```ts
 * import { models, rand } from "@cudeno/cudeno";
 * const model = models.alexnet({ classes: 10 });
 * console.log(model.eval().forward(rand([1, 3, 64, 64])).shape); // [1, 10]
 * ```
 */
export function alexnet(options: DropoutModelOptions = {}): Sequential {
  return imageModel("alexnet", options, ["dropout"], (layers, { classes, channels }) => {
    const { dropout = 0.5 } = options;
    const pool = () => new MaxPool2d(3, { stride: 2 });
    return new Sequential({
      features: new Sequential(
        ...[layers.conv(channels, 64, 11, { stride: 4, padding: 2 }), new ReLU(), pool()],
        ...[layers.conv(64, 192, 5, { padding: 2 }), new ReLU(), pool()],
        ...[layers.conv(192, 384, 3, { padding: 1 }), new ReLU()],
        ...[layers.conv(384, 256, 3, { padding: 1 }), new ReLU()],
        ...[layers.conv(256, 256, 3, { padding: 1 }), new ReLU(), pool()],
      ),
      avgpool: new AdaptiveAvgPool2d(6),
      flatten: new Flatten(),
      classifier: new Sequential(
        ...[new Dropout(dropout), layers.linear(256 * 6 * 6, 4096), new ReLU()],
        ...[new Dropout(dropout), layers.linear(4096, 4096), new ReLU()],
        layers.linear(4096, classes),
      ),
    });
  });
}
