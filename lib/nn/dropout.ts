import { checkOptions } from "../core/options.ts";
import { dropout, probabilityOf } from "../ops/dropout.ts";
import type { Tensor } from "../tensor.ts";
import { Module } from "./module.ts";

/**
 * dropout() while training; in evaluation mode x as it is. As torch.nn.Dropout.
 *
 * ```ts
 * import { nn, ones } from "@cudeno/cudeno";
 * const layer = new nn.Dropout({ p: 0.5 });
 * console.log(layer.forward(ones([6])).dataSync()); // zeros and twos
 * console.log(layer.eval().forward(ones([6])).dataSync()); // ones
 * ```
 */
export class Dropout extends Module {
  /** The probability that an element becomes 0. */
  readonly p: number;

  /** Takes the probability; default 0.5. */
  constructor(options: { p?: number | undefined } = {}) {
    super();
    checkOptions("Dropout", options, ["p"]);
    this.p = probabilityOf("Dropout", options.p);
  }

  /** x with elements dropped. */
  override forward(x: Tensor): Tensor {
    return dropout(x, { p: this.p, training: this.training });
  }

  /** `Dropout(p)`. */
  override describe(): string {
    return `Dropout(${this.p})`;
  }
}
