import { formatValue } from "../../core/describe.ts";
import { record } from "../../core/autograd.ts";
import { formatShape, sizeOf } from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import { ArgumentError, ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { checkTensor } from "../_operands.ts";

// Keeps the elements of matrices with low <= column - row <= high.
function band(op: string, x: Tensor, low: number, high: number): Tensor {
  const [rows, cols] = x.shape.slice(-2) as [number, number];
  const y = x.make(x.shape);
  call(
    "cdn_band",
    y,
    x,
    sizeOf(x.shape.slice(0, -2)),
    rows,
    cols,
    Math.max(low, -rows),
    Math.min(high, cols),
    x.code,
  );
  return record(y, op, [x], (grad) => [band(op, grad, low, high)]);
}

function check(op: string, x: Tensor, diagonal: number): void {
  checkTensor(op, x);
  if (x.rank < 2) {
    throw new ShapeError(`${op}: x is ${formatShape(x.shape)}; it must have two axes or more`);
  }
  if (!Number.isSafeInteger(diagonal)) {
    throw new ArgumentError(
      `${op}: diagonal is ${formatValue(diagonal)}; it must be a whole number`,
    );
  }
}

/**
 * The lower triangle of matrices, the last two axes: elements with column - row <= diagonal; the
 * others are 0. Any dtype. As torch.tril.
 *
 * ```ts
 * import { ones, tril } from "@cudeno/cudeno";
 * console.log(tril(ones([2, 3])).dataSync()); // 1, 0, 0, 1, 1, 0
 * ```
 */
export function tril(x: Tensor, diagonal = 0): Tensor {
  check("tril", x, diagonal);
  return band("tril", x, -Infinity, diagonal);
}

/**
 * The upper triangle of matrices, the last two axes: elements with column - row >= diagonal; the
 * others are 0. Any dtype. As torch.triu.
 *
 * ```ts
 * import { ones, triu } from "@cudeno/cudeno";
 * console.log(triu(ones([2, 3]), 1).dataSync()); // 0, 1, 1, 0, 0, 1
 * ```
 */
export function triu(x: Tensor, diagonal = 0): Tensor {
  check("triu", x, diagonal);
  return band("triu", x, diagonal, Infinity);
}
