import { formatCall } from "../core/describe.ts";
import { pairOf } from "../ops/_pair.ts";
import { checkWindows } from "../ops/image/_windows.ts";
import { fold, type FoldOptions, unfold, type UnfoldOptions } from "../ops/image/fold.ts";
import type { Tensor } from "../tensor.ts";
import { Module } from "./module.ts";

/**
 * unfold(), with the same options; as torch.nn.Unfold.
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * const layer = new nn.Unfold({ kernelSize: [2, 3] });
 * console.log(layer.forward(rand([2, 3, 4, 5])).shape); // [2, 18, 9]
 * ```
 */
export class Unfold extends Module {
  readonly #options: UnfoldOptions;

  constructor(options: UnfoldOptions) {
    super();
    checkWindows("Unfold", options);
    this.#options = { ...options };
  }

  /** The windows of images as columns. */
  override forward(x: Tensor): Tensor {
    return unfold(x, this.#options);
  }

  /** `Unfold({ kernelSize: 2 })`. */
  override describe(): string {
    return formatCall("Unfold", [], { ...this.#options });
  }
}

/**
 * fold(), with the same options; as torch.nn.Fold.
 *
 * ```ts
 * import { nn, ones } from "@cudeno/cudeno";
 * const layer = new nn.Fold({ outputSize: [2, 3], kernelSize: 2 });
 * console.log(layer.forward(ones([1, 4, 2])).dataSync()); // 1, 2, 1, twice
 * ```
 */
export class Fold extends Module {
  readonly #options: FoldOptions;

  constructor(options: FoldOptions) {
    super();
    checkWindows("Fold", options, "outputSize");
    pairOf("Fold", "outputSize", options.outputSize, 1);
    this.#options = { ...options };
  }

  /** Columns added up where their windows lie. */
  override forward(x: Tensor): Tensor {
    return fold(x, this.#options);
  }

  /** `Fold({ outputSize: [2, 3], kernelSize: 2 })`. */
  override describe(): string {
    return formatCall("Fold", [], { ...this.#options });
  }
}
