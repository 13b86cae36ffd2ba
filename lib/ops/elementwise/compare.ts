import { isFloat } from "../../core/dtype.ts";
import { calls } from "../../native/calls.ts";
import type { Tensor } from "../../tensor.ts";
import { checkTensor } from "../_operands.ts";
import { broadcasted } from "./_binary.ts";

/**
 * 1 where a equals b, else 0, as uint8. Any dtype. NaN equals nothing.
 *
 * ```ts
 * import { eq, tensor } from "@cudeno/cudeno";
 * console.log(eq(tensor([1, 2, 3]), 2).dataSync()); // 0, 1, 0
 * ```
 */
export function eq(a: Tensor, b: Tensor | number): Tensor {
  return broadcasted("eq", calls.cdn_eq, a, b, "uint8");
}

/**
 * 1 where a differs from b, else 0, as uint8. Any dtype. NaN differs from everything.
 *
 * ```ts
 * import { ne, tensor } from "@cudeno/cudeno";
 * console.log(ne(tensor([1, 2, 3]), 2).dataSync()); // 1, 0, 1
 * ```
 */
export function ne(a: Tensor, b: Tensor | number): Tensor {
  return broadcasted("ne", calls.cdn_ne, a, b, "uint8");
}

/**
 * 1 where a is less than b, else 0, as uint8. Any dtype.
 *
 * ```ts
 * import { lt, tensor } from "@cudeno/cudeno";
 * console.log(lt(tensor([1, 2, 3]), 2).dataSync()); // 1, 0, 0
 * ```
 */
export function lt(a: Tensor, b: Tensor | number): Tensor {
  return broadcasted("lt", calls.cdn_lt, a, b, "uint8");
}

/**
 * 1 where a is at most b, else 0, as uint8. Any dtype.
 *
 * ```ts
 * import { le, tensor } from "@cudeno/cudeno";
 * console.log(le(tensor([1, 2, 3]), 2).dataSync()); // 1, 1, 0
 * ```
 */
export function le(a: Tensor, b: Tensor | number): Tensor {
  return broadcasted("le", calls.cdn_le, a, b, "uint8");
}

/**
 * 1 where a is greater than b, else 0, as uint8. Any dtype.
 *
 * ```ts
 * import { gt, tensor } from "@cudeno/cudeno";
 * console.log(gt(tensor([1, 2, 3]), 2).dataSync()); // 0, 0, 1
 * ```
 */
export function gt(a: Tensor, b: Tensor | number): Tensor {
  return broadcasted("gt", calls.cdn_gt, a, b, "uint8");
}

/**
 * 1 where a is at least b, else 0, as uint8. Any dtype.
 *
 * ```ts
 * import { ge, tensor } from "@cudeno/cudeno";
 * console.log(ge(tensor([1, 2, 3]), 2).dataSync()); // 0, 1, 1
 * ```
 */
export function ge(a: Tensor, b: Tensor | number): Tensor {
  return broadcasted("ge", calls.cdn_ge, a, b, "uint8");
}

/**
 * 1 where x is NaN, else 0, as uint8. Any dtype. As torch.isnan.
 *
 * ```ts
 * import { isnan, tensor } from "@cudeno/cudeno";
 * console.log(isnan(tensor([NaN, 1, Infinity])).dataSync()); // 1, 0, 0
 * ```
 */
export function isnan(x: Tensor): Tensor {
  checkTensor("isnan", x);
  return ne(x, x);
}

/**
 * 1 where x is neither NaN nor infinite, else 0, as uint8. Any dtype. As torch.isfinite.
 *
 * ```ts
 * import { isfinite, tensor } from "@cudeno/cudeno";
 * console.log(isfinite(tensor([NaN, 1, Infinity])).dataSync()); // 0, 1, 0
 * ```
 */
export function isfinite(x: Tensor): Tensor {
  return predicate("isfinite", x, 1);
}

/**
 * 1 where x is Infinity or -Infinity, else 0, as uint8. Any dtype. As torch.isinf.
 *
 * ```ts
 * import { isinf, tensor } from "@cudeno/cudeno";
 * console.log(isinf(tensor([NaN, 1, -Infinity])).dataSync()); // 0, 0, 1
 * ```
 */
export function isinf(x: Tensor): Tensor {
  return predicate("isinf", x, 0);
}

// `whole` is what holds for all whole numbers.
function predicate(op: "isfinite" | "isinf", x: Tensor, whole: number): Tensor {
  checkTensor(op, x);
  const { format } = x;
  const y = x.make(x.shape, "uint8", format);
  if (!isFloat(x.dtype)) return y.fill(whole);
  calls[`cdn_${op}`](y.stored(format), x.stored(format), x.size, x.code);
  return y;
}
