import { recordAll } from "../../core/autograd.ts";
import { checkOptions } from "../../core/options.ts";
import { normalizeAxis } from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import type { Tensor } from "../../tensor.ts";
import { scatterSum } from "./_scatter.ts";
import { transpose } from "../shape/movement.ts";
import { checkTensor } from "../_operands.ts";

/** Options of {@linkcode sort} and {@linkcode argsort}. */
export interface SortOptions {
  /** The axis to sort along. Default -1, the last. */
  axis?: number | undefined;
  /** Whether the largest come first. Default false. */
  descending?: boolean | undefined;
}

/** What {@linkcode topK} and {@linkcode sort} give. */
export interface Ordered {
  /** The elements in order. */
  values: Tensor;
  /** Where they were along the axis, int32. */
  indices: Tensor;
}

function rowsOf(x: Tensor): [rows: number, cols: number] {
  const cols = x.shape.at(-1)!;
  return [cols === 0 ? 0 : x.size / cols, cols];
}

// Along the last axis. Without `values`, none but the indices are made.
function inRows(op: string, x: Tensor, k: number, descending: boolean, values: boolean): Ordered {
  const [rows, cols] = rowsOf(x);
  const shape = x.shape.with(-1, k);
  const indices = x.make(shape, "int32");
  const y = values ? x.make(shape) : undefined;
  call("cdn_topk", y, indices, x, rows, cols, k, Number(descending), x.code);
  if (!y) return { values: x, indices };
  const last = x.rank - 1;
  recordAll([y, indices], op, [x], (grad) => {
    return [scatterSum(grad!, x.shape, last, indices, k === cols ? 2 : 1)];
  });
  return { values: y, indices };
}

/** Along an axis: another one than the last is brought to the back and taken home again. */
export function ordered(
  op: string,
  x: Tensor,
  axis: number,
  k: (extent: number) => number,
  descending: boolean,
  values = true,
): Ordered {
  checkTensor(op, x);
  const at = normalizeAxis(op, axis, x.rank);
  const count = k(x.shape[at]!);
  if (at === x.rank - 1) return inRows(op, x, count, descending, values);
  const found = inRows(op, transpose(x, at, -1), count, descending, values);
  return {
    values: values ? transpose(found.values, at, -1) : x,
    indices: transpose(found.indices, at, -1),
  };
}

/**
 * The elements along an axis in ascending order (descending, if asked), and the int32 indices where
 * they were. Any dtype. Stable in either direction: equal elements keep their order; NaN counts as
 * the largest. Gradients go back to where the values came from. As torch.sort with stable = True.
 *
 * ```ts
 * import { sort, tensor } from "@cudeno/cudeno";
 * const { values, indices } = sort(tensor([3, 1, 2]));
 * console.log(values.dataSync(), indices.dataSync()); // 1, 2, 3; 1, 2, 0
 * ```
 */
export function sort(x: Tensor, options: SortOptions = {}): Ordered {
  checkOptions("sort", options, ["axis", "descending"]);
  const { axis = -1, descending = false } = options;
  return ordered("sort", x, axis, (extent) => extent, descending);
}

/**
 * The int32 indices of the elements along an axis in ascending order (descending, if asked), as
 * {@linkcode sort} gives them. As torch.argsort with stable = True.
 *
 * ```ts
 * import { argsort, tensor } from "@cudeno/cudeno";
 * console.log(argsort(tensor([3, 1, 2]), { descending: true }).dataSync()); // 0, 2, 1
 * ```
 */
export function argsort(x: Tensor, options: SortOptions = {}): Tensor {
  checkOptions("argsort", options, ["axis", "descending"]);
  const { axis = -1, descending = false } = options;
  return ordered("argsort", x, axis, (extent) => extent, descending, false).indices;
}
