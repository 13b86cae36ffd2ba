import { formatValue } from "../core/describe.ts";
import { TensorBase } from "../core/tensor.ts";
import { type AutocastRegion, autocastRegion, parameterChanges } from "../core/autocast.ts";
import { gradEnabled } from "../core/autograd.ts";
import { type DType, dtypeInfo, isFloat } from "../core/dtype.ts";
import { ArgumentError, DeviceError, DTypeError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";
import { cast } from "./elementwise/_cast.ts";

/** Throws unless x is a tensor, for callers whom no type check has told. */
export function checkTensor(op: string, x: unknown): asserts x is Tensor {
  if (!(x instanceof TensorBase)) {
    const hint = typeof x === "number" || Array.isArray(x) || ArrayBuffer.isView(x)
      ? "; make one with tensor()"
      : "";
    throw new ArgumentError(`${op}: wanted is a tensor, found ${formatValue(x)}${hint}`);
  }
}

/** Throws unless all tensors are on one device. */
export function checkSameDevice(op: string, first: Tensor, ...others: Tensor[]): void {
  checkTensor(op, first);
  for (const other of others) {
    checkTensor(op, other);
    if (other.backend !== first.backend) {
      throw new DeviceError(
        `${op}: one tensor is on ${first.device}, another on ${other.device}; move one with ` +
          `to("${first.device}")`,
      );
    }
  }
}

/** Throws unless all tensors have one dtype. */
export function checkSameDType(op: string, first: Tensor, ...others: Tensor[]): void {
  for (const other of others) {
    if (other.dtype !== first.dtype) {
      const target = [first.dtype, other.dtype].find(isFloat) ?? "int32"; // what loses least
      throw new DTypeError(
        `${op}: dtypes are ${first.dtype} and ${other.dtype}; cast one with to("${target}")`,
      );
    }
  }
}

/** Throws unless the tensor has one of the dtypes. */
export function checkDType(op: string, x: Tensor, wanted: readonly DType[]): void {
  checkTensor(op, x);
  if (x.dtype !== wanted[0] && !wanted.includes(x.dtype)) {
    throw new DTypeError(
      `${op}: dtype is ${x.dtype}; it must be ${wanted.join(" or ")}: cast it with to("${
        wanted[0]
      }")`,
    );
  }
}

/** The dtypes with fractions. */
export const floats: readonly DType[] = ["float32", "float64", "float16", "bfloat16"];
/** Those and int32. */
export const numbers: readonly DType[] = [...floats, "int32"];
/** All: the dtypes that arithmetic is defined for. */
export const anything: readonly DType[] = [...numbers, "uint8"];

// What an operation wants under autocast():
//
// - `"lower"`: the region's dtype, but for float64 (products: matmul, linear, einsum,
//   convolutions);
// - `"float32"`: the widest dtype of its operands, at least float32 (exp, log, pow, sums, softmax,
//   norms but for batchNorm, whose sums are wider in any case, losses);
// - `"widest"`: the widest dtype of its operands (operations on several tensors: add, where,
//   concat, …).
type AutocastPolicy = "lower" | "float32" | "widest";

/**
 * The operands of an operation, cast as autocast() asks if it is on: one line at the head of the
 * operation, `[a, b] = autocasted("lower", a, b)`. What is no tensor passes through. The casts are
 * recorded.
 */
export function autocasted<T extends unknown[]>(policy: AutocastPolicy, ...operands: T): T {
  const region = autocastRegion();
  if (!region) return operands;
  const tensors = operands.filter((x) => x instanceof TensorBase && isFloat(x.dtype)) as Tensor[];
  const dtypes = tensors.map(({ dtype }) => dtype);
  if (policy === "float32") dtypes.push("float32");
  const wanted = policy === "lower" ? region.dtype : widest(dtypes);
  return operands.map((x) => {
    if (!tensors.includes(x as Tensor)) return x;
    const tensor = x as Tensor;
    return tensor.dtype === "float64" ? x : castIn(region, tensor, wanted);
  }) as T;
}

/**
 * `fn` of the operands, of which those of 16 bits become float32, and its result back in the first
 * one's dtype: for what is made of several passes, between which nothing may overflow or be
 * rounded. The casts are recorded.
 */
export function inFloat32<T extends [Tensor, ...unknown[]]>(
  operands: T,
  fn: (...operands: T) => Tensor,
): Tensor {
  const short = (x: unknown) => x instanceof TensorBase && dtypeInfo(x.dtype).bytes === 2;
  if (!operands.some(short)) return fn(...operands);
  const wide = operands.map((x) => short(x) ? cast(x as Tensor, "float32") : x) as T;
  return cast(fn(...wide), operands[0].dtype);
}

// float32 where the two 16-bit ones meet, neither of which holds the other.
function widest(dtypes: readonly DType[]): DType {
  return dtypes.reduce((a, b) => {
    const [x, y] = [dtypeInfo(a).bytes, dtypeInfo(b).bytes];
    return a === b || x > y ? a : x < y ? b : "float32";
  }, dtypes[0] ?? "float32");
}

// Parameters are cast once, unless they were changed, or the cast is gone with its scope, or cannot
// take the gradient that is wanted now: made under noGrad(), or used up by backward().
function castIn(region: AutocastRegion, x: Tensor, dtype: DType): Tensor {
  if (x.dtype === dtype || x.node || !x.requiresGrad) return cast(x, dtype);
  const { cast: known, changes } = region.casts.get(x) ?? {};
  if (known && !known.disposed && known.dtype === dtype) {
    const good = known.node ? !known.node.freed : !gradEnabled();
    if (good && changes === parameterChanges) return known as Tensor;
    if (!known.node) known.dispose();
  }
  const made = cast(x, dtype);
  region.casts.set(x, { cast: made, changes: parameterChanges });
  return made;
}
