// Files as users have them: a path, the bytes, or a stream of them.
import { bytesOf } from "../core/host.ts";
import { refuse } from "../core/options.ts";
import { DataError } from "../native/errors.ts";
import { withFile } from "./_files.ts";

/**
 * Where a reader finds its file: a path or `file:` URL, which takes --allow-read; the bytes
 * themselves; or a stream of them, such as the body of a Response.
 */
export type Source =
  | string
  | URL
  | ArrayBufferView
  | ArrayBufferLike
  | ReadableStream<Uint8Array>;

const maxStream = 2 ** 32;

/** All bytes of a source, and what messages call it. */
export async function sourceOf(
  op: string,
  source: Source,
): Promise<{ name: string; bytes: Uint8Array }> {
  if (typeof source === "string" || source instanceof URL) {
    return await withFile(source, async ({ name, size, read }) => {
      return { name, bytes: await read(0, size) };
    });
  }
  const name = `${op}: the ${source instanceof ReadableStream ? "stream" : "bytes"}`;
  if (source instanceof ReadableStream) return { name, bytes: await drained(op, name, source) };
  const bytes = bytesOf(op, source);
  if (!bytes) refuse(op, "the source", source, "a path, a Uint8Array, or a stream of them");
  return { name, bytes };
}

async function drained(op: string, name: string, stream: ReadableStream<Uint8Array>) {
  if (stream.locked) refuse(op, "the stream", stream, "one that nobody else reads");
  const parts: Uint8Array[] = [];
  let size = 0;
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((cause) => {
        throw new DataError(`${name} failed after ${size} bytes: ${cause?.message ?? cause}`, {
          cause,
        });
      });
      if (done) break;
      const part = bytesOf(op, value);
      if (!part) refuse(op, "a part of the stream", value, "a Uint8Array");
      parts.push(part);
      size += part.length;
      if (size > maxStream) throw new DataError(`${name} has more than ${maxStream} bytes`);
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
