import { gradEnabled, record } from "../../core/autograd.ts";
import { type DType, dtypeInfo } from "../../core/dtype.ts";
import { call } from "../../native/call.ts";
import type { Tensor } from "../../tensor.ts";
import { overImages, placesOf, type Plan, type Pooling } from "./_pool.ts";
import type { MaxPooled } from "./max_pool.ts";

/** The largest elements of windows, with their places or alone. */
export function maxPool<Indices extends boolean = false>(
  x: Tensor,
  plan: Plan,
  returnIndices?: Indices | undefined,
): MaxPooled<Indices> {
  const { op } = plan;
  const [values, indices] = overImages(x, plan, (images, pooling) => {
    const { to, format, sizes } = pooling;
    const y = images.make(to, images.dtype, format);
    const wanted = returnIndices || (gradEnabled() && images.requiresGrad);
    const dtype = placesOf(pooling) <= 256 ? "uint8" : "int32";
    const argument = wanted ? images.make(to, dtype, format) : null;
    call(
      "cdn_max_pool",
      y.stored(format),
      argument?.stored(format),
      images.stored(format),
      sizes,
      dtypeInfo(dtype).code, // which says what kernel it is
      y.code,
    );
    if (!argument) return [y];
    record(y, op, [images], (grad, step) => {
      // What was chosen is the result, so that a ReLU's slope there is known from that.
      const relu = images.node?.gate?.activation === "relu" && !y.disposed && step.takeGate(images);
      return [spread(op, grad, argument, pooling, relu ? y : null)];
    });
    return returnIndices ? [y, picked("int32", argument, null, pooling)] : [y];
  });
  return (indices ? { values, indices } : values) as MaxPooled<Indices>;
}

/**
 * The gradient of the images from that of the results: linear, so that its own is picked. With the
 * results of images that a ReLU made, that of what the ReLU was given; unrecorded.
 */
export function spread(
  op: string,
  grad: Tensor,
  argument: Tensor,
  pooling: Pooling,
  results: Tensor | null = null,
): Tensor {
  const { from, format, sizes } = pooling;
  const dx = grad.make(from, grad.dtype, format);
  call(
    "cdn_max_pool_grad",
    dx.stored(format),
    grad.stored(format),
    argument.stored(format),
    results?.stored(format),
    sizes,
    argument.code,
    dx.code,
  );
  return record(dx, op, [grad], (next) => {
    const y = picked(next.dtype, argument, next, pooling);
    return [record(y, op, [next], (last) => [spread(op, last, argument, pooling)])];
  });
}

// The elements of x that the results came from, or without x their places; unrecorded.
function picked(
  dtype: DType,
  argument: Tensor,
  x: Tensor | null,
  { to, format, sizes }: Pooling,
): Tensor {
  const y = argument.make(to, dtype, format);
  const chosen = argument.stored(format);
  call(
    "cdn_max_pool_pick",
    y.stored(format),
    x?.stored(format),
    chosen,
    sizes,
    argument.code,
    y.code,
  );
  return y;
}
