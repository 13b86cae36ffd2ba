import { formatCall } from "../core/describe.ts";
import { checkInteger } from "../core/options.ts";
import { checkUpsample } from "../ops/image/_upsample.ts";
import { pixelShuffle, pixelUnshuffle } from "../ops/image/pixel_shuffle.ts";
import { upsample, type UpsampleOptions } from "../ops/image/upsample.ts";
import type { Tensor } from "../tensor.ts";
import { Module } from "./module.ts";

/**
 * upsample(), with the same options; as torch.nn.Upsample.
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * const layer = new nn.Upsample({ scaleFactor: 2, mode: "bilinear" });
 * console.log(layer.forward(rand([1, 3, 4, 5])).shape); // [1, 3, 8, 10]
 * ```
 */
export class Upsample extends Module {
  readonly #options: UpsampleOptions;

  constructor(options: UpsampleOptions) {
    super();
    checkUpsample("Upsample", options);
    this.#options = { ...options };
  }

  /** x in another size. */
  override forward(x: Tensor): Tensor {
    return upsample(x, this.#options);
  }

  /** `Upsample({ scaleFactor: 2 })`. */
  override describe(): string {
    return formatCall("Upsample", [], { ...this.#options });
  }
}

/**
 * pixelShuffle(); as torch.nn.PixelShuffle.
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * console.log(new nn.PixelShuffle(2).forward(rand([1, 12, 4, 5])).shape); // [1, 3, 8, 10]
 * ```
 */
export class PixelShuffle extends Module {
  /** How many times as high and wide images become. */
  protected readonly factor: number;

  constructor(r: number) {
    super();
    checkInteger(new.target.name, "r", r, 1);
    this.factor = r;
  }

  /** Images made of their channels. */
  override forward(x: Tensor): Tensor {
    return pixelShuffle(x, this.factor);
  }

  /** `PixelShuffle(r)`. */
  override describe(): string {
    return `${this.constructor.name}(${this.factor})`;
  }
}

/**
 * pixelUnshuffle(); as torch.nn.PixelUnshuffle.
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * console.log(new nn.PixelUnshuffle(2).forward(rand([1, 3, 8, 10])).shape); // [1, 12, 4, 5]
 * ```
 */
export class PixelUnshuffle extends PixelShuffle {
  /** Channels made of the images. */
  override forward(x: Tensor): Tensor {
    return pixelUnshuffle(x, this.factor);
  }
}
