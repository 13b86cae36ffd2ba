/**
 * Zip files: what NumPy's .npz and PyTorch's .pt need of them, entries that are stored or deflated.
 * See "APPNOTE.TXT" at <https://pkware.com/appnote>.
 *
 * At the end there is the end record, which says where the directory is, or, of 4 GiB and more
 * (zip64), is preceded by one that does; the directory has a header for each entry, which says
 * where a local header is, and after it come the bytes. The directory is believed where both say
 * the same, as local headers may say it after the bytes.
 *
 * @module
 */

import { inflate } from "../data/_inflate.ts";
import { ArgumentError, DataError } from "../native/errors.ts";
import { fileOf, type OpenFile } from "./_files.ts";

const signatures = {
  local: 0x04034b50,
  directory: 0x02014b50,
  end: 0x06054b50,
  locator: 0x07064b50,
  record: 0x06064b50,
};
const sizes = { local: 30, directory: 46, end: 22, locator: 20, record: 56 };
const maxDirectory = 2 ** 28;
const utf8 = 0x0800; // the flag of names in UTF-8
const firstDay = 0x21; // 1 January 1980: the same bytes whenever they are written
const methods: Record<number, string> = {
  9: "Deflate64",
  12: "bzip2",
  14: "LZMA",
  93: "Zstandard",
};

/** An entry as the directory has it. */
export interface ZipEntry {
  name: string;
  flags: number;
  method: number;
  crc: number;
  packed: number;
  size: number;
  /** Where its local header is. */
  at: number;
}

/** The entries of a zip file, in its order; each is inflated when it is its turn, and checked. */
export async function* decodeZip(
  bytes: Uint8Array,
  name: string,
): AsyncGenerator<[name: string, bytes: Uint8Array]> {
  const file = fileOf(name, bytes);
  for (const entry of await zipEntries(file)) yield [entry.name, await zipContent(file, entry)];
}

/** What the directory of a zip file says, each name once. */
export async function zipEntries({ name, size, read }: OpenFile): Promise<ZipEntry[]> {
  const fault = (message: string) => new DataError(`${name}: ${message}`);
  const tail = await read(Math.max(0, size - sizes.end - 0xffff - sizes.locator), size);
  const offset = size - tail.length;
  const found = endOf(viewOf(tail));
  if (found === undefined) {
    throw fault("found no end of a zip file; expected a whole one (is it truncated?)");
  }
  const last = viewOf(tail.subarray(found));
  let end = offset + found; // of the directory
  let count = last.getUint16(10, true);
  let [length, start] = [last.getUint32(12, true), last.getUint32(16, true)];
  const locator = viewOf(tail.subarray(Math.max(0, found - sizes.locator), found));
  const zip64 = locator.byteLength === sizes.locator &&
    locator.getUint32(0, true) === signatures.locator;
  if (zip64) {
    const at = long(locator, 8), after = end - sizes.locator;
    if (at + sizes.record > after) throw fault(`found the zip64 record at ${at}, expected before`);
    const record = viewOf(await read(at, at + sizes.record));
    if (record.getUint32(0, true) !== signatures.record || at + 12 + long(record, 4) !== after) {
      throw fault(`found no zip64 record of ${after - at} bytes at ${at}`);
    }
    [count, length, start] = [long(record, 32), long(record, 40), long(record, 48)];
    end = at;
  } else if (count === 0xffff || [length, start].includes(0xffffffff)) {
    throw fault("says that it is in the zip64 format, and has no record of that");
  } else if (last.getUint32(4, true) !== 0 || last.getUint16(8, true) !== count) {
    throw fault("is a part of several zip files; expected one");
  }
  if (start + length !== end) {
    throw fault(`its directory is at ${start}..${start + length}, expected it to end at ${end}`);
  }
  if (length > maxDirectory) throw fault(`its directory has ${length} bytes, more than is sane`);
  return entriesOf(await read(start, end), count, start, fault);
}

