import { gradEnabled, record } from "../../core/autograd.ts";
import { throughOps } from "../../core/backward.ts";
import { formatValue } from "../../core/describe.ts";
import { checkInteger, checkNumber } from "../../core/options.ts";
import { formatShape, sameShape, type Shape, sizeOf } from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { checkDType, checkSameDevice, checkSameDType, floats, inFloat32 } from "../_operands.ts";
import { cast } from "../elementwise/_cast.ts";
import { add, div, mul, sub } from "../elementwise/binary.ts";
import { sqrt } from "../elementwise/unary.ts";
import type { LayerNormOptions } from "./layer_norm.ts";
import { mean as meanOf } from "../reduce/mean.ts";
import { reshape } from "../shape/movement.ts";

// x as rows, each to be normalised by itself, and what scales and shifts them.
interface Rows {
  op: string;
  x: Tensor;
  shape: Shape;
  rows: number;
  cols: number;
  weight: Tensor | null;
  bias: Tensor | null;
  eps: number;
}

/** The shape over which a layer normalises, checked. */
export function normalizedShapeOf(op: string, shape: number | Shape): Shape {
  const list = typeof shape === "number" ? [shape] : shape;
  if (!Array.isArray(list) || list.length === 0) {
    throw new ShapeError(
      `${op}: normalizedShape is ${formatValue(shape)}; it must have at least one extent`,
    );
  }
  list.forEach((extent) => checkInteger(op, "an extent of normalizedShape", extent, 1));
  return [...list];
}

/** x as rows of normalizedShape, and the options, checked. */
export function rowsOf(
  op: string,
  x: Tensor,
  normalizedShape: number | Shape,
  options: LayerNormOptions,
  eps: number,
): Rows {
  checkDType(op, x, floats);
  const shape = normalizedShapeOf(op, normalizedShape);
  if (!sameShape(x.shape.slice(-shape.length), shape)) {
    throw new ShapeError(
      `${op}: x is ${formatShape(x.shape)}; its last axes must be ${formatShape(shape)}`,
    );
  }
  checkNumber(op, "eps", eps, 0);
  const { weight = null, bias = null } = options;
  for (const name of ["weight", "bias"] as const) {
    const tensor = options[name];
    if (!tensor) continue;
    checkSameDevice(op, x, tensor);
    checkSameDType(op, x, tensor);
    if (!sameShape(tensor.shape, shape)) {
      throw new ShapeError(
        `${op}: ${name} is ${formatShape(tensor.shape)}; it must be ${formatShape(shape)}`,
      );
    }
  }
  const cols = sizeOf(shape);
  return { op, x, shape, rows: x.size / cols, cols, weight, bias, eps };
}

// The formula in operations, for gradients of gradients; in float64, as kernels compute it.
function composed({ x, rows, cols, shape, eps }: Rows, centred: boolean) {
  return (input: Tensor, weight: Tensor | null, bias: Tensor | null): Tensor => {
    let flat = cast(reshape(input, [rows, cols]), "float64");
    if (centred) flat = sub(flat, meanOf(flat, 1, { keepDims: true }));
    const square = meanOf(mul(flat, flat), 1, { keepDims: true });
    let y = cast(div(flat, sqrt(add(square, eps))), input.dtype);
    if (weight) y = mul(y, reshape(weight, [sizeOf(shape)]));
    if (bias) y = add(y, reshape(bias, [sizeOf(shape)]));
    return reshape(y, x.shape);
  };
}

/** Records y, with what was saved of each row. */
export function recorded(all: Rows, y: Tensor, mean: Tensor | null, rstd: Tensor | null): Tensor {
  const { op, x, weight, bias } = all;
  const inputs = [x, weight, bias].filter((input) => input !== null);
  return record(y, op, inputs, (grad) => {
    if (!gradEnabled()) return fusedGradients(all, grad, mean, rstd!);
    const formula = composed(all, mean !== null);
    return throughOps(
      (input, ...rest) =>
        inFloat32(
          [input!, weight ? rest[0]! : null, bias ? rest[weight ? 1 : 0]! : null],
          formula,
        ),
      inputs,
      grad,
    );
  });
}

function fusedGradients(
  { x, weight, bias, rows, cols }: Rows,
  grad: Tensor,
  mean: Tensor | null,
  rstd: Tensor,
): (Tensor | null)[] {
  let dx: Tensor | null = null;
  if (x.requiresGrad) {
    dx = x.make(x.shape);
    call("cdn_norm_grad", dx, grad, x, weight, mean, rstd, rows, cols, x.code);
  }
  const gradients = [dx];
  if (weight?.requiresGrad || bias?.requiresGrad) {
    // Both come of one pass; one that nobody asked for costs its columns.
    const dweight = x.make((weight ?? bias)!.shape);
    const dbias = bias ? x.make(bias.shape) : null;
    call("cdn_norm_param_grad", dweight, dbias, grad, x, mean, rstd, rows, cols, x.code);
    if (weight) gradients.push(dweight);
    if (bias) gradients.push(dbias);
  } else {
    if (weight) gradients.push(null);
    if (bias) gradients.push(null);
  }
  return gradients;
}

/** What the gradient needs of each row; nothing where none will be asked for. */
export function saved({ x, weight, bias, rows }: Rows): () => Tensor | null {
  const wanted = gradEnabled() && [x, weight, bias].some((input) => input?.requiresGrad);
  return () => wanted ? x.make([rows], "float64") : null;
}
