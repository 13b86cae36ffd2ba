import type { Tensor } from "../../tensor.ts";
import { maximum, minimum } from "../elementwise/binary.ts";

/** x within -limit..limit. */
export function clamped(x: Tensor, limit: number): Tensor {
  return minimum(maximum(x, -limit), limit);
}
