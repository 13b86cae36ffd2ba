import { ArgumentError, DTypeError } from "../native/errors.ts";

/** The element types of a tensor. Comparisons give uint8, 0 or 1. */
export type DType = "float32" | "float64" | "int32" | "uint8";

/** The typed array that holds a dtype's elements on the host. */
export type DataOf<D extends DType = DType> = D extends "float32" ? Float32Array<ArrayBuffer>
  : D extends "float64" ? Float64Array<ArrayBuffer>
  : D extends "int32" ? Int32Array<ArrayBuffer>
  : Uint8Array<ArrayBuffer>;

interface DTypeInfo {
  /** The number by which cudeno.h knows it. */
  code: number;
  bytes: number;
  float: boolean;
  make(length: number): DataOf;
}

const table = new Map<DType, DTypeInfo>([
  ["float32", { code: 0, bytes: 4, float: true, make: (n) => new Float32Array(n) }],
  ["float64", { code: 1, bytes: 8, float: true, make: (n) => new Float64Array(n) }],
  ["int32", { code: 2, bytes: 4, float: false, make: (n) => new Int32Array(n) }],
  ["uint8", { code: 3, bytes: 1, float: false, make: (n) => new Uint8Array(n) }],
]);

/** What there is to know of a dtype. Throws a DTypeError for a name that is none. */
export function dtypeInfo(dtype: DType): DTypeInfo {
  const info = table.get(dtype);
  if (!info) {
    throw new DTypeError(`dtype is ${dtype}; it must be ${[...table.keys()].join(", ")}`);
  }
  return info;
}

/** Whether a dtype is a floating-point one, and so may have gradients. */
export function isFloat(dtype: DType): boolean {
  return dtypeInfo(dtype).float;
}

/** The dtype of a typed array, or undefined for one that tensors have no dtype for. */
export function dtypeOf(data: ArrayBufferView): DType | undefined {
  if (data instanceof Float32Array) return "float32";
  if (data instanceof Float64Array) return "float64";
  if (data instanceof Int32Array) return "int32";
  if (data instanceof Uint8Array || data instanceof Uint8ClampedArray) return "uint8";
  return undefined;
}

/** Throws when a number cannot be an element of a dtype: NaN, a fraction or too large a value for an integer. */
export function checkValue(op: string, value: number, dtype: DType): void {
  if (typeof value !== "number") {
    throw new ArgumentError(`${op}: ${String(value)} is no number`);
  }
  if (dtype === "float32" || dtype === "float64") return;
  const [low, high] = dtype === "uint8" ? [0, 255] : [-(2 ** 31), 2 ** 31 - 1];
  if (!Number.isInteger(value) || value < low || value > high) {
    throw new DTypeError(`${op}: ${value} is no ${dtype}, a whole number in ${low}..${high}`);
  }
}
