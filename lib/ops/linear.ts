import { record } from "../core/autograd.ts";
import { precisionOf } from "../core/precision.ts";
import { formatShape, sizeOf } from "../core/shape.ts";
import { writeLayout } from "../core/layout.ts";
import { ShapeError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";
import { reshape } from "./movement.ts";
import { autocasted, checkDType, checkSameDevice, checkSameDType, floats } from "./operands.ts";
import { gradOfA, gradOfB, multiplied, type Product } from "./product.ts";
import { sum } from "./reduce.ts";

/**
 * y = x w^T + b: x [..., in], weight [out, in], bias [out], y [..., out], as torch.nn.functional.linear. Floats; under
 * autocast() its dtype is used.
 *
 * @throws {ShapeError} when x's last axis is not weight's, or bias is not [out].
 * @throws {DTypeError} when the dtypes differ or are no floats.
 *
 * ```ts
 * import { linear, tensor } from "@cudeno/cudeno";
 * const y = linear(tensor([[1, 2]]), tensor([[3, 4], [5, 6], [7, 8]]), tensor([10, 20, 30]));
 * console.log(y.dataSync()); // 21, 37, 53
 * ```
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor | null): Tensor {
  checkDType("linear", x, floats);
  checkSameDevice("linear", x, weight, ...(bias ? [bias] : []));
  [x, weight, bias] = autocasted("lower", x, weight, bias);
  const others = bias ? [weight, bias] : [weight];
  checkSameDType("linear", x, ...others);
  checkShapes(x, weight, bias);
  const [n, k] = [weight.shape[0]!, weight.shape[1]!];
  const rows = x.shape.slice(0, -1);
  const m = sizeOf(rows);
  const matrices: Product = {
    m,
    n,
    k,
    transposeB: true,
    shape: [...rows, n],
    precision: precisionOf("linear"),
  };
  const y = multiplied(x, weight, matrices);
  if (bias) addRow(y, bias, m, n);
  return record(y, "linear", [x, ...others], (grad) => [
    x.requiresGrad ? gradOfA(grad, weight, matrices, x.shape) : null,
    weight.requiresGrad ? gradOfB(grad, x, matrices, weight.shape) : null,
    bias?.requiresGrad ? sum(reshape(grad, [m, n]), 0) : null,
  ]);
}

// y += b for each of m rows, in place.
function addRow(y: Tensor, b: Tensor, m: number, n: number): void {
  const { backend } = y;
  const layout = writeLayout([m, n], [n, 1], [0, 1]);
  backend.check(backend.functions.cdn_add(y.handle, y.handle, b.handle, layout, 2, 0, y.code));
}

function checkShapes(x: Tensor, weight: Tensor, bias: Tensor | null | undefined): void {
  if (weight.rank !== 2) {
    throw new ShapeError(`linear: weight is ${formatShape(weight.shape)}; it must be [out, in]`);
  }
  const [out, features] = weight.shape;
  if (x.rank === 0 || x.shape.at(-1) !== features) {
    throw new ShapeError(
      `linear: input is ${formatShape(x.shape)}; its last axis must be ${features}, as weight is ` +
        `${formatShape(weight.shape)}`,
    );
  }
  if (bias && (bias.rank !== 1 || bias.shape[0] !== out)) {
    throw new ShapeError(`linear: bias is ${formatShape(bias.shape)}; it must be [${out}]`);
  }
}
