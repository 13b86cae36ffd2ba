import { rand } from "../create.ts";
import type { Tensor } from "../tensor.ts";
import { mul } from "./binary.ts";
import { ge } from "./compare.ts";
export function probabilityOf(_op: string, p = 0.5): number {
  return p;
}
export function dropout(x: Tensor, { p = 0.5, training = true }): Tensor {
  return training
    ? mul(mul(x, ge(rand(x.shape, { device: x.device }), p).to(x.dtype)), 1 / (1 - p))
    : x;
}
