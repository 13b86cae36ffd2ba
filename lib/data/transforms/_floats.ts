import { isFloat } from "../../core/dtype.ts";
import { cast } from "../../ops/elementwise/_cast.ts";
import { add, floorDivide } from "../../ops/elementwise/binary.ts";
import { inFloat32 } from "../../ops/_operands.ts";
import type { Tensor } from "../../tensor.ts";

/**
 * `fn` of images in float32 or float64; its result in their dtype, whole numbers rounded to the
 * nearest one, and in their memory format.
 */
export function inFloats(x: Tensor, fn: (x: Tensor) => Tensor): Tensor {
  const { dtype, format } = x;
  if (isFloat(dtype)) return inFloat32([x], fn).to({ format });
  const y = fn(cast(x, dtype === "uint8" ? "float32" : "float64"));
  return cast(floorDivide(add(y, 0.5), 1), dtype).to({ format });
}
