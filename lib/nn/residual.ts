import { add } from "../ops/elementwise/binary.ts";
import type { Tensor } from "../tensor.ts";
import { Module } from "./module.ts";
import { checkModule } from "./_check.ts";

/**
 * x + inner(x): what `inner` learns is what to change (He et al., "Deep Residual Learning", 2015).
 * Its output must have x's shape, or broadcast with it. Parameters are named `inner.…`.
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * const block = new nn.Residual(new nn.Sequential(new nn.Linear(8, 8), new nn.ReLU()));
 * console.log(block.forward(rand([4, 8])).shape); // [4, 8]
 * ```
 */
export class Residual extends Module {
  /** What is added to x. */
  readonly inner: Module;

  constructor(inner: Module) {
    super();
    checkModule("Residual", "inner", inner);
    this.inner = inner;
  }

  /** x + inner(x). */
  override forward(x: Tensor): Tensor {
    return add(x, this.inner.forward(x));
  }
}
