/**
 * Zip files: what NumPy's .npz need of them, entries that are stored or deflated, within 4 GiB. See
 * "APPNOTE.TXT" at <https://pkware.com/appnote>.
 *
 * At the end there is the end record, which says where the directory is; that has a header for each
 * entry, which says where a local header is, and after it come the bytes. The directory is believed
 * where both say the same, as local headers may say it after the bytes, or in zip64.
 *
 * @module
 */

import { inflate } from "../data/_inflate.ts";
import { ArgumentError, DataError } from "../native/errors.ts";

const signatures = { local: 0x04034b50, directory: 0x02014b50, end: 0x06054b50 };
const sizes = { local: 30, directory: 46, end: 22 };
const utf8 = 0x0800; // the flag of names in UTF-8
const firstDay = 0x21; // 1 January 1980: the same bytes whenever they are written
const methods: Record<number, string> = {
  9: "Deflate64",
  12: "bzip2",
  14: "LZMA",
  93: "Zstandard",
};

/** An entry as the directory has it. */
interface Entry {
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
  file: Uint8Array,
  name: string,
): AsyncGenerator<[name: string, bytes: Uint8Array]> {
  const seen = new Set<string>();
  for (const entry of directoryOf(file, name)) {
    const title = `${name}: ${quote(entry.name)}`;
    if (seen.has(entry.name)) throw new DataError(`${title} is there twice; expected once`);
    seen.add(entry.name);
    yield [entry.name, await bytesOf(file, entry, title)];
  }
}

function directoryOf(file: Uint8Array, name: string): Entry[] {
  const fault = (message: string) => new DataError(`${name}: ${message}`);
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const end = endOf(view);
  if (end === undefined) {
    throw fault("found no end of a zip file; expected a whole .npz file (is it truncated?)");
  }
  const [count, length, start] = [
    view.getUint16(end + 10, true),
    view.getUint32(end + 12, true),
    view.getUint32(end + 16, true),
  ];
  // Numbers that do not fit are all ones, and elsewhere.
  const refuseZip64 = (...numbers: number[]) => {
    if (!numbers.includes(0xffffffff)) return;
    throw fault("is in the zip64 format, for 4 GiB and more; expected less, or .npy files");
  };
  refuseZip64(length, start, count === 0xffff ? 0xffffffff : 0);
  if (view.getUint32(end + 4, true) !== 0 || view.getUint16(end + 8, true) !== count) {
    throw fault("is a part of several zip files; expected one");
  }
  if (start + length !== end) {
    throw fault(`its directory is at ${start}..${start + length}, expected it to end at ${end}`);
  }
  const entries: Entry[] = [];
  let at = start;
  let room = start; // bytes that are still to be shared among entries
  for (let i = 0; i < count; i++) {
    if (at + sizes.directory > end || view.getUint32(at, true) !== signatures.directory) {
      throw fault(`found no header of entry ${i} of ${count} at ${at}`);
    }
    const nameEnd = at + sizes.directory + view.getUint16(at + 28, true);
    const next = nameEnd + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
    if (next > end) throw fault(`the header of entry ${i} of ${count} goes beyond the directory`);
    const entry = {
      name: new TextDecoder().decode(file.slice(at + sizes.directory, nameEnd)),
      flags: view.getUint16(at + 8, true),
      method: view.getUint16(at + 10, true),
      crc: view.getUint32(at + 16, true),
      packed: view.getUint32(at + 20, true),
      size: view.getUint32(at + 24, true),
      at: view.getUint32(at + 42, true),
    };
    refuseZip64(entry.packed, entry.size, entry.at);
    // Entries that share bytes would let a small file hold endless ones.
    room -= sizes.local + entry.packed;
    if (room < 0 || entry.at + sizes.local + entry.packed > start) {
      throw fault(`the entries take more than the ${start} bytes before the directory`);
    }
    entries.push(entry);
    at = next;
  }
  if (at !== end) throw fault(`found ${end - at} bytes after the directory's ${count} entries`);
  return entries;
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

async function bytesOf(file: Uint8Array, entry: Entry, title: string): Promise<Uint8Array> {
  const { flags, method, packed, size, at } = entry;
  const fault = (message: string) => new DataError(`${title} ${message}`);
  if (flags & 1) throw fault("is encrypted; expected it plain");
  if (method !== 0 && method !== 8) {
    throw fault(
      `is compressed by ${methods[method] ?? `method ${method}`}; expected stored or deflated`,
    );
  }
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  if (view.getUint32(at, true) !== signatures.local) throw fault(`has no header at ${at}`);
  const start = at + sizes.local + view.getUint16(at + 26, true) + view.getUint16(at + 28, true);
  if (start + packed > file.length) throw fault(`has ${packed} bytes at ${start}, beyond the end`);
  if (method === 0 && packed !== size) {
    throw fault(`is stored in ${packed} bytes, expected its size of ${size}`);
  }
  const raw = file.subarray(start, start + packed);
  const format = { format: "deflate-raw", head: 0, sizeOf: () => size } as const;
  const bytes = method === 0 ? raw : await inflate(raw, title, format);
  if (bytes.length !== size) throw fault(`has ${bytes.length} bytes, expected ${size}`);
  const crc = crc32(bytes);
  if (crc !== entry.crc) {
    throw fault(`is damaged: found CRC-32 ${hex(crc)}, expected ${hex(entry.crc)}`);
  }
  return bytes;
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

function record(kind: keyof typeof sizes, fill: (header: DataView) => void) {
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

const crcTable = Int32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? 0xedb88320 ^ (byte >>> 1) : byte >>> 1;
  return byte;
});

/** The checksum of zip files, and of PNG's. */
export function crc32(bytes: Uint8Array): number {
  let crc = -1;
  for (let i = 0; i < bytes.length; i++) crc = crcTable[(crc ^ bytes[i]!) & 255]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

function hex(crc: number): string {
  return crc.toString(16).padStart(8, "0");
}

function quote(name: string): string {
  return JSON.stringify(name.length > 100 ? `${name.slice(0, 100)}…` : name);
}
