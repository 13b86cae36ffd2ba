/**
 * NumPy's format of one array: `\x93NUMPY`, two bytes of version, the header's length (16 bits,
 * from version 2 on 32), the header, which is a Python dict in text, and the elements. See
 * <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.
 *
 * @module
 */

import type { DataOf, DType } from "../core/dtype.ts";
import { formatShape, MAX_RANK, type Shape } from "../core/shape.ts";
import { DataError, DTypeError } from "../native/errors.ts";

/** An array as tensors have it. */
export interface NpyArray {
  dtype: DType;
  shape: number[];
  /** The elements of that shape, row-major; column-major if `fortran`. */
  data: DataOf;
  fortran: boolean;
}

interface ElementType {
  size: number;
  dtype: DType;
  /** The elements in little-endian bytes that are aligned. */
  read(buffer: ArrayBuffer, at: number, n: number, name: string): DataOf;
}

const elementTypes: ReadonlyMap<string, ElementType> = new Map<string, ElementType>([
  ["f2", entry(2, "float16", (buffer, at, n) => new Float16Array(buffer, at, n))],
  ["f4", entry(4, "float32", (buffer, at, n) => new Float32Array(buffer, at, n))],
  ["f8", entry(8, "float64", (buffer, at, n) => new Float64Array(buffer, at, n))],
  ["i1", entry(1, "int32", (buffer, at, n) => Int32Array.from(new Int8Array(buffer, at, n)))],
  ["i2", entry(2, "int32", (buffer, at, n) => Int32Array.from(new Int16Array(buffer, at, n)))],
  ["i4", entry(4, "int32", (buffer, at, n) => new Int32Array(buffer, at, n))],
  ["i8", entry(8, "int32", narrowed)],
  ["u1", entry(1, "uint8", (buffer, at, n) => new Uint8Array(buffer, at, n))],
  ["b1", entry(1, "uint8", (buffer, at, n) => new Uint8Array(buffer, at, n).map((x) => +!!x))],
]);

function entry(size: number, dtype: DType, read: ElementType["read"]): ElementType {
  return { size, dtype, read };
}

// 64-bit integers, of which the upper halves must be no more than the sign of the lower ones.
function narrowed(buffer: ArrayBuffer, at: number, n: number, name: string): DataOf {
  const halves = new Int32Array(buffer, at, 2 * n);
  const out = new Int32Array(n);
  for (let i = 0; i < n; i++) {
    const low = halves[2 * i]!;
    if (halves[2 * i + 1] !== low >> 31) {
      const value = new DataView(buffer).getBigInt64(at + 8 * i, true);
      throw new DTypeError(
        `${name}: element ${i} is ${value}, which int32 cannot hold; save it as float64`,
      );
    }
    out[i] = low;
  }
  return out;
}

/** NumPy's names of the dtypes that are written. */
const descrs: Partial<Record<DType, string>> = {
  float16: "<f2",
  float32: "<f4",
  float64: "<f8",
  int32: "<i4",
  uint8: "|u1",
};

const magic = "\x93NUMPY";
/** More than any header has; NumPy itself reads no longer ones. */
const maxHeader = 10_000;

/** The bytes of a .npy file, in version 1.0. */
export function encodeNpy(
  op: string,
  dtype: DType,
  shape: Shape,
  data: ArrayBufferView,
): Uint8Array<ArrayBuffer> {
  const descr = descrs[dtype];
  if (!descr) {
    throw new DTypeError(
      `${op}: NumPy has no ${dtype}; save x.to("float32"), or use saveSafetensors, which has it`,
    );
  }
  const sizes = `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;
  const dict = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${sizes}, }`;
  // Padded with spaces, so that the elements begin at a multiple of 64.
  const start = Math.ceil((10 + dict.length + 1) / 64) * 64;
  const text = `${magic}\x01\x00LL${dict.padEnd(start - 11)}\n`;
  const bytes = new Uint8Array(start + data.byteLength);
  for (let i = 0; i < start; i++) bytes[i] = text.charCodeAt(i);
  new DataView(bytes.buffer).setUint16(8, start - 10, true);
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), start);
  return bytes;
}

