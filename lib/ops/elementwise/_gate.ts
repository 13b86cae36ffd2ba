// The activations that products and convolutions end with.
import type { FusedActivation, Gate } from "../../core/node.ts";
import { calls } from "../../native/calls.ts";
import type { Tensor } from "../../tensor.ts";
import { fused } from "./_unary.ts";
import { gelu, relu, silu } from "./activations.ts";

/** Each as an operation of its own. */
export const activations: Record<FusedActivation, (x: Tensor) => Tensor> = {
  relu,
  gelu: (x) => gelu(x),
  geluTanh: (x) => gelu(x, { approximate: "tanh" }),
  silu,
};

const slopes = {
  relu: calls.cdn_relu_grad,
  gelu: calls.cdn_gelu_grad,
  geluTanh: calls.cdn_gelu_tanh_grad,
  silu: calls.cdn_silu_grad,
} as const;

/** A gradient times the slope of the activation, unrecorded. */
export function throughGate({ activation, saved }: Gate, grad: Tensor): Tensor {
  return fused(slopes[activation], grad, saved as Tensor);
}
