import { refuse } from "../../core/options.ts";
import { checkTensor } from "../_operands.ts";
import { record } from "../../core/autograd.ts";
import {
  broadcastStrides,
  checkShape,
  contiguousStrides,
  formatShape,
  normalizeAxis,
  sameShape,
  type Shape,
  sizeOf,
} from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import { ArgumentError, ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { sumTo } from "../reduce/_reduce.ts";
import { gathered } from "./_window.ts";

/**
 * The same elements in another shape, without a copy; one extent may be -1, to be worked out.
 *
 * ```ts
 * import { reshape, tensor } from "@cudeno/cudeno";
 * console.log(reshape(tensor([1, 2, 3, 4, 5, 6]), [2, -1]).shape); // [2, 3]
 * ```
 */
export function reshape(x: Tensor, shape: Shape): Tensor {
  checkTensor("reshape", x);
  const wanted = inferExtent(x, shape);
  if (sameShape(wanted, x.shape)) return x;
  const { shape: before } = x;
  return record(x.part(0, wanted), "reshape", [x], (grad) => [reshape(grad, before)]);
}

function inferExtent(x: Tensor, shape: Shape): Shape {
  if (!Array.isArray(shape)) checkShape("reshape", shape);
  const unknown = shape.indexOf(-1);
  let wanted = shape;
  if (unknown >= 0) {
    const known = sizeOf(shape.filter((_, d) => d !== unknown));
    wanted = shape.with(unknown, known === 0 ? 0 : x.size / known);
  }
  const whole = wanted.every((n) => Number.isSafeInteger(n) && n >= 0);
  if (!whole || sizeOf(wanted) !== x.size) {
    throw new ShapeError(
      `reshape: ${formatShape(x.shape)} has ${x.size} elements, which do not make ${
        formatShape(shape)
      }`,
    );
  }
  checkShape("reshape", wanted);
  return wanted;
}

/**
 * All axes from `start` to `end` (both included) as one, as in torch.flatten. Defaults: 0, -1.
 *
 * ```ts
 * import { flatten, zeros } from "@cudeno/cudeno";
 * console.log(flatten(zeros([8, 1, 28, 28]), 1).shape); // [8, 784]
 * ```
 */
export function flatten(x: Tensor, start = 0, end = -1): Tensor {
  checkTensor("flatten", x);
  if (x.rank === 0) return reshape(x, [1]);
  const first = normalizeAxis("flatten", start, x.rank);
  const last = normalizeAxis("flatten", end, x.rank);
  if (last < first) {
    throw new ShapeError(`flatten: axis ${start} comes after axis ${end}`);
  }
  const middle = sizeOf(x.shape.slice(first, last + 1));
  return reshape(x, [...x.shape.slice(0, first), middle, ...x.shape.slice(last + 1)]);
}

/**
 * Without the axes of extent 1, or without the one given, if its extent is 1.
 *
 * ```ts
 * import { squeeze, zeros } from "@cudeno/cudeno";
 * console.log(squeeze(zeros([1, 3, 1])).shape, squeeze(zeros([1, 3, 1]), 0).shape); // [3] [3, 1]
 * ```
 */
export function squeeze(x: Tensor, axis?: number): Tensor {
  checkTensor("squeeze", x);
  const at = axis === undefined ? undefined : normalizeAxis("squeeze", axis, x.rank);
  return reshape(x, x.shape.filter((n, d) => n !== 1 || (at !== undefined && d !== at)));
}

/**
 * With a new axis of extent 1 at `axis`.
 *
 * ```ts
 * import { unsqueeze, zeros } from "@cudeno/cudeno";
 * console.log(unsqueeze(zeros([3]), -1).shape); // [3, 1]
 * ```
 */
export function unsqueeze(x: Tensor, axis: number): Tensor {
  checkTensor("unsqueeze", x);
  const at = normalizeAxis("unsqueeze", axis, x.rank + 1);
  return reshape(x, x.shape.toSpliced(at, 0, 1));
}

/**
 * x repeated along axes of extent 1, and along new ones in front, to make `shape`.
 *
 * ```ts
 * import { broadcastTo, tensor } from "@cudeno/cudeno";
 * console.log(broadcastTo(tensor([1, 2]), [2, 2]).dataSync()); // 1, 2, 1, 2
 * ```
 */
export function broadcastTo(x: Tensor, shape: Shape): Tensor {
  checkTensor("broadcastTo", x);
  checkShape("broadcastTo", shape);
  if (sameShape(x.shape, shape)) return x;
  const fits = x.rank <= shape.length &&
    x.shape.every((n, d) => n === 1 || n === shape[d + shape.length - x.rank]);
  if (!fits) {
    throw new ShapeError(
      `broadcastTo: ${formatShape(x.shape)} does not broadcast to ${formatShape(shape)}`,
    );
  }
  const { shape: before } = x;
  const y = gathered(x, { shape, strides: broadcastStrides(before, shape), offset: 0 });
  return record(y, "broadcastTo", [x], (grad) => [sumTo(grad, before)]);
}

/**
 * The axes in another order: axis d of the result is axis `order[d]` of x.
 *
 * ```ts
 * import { permute, zeros } from "@cudeno/cudeno";
 * console.log(permute(zeros([2, 28, 28, 3]), [0, 3, 1, 2]).shape); // [2, 3, 28, 28]
 * ```
 */
export function permute(x: Tensor, order: readonly number[]): Tensor {
  checkTensor("permute", x);
  if (!Array.isArray(order)) refuse("permute", "order", order, "an array of axes, such as [1, 0]");
  const axes = order.map((axis) => normalizeAxis("permute", axis, x.rank));
  if (axes.length !== x.rank || new Set(axes).size !== x.rank) {
    throw new ArgumentError(
      `permute: [${order.join(", ")}] does not name each of ${x.rank} axes once`,
    );
  }
  if (axes.every((axis, d) => axis === d)) return x;
  const inverse = axes.map((_, d) => axes.indexOf(d));
  return record(permuted(x, axes), "permute", [x], (grad) => [permute(grad, inverse)]);
}

function permuted(x: Tensor, axes: readonly number[]): Tensor {
  const shape = axes.map((axis) => x.shape[axis]!);
  // Two blocks of axes changing places is a batch of matrix transposes, which has a kernel of its
  // own.
  const batch = axes.findIndex((axis, d) => axis !== d);
  const first = axes[batch]!;
  const swapped = axes.slice(batch).every((axis, i) =>
    axis === (first + i < x.rank ? first + i : batch + i - (x.rank - first))
  );
  if (!swapped) {
    const strides = contiguousStrides(x.shape);
    return gathered(x, { shape, strides: axes.map((axis) => strides[axis]!), offset: 0 });
  }
  const y = x.make(shape);
  call(
    "cdn_transpose",
    y,
    x,
    sizeOf(x.shape.slice(0, batch)),
    sizeOf(x.shape.slice(batch, first)),
    sizeOf(x.shape.slice(first)),
    x.code,
  );
  return y;
}

/**
 * Two axes exchanged; by default the last two.
 *
 * ```ts
 * import { tensor, transpose } from "@cudeno/cudeno";
 * console.log(transpose(tensor([[1, 2], [3, 4]])).dataSync()); // 1, 3, 2, 4
 * ```
 */
export function transpose(x: Tensor, axis0 = -2, axis1 = -1): Tensor {
  checkTensor("transpose", x);
  const a = normalizeAxis("transpose", axis0, x.rank);
  const b = normalizeAxis("transpose", axis1, x.rank);
  const order = Array.from({ length: x.rank }, (_, d) => (d === a ? b : d === b ? a : d));
  return permute(x, order);
}
