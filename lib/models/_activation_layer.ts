import { checkChoice } from "../core/options.ts";
import { ELU, GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh } from "../nn/activations.ts";
import type { Module } from "../nn/module.ts";
import type { Activation } from "./activation.ts";

const layers: Record<Activation, () => Module> = {
  relu: () => new ReLU(),
  leakyRelu: () => new LeakyReLU(),
  elu: () => new ELU(),
  gelu: () => new GELU(),
  silu: () => new SiLU(),
  sigmoid: () => new Sigmoid(),
  softplus: () => new Softplus(),
  tanh: () => new Tanh(),
};

/** A layer by its name. */
export function activationLayer(op: string, name: Activation): Module {
  checkChoice(op, "activation", name, layers);
  return layers[name]();
}
