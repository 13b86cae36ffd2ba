import type { LinearOptions } from "./linear.ts";
import { Linear } from "./linear.ts";
import { checkInteger, checkOptions } from "../core/options.ts";
import { swiglu } from "../ops/elementwise/activations.ts";
import type { Tensor } from "../tensor.ts";
import { Module } from "./module.ts";

/**
 * The feed-forward part of Llama's layers: y = down(silu(gate(x)) · up(x)), with three linear
 * layers, gate_proj and up_proj [feedForward, dModel] and down_proj [dModel, feedForward], which
 * have no biases unless asked for (Shazeer, "GLU variants improve transformer", 2020).
 *
 * ```ts
 * import { nn, rand } from "@cudeno/cudeno";
 * console.log(new nn.SwiGLU(16, 44).forward(rand([2, 5, 16])).shape); // [2, 5, 16]
 * ```
 */
export class SwiGLU extends Module {
  /** What opens the gate. */
  gate_proj: Linear;
  /** What passes through it. */
  up_proj: Linear;
  /** Back to dModel features. */
  down_proj: Linear;

  constructor(dModel: number, feedForward: number, options: LinearOptions = {}) {
    super();
    checkInteger("SwiGLU", "dModel", dModel, 1);
    checkInteger("SwiGLU", "feedForward", feedForward, 1);
    checkOptions("SwiGLU", options, ["bias", "device", "dtype"]);
    const own = { ...options, bias: options.bias ?? false };
    using undo = new DisposableStack(); // frees what was made, should the rest fail
    undo.defer(() => super.dispose());
    this.gate_proj = new Linear(dModel, feedForward, own);
    this.up_proj = new Linear(dModel, feedForward, own);
    this.down_proj = new Linear(feedForward, dModel, own);
    undo.move();
  }

  /** x [..., dModel] gives [..., dModel]. */
  override forward(x: Tensor): Tensor {
    return this.down_proj.forward(swiglu(this.gate_proj.forward(x), this.up_proj.forward(x)));
  }
}