/** The array in the bytes of a .npy file. */
export function decodeNpy(bytes: Uint8Array, name: string): NpyArray {
  const { text, start } = headerOf(bytes, name);
  const { descr, fortran, shape } = dictOf(text, name);
  const [order, code] = [descr[0]!, descr.slice(1)];
  const type = "<>|=".includes(order) ? elementTypes.get(code) : undefined;
  if (!type) {
    const what = code.startsWith("O") ? ", Python objects, which are pickles" : "";
    throw new DTypeError(
      `${name}: its elements are '${descr.slice(0, 40)}'${what}; known are ${
        [...elementTypes.keys()].join(", ")
      }. In NumPy, x.astype("float32") converts`,
    );
  }
  const count = shape.reduce((product, size) => product * size, 1);
  const [found, wanted] = [bytes.length - start, count * type.size];
  if (found !== wanted) {
    throw new DataError(
      `${name}: found ${found} bytes of elements (${
        found < wanted ? "truncated" : "trailing bytes"
      }), expected ${wanted} for ${code} of shape ${formatShape(shape)}`,
    );
  }
  // a copy: aligned, not shared, and no view on what the caller has
  const data = bytes.slice(start) as Uint8Array<ArrayBuffer>;
  if (order === ">") swap(data, type.size);
  return { dtype: type.dtype, shape, data: type.read(data.buffer, 0, count, name), fortran };
}

function headerOf(bytes: Uint8Array, name: string): { text: string; start: number } {
  const fault = (found: string, wanted: string) =>
    new DataError(`${name}: found ${found}, expected ${wanted}`);
  const begin = String.fromCharCode(...bytes.subarray(0, 6));
  if (begin !== magic) {
    throw fault(
      bytes.length < 6 ? `${bytes.length} bytes` : `first bytes ${JSON.stringify(begin)}`,
      `a .npy file, which begins with ${JSON.stringify(magic)}`,
    );
  }
  const version = bytes[6]!;
  if (bytes.length > 7 && (version < 1 || version > 3 || bytes[7] !== 0)) {
    throw fault(`version ${version}.${bytes[7]}`, "1.0, 2.0 or 3.0");
  }
  const lengthEnd = version === 1 ? 10 : 12;
  if (bytes.length < lengthEnd) throw fault(`${bytes.length} bytes`, `at least ${lengthEnd}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > maxHeader) throw fault(`a header of ${length} bytes`, `at most ${maxHeader}`);
  const start = lengthEnd + length;
  if (bytes.length < start) {
    throw fault(`${bytes.length} bytes (truncated)`, `${start} of header alone`);
  }
  // slice: of shared memory no text is made
  const text = new TextDecoder(version === 3 ? "utf-8" : "latin1").decode(
    bytes.slice(lengthEnd, start),
  );
  return { text, start };
}

// One entry of the dict: its key, and its value as one of text, truth or tuple of sizes.
const item = /\s*'(\w+)'\s*:\s*(?:'([^'\\]*)'|(True|False)|\(([\dL,\s]*)\))\s*(?:,\s*|(?=\}))/y;

/** The Python dict of a header: these three keys, in any order. */
function dictOf(text: string, name: string): { descr: string; fortran: boolean; shape: number[] } {
  const fault = (wanted: string) => {
    const found = JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text.trimEnd());
    return new DataError(`${name}: found header ${found}, expected ${wanted}`);
  };
  const dict = text.trim();
  if (/^\{[^[]*'descr'\s*:\s*[[(]/.test(dict)) {
    throw new DTypeError(
      `${name}: its elements are records of several fields; save each field as an array`,
    );
  }
  const entries = new Map<string, RegExpExecArray>();
  item.lastIndex = 1;
  let end = 1;
  for (let match; dict[0] === "{" && (match = item.exec(dict));) {
    if (entries.has(match[1]!)) throw fault(`${match[1]} once`);
    entries.set(match[1]!, match);
    end = item.lastIndex;
  }
  item.lastIndex = 0;
  const descr = entries.get("descr")?.[2];
  const fortran = entries.get("fortran_order")?.[3];
  const sizes = entries.get("shape")?.[4];
  if (
    dict.slice(end).trim() !== "}" || entries.size !== 3 || !descr || !fortran ||
    sizes === undefined
  ) {
    throw fault("a dict such as {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
  }
  return { descr, fortran: fortran === "True", shape: shapeOf(sizes, fault) };
}

function shapeOf(sizes: string, fault: (wanted: string) => DataError): number[] {
  const items = sizes.split(",").map((size) => size.trim());
  if (items.at(-1) === "") items.pop(); // a comma may follow the last, and must follow the only one
  else if (items.length === 1) throw fault("a tuple as shape");
  if (!items.every((size) => /^\d+L?$/.test(size))) throw fault("a tuple of whole numbers");
  const shape = items.map((size) => Number.parseInt(size));
  if (shape.length > MAX_RANK) throw fault(`at most ${MAX_RANK} dimensions`);
  // also without the axes of none: with them the product says nothing of the others
  const product = shape.reduce((product, size) => product * (size || 1), 8);
  if (!Number.isSafeInteger(product)) throw fault("a shape of less than 2^53 bytes");
  return shape;
}

function swap(bytes: Uint8Array, size: number): void {
  for (let at = 0; at < bytes.length; at += size) bytes.subarray(at, at + size).reverse();
}
