/**
 * The safetensors format: named tensors as bytes, in a file that PyTorch, Hugging Face and others
 * read and write. Nothing here knows of cudeno's tensors.
 *
 * The file is the header's length (unsigned 64-bit, little-endian), the header (JSON in UTF-8, an
 * object), and the data (little-endian, row-major). The header maps each name to
 * `{"dtype", "shape", "data_offsets": [begin, end]}`, offsets counted from the end of the header,
 * and may map `__metadata__` to an object of strings. The tensors cover the data without holes or
 * overlaps. See <https://huggingface.co/docs/safetensors>.
 *
 * @module
 */

import { ArgumentError, DataError } from "../native/errors.ts";

/** A tensor as the file holds it. */
export interface StoredTensor {
  /** The file's name of the element type: `F32`, `F64`, `I32`, `U8`, `BOOL`, `F16`, `BF16`, … */
  dtype: string;
  /** The sizes, outermost first; empty for a scalar. */
  shape: readonly number[];
  /** The elements, little-endian and row-major. */
  data: Uint8Array;
}

/** What a safetensors file holds. */
export interface SafetensorsFile {
  /** The tensors by name. */
  tensors: Map<string, StoredTensor>;
  /** Free text about the file; PyTorch writes `{ format: "pt" }`. */
  metadata: Record<string, string>;
}

/**
 * The element types and their sizes in bytes, in the order in which the reference implementation
 * ranks them (its `Dtype`): the files that we write are laid out like its files. Its types of less
 * than a byte are not supported.
 */
const elementSize: ReadonlyMap<string, number> = new Map(
  ([
    [1, "BOOL U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ"],
    [2, "I16 U16 F16 BF16"],
    [4, "I32 U32 F32"],
    [8, "C64 F64 I64 U64"],
  ] as const).flatMap(([size, names]) => names.split(" ").map((name) => [name, size])),
);
const rank = new Map([...elementSize.keys()].map((dtype, index) => [dtype, index]));

/** The longest header that is read; the reference implementation's limit. */
const maxHeaderBytes = 100_000_000;

const metadataKey = "__metadata__";

/** A tensor as a header has it, with the bytes that it takes. */
export type Described = Omit<StoredTensor, "data"> & { bytes: number };

/**
 * The beginning of a safetensors file, and the names in the order in which their data follow it: by
 * decreasing element size and then by name. The header is padded with spaces to a multiple of 8
 * bytes, so every tensor is aligned to its element size.
 *
 * @throws ArgumentError for an unknown dtype, a bad shape, a number of bytes that does not fit
 * dtype and shape, a tensor named `__metadata__`, metadata that are not strings, text that is not
 * well-formed Unicode, or a header over 100 MB.
 */
export function encodeHeader(
  described: ReadonlyMap<string, Described>,
  metadata: Record<string, string>,
): { header: Uint8Array<ArrayBuffer>; order: string[]; size: number } {
  for (const [name, { dtype, shape, bytes }] of described) {
    const fault = (message: string) => new ArgumentError(`Tensor ${quote(name)}: ${message}`);
    if (name === metadataKey) throw fault("the format keeps this name for the metadata");
    if (!name.isWellFormed()) throw fault("the name is not well-formed Unicode");
    const expected = byteCount(dtype, shape, fault);
    if (bytes !== expected) throw fault(sizeMismatch(bytes, expected, dtype, shape));
  }
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== "string" || !(key + value).isWellFormed()) {
      throw new ArgumentError(`Metadata ${quote(key)}: expected a string of well-formed Unicode`);
    }
  }

  const tensors = [...described].sort(([a, { dtype: s }], [b, { dtype: t }]) =>
    rank.get(t)! - rank.get(s)! || (a < b ? -1 : 1)
  );
  const entries: string[] = []; // not an object: that would move names such as "0" to the front
  if (Object.keys(metadata).length > 0) {
    entries.push(`"${metadataKey}":${JSON.stringify(metadata)}`);
  }
  let size = 0;
  for (const [name, { dtype, shape, bytes }] of tensors) {
    const entry = { dtype, shape, data_offsets: [size, size += bytes] };
    entries.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
  }
  const text = new TextEncoder().encode(`{${entries.join(",")}}`);
  const headerBytes = Math.ceil(text.length / 8) * 8;
  if (headerBytes > maxHeaderBytes) {
    throw new ArgumentError(`The header takes ${headerBytes} bytes, at most ${maxHeaderBytes} fit`);
  }
  const header = new Uint8Array(8 + headerBytes).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(headerBytes), true);
  header.set(text, 8);
  return { header, order: tensors.map(([name]) => name), size: header.length + size };
}

