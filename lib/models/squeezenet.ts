import { checkChoice } from "../core/options.ts";
import { ReLU } from "../nn/activations.ts";
import { Dropout } from "../nn/dropout.ts";
import { Flatten } from "../nn/flatten.ts";
import { inOrder } from "../nn/_fused.ts";
import * as init from "../nn/init.ts";
import { AdaptiveAvgPool2d, MaxPool2d } from "../nn/pooling.ts";
import { Sequential } from "../nn/sequential.ts";
import { concat } from "../ops/shape/concat.ts";
import type { Tensor } from "../tensor.ts";
import { imageModel, type Layers } from "./_layers.ts";
import type { DropoutModelOptions } from "./image_model.ts";

/** Options of {@linkcode squeezenet}. */
export interface SqueezeNetOptions extends DropoutModelOptions {
  /** 1.1 takes 2.4 times fewer operations. Default `"1.0"`. */
  version?: "1.0" | "1.1" | undefined;
}

// The channels of each block's narrow layer, with a pool between some.
const versions = {
  "1.0": [16, 16, 32, "pool", 32, 48, 48, 64, "pool", 64],
  "1.1": [16, 16, "pool", 32, 32, "pool", 48, 48, 64, 64],
} as const;

// A narrow layer, and two wide ones that see it 1x1 and 3x3.
class Fire extends Sequential {
  readonly expand1x1;
  readonly expand1x1_activation = new ReLU();
  readonly expand3x3;
  readonly expand3x3_activation = new ReLU();

  constructor(layers: Layers, inC: number, narrow: number) {
    super({ squeeze: layers.conv(inC, narrow, 1), squeeze_activation: new ReLU() });
    this.expand1x1 = layers.conv(narrow, 4 * narrow, 1);
    this.expand3x3 = layers.conv(narrow, 4 * narrow, 3, { padding: 1 });
  }

  override forward(x: Tensor): Tensor {
    const squeezed = super.forward(x);
    const wide = (["expand1x1", "expand3x3"] as const).map((name) =>
      inOrder(
        [[name, this[name]], [`${name}_activation`, this[`${name}_activation`]]],
        squeezed,
      )
    );
    return concat(wide, 1);
  }
}

/**
 * SqueezeNet (Iandola et al., "AlexNet-level accuracy with 50x fewer parameters", 2016), with
 * torchvision's keys: 1,248,424 parameters, or 1,235,496 of version 1.1. Images [n, 3, 224, 224],
 * or of other sizes, give scores [n, 1000]; dropout is 0.5.
 *
 * ```ts
 * import { models, rand } from "@cudeno/cudeno";
 * const model = models.squeezenet({ classes: 10, version: "1.1" });
 * console.log(model.eval().forward(rand([1, 3, 64, 64])).shape); // [1, 10]
 * ```
 */
export function squeezenet(options: SqueezeNetOptions = {}): Sequential {
  const op = "squeezenet";
  return imageModel(op, options, ["version", "dropout"], (layers, { classes, channels }) => {
    const { version = "1.0", dropout = 0.5 } = options;
    checkChoice(op, "version", version, versions);
    const pool = () => new MaxPool2d(3, { stride: 2, ceilMode: true });
    const [width, kernel] = version === "1.0" ? [96, 7] : [64, 3];
    let inC = width!;
    const fires = versions[version].map((narrow) => {
      if (narrow === "pool") return pool();
      const fire = new Fire(layers, inC, narrow);
      inC = 8 * narrow;
      return fire;
    });
    const stem = layers.conv(channels, width!, kernel!, { stride: 2 });
    const last = layers.conv(inC, classes, 1);
    layers.start((weight) =>
      weight === last.weight ? init.normal(weight, { std: 0.01 }) : init.kaimingUniform(weight)
    );
    return new Sequential({
      features: new Sequential(stem, new ReLU(), pool(), ...fires),
      classifier: new Sequential(
        ...[new Dropout(dropout), last, new ReLU(), new AdaptiveAvgPool2d(1)],
      ),
      flatten: new Flatten(),
    });
  });
}
