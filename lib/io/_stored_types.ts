// Types of elements that tensors have no dtype for, and how they become the next larger one:
// exactly or not at all.
import type { DType } from "../core/dtype.ts";
import { DTypeError } from "../native/errors.ts";

/** A type of elements in a file. */
export interface Stored {
  /** What they become. */
  dtype: DType;
  /** Bytes of one in the file. */
  size: number;
  /** The elements as the dtype has them, where that is not the same; `title` is for errors. */
  convert?: (bytes: Uint8Array, title: string) => ArrayBufferView;
}

const kinds = {
  I64: BigInt64Array,
  U64: BigUint64Array,
  U32: Uint32Array,
  I16: Int16Array,
  U16: Uint16Array,
  I8: Int8Array,
};

/** Integers, which become int32: an error names the first one that does not fit. */
export const integers: readonly [string, Stored][] = Object.entries(kinds).map(([name, Kind]) => {
  const size = Kind.BYTES_PER_ELEMENT;
  const convert = (bytes: Uint8Array, title: string) => {
    // copied to an address that suits the type where the file's does not
    const { buffer, byteOffset, length } = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
    const from = new Kind(buffer as ArrayBuffer, byteOffset, length / size);
    const to = new Int32Array(from.length);
    for (let i = 0; i < to.length; i++) {
      const n = Number(from[i]);
      to[i] = n;
      if (to[i] !== n) throw new DTypeError(`${title} and has ${from[i]}, which int32 has not`);
    }
    return to;
  };
  return [name, { dtype: "int32", size, convert }];
});

/**
 * The value of a float of one byte with so many bits of mantissa. Without infinities: those of `uz`
 * have no -0 either, whose code is NaN; of the others 0x7f and 0xff are.
 */
function valueOf(byte: number, mantissa: number, bias: number, uz: boolean): number {
  if (uz ? byte === 0x80 : (byte & 0x7f) === 0x7f) return NaN;
  const exponent = (byte & 0x7f) >> mantissa;
  const fraction = (byte & ((1 << mantissa) - 1)) / (1 << mantissa);
  const size = exponent ? (1 + fraction) * 2 ** (exponent - bias) : fraction * 2 ** (1 - bias);
  return byte & 0x80 ? -size : size;
}

function byTable<T extends Float16Array | Float32Array>(
  dtype: DType,
  Kind: { from(values: ArrayLike<number>): T; new (length: number): T },
  value: (byte: number) => number,
): Stored {
  const table = Kind.from(Array.from({ length: 256 }, (_, byte) => value(byte)));
  const convert = (bytes: Uint8Array) => {
    const to = new Kind(bytes.length);
    for (let i = 0; i < bytes.length; i++) to[i] = table[bytes[i]!]!;
    return to;
  };
  return { dtype, size: 1, convert };
}

/** Floats of a byte, which become float16, and exponents alone, which become float32. */
export const float8: readonly [string, Stored][] = [
  ["F8_E4M3", byTable("float16", Float16Array, (byte) => valueOf(byte, 3, 7, false))],
  ["F8_E4M3FNUZ", byTable("float16", Float16Array, (byte) => valueOf(byte, 3, 8, true))],
  ["F8_E5M2FNUZ", byTable("float16", Float16Array, (byte) => valueOf(byte, 2, 16, true))],
  // the upper half of a float16, infinities and all
  ["F8_E5M2", {
    dtype: "float16",
    size: 1,
    convert: (bytes) => Uint16Array.from(bytes, (byte) => byte << 8),
  }],
  ["F8_E8M0", byTable("float32", Float32Array, (byte) => byte === 255 ? NaN : 2 ** (byte - 127))],
];
