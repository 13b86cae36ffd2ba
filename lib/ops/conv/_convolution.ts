// Convolution and its two gradients as recorded operations. Each is linear in both of its operands,
// and the gradients of any of the three are the other two: so they are differentiated as often as
// one likes.
import { record } from "../../core/autograd.ts";
import type { FusedActivation } from "../../core/node.ts";
import { type MatmulPrecision, precisionCode } from "../../core/precision.ts";
import type { Shape } from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import type { Tensor } from "../../tensor.ts";
import { add } from "../elementwise/binary.ts";
import { activationCode } from "../linalg/_product.ts";
import { reshape } from "../shape/movement.ts";

/** Extents as cdn_conv2d takes them, and how to compute. */
export interface Convolution {
  /** [n, c, h, w]. */
  readonly input: Shape;
  /** [k, c / groups, r, s]. */
  readonly weight: Shape;
  /** [n, k, p, q]. */
  readonly output: Shape;
  readonly stride: readonly [number, number];
  /** Above and on the left. */
  readonly padding: readonly [number, number];
  readonly dilation: readonly [number, number];
  readonly groups: number;
  readonly precision: MatmulPrecision;
  /** The method's number. */
  readonly variant: number;
}

const geometry = new BigInt64Array(16);

/** As cdn_conv2d takes it, in one buffer that the next call reuses. */
export function geometryOf(x: Convolution): BigInt64Array<ArrayBuffer> {
  const [n, c, h, w] = x.input as Four;
  const [k, , r, s] = x.weight as Four;
  const [, , p, q] = x.output as Four;
  const numbers = [n, h, w, c, k, r, s, p, q, ...x.stride, ...x.padding, ...x.dilation, x.groups];
  numbers.forEach((number, i) => geometry[i] = BigInt(number));
  return geometry;
}
type Four = [number, number, number, number];

const LAST = "channelsLast";

// A tensor for a result, written in channelsLast.
const made = (like: Tensor, shape: Shape): Tensor => like.make(shape, like.dtype, LAST);

/** What follows the sums. */
export interface ConvolutionEpilogue {
  readonly bias?: Tensor | null | undefined;
  readonly activation?: FusedActivation | undefined;
  /** Gets what the activation is given; in channelsLast. */
  readonly z?: Tensor | null | undefined;
}

/** y, unrecorded. */
export function convolved(
  x: Tensor,
  weight: Tensor,
  shapes: Convolution,
  { bias, activation, z }: ConvolutionEpilogue = {},
): Tensor {
  const y = made(x, shapes.output);
  call(
    "cdn_conv2d",
    y.stored(LAST),
    z?.stored(LAST),
    x.stored(LAST),
    weight.stored(LAST),
    bias,
    geometryOf(shapes),
    activationCode(activation),
    x.code,
    precisionCode(shapes.precision),
    shapes.variant,
  );
  return y;
}

/** The gradient for the input, unrecorded. */
export function inputGradient(dy: Tensor, weight: Tensor, shapes: Convolution): Tensor {
  const dx = made(dy, shapes.input);
  call(
    "cdn_conv2d_grad_input",
    dx.stored(LAST),
    dy.stored(LAST),
    weight.stored(LAST),
    geometryOf(shapes),
    dy.code,
    precisionCode(shapes.precision),
    shapes.variant,
  );
  return dx;
}

/** The gradient for the weights and, if there is a place for it, for the bias, unrecorded. */
export function weightGradient(
  dy: Tensor,
  x: Tensor,
  shapes: Convolution,
  dbias?: Tensor | null,
): Tensor {
  const dw = made(dy, shapes.weight);
  call(
    "cdn_conv2d_grad_weight",
    dw.stored(LAST),
    dbias,
    dy.stored(LAST),
    x.stored(LAST),
    geometryOf(shapes),
    dy.code,
    precisionCode(shapes.precision),
    shapes.variant,
  );
  return dw;
}

/** What is convolved, and how. */
export interface Operands {
  x: Tensor;
  weight: Tensor;
  bias: Tensor | null | undefined;
  shapes: Convolution;
}

/** The gradients of the operands from dz, that of the sums; unrecorded. */
export function gradientsOf(
  dz: Tensor,
  { x, weight, bias, shapes }: Operands,
): (Tensor | null)[] {
  const db = bias?.requiresGrad ? bias.make(bias.shape) : null;
  return [
    x.requiresGrad ? inputGradient(dz, weight, shapes) : null,
    weight.requiresGrad || db ? weightGradient(dz, x, shapes, db) : null,
    ...(bias ? [db] : []),
  ];
}

/** y, recorded. */
export function convolution(x: Tensor, weight: Tensor, shapes: Convolution): Tensor {
  return record(convolved(x, weight, shapes), "conv2d", [x, weight], (grad) => [
    x.requiresGrad ? gradOfInput(grad, weight, shapes) : null,
    weight.requiresGrad ? gradOfWeight(grad, x, shapes) : null,
  ]);
}

/** The gradient for the input, recorded; as a function of its own, the transposed convolution. */
export function gradOfInput(dy: Tensor, weight: Tensor, shapes: Convolution): Tensor {
  return record(inputGradient(dy, weight, shapes), "convTranspose2d", [dy, weight], (grad) => [
    dy.requiresGrad ? convolution(grad, weight, shapes) : null,
    weight.requiresGrad ? gradOfWeight(dy, grad, shapes) : null,
  ]);
}

/** The gradient for the weights, recorded. */
export function gradOfWeight(dy: Tensor, x: Tensor, shapes: Convolution): Tensor {
  return record(weightGradient(dy, x, shapes), "conv2dGradWeight", [dy, x], (grad) => [
    dy.requiresGrad ? convolution(x, grad, shapes) : null,
    x.requiresGrad ? gradOfInput(dy, grad, shapes) : null,
  ]);
}

/** y + bias [k], by channel. */
export function biased(y: Tensor, bias: Tensor | null | undefined): Tensor {
  return bias ? add(y, reshape(bias, [1, -1, 1, 1])) : y;
}
