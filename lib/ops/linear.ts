import { record } from "../core/autograd.ts";
import { formatShape } from "../core/shape.ts";
import { writeLayout } from "../core/layout.ts";
import { ShapeError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";
import { product } from "./matmul.ts";
import { reshape } from "./movement.ts";
import { checkDType, checkSameDevice, checkSameDType, floats } from "./operands.ts";
import { sum } from "./reduce.ts";

/**
 * y = x w^T + b: x [..., in], weight [out, in], bias [out], y [..., out], as torch.nn.functional.linear. float32,
 * float64.
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor | null): Tensor {
  const others = bias ? [weight, bias] : [weight];
  checkDType("linear", x, floats);
  checkSameDevice("linear", x, ...others);
  checkSameDType("linear", x, ...others);
  checkShapes(x, weight, bias);
  const [n, k] = [weight.shape[0]!, weight.shape[1]!];
  const m = x.shape.slice(0, -1).reduce((product, extent) => product * extent, 1);
  const y = product(x, weight, { m, n, k }, false, true, { shape: [...x.shape.slice(0, -1), n] });
  if (bias) addRow(y, bias, m, n);
  return record(y, "linear", [x, ...others], (grad) => [
    x.requiresGrad
      ? product(grad, weight, { m, n: k, k: n }, false, false, { shape: x.shape })
      : null,
    weight.requiresGrad ? product(grad, x, { m: n, n: k, k: m }, true, false) : null,
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
