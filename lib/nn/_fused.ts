// What Sequential computes as one operation.
import type { FusedActivation } from "../core/node.ts";
import { linear } from "../ops/linalg/linear.ts";
import type { Tensor } from "../tensor.ts";
import { GELU, ReLU, SiLU } from "./activations.ts";
import { Conv2d } from "./conv.ts";
import { Linear } from "./linear.ts";
import type { Module } from "./module.ts";

const gelus = { none: "gelu", tanh: "geluTanh" } as const;

/** The name under which linear() knows what a module computes, if it does. */
export function fusedActivationOf(module: Module | undefined): FusedActivation | undefined {
  switch (module?.forward) { // a subclass may have another one
    case ReLU.prototype.forward:
      return "relu";
    case GELU.prototype.forward:
      return gelus[(module as GELU).approximate]; // none for a name that gelu() is to refuse
    case SiLU.prototype.forward:
      return "silu";
    default:
      return undefined;
  }
}

/**
 * activation(layer(x)) as one operation; or nothing if that is not the same, as the layer is
 * another one than these, or computes its output in a way of its own.
 */
export function activated(
  layer: Module,
  activation: FusedActivation,
  x: Tensor,
): Tensor | undefined {
  switch (layer.forward) {
    case Linear.prototype.forward:
      return linear(x, (layer as Linear).weight, (layer as Linear).bias, { activation });
    case Conv2d.prototype.forward:
      return (layer as Conv2d).activated(x, activation);
    default:
      return undefined;
  }
}
