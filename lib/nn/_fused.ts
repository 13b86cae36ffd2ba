// What Sequential computes as one operation.
import { gradEnabled } from "../core/autograd.ts";
import { leaveToTape } from "../core/backward.ts";
import type { FusedActivation } from "../core/node.ts";
import { sameShape } from "../core/shape.ts";
import { CudenoError } from "../native/errors.ts";
import { relu } from "../ops/elementwise/activations.ts";
import { add } from "../ops/elementwise/binary.ts";
import { linear } from "../ops/linalg/linear.ts";
import type { Tensor } from "../tensor.ts";
import { GELU, Identity, ReLU, SiLU } from "./activations.ts";
import { BatchNorm } from "./batch_norm.ts";
import { Conv2d } from "./conv.ts";
import { Flatten } from "./flatten.ts";
import { Linear } from "./linear.ts";
import type { Module } from "./module.ts";
import { MaxPool2d, PoolBase } from "./pooling.ts";

const gelus = { none: "gelu", tanh: "geluTanh" } as const;

/** Modules with their names, in the order in which they run. */
export type Named = readonly (readonly [name: string, module: Module])[];

/** What follows the last module: a tensor is added to its output, and then relu() may come. */
export interface Ending {
  readonly residual: Tensor;
  readonly activation: "relu" | undefined;
}

/**
 * The output of the last of the modules, each of which gets that of the one before; with an ending,
 * if there is one. A layer takes the activation after it along, and batch normalisation the ending.
 * What only these modules have seen is freed when it has served. An error says which module it came
 * from.
 */
export function inOrder(modules: Named, x: Tensor, ending?: Ending): Tensor {
  let own = false; // whether x is made here, and nobody else holds it
  for (let i = 0; i < modules.length; i++) {
    const [name, module] = modules[i]!;
    const before = x, keepsNothing = passesOn(module);
    try {
      let next = i + 1;
      while (modules[next]?.[1].forward === Identity.prototype.forward) next++;
      const activation = fusedActivationOf(modules[next]?.[1]);
      if (activation === "relu" && poolsHalves(modules[next + 1]?.[1]) && isConv2d(module)) {
        x = module.activated(x, activation, 2);
        i = next + 1;
      } else if (
        ending && i === modules.length - 1 && isNorm(module) &&
        sameShape(ending.residual.shape, x.shape)
      ) {
        x = module.activated(x, ending.activation, ending.residual);
        ending = undefined;
      } else {
        const both = activation && activated(module, activation, x);
        x = both ?? module.forward(x);
        if (both) i = next;
      }
    } catch (error) {
      if (error instanceof CudenoError) {
        error.message = `${name}: ${module.describe()}: ${error.message}`;
      }
      throw error;
    }
    if (own && keepsNothing && x !== before) letGo(before);
    own = keepsNothing && (own || x !== before);
  }
  if (!ending) return x;
  const y = add(x, ending.residual);
  return ending.activation ? relu(y) : y;
}

// Modules whose forward() keeps neither what it is given nor what it returns: by that function, as a
// subclass may have another one. Of chains, if that holds for all of their modules.
const passing = new Set(
  [Linear, Conv2d, BatchNorm, ReLU, GELU, SiLU, PoolBase, Flatten].map((layer) =>
    layer.prototype.forward
  ),
);
const chains = new Set<Module["forward"]>();

/** Says that a class computes its children by inOrder(), and does nothing else with their tensors. */
export function isChain(module: { readonly prototype: Module }): void {
  chains.add(module.prototype.forward);
}

function passesOn(module: Module): boolean {
  return passing.has(module.forward) ||
    chains.has(module.forward) && [...module.namedChildren()].every(([, child]) => passesOn(child));
}

function letGo(x: Tensor): void {
  if (x.node) leaveToTape(x);
  else if (!gradEnabled()) x.dispose();
}

// A subclass may compute in another way.
const isNorm = (module: Module): module is BatchNorm =>
  module.forward === BatchNorm.prototype.forward;

const isConv2d = (module: Module): module is Conv2d => module.forward === Conv2d.prototype.forward;

// Whether it is the pooling that conv2d() takes along.
const poolsHalves = (module: Module | undefined): boolean =>
  module?.forward === MaxPool2d.prototype.forward && (module as MaxPool2d).halves === true;

// The name under which linear() knows what a module computes, if it does.
function fusedActivationOf(module: Module | undefined): FusedActivation | undefined {
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
    case BatchNorm.prototype.forward:
      return activation === "relu" ? (layer as BatchNorm).activated(x, activation) : undefined;
    default:
      return undefined;
  }
}
