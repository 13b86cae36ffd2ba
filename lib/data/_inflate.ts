// Compressed files, and how far they are inflated.
import { DataError } from "../native/errors.ts";

const maxInflated = 2 ** 31;
/** How many times as much as its own bytes a compressed file can hold; deflate's is 1032. */
export const maxRatio = 1040;

/** Whether bytes begin as a gzip file does. */
export function isGzip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}

/** How {@linkcode inflate} reads. */
export interface Compression {
  /** gzip, zlib's format, which is called deflate, or a zip file's, which has neither's header. */
  format: "gzip" | "deflate" | "deflate-raw";
  /** How many bytes `sizeOf` needs to see. */
  head: number;
  /** How many bytes there are at most, by the first ones. */
  sizeOf(head: Uint8Array): number;
}

/**
 * The bytes that a compressed file holds, as many as `sizeOf` says at most.
 *
 * @throws DataError when the file is damaged or truncated, or holds more.
 */
export async function inflate(
  bytes: Uint8Array,
  name: string,
  { format, head, sizeOf }: Compression,
): Promise<Uint8Array<ArrayBuffer>> {
  // The copy costs little, and a Blob takes no shared memory.
  const stream = new Blob([bytes.slice()]).stream();
  const reader = stream.pipeThrough(new DecompressionStream(format)).getReader();
  const next = async () => {
    try {
      return (await reader.read()).value;
    } catch (cause) {
      throw new DataError(
        `${name}: found ${bytes.length} bytes of ${format} that are damaged or truncated, ` +
          `expected one whole ${format} file`,
        { cause },
      );
    }
  };
  const fault = (message: string) => new DataError(`${name}: ${message}`);
  let whole = new Uint8Array(head); // until the header says more
  let end: number | undefined;
  let size = 0;
  try {
    for (let part; (part = await next());) {
      if (end === undefined && size + part.length >= head) {
        whole.set(part.subarray(0, head - size), size);
        end = sizeOf(whole);
        if (end > maxInflated) {
          throw fault(
            `its header is of ${end} bytes, and a ${format} file is inflated to ${maxInflated} ` +
              "at most; inflate it before reading it",
          );
        }
        if (end > bytes.length * maxRatio) {
          throw fault(
            `its header is of ${end} bytes, which ${bytes.length} bytes of ${format} cannot hold`,
          );
        }
        const begun = whole.subarray(0, size);
        whole = new Uint8Array(end);
        whole.set(begun.subarray(0, end));
      }
      if (size + part.length > whole.length) {
        throw fault(`the ${format} file holds more than the ${end} bytes that it should`);
      }
      whole.set(part, size);
      size += part.length;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
  return whole.subarray(0, size);
}
