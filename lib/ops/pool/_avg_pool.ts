import { record } from "../../core/autograd.ts";
import { refuse } from "../../core/options.ts";
import { call } from "../../native/call.ts";
import type { Tensor } from "../../tensor.ts";
import { overImages, type Plan, type Pooling } from "./_pool.ts";
import type { AvgPoolOptions } from "./avg_pool.ts";

/** What sums are divided by: 0 for the number of places. */
export interface Share {
  readonly divisor: number;
  /** Whether places of the padding count. */
  readonly withPadding: boolean;
}

/** The number of places in the image. */
const plain: Share = { divisor: 0, withPadding: false };

/** What the options of a pooling say of it. */
export function shareOf(op: string, options: AvgPoolOptions | AvgPoolOptions<number>): Share {
  const { countIncludePad = true, divisorOverride } = options;
  if (divisorOverride === 0 || !Number.isSafeInteger(divisorOverride ?? 1)) {
    refuse(op, "divisorOverride", divisorOverride, "a whole number other than 0");
  }
  return { divisor: divisorOverride ?? 0, withPadding: Boolean(countIncludePad) };
}

/** The averages of windows. */
export function avgPool(x: Tensor, plan: Plan, share: Share = plain): Tensor {
  return overImages(x, plan, (images, pooling) => [forward(plan.op, images, pooling, share)])[0];
}

// Both are linear, and each is the gradient of the other.
function forward(op: string, x: Tensor, pooling: Pooling, share: Share): Tensor {
  const { to, format, sizes, axes } = pooling;
  const y = x.make(to, x.dtype, format);
  const [result, images] = [y.stored(format), x.stored(format)];
  const whole = axes.every(({ extent, out, kernel, padding }) =>
    out === 1 && kernel === extent && padding === 0
  );
  if (whole && share.divisor === 0) { // a reduction shares out the work within an image
    const [outer, inner] = sizes as unknown as [bigint, bigint];
    const pixels = axes[0].extent * axes[1].extent;
    call("cdn_mean", result, images, outer, pixels, inner, y.code, x.code);
  } else {
    call("cdn_avg_pool", result, images, sizes, share.divisor, Number(share.withPadding), x.code);
  }
  return record(y, op, [x], (grad) => [backward(op, grad, pooling, share)]);
}

function backward(op: string, grad: Tensor, pooling: Pooling, share: Share): Tensor {
  const { from, format, sizes } = pooling;
  const dx = grad.make(from, grad.dtype, format);
  const { divisor, withPadding } = share;
  call(
    "cdn_avg_pool_grad",
    dx.stored(format),
    grad.stored(format),
    sizes,
    divisor,
    Number(withPadding),
    dx.code,
  );
  return record(dx, op, [grad], (next) => [forward(op, next, pooling, share)]);
}
