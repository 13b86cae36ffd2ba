import { TensorBase } from "../core/tensor.ts";
import { ArgumentError, DeviceError, DTypeError } from "../native/errors.ts";
import type { DType } from "../core/dtype.ts";
import type { Tensor } from "../tensor.ts";

/** Throws unless x is a tensor, for callers whom no type check has told. */
export function checkTensor(op: string, x: unknown): asserts x is Tensor {
  if (!(x instanceof TensorBase)) {
    const found = Array.isArray(x) ? "an array" : String(x);
    throw new ArgumentError(`${op}: wanted is a tensor, found ${found}; make one with tensor()`);
  }
}

/** Throws unless all tensors are on one device. */
export function checkSameDevice(op: string, first: Tensor, ...others: Tensor[]): void {
  for (const other of others) {
    checkTensor(op, other);
    if (other.backend !== first.backend) {
      throw new DeviceError(
        `${op}: one tensor is on ${first.device}, another on ${other.device}; move one with to("${first.device}")`,
      );
    }
  }
}

/** Throws unless all tensors have one dtype. */
export function checkSameDType(op: string, first: Tensor, ...others: Tensor[]): void {
  for (const other of others) {
    if (other.dtype !== first.dtype) {
      throw new DTypeError(
        `${op}: dtypes are ${first.dtype} and ${other.dtype}; cast one with to("${first.dtype}")`,
      );
    }
  }
}

/** Throws unless the tensor has one of the dtypes. */
export function checkDType(op: string, x: Tensor, wanted: readonly DType[]): void {
  checkTensor(op, x);
  if (!wanted.includes(x.dtype)) {
    throw new DTypeError(
      `${op}: dtype is ${x.dtype}; it must be ${wanted.join(" or ")}: cast it with to("${
        wanted[0]
      }")`,
    );
  }
}

/** The dtypes with fractions. */
export const floats: readonly DType[] = ["float32", "float64", "float16", "bfloat16"];
/** The dtypes that arithmetic is defined for. */
export const numbers: readonly DType[] = [...floats, "int32"];
