import { record } from "../core/autograd.ts";
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

export function concat(list: Tensor[], axis: number): Tensor {
  const at = axis < 0 ? list[0]!.rank + axis : axis;
  if (at !== 0) return transpose(concat(list.map((x) => transpose(x, 0, at)), 0), 0, at);
  const first = list[0]!;
  const inner = first.shape.slice(1).reduce((a, b) => a * b, 1);
  const rows = list.reduce((n, x) => n + x.shape[0]!, 0);
  const y = first.make([rows, ...first.shape.slice(1)]);
  const places: [number, number][] = [];
  let row = 0;
  for (const x of list) {
    if (x.size) y.view(row * inner, x.shape).copyFrom(x);
    places.push([row, row + x.shape[0]!]);
    row += x.shape[0]!;
  }
  return record(y, "concat", list, (grad) => places.map(([a, b]) => slice(grad, 0, a, b)));
}
