import type { Tensor } from "../../tensor.ts";
import { alongAxis, logSoftmaxKernels, softmaxKernels } from "./_softmax.ts";

/**
 * e^x / sum(e^x) along the axis (default: the last), computed from x - max(x); as torch.softmax.
 * Floats.
 *
 * ```ts
 * import { softmax, tensor } from "@cudeno/cudeno";
 * console.log(softmax(tensor([0, Math.log(3)])).dataSync()); // 0.25, 0.75
 * ```
 */
export function softmax(x: Tensor, axis = -1): Tensor {
  return alongAxis("softmax", softmaxKernels, x, axis);
}

/**
 * x - log(sum(e^x)) along the axis (default: the last), computed from x - max(x); as
 * torch.log_softmax. Floats.
 *
 * ```ts
 * import { logSoftmax, tensor } from "@cudeno/cudeno";
 * console.log(logSoftmax(tensor([1000, 1000])).dataSync()); // -0.693, -0.693
 * ```
 */
export function logSoftmax(x: Tensor, axis = -1): Tensor {
  return alongAxis("logSoftmax", logSoftmaxKernels, x, axis);
}
