import { gradEnabled, record } from "../../core/autograd.ts";
import { checkOptions } from "../../core/options.ts";
import { call } from "../../native/call.ts";
import { calls } from "../../native/calls.ts";
import type { Tensor } from "../../tensor.ts";
import { anything, checkDType } from "../_operands.ts";
import { weigh } from "../elementwise/_binary.ts";
import { type Axes, checkNotEmpty, reduceTogether, type Run, spread } from "./_axes.ts";
import { type ReduceOptions, reduceRun } from "./_reduce.ts";

function extremum(
  op: "max" | "min",
  x: Tensor,
  axes: Axes | undefined,
  options: ReduceOptions,
): Tensor {
  checkDType(op, x, anything);
  checkOptions(op, options, ["keepDims"]);
  // Axis by axis, equal elements would not share the gradient evenly.
  return reduceTogether(op, x, axes, options.keepDims, (part, run) => {
    checkNotEmpty(op, part, run);
    const y = reduceRun(calls[`cdn_${op}`], part, run);
    return record(y, op, [part], (grad) => [
      // To be differentiated again, the shares are constants.
      gradEnabled()
        ? weigh(spread(grad, part, run), extremumGrad(grad.make(grad.shape).fill(1), part, y, run))
        : extremumGrad(grad, part, y, run),
    ]);
  });
}

function extremumGrad(grad: Tensor, x: Tensor, y: Tensor, run: Run): Tensor {
  const dx = x.make(x.shape);
  call("cdn_max_grad", dx, grad, x, y, run.outer, run.axis, run.inner, x.code);
  return dx;
}

/**
 * The largest element over the axes; NaN if there is one. Any dtype. Equal ones share the gradient
 * evenly, as in torch.amax.
 *
 * ```ts
 * import { max, tensor } from "@cudeno/cudeno";
 * console.log(max(tensor([[1, 5], [3, 4]]), 1).dataSync()); // 5, 4
 * ```
 */
export function max(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  return extremum("max", x, axes, options);
}

/**
 * The smallest element over the axes; NaN if there is one. Any dtype. Equal ones share the gradient
 * evenly, as in torch.amin.
 *
 * ```ts
 * import { min, tensor } from "@cudeno/cudeno";
 * console.log(min(tensor([[1, 5], [3, 4]]), 1).dataSync()); // 1, 3
 * ```
 */
export function min(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  return extremum("min", x, axes, options);
}
