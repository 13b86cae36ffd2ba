import { gradEnabled, record } from "../../core/autograd.ts";
import { dtypeInfo } from "../../core/dtype.ts";
import { normalizeAxis } from "../../core/shape.ts";
import { calls } from "../../native/calls.ts";
import type { Tensor } from "../../tensor.ts";
import { autocasted, checkDType, floats, inFloat32 } from "../_operands.ts";
import { mul, sub } from "../elementwise/binary.ts";
import { eq } from "../elementwise/compare.ts";
import { exp } from "../elementwise/unary.ts";
import { where } from "../elementwise/where.ts";
import { sum } from "./sum.ts";
import { transpose } from "../shape/movement.ts";

/** A kernel that works along rows, its gradient, and that again in operations. */
interface Kernels {
  forward: typeof calls.cdn_softmax;
  backward: typeof calls.cdn_softmax_grad;
  composed(grad: Tensor, y: Tensor): Tensor;
}

export const softmaxKernels: Kernels = {
  forward: calls.cdn_softmax,
  backward: calls.cdn_softmax_grad,
  composed: (grad, y) => mul(y, sub(grad, sum(mul(grad, y), -1, { keepDims: true }))),
};

export const logSoftmaxKernels: Kernels = {
  forward: calls.cdn_log_softmax,
  backward: calls.cdn_log_softmax_grad,
  composed: (grad, y) => {
    const total = sum(grad, -1, { keepDims: true });
    // A row of NaN has no say where its gradient is 0.
    const logs = where(eq(total, 0), where(eq(y, y), y, 0), y);
    return sub(grad, mul(exp(logs), total));
  },
};

/** The kernels work along rows: another axis is brought to the back and taken home again. */
export function alongAxis(op: string, kernels: Kernels, x: Tensor, axis: number): Tensor {
  checkDType(op, x, floats);
  [x] = autocasted("float32", x);
  const at = normalizeAxis(op, axis, x.rank);
  if (at === x.rank - 1) return alongRows(op, kernels, x);
  return transpose(alongRows(op, kernels, transpose(x, at, -1)), at, -1);
}

function alongRows(op: string, kernels: Kernels, x: Tensor): Tensor {
  const cols = x.shape.at(-1)!;
  const rows = cols === 0 ? 0 : x.size / cols;
  const y = x.make(x.shape);
  kernels.forward(y, x, rows, cols, x.code);
  const short = dtypeInfo(x.dtype).bytes === 2; // has no digits enough of y for the gradient
  return record(y, op, [x], (grad) => {
    if (gradEnabled()) {
      return [
        inFloat32([grad, x], (grad, x) => kernels.composed(grad, alongRows(op, kernels, x))),
      ];
    }
    const dx = x.make(x.shape);
    kernels.backward(dx, grad, short ? x : y, rows, cols, x.code);
    return [dx];
  });
}

/**
 * As {@linkcode softmax} along the last axis, but 0 where all of it is -Infinity: where a mask
 * leaves nothing.
 */
export function maskedSoftmax(x: Tensor): Tensor {
  return alongAxis("softmax", { ...softmaxKernels, forward: calls.cdn_masked_softmax }, x, -1);
}
