import { gradEnabled, record } from "../../core/autograd.ts";
import { throughOps } from "../../core/backward.ts";
import type { FusedActivation, Gate, Step } from "../../core/node.ts";
import { checkChoice, checkOptions } from "../../core/options.ts";
import { type MatmulPrecision, precisionOf } from "../../core/precision.ts";
import { formatShape, sameShape, type Shape, sizeOf } from "../../core/shape.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { activations, throughGate } from "../elementwise/_gate.ts";
import { reshape, transpose } from "../shape/movement.ts";
import { autocasted, checkDType, checkSameDevice, checkSameDType, floats } from "../_operands.ts";
import { gradOfA, gradOfB, multiplied, type Product } from "./_product.ts";
import { sum } from "../reduce/sum.ts";

/** Options of {@linkcode linear}. */
export interface FusedLinearOptions {
  /** Applied to the sums; `"geluTanh"` is gelu's approximation by tanh. Default none. */
  activation?: FusedActivation | undefined;
  /** Added after the activation: [..., out], as the result. Default none. */
  residual?: Tensor | null | undefined;
  /** Whether weight is [in, out], as GPT-2's files have it. Default false. */
  transposeWeight?: boolean | undefined;
  /**
   * How float32 is multiplied, here and in the gradients. Default: as setMatmulPrecision() has set
   * it.
   */
  precision?: MatmulPrecision | undefined;
}

/**
 * y = activation(x w^T + b) + residual: x [..., in], weight [out, in], bias [out], y [..., out].
 * Without options it is torch.nn.functional.linear; with them it is one kernel for what would
 * otherwise be several, and rounds once. Floats; under autocast() its dtype is used.
 *
 * @throws {ShapeError} when x's last axis is not weight's, bias is not [out], or residual is not
 * [..., out].
 * @throws {DTypeError} when the dtypes differ or are no floats.
 * @throws {ArgumentError} for an activation that there is not.
 *
 * ```ts
 * import { linear, tensor } from "@cudeno/cudeno";
 * const [x, w, b] = [tensor([[1, 2]]), tensor([[3, 4], [-5, 6], [7, -8]]), tensor([10, 20, 3])];
 * console.log(linear(x, w, b).dataSync()); // 21, 27, -6
 * console.log(linear(x, w, b, { activation: "relu" }).dataSync()); // 21, 27, 0
 * ```
 */
export function linear(
  x: Tensor,
  weight: Tensor,
  bias?: Tensor | null,
  options: FusedLinearOptions = {},
): Tensor {
  checkOptions("linear", options, ["activation", "residual", "transposeWeight", "precision"]);
  const { activation, transposeWeight = false } = options;
  if (activation !== undefined) checkChoice("linear", "activation", activation, activations);
  const precision = precisionOf("linear", options.precision);
  let { residual } = options;
  checkDType("linear", x, floats);
  checkSameDevice("linear", x, weight, ...there(bias, residual));
  [x, weight, bias, residual] = autocasted("lower", x, weight, bias, residual);
  const inputs = [x, weight, ...there(bias, residual)];
  checkSameDType("linear", ...inputs as [Tensor]);
  const shape = shapeOf(x, weight, bias, residual, transposeWeight);
  const [n, k] = [shape.at(-1)!, x.shape.at(-1)!];
  const product: Product = {
    m: sizeOf(shape.slice(0, -1)),
    n,
    k,
    transposeB: !transposeWeight,
    shape,
    precision,
  };
  // Relu's result tells its slope, unless something is added to it.
  const keepsZ = activation && (activation !== "relu" || residual) && gradEnabled() &&
    inputs.some((input) => input.requiresGrad);
  const z = keepsZ ? x.make(shape) : null;
  const plain = !bias && !residual && !activation;
  const y = multiplied(x, weight, product, plain ? undefined : { bias, residual, activation, z });
  const gate = activation && { activation, saved: z ?? y };
  return record(y, "linear", inputs, (grad, step) => {
    const [dx, dw, db] = gradEnabled()
      ? composedGradients(x, weight, bias, product, activation, grad)
      : fusedGradients(x, weight, bias, product, gate, grad, step);
    return [dx!, dw!, ...(bias ? [db!] : []), ...(residual ? [grad] : [])];
  }, residual ? undefined : gate); // which is not between the result and what was added
}

