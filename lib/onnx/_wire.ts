// Protocol buffers as ONNX files need them: the wire format, by the table of messages. Integers are
// plain numbers, exact up to 2^53, and beyond that the nearest number: what is a size or a place is
// checked where it is used.
import { DataError } from "../native/errors.ts";
import {
  type Draft,
  type Field,
  fieldsOf,
  type Message,
  type MessageName,
  wireType,
} from "./_schema.ts";

/** How deep messages may be nested. */
const maxDepth = 64;

const byNumber = new Map(
  Array.from(fieldsOf, ([message, fields]) => [
    message,
    new Map(fields.map((field) => [field.number, field])),
  ]),
);

// What repeated fields are before the first element. Shared, so that the many small messages of a
// file take little room.
const none: unknown[] = [];
Object.freeze(none);
const blank = new Map(
  Array.from(fieldsOf, ([message, fields]) => [
    message,
    Object.fromEntries(fields.map(({ name, repeated }) => [name, repeated ? none : undefined])),
  ]),
);

/**
 * Reads a message. Bytes are views of `bytes`. Of a field that occurs several times the last one
 * counts; fields that are not known are passed over.
 *
 * @throws {DataError} when it ends early, a length or a number is too long, a group or an unknown
 * wire type is found, text is not UTF-8, or messages are nested more than 64 deep.
 */
export function decodeMessage<M extends MessageName>(
  message: M,
  bytes: Uint8Array,
  name = "the message",
): Message<M> {
  return new Reader(bytes, name).message(message, bytes.length, 1) as Message<M>;
}

class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #name: string;
  readonly #text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #at = 0;
  #end: number;

  constructor(bytes: Uint8Array, name: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#name = name;
    this.#end = bytes.length;
  }

  message(message: string, end: number, depth: number): Record<string, unknown> {
    if (depth > maxDepth) throw this.#fault(`messages are nested more than ${maxDepth} deep`);
    const outer = this.#end;
    this.#end = end;
    const fields = byNumber.get(message)!;
    const found: Record<string, unknown> = { ...blank.get(message) };
    while (this.#at < end) {
      const tag = this.#varint(false);
      const [number, wire] = [Math.floor(tag / 8), tag % 8];
      if (number === 0 || number >= 2 ** 29) throw this.#fault(`found the field number ${number}`);
      const field = fields.get(number);
      if (field) this.#field(found, field, wire, message, depth);
      else this.#skip(wire);
    }
    this.#end = outer;
    return found;
  }

  #field(to: Record<string, unknown>, field: Field, wire: number, message: string, depth: number) {
    const { name, kind, repeated } = field;
    const single = wireType(kind);
    const packed = repeated && wire === 2 && single !== 2;
    if (wire !== single && !packed) {
      throw this.#fault(`${message}.${name} has wire type ${wire}, expected ${single}`);
    }
    if (!repeated) {
      to[name] = this.#value(kind, depth);
      return;
    }
    const list = to[name] === none ? to[name] = [] : to[name] as unknown[];
    if (!packed) {
      list.push(this.#value(kind, depth));
      return;
    }
    const end = this.#lengthEnd();
    const outer = this.#end;
    this.#end = end;
    while (this.#at < end) list.push(this.#value(kind, depth));
    this.#end = outer;
  }

  #value(kind: string, depth: number): unknown {
    switch (kind) {
      case "int":
        return this.#varint(true);
      case "uint":
        return this.#varint(false);
      case "float":
        return this.#view.getFloat32(this.#take(4), true);
      case "double":
        return this.#view.getFloat64(this.#take(8), true);
    }
    const end = this.#lengthEnd();
    if (kind !== "bytes" && kind !== "string") return this.message(kind, end, depth + 1);
    const bytes = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    if (kind === "bytes") return bytes;
    try {
      return this.#text.decode(bytes);
    } catch {
      throw this.#fault("found text that is not UTF-8");
    }
  }

  #skip(wire: number): void {
    if (wire === 0) this.#varint(false);
    else if (wire === 1) this.#take(8);
    else if (wire === 5) this.#take(4);
    else if (wire === 2) this.#at = this.#lengthEnd();
    else throw this.#fault(`found wire type ${wire}: groups are not supported, others unknown`);
  }

  #lengthEnd(): number {
    const length = this.#varint(false);
    const left = this.#end - this.#at;
    if (length > left) {
      throw this.#fault(`found a length of ${length} where ${left} bytes are left`);
    }
    return this.#at + length;
  }

  #take(bytes: number): number {
    const at = this.#at;
    if (this.#end - at < bytes) throw this.#fault("it ends within a number");
    this.#at += bytes;
    return at;
  }

  // Of at most ten bytes, seven bits each: 64 bits, as two halves.
  #varint(signed: boolean): number {
    let [low, high] = [0, 0];
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.#bytes[this.#take(1)]!;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) [low, high] = [low | bits << 28, bits >> 4];
      else high |= bits << (shift - 32);
      if (shift === 63 && byte > 1) break;
      if (byte < 0x80) return (low >>> 0) + (signed ? high : high >>> 0) * 2 ** 32;
    }
    throw this.#fault("found a varint of more than 64 bits");
  }

  #fault(message: string): DataError {
    return new DataError(`${this.#name} at byte ${this.#at}: ${message}`);
  }
}