function entriesOf(bytes: Uint8Array, count: number, start: number, fault: (m: string) => Error) {
  const view = viewOf(bytes);
  const entries = new Map<string, ZipEntry>();
  let at = 0;
  let room = start; // bytes that are still to be shared among entries
  for (let i = 0; i < count; i++) {
    const fits = at + sizes.directory <= bytes.length;
    if (!fits || view.getUint32(at, true) !== signatures.directory) {
      throw fault(`found no header of entry ${i} of ${count} at ${start + at}`);
    }
    const nameEnd = at + sizes.directory + view.getUint16(at + 28, true);
    const extraEnd = nameEnd + view.getUint16(at + 30, true);
    const next = extraEnd + view.getUint16(at + 32, true);
    if (next > bytes.length) {
      throw fault(`the header of entry ${i} of ${count} goes beyond the directory`);
    }
    const name = new TextDecoder().decode(bytes.slice(at + sizes.directory, nameEnd));
    const [size, packed, place] = longer(
      [view.getUint32(at + 24, true), view.getUint32(at + 20, true), view.getUint32(at + 42, true)],
      viewOf(bytes.subarray(nameEnd, extraEnd)),
    ) ?? [];
    if (place === undefined) throw fault(`${quote(name)} says zip64 and has no such numbers`);
    // Entries that share bytes would let a small file hold endless ones.
    room -= sizes.local + packed!;
    if (room < 0 || place + sizes.local + packed! > start) {
      throw fault(`the entries take more than the ${start} bytes before the directory`);
    }
    if (entries.has(name)) throw fault(`${quote(name)} is there twice; expected once`);
    entries.set(name, {
      name,
      flags: view.getUint16(at + 8, true),
      method: view.getUint16(at + 10, true),
      crc: view.getUint32(at + 16, true),
      packed: packed!,
      size: size!,
      at: place,
    });
    at = next;
  }
  if (at !== bytes.length) {
    throw fault(`found ${bytes.length - at} bytes after the directory's ${count} entries`);
  }
  return [...entries.values()];
}

// Numbers that do not fit are all ones, and in this order in an extra field.
function longer(numbers: number[], extra: DataView): number[] | undefined {
  if (!numbers.includes(0xffffffff)) return numbers;
  for (let at = 0; at + 4 <= extra.byteLength;) {
    const size = extra.getUint16(at + 2, true);
    if (extra.getUint16(at, true) === 1) {
      const needed = numbers.filter((n) => n === 0xffffffff).length * 8;
      if (needed > size || at + 4 + needed > extra.byteLength) return undefined;
      let next = at - 4;
      return numbers.map((n) => n === 0xffffffff ? long(extra, next += 8) : n);
    }
    at += 4 + size;
  }
  return undefined;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

// Beyond 2^53 it is rounded, and beyond every file's end.
function long(view: DataView, at: number): number {
  return Number(view.getBigUint64(at, true));
}

// The end record has a comment of up to 65535 bytes, which is the end of the file.
function endOf(view: DataView): number | undefined {
  const last = view.byteLength - sizes.end;
  for (let at = last; at >= Math.max(0, last - 0xffff); at--) {
    if (view.getUint32(at, true) !== signatures.end) continue;
    if (at + sizes.end + view.getUint16(at + 20, true) === view.byteLength) return at;
  }
  return undefined;
}

const fault = ({ name }: OpenFile, entry: ZipEntry, message: string) =>
  new DataError(`${name}: ${quote(entry.name)} ${message}`);

/** Where an entry's bytes are in the file: as they are, if it is stored. */
export async function zipStart(file: OpenFile, entry: ZipEntry): Promise<number> {
  const { flags, method, packed, size, at } = entry;
  if (flags & 1) throw fault(file, entry, "is encrypted; expected it plain");
  if (method !== 0 && method !== 8) {
    const by = methods[method] ?? `method ${method}`;
    throw fault(file, entry, `is compressed by ${by}; expected stored or deflated`);
  }
  const local = viewOf(await file.read(at, at + sizes.local));
  if (local.getUint32(0, true) !== signatures.local) {
    throw fault(file, entry, `has no header at ${at}`);
  }
  const start = at + sizes.local + local.getUint16(26, true) + local.getUint16(28, true);
  if (start + packed > file.size) {
    throw fault(file, entry, `has ${packed} bytes at ${start}, beyond the end`);
  }
  if (method === 0 && packed !== size) {
    throw fault(file, entry, `is stored in ${packed} bytes, expected its size of ${size}`);
  }
  return start;
}

/** All bytes of an entry, checked. */
export async function zipContent(file: OpenFile, entry: ZipEntry): Promise<Uint8Array> {
  const { method, packed, size } = entry;
  const start = await zipStart(file, entry);
  const raw = await file.read(start, start + packed);
  const format = { format: "deflate-raw", head: 0, sizeOf: () => size } as const;
  const title = `${file.name}: ${quote(entry.name)}`;
  const bytes = method === 0 ? raw : await inflate(raw, title, format);
  if (bytes.length !== size) {
    throw fault(file, entry, `has ${bytes.length} bytes, expected ${size}`);
  }
  checkCrc(file, entry, crc32(bytes));
  return bytes;
}

/** Throws unless that is the sum of an entry's bytes. */
export function checkCrc(file: OpenFile, entry: ZipEntry, crc: number): void {
  if (crc === entry.crc) return;
  throw fault(file, entry, `is damaged: found CRC-32 ${hex(crc)}, expected ${hex(entry.crc)}`);
}

/** The bytes of a zip file with these entries. */
export async function encodeZip(
  op: string,
  entries: ReadonlyMap<string, Uint8Array<ArrayBuffer>>,
  compress: boolean,
): Promise<Uint8Array<ArrayBuffer>> {
  const bodies: Uint8Array<ArrayBuffer>[] = [];
  const directory: Uint8Array<ArrayBuffer>[] = [];
  let at = 0;
  for (const [name, bytes] of entries) {
    const title = new TextEncoder().encode(name);
    const body = compress ? await deflated(bytes) : bytes;
    const sum = bytes.length + sizes.local + title.length + at;
    if (title.length > 0xffff || sum >= 0xffff0000 || entries.size >= 0xffff) {
      throw new ArgumentError(
        `${op}: a .npz file has less than 4 GiB and 65535 arrays with names below 64 kB; use ` +
          "saveSafetensors, or several files",
      );
    }
    // What both headers have, from the version that is needed to the length of extra fields.
    const common = (header: DataView, from: number) => {
      header.setUint16(from, 20, true);
      header.setUint16(from + 2, utf8, true);
      header.setUint16(from + 4, compress ? 8 : 0, true);
      header.setUint16(from + 8, firstDay, true);
      header.setUint32(from + 10, crc32(bytes), true);
      header.setUint32(from + 14, body.length, true);
      header.setUint32(from + 18, bytes.length, true);
      header.setUint16(from + 22, title.length, true);
    };
    const local = record("local", (header) => common(header, 4));
    const place = at;
    directory.push(
      record("directory", (header) => {
        header.setUint16(4, 20, true);
        common(header, 6);
        header.setUint32(42, place, true);
      }),
      title,
    );
    bodies.push(local, title, body);
    at += local.length + title.length + body.length;
  }
  const length = directory.reduce((sum, part) => sum + part.length, 0);
  const end = record("end", (header) => {
    header.setUint16(8, entries.size, true);
    header.setUint16(10, entries.size, true);
    header.setUint32(12, length, true);
    header.setUint32(16, at, true);
  });
  return await new Blob([...bodies, ...directory, end]).bytes();
}

function record(kind: "local" | "directory" | "end", fill: (header: DataView) => void) {
  const bytes = new Uint8Array(sizes[kind]);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, signatures[kind], true);
  fill(view);
  return bytes;
}

