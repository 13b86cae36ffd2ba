import { allocate } from "./core/allocate.ts";
import { checkGradDType } from "./core/autograd.ts";
import { backendFor } from "./core/backend.ts";
import { dtypeInfo } from "./core/dtype.ts";
import { checkOptions } from "./core/options.ts";
import { checkShape, type Shape } from "./core/shape.ts";
import { Tensor } from "./tensor.ts";
import type { CreateOptions } from "./create.ts";

/** The options of all functions that make tensors. */
export const createKeys: readonly string[] = ["dtype", "device", "requiresGrad"];

/** A tensor whose elements are still to be written. */
export function empty(
  op: string,
  shape: Shape,
  options: CreateOptions,
  keys: readonly string[] = createKeys,
): Tensor {
  checkShape(op, shape);
  checkOptions(op, options, keys);
  const { dtype = "float32", device, requiresGrad = false } = options;
  dtypeInfo(dtype);
  if (requiresGrad) checkGradDType("requiresGrad", { dtype });
  const backend = backendFor(device);
  const x = new Tensor(backend, shape, dtype, allocate(backend, shape, dtype));
  if (requiresGrad) x.requiresGrad = true;
  return x;
}
