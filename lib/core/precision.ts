import { checkChoice } from "./options.ts";
import { ArgumentError } from "../native/errors.ts";

/** How products of float32 tensors are computed; see {@linkcode setMatmulPrecision}. */
export type MatmulPrecision = "ieee" | "float32" | "tf32" | "bfloat16";

// As cudeno.h numbers them.
const codes: Record<MatmulPrecision, number> = { float32: 0, ieee: 1, tf32: 2, bfloat16: 3 };

let current: MatmulPrecision = "float32";

/**
 * Sets how matmul, linear, einsum, recurrent layers and all else that is made of products multiply
 * float32 tensors from now on. Products of other dtypes are not affected. Gradients are computed as
 * their forward pass was, even if this is called in between.
 *
 * - `"float32"` (the default): an error against the exact result no larger than that of plain sums
 *   in float32, by whatever method is fastest: on tensor cores, float32 numbers may be multiplied
 *   in parts.
 * - `"ieee"`: plain multiply-adds in float32. Numbers near the ends of float32's range keep their
 *   digits too.
 * - `"tf32"`: operands may be rounded to 10 bits of fraction (3 digits) first; products are added
 *   in float32.
 * - `"bfloat16"`: operands may be rounded to 7 bits of fraction (2 digits) first; products are
 *   added in float32.
 *
 * On the CPU all of them are computed in plain float32. As torch.set_float32_matmul_precision,
 * whose `"highest"`, `"high"` and `"medium"` are `"float32"`, `"tf32"` and `"bfloat16"` here.
 *
 * @throws {ArgumentError} for another name.
 *
 * ```ts
 * import { getMatmulPrecision, matmul, ones, setMatmulPrecision } from "@cudeno/cudeno";
 * setMatmulPrecision("tf32");
 * console.log(matmul(ones([2, 3]), ones([3, 2])).dataSync()); // 3, 3, 3, 3
 * setMatmulPrecision("float32");
 * console.log(getMatmulPrecision()); // float32
 * ```
 */
export function setMatmulPrecision(precision: MatmulPrecision): void {
  if (precision === undefined) throw new ArgumentError("setMatmulPrecision: name a precision");
  current = precisionOf("setMatmulPrecision", precision);
}

/**
 * How products of float32 tensors are computed, as {@linkcode setMatmulPrecision} has set it. As
 * torch.get_float32_matmul_precision.
 *
 * ```ts
 * import { getMatmulPrecision } from "@cudeno/cudeno";
 * console.log(getMatmulPrecision()); // float32
 * ```
 */
export function getMatmulPrecision(): MatmulPrecision {
  return current;
}

/** The precision that an operation was asked for, by default the one that is set. */
export function precisionOf(op: string, precision: MatmulPrecision = current): MatmulPrecision {
  checkChoice(op, "precision", precision, codes);
  return precision;
}

/** A precision as the library numbers it. */
export function precisionCode(precision: MatmulPrecision): number {
  return codes[precision];
}
