import { relu, sigmoid, tanh } from "../ops/unary.ts";
import type { Tensor } from "../tensor.ts";
import { Module } from "./module.ts";

/** max(x, 0). */
export class ReLU extends Module {
  /** max(x, 0). */
  override forward(x: Tensor): Tensor {
    return relu(x);
  }
}

/** 1 / (1 + e^-x). */
export class Sigmoid extends Module {
  /** 1 / (1 + e^-x). */
  override forward(x: Tensor): Tensor {
    return sigmoid(x);
  }
}

/** The hyperbolic tangent. */
export class Tanh extends Module {
  /** tanh(x). */
  override forward(x: Tensor): Tensor {
    return tanh(x);
  }
}
