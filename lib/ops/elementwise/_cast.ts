import { record } from "../../core/autograd.ts";
import { type DType, dtypeInfo, isFloat } from "../../core/dtype.ts";
import { call } from "../../native/call.ts";
import type { Tensor } from "../../tensor.ts";

/**
 * The elements as another dtype. A float that does not fit an integer dtype saturates, fractions
 * are cut off, NaN becomes 0. Gradients pass between float32 and float64.
 */
export function cast(x: Tensor, dtype: DType): Tensor {
  const code = dtypeInfo(dtype).code;
  if (dtype === x.dtype) return x;
  const { format } = x;
  const y = x.make(x.shape, dtype, format);
  call("cdn_cast", y.stored(format), x.stored(format), x.size, code, x.code);
  return isFloat(dtype) ? record(y, "to", [x], (grad) => [cast(grad, x.dtype)]) : y;
}