/** The bytes of a safetensors file, laid out and refused as {@linkcode encodeHeader} says. */
export function encodeSafetensors({ tensors, metadata }: SafetensorsFile): Uint8Array<ArrayBuffer> {
  const described = Array.from(
    tensors,
    ([name, { dtype, shape, data }]) => [name, { dtype, shape, bytes: data.length }] as const,
  );
  const { header, order, size } = encodeHeader(new Map(described), metadata);
  const bytes = new Uint8Array(size);
  bytes.set(header);
  let at = header.length;
  for (const name of order) {
    const { data } = tensors.get(name)!;
    bytes.set(data, at);
    at += data.length;
  }
  return bytes;
}

/** A tensor's place in a file: from `begin` to before `end`, counted from where the data start. */
export type Entry = Omit<StoredTensor, "data"> & { name: string; begin: number; end: number };

/** What the header of a file says, once it is known to be true of a file of this size. */
export interface Header {
  /** The tensors, in the order of their data. */
  entries: Entry[];
  /** Free text about the file. */
  metadata: Record<string, string>;
  /** Where the header ends. */
  dataStart: number;
}

/**
 * Reads the header: `bytes` is the file's beginning, up to {@linkcode headerEnd} or further; `size`
 * the whole's. Everything is checked before anything is returned. A tensor's data are aligned to
 * its element size only if the writer saw to that (ours and the reference implementation do).
 *
 * @throws DataError when the file breaks a rule of the format; the message names the file, the
 * tensor, what was found and what was expected.
 */
export function decodeHeader(bytes: Uint8Array, size: number, name: string): Header {
  const fault = faultOf(name);
  const dataStart = headerEnd(bytes, size, name);
  const header = readHeader(bytes.subarray(8, dataStart), fault);
  const dataBytes = size - dataStart;

  let metadata: Record<string, string> = {};
  const entries: Entry[] = [];
  for (const [key, value] of Object.entries(header)) {
    if (key === metadataKey) metadata = readMetadata(value, fault);
    else entries.push(readEntry(key, value, dataBytes, fault));
  }

  // An empty tensor shares its offset with the next one; sorting by end as well puts it first.
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let covered = 0;
  for (const { name, begin, end } of entries) {
    if (begin !== covered) {
      const what = begin > covered ? "a hole before it" : "an overlap with the tensor before";
      throw fault(`${quote(name)} begins at data byte ${begin}, expected ${covered}: ${what}`);
    }
    covered = end;
  }
  if (covered !== dataBytes) {
    throw fault(`found ${dataBytes} bytes of data, expected the ${covered} that tensors cover`);
  }
  return { entries, metadata, dataStart };
}

/** Where the header of a file of `size` bytes ends, by its first nine. */
export function headerEnd(bytes: Uint8Array, size: number, name: string): number {
  const no = (message: string) => faultOf(name)(`this is no safetensors file: ${message}`);
  if (size < 8) throw no(`found ${size} bytes, expected at least 8`);
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  const zip = "PK\x03\x04".split("").every((char, i) => bytes[i] === char.charCodeAt(0));
  if (zip) throw no("found a zip archive, such as PyTorch's .pt files, which io.loadTorch reads");
  if (length > BigInt(maxHeaderBytes)) {
    throw no(`found a header length of ${length}, expected at most ${maxHeaderBytes}`);
  }
  const end = 8 + Number(length);
  if (end > size) {
    throw no(`found ${size} bytes, expected at least ${end} for a header of ${length}`);
  }
  if (length === 0n || bytes[8] !== 0x7b) {
    const found = length === 0n ? "nothing" : `byte 0x${bytes[8]!.toString(16).padStart(2, "0")}`;
    throw no(`found ${found} at the header's start, expected "{"`);
  }
  return end;
}

type Fault = (message: string, cause?: unknown) => Error;

const faultOf = (name: string): Fault => (message, cause) =>
  new DataError(`${name}: ${message}`, cause === undefined ? undefined : { cause });

