// ONNX's element types: which dtype tensors have for them, and how the host keeps them.
import type { DType } from "../core/dtype.ts";

/**
 * The name of an ONNX element type: as in ONNX, but float32 for FLOAT and float64 for DOUBLE.
 * Tensors hold int64 and the other integers that have no dtype as int32, bool as uint8.
 */
// deno-fmt-ignore
export type ElementType = "float32" | "float64" | "float16" | "bfloat16" | "int32" | "int64"
  | "uint8" | "bool" | "int8" | "uint16" | "int16" | "uint32" | "uint64" | "string"
  | "float8e4m3fn" | "float8e4m3fnuz" | "float8e5m2" | "float8e5m2fnuz";

/** Elements on the host: any typed array but those of bigints. */
// deno-fmt-ignore
export type HostData = Float64Array | Float32Array | Float16Array | Int32Array | Uint32Array
  | Int16Array | Uint16Array | Int8Array | Uint8Array;

/** What there is to know of an element type. */
export interface ElementInfo {
  /** TensorProto.DataType's number. */
  readonly code: number;
  /** The dtype of a tensor of such elements; undefined where there is none. */
  readonly dtype: DType | undefined;
  /** Bytes of an element in raw_data. */
  readonly bytes: number;
  readonly float: boolean;
  /** A number as such an element: rounded, or wrapped as C's casts do. */
  readonly fit: (value: number) => number;
}

const whole = (value: number) => (Number.isNaN(value) ? 0 : Math.trunc(value) + 0);
const wrapped = (bits: number, signed: boolean) => (value: number) => {
  const [size, at] = [2 ** bits, whole(value)];
  const low = Number.isFinite(at) ? at - Math.floor(at / size) * size : 0;
  return signed && low >= size / 2 ? low - size : low;
};
const asBFloat16 = (value: number) => {
  const bits = new Uint32Array(new Float32Array([value]).buffer);
  if (!Number.isNaN(value)) bits[0] = (bits[0]! + 0x7fff + ((bits[0]! >>> 16) & 1)) & 0xffff0000;
  return new Float32Array(bits.buffer)[0]!;
};

const rows: [ElementType, number, DType | undefined, number, boolean, (v: number) => number][] = [
  ["float32", 1, "float32", 4, true, Math.fround],
  ["uint8", 2, "uint8", 1, false, wrapped(8, false)],
  ["int8", 3, "int32", 1, false, wrapped(8, true)],
  ["uint16", 4, "int32", 2, false, wrapped(16, false)],
  ["int16", 5, "int32", 2, false, wrapped(16, true)],
  ["int32", 6, "int32", 4, false, wrapped(32, true)],
  ["int64", 7, "int32", 8, false, whole],
  ["string", 8, undefined, 0, false, (value) => value],
  ["bool", 9, "uint8", 1, false, (value) => (value === 0 ? 0 : 1)],
  ["float16", 10, "float16", 2, true, Math.f16round],
  ["float64", 11, "float64", 8, true, (value) => value],
  ["uint32", 12, "int32", 4, false, wrapped(32, false)],
  ["uint64", 13, "int32", 8, false, whole],
  ["bfloat16", 16, "bfloat16", 2, true, asBFloat16],
  ["float8e4m3fn", 17, "float16", 1, true, (value) => value],
  ["float8e4m3fnuz", 18, "float16", 1, true, (value) => value],
  ["float8e5m2", 19, "float16", 1, true, (value) => value],
  ["float8e5m2fnuz", 20, "float16", 1, true, (value) => value],
];

/** The element types by name. */
export const elements: Readonly<Record<ElementType, ElementInfo>> = Object.fromEntries(
  rows.map(([name, code, dtype, bytes, float, fit]) => [name, { code, dtype, bytes, float, fit }]),
) as Record<ElementType, ElementInfo>;

const byCode = new Map(rows.map(([name, code]) => [code, name]));

/** The element type of TensorProto.DataType's number, if it is one that is known. */
export function elementType(code: number | undefined): ElementType | undefined {
  return byCode.get(code ?? 0);
}
