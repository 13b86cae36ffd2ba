// The IDX format: its header and its elements.
import { DataError } from "../native/errors.ts";
import { inflate } from "./_inflate.ts";

/** The element types of IDX. */
export type IdxDType = "uint8" | "int8" | "int16" | "int32" | "float32" | "float64";

/** An array that holds the elements of an IDX file. */
export type IdxData =
  | Uint8Array
  | Int8Array
  | Int16Array
  | Int32Array
  | Float32Array
  | Float64Array;

/** What an IDX file holds: an array of any rank, in row-major order. */
export interface IdxArray {
  /** The sizes, outermost first: `[60000, 28, 28]` for MNIST's training images. */
  shape: number[];
  /** The type of the elements. */
  dtype: IdxDType;
  /** The elements; for the one-byte types a view on the file's bytes, not a copy. */
  data: IdxData;
}

/** One element type: its name, its size in bytes, and how its big-endian elements are read. */
interface ElementType {
  dtype: IdxDType;
  size: number;
  read(file: DataView<ArrayBufferLike>, start: number, count: number): IdxData;
}

/** Calls `get` with the offset of each element in turn. */
function fill<T extends IdxData>(out: T, start: number, get: (offset: number) => number): T {
  const size = out.BYTES_PER_ELEMENT;
  for (let i = 0; i < out.length; i++) out[i] = get(start + i * size);
  return out;
}

/** The element types by the code in the third byte of the file. */
const elementTypes: ReadonlyMap<number, ElementType> = new Map<number, ElementType>([
  [0x08, {
    dtype: "uint8",
    size: 1,
    read: (file, start, n) => new Uint8Array(file.buffer, file.byteOffset + start, n),
  }],
  [0x09, {
    dtype: "int8",
    size: 1,
    read: (file, start, n) => new Int8Array(file.buffer, file.byteOffset + start, n),
  }],
  [0x0b, {
    dtype: "int16",
    size: 2,
    read: (file, start, n) => fill(new Int16Array(n), start, (at) => file.getInt16(at)),
  }],
  [0x0c, {
    dtype: "int32",
    size: 4,
    read: (file, start, n) => fill(new Int32Array(n), start, (at) => file.getInt32(at)),
  }],
  [0x0d, {
    dtype: "float32",
    size: 4,
    read: (file, start, n) => fill(new Float32Array(n), start, (at) => file.getFloat32(at)),
  }],
  [0x0e, {
    dtype: "float64",
    size: 8,
    read: (file, start, n) => fill(new Float64Array(n), start, (at) => file.getFloat64(at)),
  }],
]);

/** The most dimensions that are believed; a larger number means that this is no IDX file. */
const maxRank = 8;

/** The most bytes that a header has. */
export const maxHeader: number = 4 + 4 * maxRank;

/**
 * The bytes of the IDX file that a gzip file holds, as many as its header says.
 *
 * @throws DataError when the gzip file is damaged or truncated, or holds anything else.
 */
export function inflateIdx(bytes: Uint8Array, name: string): Promise<Uint8Array<ArrayBuffer>> {
  const sizeOf = (head: Uint8Array) => readHeader(head, name).end;
  return inflate(bytes, name, { format: "gzip", head: maxHeader, sizeOf });
}

// What a header says.
interface Header {
  type: ElementType;
  shape: number[];
  /** How many elements there are. */
  count: number;
  /** Where they start, and where they and the file end. */
  start: number;
  end: number;
}

function readHeader(bytes: Uint8Array, name: string): Header {
  const fault = (found: string, expected: string) =>
    new DataError(`${name}: found ${found}, expected ${expected}`);
  const file = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

  if (bytes.length < 4) throw fault(`${bytes.length} bytes`, "an IDX header of at least 4");
  if (file.getUint16(0) !== 0) {
    throw fault(`first bytes ${hex(file.getUint8(0))} ${hex(file.getUint8(1))}`, "00 00");
  }
  const code = file.getUint8(2);
  const type = elementTypes.get(code);
  if (!type) throw fault(`type code ${hex(code)}`, `one of ${[...elementTypes.keys()].map(hex)}`);
  const rank = file.getUint8(3);
  if (rank < 1 || rank > maxRank) throw fault(`rank ${rank}`, `1 to ${maxRank}`);

  const start = 4 + 4 * rank;
  if (bytes.length < start) {
    throw fault(`${bytes.length} bytes`, `a header of ${start} for rank ${rank}`);
  }
  const shape = Array.from({ length: rank }, (_, axis) => file.getUint32(4 + 4 * axis));
  // May exceed 2^53 and be rounded, but then no file is that long.
  const count = shape.reduce((product, size) => product * size, 1);
  return { type, shape, count, start, end: start + count * type.size };
}

/**
 * The header at the beginning of a file of `size` bytes; throws unless that is the size of which it
 * speaks.
 */
export function checkSize(bytes: Uint8Array, size: number, name: string): Header {
  const header = readHeader(bytes, name);
  const { type, shape, end } = header;
  if (size === end) return header;
  throw new DataError(
    `${name}: found ${size} bytes (${
      size < end ? "truncated" : "trailing bytes"
    }), expected ${end} ` +
      `for ${type.dtype} of shape [${shape.join(", ")}]`,
  );
}

/** The array of a whole file. */
export function parseIdx(bytes: Uint8Array, name: string): IdxArray {
  const { type, shape, count, start } = checkSize(bytes, bytes.length, name);
  const file = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return { shape, dtype: type.dtype, data: type.read(file, start, count) };
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}
