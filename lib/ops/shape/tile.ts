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
  // Three axes at once need no more than seven, each with all that lies up to the next one. In 16
  // bits their gradient is rounded once.
  const tiled = counts.flatMap((n, d) => (n === 1 ? [] : [d]));
  let y = x;
  for (const now = [...before]; tiled.length > 0;) {
    const some = tiled.splice(-3);
    const pairs = (count: (d: number) => number) => [
      sizeOf(now.slice(0, some[0])),
      ...some.flatMap((d, i) => [count(d), sizeOf(now.slice(d, some[i + 1]))]),
    ];
    y = broadcastTo(reshape(y, pairs(() => 1)), pairs((d) => counts[d]!));
    for (const d of some) now[d]! *= counts[d]!;
  }
  return reshape(y, shape);
}
