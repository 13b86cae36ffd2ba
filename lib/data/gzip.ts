import { DataError } from "../native/errors.ts";

/**
 * The bytes that a gzip file holds; other bytes as they are.
 *
 * @throws DataError when it begins like a gzip file and is damaged or truncated.
 */
export async function inflate(bytes: Uint8Array, name: string): Promise<Uint8Array> {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  try {
    // The copy costs little, and a Blob takes no shared memory.
    const stream = new Blob([bytes.slice()]).stream();
    return await new Response(stream.pipeThrough(new DecompressionStream("gzip"))).bytes();
  } catch (cause) {
    throw new DataError(
      `${name}: found ${bytes.length} bytes of gzip that are damaged or truncated, expected one ` +
        `whole gzip file`,
      { cause },
    );
  }
}
