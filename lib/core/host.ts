import { ArgumentError } from "../native/errors.ts";
import { refuse } from "./options.ts";

/** An array of numbers of one kind, on any memory. */
export type HostArray =
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | Float16Array
  | Float32Array
  | Float64Array;

// What an object says of itself can be false: it may have a property of its own, or be of a
// subclass (node:fs reads into one). Memory is reached by what these getters say, which look inside
// and are taken before anybody can replace them.
const { apply, getOwnPropertyDescriptor, getPrototypeOf } = Reflect;
const getter = <T>(prototype: object, key: PropertyKey): (of: unknown) => T => {
  const get = getOwnPropertyDescriptor(prototype, key)!.get!;
  return (of) => apply(get, of, []);
};
const typedArray = getPrototypeOf(Uint8Array.prototype)!;
const kindOf = getter<string | undefined>(typedArray, Symbol.toStringTag);
const placeOf = {
  buffer: getter<ArrayBufferLike>(typedArray, "buffer"),
  offset: getter<number>(typedArray, "byteOffset"),
  bytes: getter<number>(typedArray, "byteLength"),
  length: getter<number>(typedArray, "length"),
};
const viewPlace = {
  buffer: getter<ArrayBufferLike>(DataView.prototype, "buffer"),
  offset: getter<number>(DataView.prototype, "byteOffset"),
  bytes: getter<number>(DataView.prototype, "byteLength"),
};
const bytesIn = getter<number>(ArrayBuffer.prototype, "byteLength");
const bytesShared = getter<number>(SharedArrayBuffer.prototype, "byteLength");

const { isView } = ArrayBuffer;

type Kind = new (buffer: ArrayBufferLike, offset: number, length: number) => HostArray;
const integers: Kind[] = [Int8Array, Uint8Array, Int16Array, Uint16Array, Int32Array, Uint32Array];
const floats: Kind[] = [Float16Array, Float32Array, Float64Array];
const kinds = new Map([...integers, ...floats].map((kind) => [kind.name, kind]));
kinds.set("Uint8ClampedArray", Uint8Array);
const Bytes = Uint8Array;

/**
 * A plain typed array on the memory of one that may be anything: undefined for what is no typed
 * array of numbers.
 *
 * @throws {ArgumentError} when its buffer is detached.
 */
export function plainArray(op: string, data: unknown): HostArray | undefined {
  const Kind = kinds.get(kindOf(data) ?? "");
  if (!Kind) return undefined;
  return reachable(
    op,
    () => new Kind(placeOf.buffer(data), placeOf.offset(data), placeOf.length(data)),
  );
}

/** How many bytes a typed array has now: none once its buffer is detached or shrunk below it. */
export const byteLengthOf: (array: unknown) => number = placeOf.bytes;

/**
 * The bytes of a typed array, a DataView or a buffer, which may be shared; undefined for anything
 * else. Not a copy.
 */
export function bytesOf(op: string, data: unknown): Uint8Array | undefined {
  const place = kindOf(data) ? placeOf : isView(data) ? viewPlace : undefined;
  if (place) {
    return reachable(
      op,
      () => new Bytes(place.buffer(data), place.offset(data), place.bytes(data)),
    );
  }
  const buffer = data as ArrayBufferLike;
  for (const bytes of [bytesIn, bytesShared]) {
    try {
      bytes(buffer);
    } catch {
      continue; // another kind
    }
    return reachable(op, () => new Bytes(buffer));
  }
  return undefined;
}

/** As {@linkcode bytesOf}, for the bytes of a file; throws an ArgumentError for anything else. */
export function fileBytes(op: string, data: unknown): Uint8Array {
  const bytes = bytesOf(op, data);
  if (bytes) return bytes;
  const isPath = typeof data === "string" || data instanceof URL;
  const hint = isPath ? "; read the file by await Deno.readFile(path)" : "";
  refuse(op, "bytes", data, `a Uint8Array${hint}`);
}

function reachable<T>(op: string, view: () => T): T {
  try {
    return view();
  } catch (cause) {
    throw new ArgumentError(
      `${op}: the array's memory is gone: its buffer was detached (transferred or sent away) ` +
        "or shrunk",
      { cause },
    );
  }
}
