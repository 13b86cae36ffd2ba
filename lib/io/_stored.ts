// Tensors' elements as safetensors files hold them: their bytes as they are, or integers and floats
// of other sizes, which become the next larger dtype.
import { call } from "../native/call.ts";
import type { DType } from "../core/dtype.ts";
import { DataError, DTypeError } from "../native/errors.ts";
import { dtypeInfo } from "../core/dtype.ts";
import { MAX_RANK } from "../core/shape.ts";
import { readBytes } from "../core/transfer.ts";
import { scope } from "../core/scope.ts";
import type { Tensor } from "../tensor.ts";
import type { OpenFile } from "./_files.ts";
import {
  decodeHeader,
  type Described,
  encodeHeader,
  type Entry,
  type Header,
  headerEnd,
} from "./_safetensors_format.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const same: Record<DType, string> = {
  float32: "F32",
  float64: "F64",
  float16: "F16",
  bfloat16: "BF16",
  int32: "I32",
  uint8: "U8",
};

interface Stored {
  dtype: DType;
  /** Bytes of an element in the file. */
  size: number;
  /** The elements as the dtype has them, where the bytes are not the same. */
  convert?: (bytes: Uint8Array, entry: Entry) => ArrayBufferView;
}

const stored = new Map<string, Stored>([
  ...Object.entries(same).map(([dtype, name]): [string, Stored] => [
    name,
    { dtype: dtype as DType, size: dtypeInfo(dtype as DType).bytes },
  ]),
  ["BOOL", { dtype: "uint8", size: 1 }],
  ["I64", integers(BigInt64Array)],
]);

type Integers = BigInt64ArrayConstructor | Int8ArrayConstructor;

function integers(kind: Integers): Stored {
  const convert = (bytes: Uint8Array, { name, dtype }: Entry) => {
    // copied to an address that suits the type where the file's does not
    const { buffer, byteOffset, length } = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice();
    const from = new kind(buffer as ArrayBuffer, byteOffset, length / kind.BYTES_PER_ELEMENT);
    return Int32Array.from<bigint | number>(from, (value) => {
      const n = Number(value);
      if (n === (n | 0)) return n;
      throw new DTypeError(
        `loadSafetensors: ${name} is ${dtype} and has ${value}, which int32 has not`,
      );
    });
  };
  return { dtype: "int32", size: kind.BYTES_PER_ELEMENT, convert };
}

/** The dtype that a tensor of a file gets. */
export function dtypeFor({ name, shape, dtype }: Entry, file: string): DType {
  if (shape.length > MAX_RANK) {
    throw new DataError(`${file}: ${name} has ${shape.length} dimensions; at most are ${MAX_RANK}`);
  }
  const found = stored.get(dtype);
  if (found) return found.dtype;
  throw new DTypeError(
    `loadSafetensors: ${name} is ${dtype}; known are ${[...stored.keys()].join(", ")}`,
  );
}

/** Bytes that are moved at a time, and up to which a file's are taken at once; tests set less. */
export const limits: { piece: number; atOnce: number } = { piece: 2 ** 24, atOnce: 2 ** 28 };

/** Fills a new tensor with what the bytes of its entry, from `at` on, say. */
export function fillPart(x: Tensor, entry: Entry, at: number, bytes: Uint8Array): void {
  const { size, convert } = stored.get(entry.dtype)!;
  const elements = convert ? convert(bytes, entry) : bytes;
  call(
    "cdn_write",
    x,
    elements as Bytes,
    at / size * dtypeInfo(x.dtype).bytes,
    elements.byteLength,
  );
}

/** Fills new tensors with what a file holds of them. */
export async function fillAll(
  { read }: OpenFile,
  dataStart: number,
  found: readonly { x: Tensor; entry: Entry }[],
): Promise<void> {
  const most = Math.max(0, ...found.map(({ entry: { begin, end } }) => end - begin));
  const room = new Uint8Array(Math.min(limits.piece, most));
  for (const { x, entry } of found) {
    for (let at = entry.begin; at < entry.end; at += limits.piece) {
      const end = Math.min(at + limits.piece, entry.end);
      fillPart(x, entry, at - entry.begin, await read(dataStart + at, dataStart + end, room));
    }
  }
}

/** The header of a file that is open. */
export async function headerOf({ name, size, read }: OpenFile): Promise<Header> {
  const head = await read(0, Math.min(1 << 16, size));
  const end = headerEnd(head, size, name);
  return decodeHeader(end <= head.length ? head : await read(0, end), size, name);
}

/**
 * A file with these tensors: how many bytes, and the bytes: `atOnce` as they are now, else, where
 * that would take too much memory, as they are at their turn.
 */
export function encode(
  tensors: Record<string, Tensor>,
  metadata: Record<string, string>,
): { size: number; atOnce: boolean; parts: AsyncIterable<Bytes> } {
  const described = Object.entries(tensors).map(([name, x]) => [name, describe(x)] as const);
  const { header, order, size } = encodeHeader(new Map(described), metadata);
  const atOnce = size <= limits.atOnce;
  const content = contentOf(order.map((name) => tensors[name]!), atOnce);
  const parts = (async function* () {
    yield header;
    yield* content;
  })();
  return { size, atOnce, parts };
}

function describe({ dtype, shape, size }: Tensor): Described {
  return { dtype: same[dtype], shape, bytes: size * dtypeInfo(dtype).bytes };
}

function contentOf(tensors: readonly Tensor[], atOnce: boolean): AsyncIterable<Bytes> {
  const parts = tensors.flatMap(partsOf);
  const all = atOnce ? Promise.all(parts.map((take) => take())) : undefined;
  all?.catch(() => {}); // is thrown where it is awaited, if it comes to that
  return (async function* () {
    if (all) yield* await all;
    else for (const take of parts) yield await take();
  })();
}

function partsOf(x: Tensor): (() => Promise<Bytes>)[] {
  const { bytes } = describe(x);
  void x.stored(x.format).handle; // throws for one that was disposed
  // Of another format it is a copy that is read, so all at once.
  const most = x.format === "contiguous" ? limits.piece : Math.max(bytes, 1);
  return Array.from({ length: Math.ceil(bytes / most) }, (_, i) => () => {
    const part = new Uint8Array(Math.min(most, bytes - i * most));
    // the read has captured its memory once it has begun: a copy is freed then
    return scope(() => ({ reading: readBytes(x.stored("contiguous"), i * most, part) })).reading;
  });
}
