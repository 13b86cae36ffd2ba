// conv2d() with the ReLU and the 2 x 2 pooling after it. What is kept for the gradients is the
// result and, in a byte each, which of four it came from: the sums are gone.
import { gradEnabled, record } from "../../core/autograd.ts";
import { throughOps } from "../../core/backward.ts";
import { precisionCode } from "../../core/precision.ts";
import { formatShape } from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { relu } from "../elementwise/activations.ts";
import { maxPool, spread } from "../pool/_max_pool.ts";
import { poolingOf, windowsOf } from "../pool/_pool.ts";
import { biased, type Convolution, convolution, geometryOf, gradientsOf } from "./_convolution.ts";

const LAST = "channelsLast", op = "conv2d";
const plan = windowsOf(op, false, { kernelSize: 2 }, ["kernelSize"]);

/** maxPool2d(relu(x * weight + bias), 2). */
export function convolvedAndPooled(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null | undefined,
  shapes: Convolution,
): Tensor {
  const [, , p, q] = shapes.output as [number, number, number, number];
  if (p < 2 || q < 2) {
    throw new ShapeError(
      `${op}: maxPool, or a MaxPool2d(2) that goes along, has no 2 x 2 in the convolution's ` +
        `result ${formatShape(shapes.output)}; use larger images or no pooling`,
    );
  }
  const pooling = poolingOf(plan, shapes.output, LAST);
  const inputs = [x, weight, ...(bias ? [bias] : [])];
  const recorded = gradEnabled() && inputs.some((input) => input.requiresGrad);
  const y = x.make(pooling.to, x.dtype, LAST);
  const argument = recorded ? x.make(pooling.to, "uint8", LAST) : null;
  call(
    "cdn_conv2d_pooled",
    y.stored(LAST),
    argument?.stored(LAST),
    x.stored(LAST),
    weight.stored(LAST),
    bias,
    geometryOf(shapes),
    x.code,
    precisionCode(shapes.precision),
    shapes.variant,
  );
  if (!argument) return y;
  return record(y, op, inputs, (grad) => {
    if (!gradEnabled()) {
      return gradientsOf(spread(op, grad, argument, pooling, y), { x, weight, bias, shapes });
    }
    return throughOps(
      (x, weight, bias) => maxPool(relu(biased(convolution(x!, weight!, shapes), bias)), plan),
      inputs,
      grad,
    );
  });
}
