import { gradEnabled, record } from "../../core/autograd.ts";
import { normalizeAxis } from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import type { Tensor } from "../../tensor.ts";
import { autocasted, checkDType, floats, inFloat32 } from "../_operands.ts";
import { mul, sub } from "../elementwise/binary.ts";
import { eq } from "../elementwise/compare.ts";
import { exp } from "../elementwise/unary.ts";
import { where } from "../elementwise/where.ts";
import { sum } from "./sum.ts";
import { transpose } from "../shape/movement.ts";

type Kernel = "cdn_softmax" | "cdn_masked_softmax" | "cdn_log_softmax";
type GradKernel = "cdn_softmax" | "cdn_log_softmax";

// The gradients, from that of the result and the result, in operations that can be differentiated
// again.
const composed: Record<GradKernel, (grad: Tensor, y: Tensor) => Tensor> = {
  cdn_softmax: (grad, y) => mul(y, sub(grad, sum(mul(grad, y), -1, { keepDims: true }))),
  cdn_log_softmax: (grad, y) => {
    const total = sum(grad, -1, { keepDims: true });
    // A row of NaN has no say where its gradient is 0.
    const logs = where(eq(total, 0), where(eq(y, y), y, 0), y);
    return sub(grad, mul(exp(logs), total));
  },
};

/** The kernels work along rows: another axis is brought to the back and taken home again. */
export function alongAxis(op: string, kernel: Kernel, x: Tensor, axis: number): Tensor {
  checkDType(op, x, floats);
  [x] = autocasted("float32", x);
  const at = normalizeAxis(op, axis, x.rank);
  if (at === x.rank - 1) return alongRows(op, kernel, x);
  return transpose(alongRows(op, kernel, transpose(x, at, -1)), at, -1);
}

function alongRows(op: string, kernel: Kernel, x: Tensor): Tensor {
  const cols = x.shape.at(-1)!;
  const rows = cols === 0 ? 0 : x.size / cols;
  const y = x.make(x.shape);
  call(kernel, y, x, rows, cols, x.code);
  const gradient = kernel === "cdn_masked_softmax" ? "cdn_softmax" : kernel;
  return record(y, op, [x], (grad) => {
    if (gradEnabled()) return [inFloat32([grad, y], composed[gradient])];
    const dx = x.make(x.shape);
    call(`${gradient}_grad`, dx, grad, y, rows, cols, x.code);
    return [dx];
  });
}

/**
 * As {@linkcode softmax} along the last axis, but 0 where all of it is -Infinity: where a mask
 * leaves nothing.
 */
export function maskedSoftmax(x: Tensor): Tensor {
  return alongAxis("softmax", "cdn_masked_softmax", x, -1);
}
