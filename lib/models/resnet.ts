import { checkFlag } from "./_check.ts";
import { ReLU } from "../nn/activations.ts";
import { Flatten } from "../nn/flatten.ts";
import { AdaptiveAvgPool2d, MaxPool2d } from "../nn/pooling.ts";
import { Sequential } from "../nn/sequential.ts";
import { heByOutputs, imageModel, type Layers } from "./_layers.ts";
import type { ImageModelOptions } from "./image_model.ts";
import { ShortcutBlock } from "./_shortcut_block.ts";

/** Options of {@linkcode resnet18} and its like. */
export interface ResNetOptions extends ImageModelOptions {
  /**
   * Whether images are small, 32x32 say: the first convolution is then 3x3 with stride 1, and no
   * pooling follows it. Default false.
   */
  smallImages?: boolean | undefined;
}

interface Plan {
  /** Blocks in each of the four stages. */
  blocks: readonly number[];
  /** Whether blocks are three convolutions, the outer ones 1x1 and the last four times as wide. */
  bottleneck: boolean;
}

function resnet(op: string, options: ResNetOptions, { blocks, bottleneck }: Plan): Sequential {
  return imageModel(op, options, ["smallImages"], (layers, { classes, channels }) => {
    const { smallImages = false } = options;
    checkFlag(op, "smallImages", smallImages);
    const [conv1, bn1] = smallImages
      ? layers.normed(channels, 64, 3)
      : layers.normed(channels, 64, 7, { stride: 2 });
    const block = bottleneck ? bottleneckBlock : basicBlock;
    let width = 64;
    const stages = blocks.map((count, i) => {
      const stage = Array.from({ length: count }, (_, j) => {
        const made = block(layers, width, 64 * 2 ** i, i > 0 && j === 0 ? 2 : 1);
        width = 64 * 2 ** i * (bottleneck ? 4 : 1);
        return made;
      });
      return [`layer${i + 1}`, new Sequential(stage)];
    });
    const fc = layers.linear(width, classes);
    layers.start(heByOutputs);
    return new Sequential({
      ...{ conv1, bn1, relu: new ReLU() },
      maxpool: smallImages ? undefined : new MaxPool2d(3, { stride: 2, padding: 1 }),
      ...Object.fromEntries(stages),
      ...{ avgpool: new AdaptiveAvgPool2d(1), flatten: new Flatten(), fc },
    });
  });
}

// Where x does not have the shape of what it is added to.
function downsampled(layers: Layers, inC: number, outC: number, stride: number) {
  if (stride === 1 && inC === outC) return undefined;
  return new Sequential(...layers.normed(inC, outC, 1, { stride }));
}

function basicBlock(layers: Layers, inC: number, width: number, stride: number): ShortcutBlock {
  const [conv1, bn1] = layers.normed(inC, width, 3, { stride });
  const [conv2, bn2] = layers.normed(width, width, 3);
  const downsample = downsampled(layers, inC, width, stride);
  return new ShortcutBlock({ conv1, bn1, relu: new ReLU(), conv2, bn2 }, {
    downsample,
    relu: true,
  });
}

// As torchvision has it, with the stride in the 3x3 convolution.
function bottleneckBlock(
  layers: Layers,
  inC: number,
  width: number,
  stride: number,
): ShortcutBlock {
  const [conv1, bn1] = layers.normed(inC, width, 1);
  const [conv2, bn2] = layers.normed(width, width, 3, { stride });
  const [conv3, bn3] = layers.normed(width, 4 * width, 1);
  const downsample = downsampled(layers, inC, 4 * width, stride);
  return new ShortcutBlock({
    ...{ conv1, bn1, relu1: new ReLU() },
    ...{ conv2, bn2, relu2: new ReLU() },
    ...{ conv3, bn3 },
  }, { downsample, relu: true });
}

/**
 * ResNet-18 (He et al., "Deep Residual Learning for Image Recognition", 2015), with torchvision's
 * keys: 11,689,512 parameters. Images [n, 3, 224, 224], or of other sizes, give scores [n, 1000].
 *
 * ```ts
 * import { models, rand } from "@cudeno/cudeno";
 * const model = models.resnet18({ classes: 10, smallImages: true });
 * console.log(model.eval().forward(rand([1, 3, 32, 32])).shape); // [1, 10]
 * ```
 */
export function resnet18(options: ResNetOptions = {}): Sequential {
  return resnet("resnet18", options, { blocks: [2, 2, 2, 2], bottleneck: false });
}

/**
 * ResNet-34, with torchvision's keys: 21,797,672 parameters. See {@linkcode resnet18}.
 *
 * ```ts
 * import { models, rand } from "@cudeno/cudeno";
 * const model = models.resnet34({ classes: 10, smallImages: true });
 * console.log(model.eval().forward(rand([1, 3, 32, 32])).shape); // [1, 10]
 * ```
 */
export function resnet34(options: ResNetOptions = {}): Sequential {
  return resnet("resnet34", options, { blocks: [3, 4, 6, 3], bottleneck: false });
}

/**
 * ResNet-50, whose blocks are bottlenecks with the stride in the 3x3 convolution, with
 * torchvision's keys: 25,557,032 parameters. See {@linkcode resnet18}.
 *
 * ```ts
 * import { models, rand } from "@cudeno/cudeno";
 * const model = models.resnet50({ classes: 10 });
 * console.log(model.eval().forward(rand([1, 3, 64, 64])).shape); // [1, 10]
 * ```
 */
export function resnet50(options: ResNetOptions = {}): Sequential {
  return resnet("resnet50", options, { blocks: [3, 4, 6, 3], bottleneck: true });
}
