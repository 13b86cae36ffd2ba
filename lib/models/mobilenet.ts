import { checkNumber, refuse } from "../core/options.ts";
import { ReLU6 } from "../nn/activations.ts";
import type { Conv2dLayerOptions } from "../nn/conv.ts";
import { Dropout } from "../nn/dropout.ts";
import { Flatten } from "../nn/flatten.ts";
import { AdaptiveAvgPool2d } from "../nn/pooling.ts";
import { Sequential } from "../nn/sequential.ts";
import { heByOutputs, imageModel, type Layers } from "./_layers.ts";
import type { DropoutModelOptions } from "./image_model.ts";
import { ShortcutBlock } from "./_shortcut_block.ts";

/** Options of {@linkcode mobilenetV2}. */
export interface MobileNetV2Options extends DropoutModelOptions {
  /** How wide layers are, as a multiple; channels are rounded to multiples of 8. Default 1. */
  widthMult?: number | undefined;
}

// For each stage: how many times as wide blocks are inside, channels, blocks, the first's stride.
const stages = [
  [1, 16, 1, 1],
  [6, 24, 2, 2],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
] as const;

// To the nearest multiple of 8 that is not more than a tenth below.
function rounded(channels: number): number {
  const nearest = Math.max(8, Math.floor((channels + 4) / 8) * 8);
  return nearest < 0.9 * channels ? nearest + 8 : nearest;
}

const activated = (
  layers: Layers,
  ...[inC, outC, kernel, options]: [number, number, number, Conv2dLayerOptions?]
) => new Sequential(...layers.normed(inC, outC, kernel, options), new ReLU6());

function invertedResidual(
  layers: Layers,
  { inC, outC, expand, stride }: { inC: number; outC: number; expand: number; stride: number },
): Sequential {
  const inner = inC * expand;
  const conv = new Sequential(
    ...(expand === 1 ? [] : [activated(layers, inC, inner, 1)]),
    activated(layers, inner, inner, 3, { stride, groups: inner }),
    ...layers.normed(inner, outC, 1),
  );
  return stride === 1 && inC === outC ? new ShortcutBlock({ conv }) : new Sequential({ conv });
}

/**
 * MobileNet V2 (Sandler et al., "Inverted Residuals and Linear Bottlenecks", 2018), with
 * torchvision's keys: 3,504,872 parameters. Images [n, 3, 224, 224], or of other sizes, give scores
 * [n, 1000]; dropout is 0.2.
 *
 * ```ts
 * import { models, rand } from "@cudeno/cudeno";
 * const model = models.mobilenetV2({ classes: 10, widthMult: 0.5 });
 * console.log(model.eval().forward(rand([1, 3, 64, 64])).shape); // [1, 10]
 * ```
 */
export function mobilenetV2(options: MobileNetV2Options = {}): Sequential {
  const op = "mobilenetV2";
  return imageModel(op, options, ["widthMult", "dropout"], (layers, { classes, channels }) => {
    const { widthMult = 1, dropout = 0.2 } = options;
    checkNumber(op, "widthMult", widthMult);
    if (widthMult <= 0) refuse(op, "widthMult", widthMult, "above 0");
    let inC = rounded(32 * widthMult);
    const features = [activated(layers, channels, inC, 3, { stride: 2 })];
    for (const [expand, width, blocks, first] of stages) {
      const outC = rounded(width * widthMult);
      for (let i = 0; i < blocks; i++) {
        features.push(invertedResidual(layers, { inC, outC, expand, stride: i ? 1 : first }));
        inC = outC;
      }
    }
    const last = rounded(1280 * Math.max(1, widthMult));
    features.push(activated(layers, inC, last, 1));
    const classifier = new Sequential(new Dropout(dropout), layers.linear(last, classes));
    layers.start(heByOutputs, 0.01);
    return new Sequential({
      features: new Sequential(features),
      avgpool: new AdaptiveAvgPool2d(1),
      flatten: new Flatten(),
      classifier,
    });
  });
}