async function deflated(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  return await new Response(stream).bytes();
}

// Of each byte of four at once: what it and the zeros after it make of the sum.
const crcTables = Array.from({ length: 4 }, () => new Int32Array(256));
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1;
  crcTables[0]![byte] = crc;
}
for (let byte = 0; byte < 1024; byte++) {
  const before = crcTables[(byte >> 8) - 1]?.[byte & 255];
  if (before === undefined) continue;
  crcTables[byte >> 8]![byte & 255] = crcTables[0]![before & 255]! ^ (before >>> 8);
}

/** The CRC-32 of bytes, or of what came before, of which it is `crc`, and these. */
export function crc32(bytes: Uint8Array, crc = 0): number {
  const [one, two, three, four] = crcTables as [Int32Array, Int32Array, Int32Array, Int32Array];
  crc = ~crc;
  let i = 0;
  for (; i + 4 <= bytes.length; i += 4) {
    crc ^= bytes[i]! | bytes[i + 1]! << 8 | bytes[i + 2]! << 16 | bytes[i + 3]! << 24;
    crc = four[crc & 255]! ^ three[crc >>> 8 & 255]! ^ two[crc >>> 16 & 255]! ^ one[crc >>> 24]!;
  }
  for (; i < bytes.length; i++) crc = one[(crc ^ bytes[i]!) & 255]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

function hex(crc: number): string {
  return crc.toString(16).padStart(8, "0");
}

function quote(name: string): string {
  return JSON.stringify(name.length > 100 ? `${name.slice(0, 100)}…` : name);
}
