import { formatValue } from "../../core/describe.ts";
import { checkShape, sizeOf } from "../../core/shape.ts";
import { ArgumentError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { checkTensor } from "../_operands.ts";
import { broadcastTo, reshape } from "./movement.ts";

/**
 * x repeated, reps[d] times along axis d. The shorter one of reps and x's shape has ones put in
 * front of it. Any dtype. As torch.tile.
 *
 * ```ts
 * import { tensor, tile } from "@cudeno/cudeno";
 * console.log(tile(tensor([1, 2]), [2, 2]).dataSync()); // 1, 2, 1, 2, 1, 2, 1, 2
 * ```
 */
export function tile(x: Tensor, reps: readonly number[]): Tensor {
  checkTensor("tile", x);
  if (!Array.isArray(reps) || !reps.every((n) => Number.isSafeInteger(n) && n >= 0)) {
    throw new ArgumentError(`tile: reps is ${formatValue(reps)}; it must be whole numbers`);
  }
  const rank = Math.max(reps.length, x.rank);
  const counts = [...new Array<number>(rank - reps.length).fill(1), ...reps];
  const before = [...new Array<number>(rank - x.rank).fill(1), ...x.shape];
  const shape = before.map((extent, d) => extent * counts[d]!);
  checkShape("tile", shape);
  // The last axis first, while there is least to copy; one axis at a time needs no more than three
  // axes.
  let y = x;
  for (let d = rank - 1; d >= 0; d--) {
    if (counts[d] === 1) continue;
    const outer = sizeOf(before.slice(0, d));
    const inner = before[d]! * sizeOf(shape.slice(d + 1));
    y = broadcastTo(reshape(y, [outer, 1, inner]), [outer, counts[d]!, inner]);
  }
  return reshape(y, shape);
}
