// TensorBoard's event files: records of TensorFlow's TFRecord format, each an Event of
// tensorflow/core/util/event.proto.
import { folderOf } from "./_files.ts";
import { type Bytes, doubleField, field, intField, joined } from "./_protobuf.ts";

const table = Int32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? 0x82f63b78 ^ (byte >>> 1) : byte >>> 1;
  return byte;
});

// CRC-32C, turned and shifted as TFRecord has it, so that a checksum of checksums is none.
function maskedCrc(bytes: Bytes): number {
  let crc = -1;
  for (let i = 0; i < bytes.length; i++) crc = table[(crc ^ bytes[i]!) & 255]! ^ (crc >>> 8);
  crc = ~crc;
  return ((crc >>> 15 | crc << 17) + 0xa282ead8) >>> 0;
}

// The length, its checksum, the data, its checksum.
function record(data: Bytes): Bytes {
  const bytes = new Uint8Array(data.length + 16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length, true); // the upper half stays 0
  view.setUint32(8, maskedCrc(bytes.subarray(0, 8)), true);
  bytes.set(data, 12);
  view.setUint32(12 + data.length, maskedCrc(data), true);
  return bytes;
}

const wallTime = () => doubleField(1, Date.now() / 1000);

/** The record of one value of a summary, at a step. */
export const valueRecord = (step: number, value: readonly Bytes[]): Bytes =>
  record(joined([wallTime(), intField(2, step), field(5, field(1, value))]));

let files = 0;

/**
 * Makes a new event file in a folder, with its first record, and returns its path. Files of other
 * processes, and of this one, have other names.
 */
export function newEventFile(folder: string): string {
  const first = record(joined([wallTime(), field(3, "brain.Event:2")]));
  const seconds = String(Math.floor(Date.now() / 1000)).padStart(10, "0");
  const host = Deno.permissions.querySync({ name: "sys", kind: "hostname" }).state === "granted"
    ? Deno.hostname().replaceAll(/[^\w.-]/g, "_")
    : "cudeno";
  for (;;) {
    const path = `${folder}/events.out.tfevents.${seconds}.${host}.${Deno.pid}.${files++}`;
    Deno.mkdirSync(folderOf(path), { recursive: true });
    try {
      Deno.writeFileSync(path, first, { createNew: true });
      return path;
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    }
  }
}
