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
import { BatchNorm, BatchNorm1d, BatchNorm2d } from "./batch_norm.ts";
import { Conv2d } from "./conv.ts";
import { Flatten } from "./flatten.ts";
import { Linear } from "./linear.ts";
import type { AnyModule, Module } from "./module.ts";
import * as pooling from "./pooling.ts";

/** Functions that stand in forward()'s place and only look on, and what they run. */
export const watched: Map<AnyModule["forward"], AnyModule["forward"]> = new Map();

/** A module's forward(), without one that only looks on. */
const plainOf = ({ forward }: AnyModule) =>
  watched.size > 0 ? watched.get(forward) ?? forward : forward;

const gelus = { none: "gelu", tanh: "geluTanh" } as const;

// Whether a module computes what a layer does: a subclass may compute in another way, and so may
// who puts a function of their own in forward's place, even in the layer's prototype.
function computesAs<M extends Module>(layer: { readonly prototype: M }) {
  const { forward } = layer.prototype;
  return (module: Module | undefined): module is M =>
    module?.forward === forward || (module !== undefined && plainOf(module) === forward);
}
const isLinear = computesAs(Linear), isConv2d = computesAs(Conv2d), isNorm = computesAs(BatchNorm);
const isReLU = computesAs(ReLU), isGELU = computesAs(GELU), isSiLU = computesAs(SiLU);
const isMaxPool = computesAs(pooling.MaxPool2d), isIdentity = computesAs(Identity);

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
      while (isIdentity(modules[next]?.[1])) next++;
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

// Layers that keep neither what they are given nor what they return, with their forward(). Only
// they themselves: what a subclass overrides may be called by it. Of chains, if that holds for all
// of their modules.
const { PoolBase: _base, ...pools } = pooling;
const passing = new Map<unknown, AnyModule["forward"]>(
  [Linear, Conv2d, BatchNorm1d, BatchNorm2d, ReLU, GELU, SiLU, Flatten, ...Object.values(pools)]
    .map((layer) => [layer, layer.prototype.forward]),
);
const chains = new Set<AnyModule["forward"]>();

/** Says that a class computes its children by inOrder() and does no more with their tensors. */
export function isChain(module: { readonly prototype: Module }): void {
  chains.add(module.prototype.forward);
}

/** Whether a module is of such a class, and has the forward() of that. */
export const isOfChain = (module: AnyModule): boolean => chains.has(plainOf(module));

function passesOn(module: AnyModule): boolean {
  return passing.get(module.constructor) === plainOf(module) ||
    isOfChain(module) && [...module.namedChildren()].every(([, child]) => passesOn(child));
}

function letGo(x: Tensor): void {
  if (x.node) leaveToTape(x);
  else if (!gradEnabled()) x.dispose();
}

// Whether it is the pooling that conv2d() takes along.
const poolsHalves = (module: Module | undefined): boolean =>
  isMaxPool(module) && module.halves === true;

// The name under which linear() knows what a module computes, if it does.
function fusedActivationOf(module: Module | undefined): FusedActivation | undefined {
  if (isGELU(module)) return gelus[module.approximate]; // none for a name that gelu() is to refuse
  return isReLU(module) ? "relu" : isSiLU(module) ? "silu" : undefined;
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
  if (isLinear(layer)) return linear(x, layer.weight, layer.bias, { activation });
  if (isConv2d(layer) || isNorm(layer) && activation === "relu") {
    return layer.activated(x, activation as "relu");
  }
  return undefined;
}
