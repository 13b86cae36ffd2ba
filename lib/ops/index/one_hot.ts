import { type DType, dtypeInfo } from "../../core/dtype.ts";
import { checkInteger, checkOptions } from "../../core/options.ts";
import { checkShape } from "../../core/shape.ts";
import { call } from "../../native/call.ts";
import type { Tensor } from "../../tensor.ts";
import { checkDType } from "../_operands.ts";

/** Options of {@linkcode oneHot}. */
export interface OneHotOptions {
  /** Of the result. Default int32. */
  dtype?: DType | undefined;
}

/**
 * Rows of zeros with a 1 at the place that the int32 index names: y [...index, classes]. Any dtype,
 * int32 by default. No gradient. An index that is negative or too large gives a row of zeros, and
 * is found on the device and reported by the next read or synchronize(). As
 * torch.nn.functional.one_hot.
 *
 * ```ts
 * import { oneHot, tensor } from "@cudeno/cudeno";
 * const y = oneHot(tensor([2, 0], { dtype: "int32" }), 3, { dtype: "float32" });
 * console.log(y.dataSync()); // 0, 0, 1, 1, 0, 0
 * ```
 */
export function oneHot(index: Tensor, classes: number, options: OneHotOptions = {}): Tensor {
  checkOptions("oneHot", options, ["dtype"]);
  const { dtype = "int32" } = options;
  const { code } = dtypeInfo(dtype);
  checkDType("oneHot", index, ["int32"]);
  checkInteger("oneHot", "classes", classes, 1);
  const shape = [...index.shape, classes];
  checkShape("oneHot", shape);
  const y = index.make(shape, dtype);
  call("cdn_one_hot", y, index, index.size, classes, code);
  return y;
}
