import { traced } from "../native/arguments.ts";
import { ShapeError } from "../native/errors.ts";
import type { Backend } from "./backend.ts";
import { type DType, dtypeInfo } from "./dtype.ts";
import { checkShape, formatShape, type Shape } from "./shape.ts";

const out = new Uint32Array(1);

/** New memory for a tensor. Throws an OutOfMemoryError when there is none. */
export function allocate(backend: Backend, shape: Shape, dtype: DType): number {
  const bytes = checkShape("tensor", shape) * dtypeInfo(dtype).bytes;
  if (!Number.isSafeInteger(bytes)) {
    throw new ShapeError(`tensor: ${formatShape(shape)} of ${dtype} is more than any memory holds`);
  }
  traced?.("cdn_alloc", [out, backend, bytes]);
  backend.check(backend.functions.cdn_alloc(out, backend.index, BigInt(bytes)));
  return out[0]!;
}
