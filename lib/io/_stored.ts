// Tensors' elements as files hold them, by the names that safetensors has for types: their bytes as
// they are, or integers and floats of other sizes, which become the next larger dtype.
import { parametersChanged } from "../core/autocast.ts";
import { noGrad } from "../core/autograd.ts";
import { type DType, dtypeInfo } from "../core/dtype.ts";
import { syncScope } from "../core/scope.ts";
import { MAX_RANK } from "../core/shape.ts";
import { readBytes } from "../core/transfer.ts";
import { call } from "../native/call.ts";
import { DataError, DTypeError } from "../native/errors.ts";
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
import { float8, integers, type Stored } from "./_stored_types.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const same: Record<DType, string> = {
  float32: "F32",
  float64: "F64",
  float16: "F16",
  bfloat16: "BF16",
  int32: "I32",
  uint8: "U8",
};

const stored = new Map<string, Stored>([
  ...Object.entries(same).map(([dtype, name]): [string, Stored] => [
    name,
    { dtype: dtype as DType, size: dtypeInfo(dtype as DType).bytes },
  ]),
  ["BOOL", { dtype: "uint8", size: 1 }],
  ...integers,
  ...float8,
]);

/** What {@linkcode dtypeFor} and {@linkcode fillPart} need to know of a tensor in a file. */
export type Item = Pick<Entry, "name" | "shape" | "dtype">;

/** The dtype that a tensor of a file gets. */
export function dtypeFor({ name, shape, dtype }: Item, file: string): DType {
  if (shape.length > MAX_RANK) {
    throw new DataError(`${file}: ${name} has ${shape.length} dimensions; at most are ${MAX_RANK}`);
  }
  const found = stored.get(dtype);
  if (found) return found.dtype;
  throw new DTypeError(
    `${file}: ${name} is ${dtype}; known are ${[...stored.keys()].join(", ")}`,
  );
}

/** Bytes that are moved at a time, and up to which a file's are taken at once; tests set less. */
export const limits: { piece: number; atOnce: number } = { piece: 2 ** 24, atOnce: 2 ** 28 };

/** Fills a tensor, of any format and dtype, with all that bytes of a file say. */
export function fill(x: Tensor, item: Item, file: string, bytes: Uint8Array): void {
  using target = targetOf(x);
  fillPart(target.to, item, file, 0, bytes);
  target.done();
}

/** The same of many, from a file. */
export async function fillAll(
  { name, read }: OpenFile,
  dataStart: number,
  found: readonly { readonly x: Tensor; readonly entry: Entry }[],
): Promise<void> {
  const most = found.reduce((most, { entry }) => Math.max(most, entry.end - entry.begin), 0);
  const room = new Uint8Array(Math.min(limits.piece, most));
  for (const { x, entry } of found) {
    using target = targetOf(x);
    for (let at = entry.begin; at < entry.end; at += limits.piece) {
      const end = Math.min(at + limits.piece, entry.end);
      const bytes = await read(dataStart + at, dataStart + end, room);
      fillPart(target.to, entry, name, at - entry.begin, bytes);
    }
    target.done();
  }
}

// What is filled for a tensor: itself, or, where it is not contiguous, another one.
function targetOf(x: Tensor) {
  const to = x.format === "contiguous" ? x : x.make(x.shape);
  return {
    to,
    done: () => {
      if (to !== x) x.copyFrom(to);
      else parametersChanged(); // it may be one
    },
    [Symbol.dispose]: () => {
      if (to !== x) to.dispose();
    },
  };
}

function fillPart(x: Tensor, item: Item, file: string, at: number, bytes: Uint8Array): void {
  const { dtype, size, convert } = stored.get(item.dtype)!;
  const elements = convert ? convert(bytes, `${file}: ${item.name} is ${item.dtype}`) : bytes;
  const write = (to: Tensor, begin: number) =>
    call("cdn_write", to, elements as Bytes, begin, elements.byteLength);
  const start = at / size * dtypeInfo(x.dtype).bytes;
  if (dtype === x.dtype) return write(x, start);
  syncScope(() =>
    noGrad(() => {
      const found = x.make([bytes.length / size], dtype);
      write(found, 0);
      const cast = found.to(x.dtype);
      call("cdn_copy", x, cast, start, 0, cast.size * dtypeInfo(x.dtype).bytes);
    })
  );
}

/** Names for a message. */
export function listOf(names: readonly string[]): string {
  const first = names.slice(0, 8).map((name) => name.slice(0, 100)).join(", ");
  return names.length > 8 ? `${first}, … ${names.length} in all` : first;
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
): { size: number; atOnce: boolean; parts: AsyncIterable<Bytes>; settled: Promise<unknown> } {
  const described = Object.entries(tensors).map(([name, x]) => [name, describe(x)] as const);
  const { header, order, size } = encodeHeader(new Map(described), metadata);
  const atOnce = size <= limits.atOnce;
  const { content, settled } = contentOf(order.map((name) => tensors[name]!), atOnce);
  const parts = (async function* () {
    yield header;
    yield* content;
  })();
  return { size, atOnce, parts, settled };
}

function describe({ dtype, shape, size }: Tensor): Described {
  return { dtype: same[dtype], shape, bytes: size * dtypeInfo(dtype).bytes };
}

// `settled`: when nothing is being read any more that was begun.
function contentOf(tensors: readonly Tensor[], atOnce: boolean) {
  const parts = tensors.flatMap(partsOf);
  const begun = atOnce ? parts.map((take) => take()) : [];
  const all = atOnce ? Promise.all(begun) : undefined;
  all?.catch(() => {}); // is thrown where it is awaited, if it comes to that
  const content = (async function* (): AsyncGenerator<Bytes> {
    if (all) yield* await all;
    else for (const take of parts) yield await take();
  })();
  return { content, settled: Promise.allSettled(begun) };
}

function partsOf(x: Tensor): (() => Promise<Bytes>)[] {
  const { bytes } = describe(x);
  void x.stored(x.format).handle; // throws for one that was disposed
  // Of another format it is a copy that is read, so all at once.
  const most = x.format === "contiguous" ? limits.piece : Math.max(bytes, 1);
  return Array.from({ length: Math.ceil(bytes / most) }, (_, i) => () => {
    const size = Math.min(most, bytes - i * most);
    const part = new Uint8Array(size);
    // the read has captured its memory once it has begun: a copy is freed then
    return syncScope(() => ({ reading: readBytes(x.stored("contiguous"), i * most, part, size) }))
      .reading;
  });
}
