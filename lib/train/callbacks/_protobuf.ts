// Protocol Buffers' wire format, as far as event files need it: see
// https://protobuf.dev/programming-guides/encoding/.

/** The bytes of a field, or of a message, which are its fields one after another. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** Parts one after another. */
export function joined(parts: readonly Bytes[]): Bytes {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

// A whole number that is not negative, 7 bits a byte, the low ones first.
function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push(value % 128 | 128);
  return [...bytes, value];
}

/** A whole number, 0 or more. */
export const intField = (field: number, value: number): Bytes =>
  Uint8Array.from([...varint(field << 3), ...varint(value)]);

/** A float32. */
export function floatField(field: number, value: number): Bytes {
  const bytes = new Uint8Array(5);
  bytes[0] = field << 3 | 5;
  new DataView(bytes.buffer).setFloat32(1, value, true);
  return bytes;
}

/** A float64. */
export function doubleField(field: number, value: number): Bytes {
  const bytes = new Uint8Array(9);
  bytes[0] = field << 3 | 1;
  new DataView(bytes.buffer).setFloat64(1, value, true);
  return bytes;
}

/** Bytes, a text, packed float64s, or a message of fields. */
export function field(
  field: number,
  value: Bytes | string | readonly Bytes[] | Float64Array<ArrayBuffer>,
): Bytes {
  const bytes = typeof value === "string"
    ? new TextEncoder().encode(value)
    : value instanceof Uint8Array
    ? value
    : value instanceof Float64Array
    ? new Uint8Array(value.buffer)
    : joined(value);
  return joined([Uint8Array.from([...varint(field << 3 | 2), ...varint(bytes.length)]), bytes]);
}
