import { record } from "../../core/autograd.ts";
import { checkValue, type DType, dtypeInfo } from "../../core/dtype.ts";
import { formatValue } from "../../core/describe.ts";
import {
  inMemoryOrder,
  type MemoryFormat,
  stridesOf,
  writeFlat,
  writeLayout,
} from "../../core/layout.ts";
import { broadcastShapes, broadcastStrides, sameShape, type Shape } from "../../core/shape.ts";
import { TensorBase } from "../../core/tensor.ts";
import { calls } from "../../native/calls.ts";
import { ArgumentError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { autocasted, checkSameDevice, checkSameDType, checkTensor } from "../_operands.ts";
import { cast } from "./_cast.ts";
import { mul } from "./binary.ts";
import { sumTo } from "../reduce/_reduce.ts";

/** Runs a broadcasting kernel, unrecorded. A number stands for a tensor of a's dtype. */
export function broadcasted(
  op: string,
  kernel: typeof calls.cdn_add,
  a: Tensor,
  b: Tensor | number,
  dtype: DType = a.dtype,
): Tensor {
  checkTensor(op, a);
  if (typeof b === "number") {
    checkValue(op, b, a.dtype);
    const { format } = a;
    const y = a.make(a.shape, dtype, format);
    const flat = writeFlat(a.size, 0n);
    kernel(y.stored(format), a.stored(format), null, flat, 1, b, a.code);
    return y;
  }
  if (!(b instanceof TensorBase)) {
    throw new ArgumentError(
      `${op}: the second operand is ${formatValue(b)}; it must be a tensor or a number`,
    );
  }
  if (b.backend !== a.backend) checkSameDevice(op, a, b);
  if (b.dtype !== a.dtype) {
    // for comparisons; other operations have done so, and recorded it
    [a, b] = autocasted("widest", a, b);
    checkSameDType(op, a, b);
  }
  const [left, right] = [a.stored(a.format), b.stored(b.format)];
  if (a.format === b.format && sameShape(a.shape, b.shape)) {
    const y = a.make(a.shape, dtype, a.format);
    const flat = writeFlat(a.size);
    kernel(y.stored(a.format), left, right, flat, 1, 0, a.code);
    return y;
  }
  const shape = broadcastShapes(op, a.shape, b.shape);
  const format = formatOf(shape, a, b);
  const y = a.make(shape, dtype, format);
  const layout = a.format === b.format && a.format === "contiguous"
    ? writeLayout(shape, broadcastStrides(a.shape, shape), broadcastStrides(b.shape, shape))
    : broadcastLayout(shape, format, a, b);
  kernel(y.stored(format), left, right, layout, shape.length, 0, a.code);
  return y;
}

/** The format of what operands broadcast to: channelsLast if one of that shape is. */
export function formatOf(shape: Shape, ...operands: (Tensor | number)[]): MemoryFormat {
  const image = operands.find((x) =>
    typeof x !== "number" && x.format === "channelsLast" && sameShape(x.shape, shape)
  );
  return image ? "channelsLast" : "contiguous";
}

/** The layout argument for a result in a format, and operands each in its own. */
export function broadcastLayout(
  shape: Shape,
  format: MemoryFormat,
  ...operands: (Tensor | number)[]
): BigInt64Array<ArrayBuffer> {
  const strides = operands.map((x) => {
    if (typeof x === "number") return broadcastStrides([], shape);
    return broadcastStrides(x.shape, shape, stridesOf(x.shape, x.format));
  });
  const order = (axes: Shape) => inMemoryOrder(axes, format);
  return writeLayout(order(shape), ...strides.map(order));
}

const needs = (x: Tensor | number): x is Tensor => typeof x !== "number" && x.requiresGrad;

// 16-bit floats as float32 where a sum follows, which they might overflow or vanish before.
type Wide = <T extends Tensor | number>(x: T) => T;

/**
 * Records y = f(a, b) by its two partial gradients, each of y's shape and then summed to its
 * input's.
 */
export function differentiable(
  op: string,
  y: Tensor,
  a: Tensor,
  b: Tensor | number,
  gradA: (grad: Tensor, wide: Wide) => Tensor,
  gradB: (grad: Tensor, wide: Wide) => Tensor,
): Tensor {
  const inputs = typeof b === "number" ? [a] : [a, b];
  const part = (f: typeof gradA, grad: Tensor, { shape, dtype }: Tensor) => {
    const short = dtypeInfo(dtype).bytes === 2 && !sameShape(shape, y.shape);
    const wide: Wide = (x) => (short && typeof x !== "number" ? cast(x, "float32") : x) as typeof x;
    return cast(sumTo(f(grad, wide), shape), dtype);
  };
  return record(y, op, inputs, (grad) => [
    a.requiresGrad ? part(gradA, grad, a) : null,
    needs(b) ? part(gradB, grad, b) : null,
  ]);
}

/**
 * a * b, but 0 where b is 0, whatever a is: what a weight or a mask leaves out must not come back
 * as NaN. Nor must its gradient.
 */
export function weigh(a: Tensor, b: Tensor): Tensor {
  const y = broadcasted("mul", calls.cdn_weigh, a, b);
  return differentiable("mul", y, a, b, (grad) => weigh(grad, b), (grad) => mul(grad, a));
}