type Gradients = [dx: Tensor | null, dw: Tensor | null, db: Tensor | null];

// With dz that of the sums: dx = dz w, times the slope of what made x if that is left to us; dw =
// dz^T x, and beside it db, the sums of dz^T's rows.
function fusedGradients(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null | undefined,
  { m, n, k, transposeB = false, precision }: Product,
  gate: Gate | undefined,
  grad: Tensor,
  step: Step,
): Gradients {
  const dz = gate && !step.gated ? throughGate(gate, grad) : grad;
  let dx: Tensor | null = null;
  if (x.requiresGrad) {
    const before = step.takeGate(x);
    const mask = before && { activation: before.activation, mask: before.saved as Tensor };
    const back = { m, n: k, k: n, transposeB: !transposeB, shape: x.shape, precision };
    dx = multiplied(dz, weight, back, mask);
  }
  if (!weight.requiresGrad) {
    return [dx, null, bias?.requiresGrad ? sum(reshape(dz, [m, n]), 0) : null];
  }
  const db = bias?.requiresGrad ? bias.make(bias.shape) : null;
  const transposed = { m: n, n: k, k: m, transposeA: true, precision };
  const dw = multiplied(dz, x, transposed, db ? { aSums: db } : undefined); // [out, in]
  return [dx, transposeB ? dw : transpose(dw), db];
}

function composedGradients(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null | undefined,
  product: Product,
  activation: FusedActivation | undefined,
  grad: Tensor,
): Gradients {
  if (activation) {
    const options = { precision: product.precision, transposeWeight: !product.transposeB };
    const again = (x: Tensor, weight: Tensor, bias?: Tensor) =>
      activations[activation](linear(x, weight, bias, options));
    return throughOps(
      (x, weight, bias) => again(x!, weight!, bias),
      [x, weight, ...there(bias)],
      grad,
    ) as Gradients;
  }
  return [
    x.requiresGrad ? gradOfA(grad, weight, product, x.shape) : null,
    weight.requiresGrad ? gradOfB(grad, x, product, weight.shape) : null,
    bias?.requiresGrad ? sum(reshape(grad, [product.m, product.n]), 0) : null,
  ];
}

const there = (...tensors: (Tensor | null | undefined)[]): Tensor[] =>
  tensors.filter((tensor) => tensor !== null && tensor !== undefined);

// The shape of the result, if the operands' go together.
function shapeOf(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null | undefined,
  residual: Tensor | null | undefined,
  transposeWeight: boolean,
): Shape {
  if (weight.rank !== 2) {
    throw new ShapeError(
      `linear: weight is ${formatShape(weight.shape)}; it must be ${
        transposeWeight ? "[in, out]" : "[out, in]"
      }`,
    );
  }
  const [out, features] = (transposeWeight ? weight.shape.toReversed() : weight.shape) as [
    number,
    number,
  ];
  if (x.rank === 0 || x.shape.at(-1) !== features) {
    throw new ShapeError(
      `linear: input is ${formatShape(x.shape)}; its last axis must be ${features}, as weight is ` +
        `${formatShape(weight.shape)}`,
    );
  }
  if (bias && (bias.rank !== 1 || bias.shape[0] !== out)) {
    throw new ShapeError(`linear: bias is ${formatShape(bias.shape)}; it must be [${out}]`);
  }
  const shape = x.shape.with(-1, out);
  if (residual && !sameShape(residual.shape, shape)) {
    throw new ShapeError(
      `linear: residual is ${formatShape(residual.shape)}; it must be ${
        formatShape(shape)
      }, as the result is`,
    );
  }
  return shape;
}
