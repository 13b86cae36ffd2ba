import { formatValue } from "../../core/format.ts";
import { gradEnabled, record } from "../../core/autograd.ts";
import { throughOps } from "../../core/backward.ts";
import type { DType } from "../../core/dtype.ts";
import { checkInteger, checkNumber, checkOptions } from "../../core/options.ts";
import { formatShape, sameShape, type Shape, sizeOf } from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { add, div, mul, sub } from "../elementwise/binary.ts";
import { cast } from "../elementwise/cast.ts";
import { reshape } from "../shape/movement.ts";
import {
  autocasted,
  checkDType,
  checkSameDevice,
  checkSameDType,
  floats,
  inFloat32,
} from "../_operands.ts";
import { mean as meanOf } from "../reduce/reduce.ts";
import { sqrt } from "../elementwise/unary.ts";

/** Options of {@linkcode rmsNorm}. */
export interface RMSNormOptions {
  /** Of normalizedShape; multiplies the result. Default: 1. */
  weight?: Tensor | null | undefined;
  /**
   * Added to the mean square, so that a row of zeros stays one. Default: the machine epsilon of x's
   * dtype.
   */
  eps?: number | undefined;
}

/** Options of {@linkcode layerNorm}. */
export interface LayerNormOptions extends RMSNormOptions {
  /** Of normalizedShape; added to the result. Default: 0. */
  bias?: Tensor | null | undefined;
  /** Added to the variance. Default 1e-5. */
  eps?: number | undefined;
}

/** The distance from 1 to the next number of a float dtype. */
const machineEpsilon: Partial<Record<DType, number>> = {
  float32: 2 ** -23,
  float64: 2 ** -52,
  float16: 2 ** -10,
  bfloat16: 2 ** -7,
};

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

function rowsOf(
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
  for (const [name, tensor] of Object.entries({ weight, bias })) {
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
    let y = cast(div(flat, sqrt(add(square, eps))), x.dtype);
    if (weight) y = mul(y, reshape(weight, [sizeOf(shape)]));
    if (bias) y = add(y, reshape(bias, [sizeOf(shape)]));
    return reshape(y, x.shape);
  };
}

function recorded(all: Rows, y: Tensor, mean: Tensor | null, rstd: Tensor | null): Tensor {
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

// What the gradient needs of each row; nothing where none will be asked for.
function saved({ x, weight, bias, rows }: Rows): () => Tensor | null {
  const wanted = gradEnabled() && [x, weight, bias].some((input) => input?.requiresGrad);
  return () => wanted ? x.make([rows], "float64") : null;
}

/**
 * (x - mean) / sqrt(variance + eps) * weight + bias, with mean and (biased) variance over the last
 * axes, which are `normalizedShape`; as torch.nn.functional.layer_norm. Floats; 16-bit ones compute
 * in float32.
 *
 * @throws {ShapeError} when x does not end in normalizedShape, or weight or bias are not of it.
 *
 * ```ts
 * import { layerNorm, tensor } from "@cudeno/cudeno";
 * console.log(layerNorm(tensor([[1, 2, 3], [4, 6, 8]]), 3).dataSync());
 * // twice about -1.22, 0, 1.22
 * ```
 */
export function layerNorm(
  x: Tensor,
  normalizedShape: number | Shape,
  options: LayerNormOptions = {},
): Tensor {
  checkOptions("layerNorm", options, ["weight", "bias", "eps"]);
  const [input, w, b] = autocasted("float32", x, options.weight, options.bias);
  x = input;
  const all = rowsOf("layerNorm", x, normalizedShape, { weight: w, bias: b }, options.eps ?? 1e-5);
  const { weight, bias, eps } = all;
  const save = saved(all);
  const [mean, rstd] = [save(), save()];
  const y = x.make(x.shape);
  call("cdn_layer_norm", y, mean, rstd, x, weight, bias, all.rows, all.cols, eps, x.code);
  return recorded(all, y, mean, rstd);
}

/**
 * x / sqrt(mean(x^2) + eps) * weight, the mean over the last axes, which are `normalizedShape`; as
 * torch.nn.functional.rms_norm (Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019).
 * Floats; 16-bit ones compute in float32.
 *
 * @throws {ShapeError} when x does not end in normalizedShape, or weight is not of it.
 *
 * ```ts
 * import { rmsNorm, tensor } from "@cudeno/cudeno";
 * console.log(rmsNorm(tensor([[3, 4]]), 2).dataSync()); // about 0.849, 1.131
 * ```
 */
export function rmsNorm(
  x: Tensor,
  normalizedShape: number | Shape,
  options: RMSNormOptions = {},
): Tensor {
  checkOptions("rmsNorm", options, ["weight", "eps"]);
  checkDType("rmsNorm", x, floats);
  const [input, weight] = autocasted("float32", x, options.weight);
  x = input;
  const eps = options.eps ?? machineEpsilon[x.dtype]!;
  const all = rowsOf("rmsNorm", x, normalizedShape, { weight }, eps);
  const rstd = saved(all)();
  const y = x.make(x.shape);
  call("cdn_rms_norm", y, rstd, x, all.weight, all.rows, all.cols, eps, x.code);
  return recorded(all, y, null, rstd);
}
