import { record } from "../core/autograd.ts";
import { concat } from "./concat.ts";
import type { Tensor } from "../tensor.ts";
import { transpose } from "./movement.ts";

export function slice(x: Tensor, axis: number, start: number, stop: number): Tensor {
  if (axis !== 0) return transpose(slice(transpose(x, 0, axis), 0, start, stop), 0, axis);
  const inner = x.shape.slice(1).reduce((a, b) => a * b, 1);
  const y = x.view(start * inner, [stop - start, ...x.shape.slice(1)]);
  return record(y, "slice", [x], (grad) => {
    const zeros = (n: number) => x.make([n, ...x.shape.slice(1)]).fill(0);
    return [concat([zeros(start), grad, zeros(x.shape[0]! - stop)], 0)];
  });
}
