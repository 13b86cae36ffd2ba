import type { Tensor } from "../tensor.ts";
import { broadcasted } from "./binary.ts";

/** 1 where a equals b, else 0, as uint8. Any dtype. NaN equals nothing. */
export function eq(a: Tensor, b: Tensor | number): Tensor {
  return broadcasted("eq", "cdn_eq", a, b, "uint8");
}

/** 1 where a differs from b, else 0, as uint8. Any dtype. NaN differs from everything. */
export function ne(a: Tensor, b: Tensor | number): Tensor {
  return broadcasted("ne", "cdn_ne", a, b, "uint8");
}

/** 1 where a is less than b, else 0, as uint8. Any dtype. */
export function lt(a: Tensor, b: Tensor | number): Tensor {
  return broadcasted("lt", "cdn_lt", a, b, "uint8");
}

/** 1 where a is at most b, else 0, as uint8. Any dtype. */
export function le(a: Tensor, b: Tensor | number): Tensor {
  return broadcasted("le", "cdn_le", a, b, "uint8");
}

/** 1 where a is greater than b, else 0, as uint8. Any dtype. */
export function gt(a: Tensor, b: Tensor | number): Tensor {
  return broadcasted("gt", "cdn_gt", a, b, "uint8");
}

/** 1 where a is at least b, else 0, as uint8. Any dtype. */
export function ge(a: Tensor, b: Tensor | number): Tensor {
  return broadcasted("ge", "cdn_ge", a, b, "uint8");
}
