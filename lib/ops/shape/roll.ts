import { formatValue } from "../../core/describe.ts";
import { record } from "../../core/autograd.ts";
import { checkList } from "../../core/options.ts";
import { normalizeAxis, sizeOf } from "../../core/shape.ts";
import { ArgumentError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { checkTensor } from "../_operands.ts";
import { add, remainder } from "../elementwise/binary.ts";
import { counting } from "../index/_scatter.ts";
import { selectSlices } from "../index/_slices.ts";
import { concat } from "./concat.ts";
import { flatten, reshape } from "./movement.ts";
import { slice } from "./slice.ts";

/**
 * x with its elements moved on by `shifts` along the axes, those at the end back to the beginning;
 * negative shifts go the other way. One axis and shift, or several; without axes all elements move
 * as one line. Any dtype. As torch.roll.
 *
 * ```ts
 * import { roll, tensor } from "@cudeno/cudeno";
 * console.log(roll(tensor([[1, 2, 3], [4, 5, 6]]), 1, 1).dataSync()); // 3, 1, 2, 6, 4, 5
 * ```
 */
export function roll(
  x: Tensor,
  shifts: number | readonly number[],
  axes?: number | readonly number[],
): Tensor {
  checkTensor("roll", x);
  const by: readonly number[] = Array.isArray(shifts) ? shifts : [shifts];
  checkList("roll", "shifts", by, Number.isSafeInteger, "whole numbers");
  const list: readonly number[] = Array.isArray(axes) ? axes : [axes ?? 0];
  if (by.length !== list.length) {
    throw new ArgumentError(
      `roll: shifts is ${formatValue(shifts)}, axes ${formatValue(axes)}; there must be as many`,
    );
  }
  if (axes === undefined) return reshape(rolled(flatten(x), by[0]!, 0), x.shape);
  return list.reduce((y, axis, i) => rolled(y, by[i]!, normalizeAxis("roll", axis, x.rank)), x);
}

function rolled(x: Tensor, shift: number, axis: number): Tensor {
  const extent = x.shape[axis]!;
  const start = extent && (extent - shift % extent) % extent;
  if (start === 0 || x.size === 0) return x;
  if (sizeOf(x.shape.slice(0, axis)) === 1) { // both parts are views
    return concat([slice(x, axis, start), slice(x, axis, 0, start)], axis);
  }
  const from = remainder(add(counting(x, extent), start), extent);
  const y = selectSlices(x, axis, from, x.shape);
  return record(y, "roll", [x], (grad) => [rolled(grad, -shift, axis)]);
}
