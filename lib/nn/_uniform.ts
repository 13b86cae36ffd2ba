import type { DeviceName } from "../core/backend.ts";
import type { DType } from "../core/dtype.ts";
import { keep } from "../core/scope.ts";
import { rand } from "../create.ts";
import type { Tensor } from "../tensor.ts";

/** A parameter as linear and recurrent layers start with, uniform in ±1/sqrt(size). */
export function uniform(
  shape: readonly number[],
  size: number,
  { device, dtype }: { device?: DeviceName | undefined; dtype?: DType | undefined },
): Tensor {
  const high = 1 / Math.sqrt(size);
  const place = { ...(device && { device }), ...(dtype && { dtype }) };
  return keep(rand(shape, { ...place, low: -high, high, requiresGrad: true }));
}