function readHeader(bytes: Uint8Array, fault: Fault): Record<string, unknown> {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw fault("found a header that is not valid UTF-8", cause);
  }
  let header: Record<string, unknown>;
  try {
    header = JSON.parse(text);
  } catch (cause) {
    throw fault(`found a header that is not valid JSON (${(cause as Error).message})`, cause);
  }
  const twice = duplicateKey(text);
  if (twice !== undefined) throw fault(`found the key ${quote(twice)} twice, expected it once`);
  return header;
}

/**
 * The first key that occurs twice in the header or in an entry, given valid JSON: `JSON.parse`
 * would keep the last and say nothing. Deeper objects are no part of the format and not read.
 */
function duplicateKey(json: string): string | undefined {
  const keys = [new Set<string>(), new Set<string>()]; // of the header, and of the entry now open
  let depth = 0;
  let last = ""; // the string read last: a colon makes it a key
  for (let i = 0; i < json.length; i++) {
    const char = json[i];
    if (char === '"') {
      const start = i++;
      while (json[i] !== '"') i += json[i] === "\\" ? 2 : 1;
      last = json.slice(start, i + 1);
    } else if (char === ":") {
      const key = last.includes("\\") ? JSON.parse(last) as string : last.slice(1, -1);
      if (keys[depth - 1]?.has(key)) return key;
      keys[depth - 1]?.add(key);
    } else if (char === "{" || char === "[") {
      if (++depth === 2) keys[1] = new Set();
    } else if (char === "}" || char === "]") {
      depth--;
    }
  }
  return undefined;
}

function readMetadata(value: unknown, fault: Fault) {
  if (!isObject(value)) throw fault(`found ${show(value)} as ${metadataKey}, expected an object`);
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== "string") {
      throw fault(`${metadataKey} ${quote(key)}: found ${show(text)}, expected a string`);
    }
  }
  return value as Record<string, string>;
}

function readEntry(name: string, value: unknown, dataBytes: number, fault: Fault): Entry {
  const wrong: Fault = (message) => fault(`${quote(name)}: ${message}`);
  if (!isObject(value)) throw wrong(`found ${show(value)}, expected an object`);
  const { dtype, shape, data_offsets: offsets } = value;
  const expected = byteCount(dtype, shape, wrong);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    throw wrong(`found data_offsets ${show(offsets)}, expected two non-negative integers`);
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > dataBytes) {
    throw wrong(
      `found data_offsets ${show(offsets)}, expected begin <= end <= ${dataBytes}, ` +
        `the bytes of data in the file`,
    );
  }
  if (end - begin !== expected) {
    throw wrong(sizeMismatch(end - begin, expected, dtype as string, shape as number[]));
  }
  return { name, dtype: dtype as string, shape: shape as number[], begin, end };
}

/** The bytes that a tensor takes; throws what `fault` makes when dtype or shape are not valid. */
function byteCount(dtype: unknown, shape: unknown, fault: Fault): number {
  const size = elementSize.get(dtype as string);
  if (size === undefined) {
    const known = [...elementSize.keys()].join(", ");
    throw fault(`found dtype ${show(dtype)}, expected one of ${known}`);
  }
  if (!Array.isArray(shape) || !shape.every(isSize)) {
    throw fault(`found shape ${show(shape)}, expected non-negative integers`);
  }
  let bytes = size;
  for (const n of shape) {
    bytes *= n;
    if (!Number.isSafeInteger(bytes)) {
      throw fault(`found shape ${show(shape)}, whose size overflows; expected below 2^53 bytes`);
    }
  }
  return bytes;
}

function sizeMismatch(found: number, expected: number, dtype: string, shape: readonly number[]) {
  return `found ${found} bytes, expected ${expected} for ${dtype} of shape ${show(shape)}`;
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && !Object.is(value, -0);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A value for a message: short and not deep, whatever a hostile header holds. */
function show(value: unknown): string {
  if (typeof value === "string") return quote(value);
  if (isObject(value)) return "an object";
  if (!Array.isArray(value)) return value === undefined ? "nothing" : String(value);
  const items = value.slice(0, 8).map((item) => Array.isArray(item) ? "an array" : show(item));
  return `[${items.join(", ")}${value.length > 8 ? ", …" : ""}]`;
}

function quote(name: string): string {
  return JSON.stringify(name.length > 100 ? `${name.slice(0, 100)}…` : name);
}