/**
 * A message as bytes. Numbers that repeat are packed. Integers beyond int64 become its ends, which
 * as numbers they stand for.
 */
export function encodeMessage<M extends MessageName>(
  message: M,
  draft: Draft<M>,
): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  writer.message(message, draft as Record<string, unknown>);
  const bytes = new Uint8Array(writer.size);
  let at = 0;
  for (const part of writer.parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

class Writer {
  readonly parts: Uint8Array[] = [];
  size = 0;

  message(message: string, draft: Record<string, unknown>): void {
    for (const { name, number, kind, repeated } of fieldsOf.get(message)!) {
      const value = draft[name];
      if (value === undefined) continue;
      const wire = wireType(kind);
      if (repeated && wire !== 2) {
        const list = value as ArrayLike<number>;
        if (list.length === 0) continue;
        this.#varint(number * 8 + 2);
        this.#nested((to) => {
          for (let i = 0; i < list.length; i++) to.#number(kind, list[i]!);
        });
        continue;
      }
      for (const item of repeated ? Array.from(value as ArrayLike<unknown>) : [value]) {
        this.#varint(number * 8 + wire);
        if (wire !== 2) this.#number(kind, item as number);
        else if (kind === "bytes" || kind === "string") {
          const bytes = kind === "bytes" ? item : new TextEncoder().encode(item as string);
          this.#varint((bytes as Uint8Array).length);
          this.#put(bytes as Uint8Array);
        } else this.#nested((to) => to.message(kind, item as Record<string, unknown>));
      }
    }
  }

  #put(bytes: Uint8Array): void {
    this.parts.push(bytes);
    this.size += bytes.length;
  }

  #nested(write: (to: Writer) => void): void {
    const inner = new Writer();
    write(inner);
    this.#varint(inner.size);
    for (const part of inner.parts) this.parts.push(part);
    this.size += inner.size;
  }

  #number(kind: string, value: number): void {
    if (kind === "int" || kind === "uint") return this.#varint(value, kind === "int");
    const bytes = new Uint8Array(kind === "float" ? 4 : 8);
    const view = new DataView(bytes.buffer);
    if (kind === "float") view.setFloat32(0, value, true);
    else view.setFloat64(0, value, true);
    this.#put(bytes);
  }

  #varint(value: number, signed = false): void {
    const bytes: number[] = [];
    if (value >= 0 && value <= Number.MAX_SAFE_INTEGER) {
      for (; value >= 0x80; value = Math.floor(value / 128)) bytes.push(value % 128 + 128);
      bytes.push(value);
    } else {
      const [least, most] = signed ? [-(2n ** 63n), 2n ** 63n - 1n] : [0n, 2n ** 64n - 1n];
      const whole = BigInt(Math.trunc(value));
      let rest = BigInt.asUintN(64, whole < least ? least : whole > most ? most : whole);
      for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) + 128);
      bytes.push(Number(rest));
    }
    this.#put(Uint8Array.from(bytes));
  }
}
