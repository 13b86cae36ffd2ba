import { checkOptions } from "../core/options.ts";
import { add } from "../ops/elementwise/binary.ts";
import { dropout } from "../ops/random/dropout.ts";
import { dropout2d } from "../ops/random/dropout2d.ts";
import { probabilityOf } from "../ops/random/_probability.ts";
import type { Tensor } from "../tensor.ts";
import { Module } from "./module.ts";

/** Options of {@linkcode Dropout}. */
export interface DropoutLayerOptions {
  /** The probability that an element becomes 0. Default 0.5. */
  p?: number | undefined;
}

/**
 * dropout() while training; in evaluation mode x as it is. As torch.nn.Dropout.
 *
 * ```ts
 * import { nn, ones } from "@cudeno/cudeno";
 * const layer = new nn.Dropout(0.5); // or { p: 0.5 }
 * console.log(layer.forward(ones([6])).dataSync()); // zeros and twos
 * console.log(layer.eval().forward(ones([6])).dataSync()); // ones
 * ```
 */
export class Dropout extends Module {
  /** The probability that an element becomes 0. */
  readonly p: number;

  constructor(p: number | DropoutLayerOptions = {}) {
    super();
    const { name } = new.target;
    if (typeof p !== "number") checkOptions(name, p, ["p"]);
    this.p = probabilityOf(name, typeof p === "number" ? p : p.p);
  }

  /** x with elements dropped; a residual is added to that. */
  override forward(x: Tensor, residual?: Tensor): Tensor {
    return dropout(x, { p: this.p, training: this.training, residual });
  }

  /** `Dropout(p)`. */
  override describe(): string {
    return `${this.constructor.name}(${this.p})`;
  }
}

/**
 * dropout2d() in training mode, of whole channels of images [n, channels, height, width]; in
 * evaluation mode x as it is. As torch.nn.Dropout2d.
 *
 * ```ts
 * import { nn, ones } from "@cudeno/cudeno";
 * const layer = new nn.Dropout2d(0.5);
 * console.log(layer.forward(ones([1, 3, 2, 2])).dataSync()); // fours of zeros and twos
 * ```
 */
export class Dropout2d extends Dropout {
  /** x with channels dropped; a residual is added to that. */
  override forward(x: Tensor, residual?: Tensor): Tensor {
    const y = dropout2d(x, { p: this.p, training: this.training });
    return residual ? add(y, residual) : y;
  }
}
