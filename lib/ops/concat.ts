import { record } from "../core/autograd.ts";
import type { Tensor } from "../tensor.ts";
import { transpose } from "./movement.ts";
import { slice } from "./slice.ts";

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
