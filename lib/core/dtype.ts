import { formatValue } from "./describe.ts";
import { ArgumentError, DTypeError } from "../native/errors.ts";

/**
 * The element types of a tensor. float16 (IEEE binary16) and bfloat16 (the upper half of a float32)
 * are for storage: operations compute in float32 and round when they store. Comparisons give uint8,
 * 0 or 1.
 */
export type DType = "float32" | "float64" | "float16" | "bfloat16" | "int32" | "uint8";

/**
 * The typed array that holds a dtype's elements on the host: its own kind; for bfloat16, which has
 * none, float32's.
 */
export type DataOf<D extends DType = DType> = D extends "float32" | "bfloat16"
  ? Float32Array<ArrayBuffer>
  : D extends "float64" ? Float64Array<ArrayBuffer>
  : D extends "float16" ? Float16Array<ArrayBuffer>
  : D extends "int32" ? Int32Array<ArrayBuffer>
  : Uint8Array<ArrayBuffer>;

interface DTypeInfo {
  /** The number by which cudeno.h knows it. */
  code: number;
  bytes: number;
  float: boolean;
  /** The dtype that carries its elements to and from the host. */
  host: DType;
  make(length: number): DataOf;
}

const float32 = entry(0, 4, true, "float32", (n) => new Float32Array(n));
const table: ReadonlyMap<DType, DTypeInfo> = new Map([
  ["float32", float32],
  ["float64", entry(1, 8, true, "float64", (n) => new Float64Array(n))],
  ["float16", entry(4, 2, true, "float16", (n) => new Float16Array(n))],
  ["bfloat16", entry(5, 2, true, "float32", (n) => new Float32Array(n))],
  ["int32", entry(2, 4, false, "int32", (n) => new Int32Array(n))],
  ["uint8", entry(3, 1, false, "uint8", (n) => new Uint8Array(n))],
]);

function entry(
  code: number,
  bytes: number,
  float: boolean,
  host: DType,
  make: (length: number) => DataOf,
): DTypeInfo {
  return { code, bytes, float, host, make };
}

/** What there is to know of a dtype. Throws a DTypeError for a name that is none. */
export function dtypeInfo(dtype: DType): DTypeInfo {
  if (dtype === "float32") return float32; // the usual one, asked for several times an operation
  const info = table.get(dtype);
  if (!info) {
    throw new DTypeError(
      `dtype is ${formatValue(dtype)}; it must be ${dtypes}`,
    );
  }
  return info;
}

/** The names, for messages. */
export const dtypes: string = [...table.keys()].join(", ");

/** Whether a name is a dtype's. */
export function isDType(name: unknown): name is DType {
  return table.has(name as DType);
}

/** Whether a dtype is a floating-point one, and so may have gradients. */
export function isFloat(dtype: DType): boolean {
  return dtypeInfo(dtype).float;
}

/**
 * What operations on a float dtype compute in, and what is kept from one step to the next: float32
 * for the 16-bit ones.
 */
export function computeDType(dtype: DType): DType {
  return dtype === "float64" ? "float64" : "float32";
}

const single = new Float32Array(1);
const singleBits = new Uint32Array(single.buffer);

/**
 * A number as the host's array for a dtype is to hold it. bfloat16 goes by way of float32, and to
 * round once, not twice, a number between two of float32 becomes the one of them whose last bit is
 * 1.
 */
export function carried(value: number, dtype: DType): number {
  if (dtype !== "bfloat16") return value;
  single[0] = value;
  if (single[0] !== value && (singleBits[0]! & 1) === 0) {
    singleBits[0]! += Math.abs(single[0]) > Math.abs(value) ? -1 : 1;
  }
  return single[0];
}

/** The dtype of a typed array, or undefined for one that tensors have no dtype for. */
export function dtypeOf(data: ArrayBufferView): DType | undefined {
  if (data instanceof Float32Array) return "float32";
  if (data instanceof Float64Array) return "float64";
  if (data instanceof Float16Array) return "float16";
  if (data instanceof Int32Array) return "int32";
  if (data instanceof Uint8Array || data instanceof Uint8ClampedArray) return "uint8";
  return undefined;
}

/**
 * Throws when a number cannot be an element of a dtype: NaN, a fraction or too large a value for an
 * integer.
 */
export function checkValue(op: string, value: number, dtype: DType): void {
  if (typeof value !== "number") {
    const hint = typeof value === "boolean" ? "; write 1 or 0" : "";
    throw new ArgumentError(`${op}: ${formatValue(value)} is no number${hint}`);
  }
  if (isFloat(dtype)) return;
  const [low, high] = dtype === "uint8" ? [0, 255] : [-(2 ** 31), 2 ** 31 - 1];
  if (!Number.isInteger(value) || value < low || value > high) {
    throw new DTypeError(
      `${op}: ${value} is no ${dtype}, a whole number in ${low}..${high}; use a float dtype for it`,
    );
  }
}
