// Fetches the files of a data set that a folder lacks.
import { replaceFile } from "../io/_files.ts";
import { environment } from "../native/environment.ts";
import { DataError } from "../native/errors.ts";
import { sha256Hex } from "./_sha256.ts";
import type { DataFile } from "./splits.ts";

/** Where the files of a data set are to be had. */
export interface Remote {
  /** Addresses of folders that hold `<name>.gz`, or the archive. */
  mirrors: readonly string[];
  /** A .tar.gz with all files in a folder. */
  archive?: { name: string; folder: string } | undefined;
}

/** The folder of data that was downloaded: of the user's choice, or the system's for such. */
export function cacheFolder(folder: string): string {
  const own = environment("CUDENO_DATA");
  if (own) return `${own}/${folder}`;
  const cache = environment("XDG_CACHE_HOME") ?? `${environment("HOME") ?? "."}/.cache`;
  return `${cache}/cudeno/${folder}`;
}

/** The bytes at an address. Gives up when nothing arrives for `patience` ms. */
export async function download(url: URL, patience = 8_000): Promise<Uint8Array<ArrayBuffer>> {
  const stop = new AbortController();
  const giveUp = () => stop.abort(new Error(`${url}: nothing arrived for ${patience} ms`));
  let timer = setTimeout(giveUp, patience);
  try {
    const response = await fetch(url, { signal: stop.signal });
    if (!response.ok || !response.body) {
      await response.body?.cancel();
      throw new Error(`${url} answered ${response.status} ${response.statusText}`);
    }
    const watch = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform(chunk, out) {
        clearTimeout(timer);
        timer = setTimeout(giveUp, patience);
        out.enqueue(chunk);
      },
    });
    return await new Response(response.body.pipeThrough(watch)).bytes();
  } finally {
    clearTimeout(timer);
  }
}

const present = (path: string) => Deno.stat(path).then(() => true, () => false);

/** Has the files in the folder, as `<name>.gz`, each verified before it is written. */
export async function fetchMissing(
  op: string,
  files: readonly DataFile[],
  folder: string,
  { mirrors, archive }: Remote,
): Promise<void> {
  const missing: DataFile[] = [];
  for (const file of files) {
    const path = `${folder}/${file.name}`;
    if (!await present(path) && !await present(`${path}.gz`)) missing.push(file);
  }
  if (missing.length === 0) return;
  const failures: string[] = [];
  for (const mirror of mirrors) {
    const base = mirror.endsWith("/") ? mirror : `${mirror}/`;
    try {
      await Deno.mkdir(folder, { recursive: true });
      const whole = archive && await untarred(await download(new URL(archive.name, base)));
      while (missing.length > 0) {
        const file = missing[0]!;
        const bytes = archive
          ? await gzipped(whole!(`${archive.folder}/${file.name}`))
          : await download(new URL(`${file.name}.gz`, base));
        await verify(file, bytes);
        await replaceFile(`${folder}/${file.name}.gz`, bytes);
        missing.shift();
      }
      return;
    } catch (error) {
      failures.push(reason(error));
    }
  }
  throw new DataError(
    `${op}: ${missing[0]!.name} could not be downloaded to ${folder}:\n  ${failures.join("\n  ")}`,
  );
}

/** What an error says, or what caused it where it says little itself, as fetch's does. */
export function reason(error: unknown): string {
  if (error instanceof TypeError && error.cause) return reason(error.cause);
  return error instanceof Error ? error.message : String(error);
}

async function verify(file: DataFile, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  // No more of it than the right file would have.
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const plain = new Uint8Array(file.bytes);
  let length = 0;
  for await (const part of stream) {
    if (length + part.length > file.bytes) throw new Error(`${file.name}.gz is not the right file`);
    plain.set(part, length);
    length += part.length;
  }
  const sha256 = await sha256Hex(plain.subarray(0, length));
  if (sha256 === file.sha256) return;
  throw new Error(
    `${file.name}.gz is not the right file: it has ${length} bytes and SHA-256 ${sha256}`,
  );
}

async function gzipped(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
  return await new Response(stream).bytes();
}

// The files of a .tar.gz by their paths.
async function untarred(bytes: Uint8Array<ArrayBuffer>) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const tar = await new Response(stream).bytes();
  const text = (at: number, length: number) =>
    new TextDecoder().decode(tar.subarray(at, at + length)).replace(/\0.*/s, "");
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0;) {
    const name = text(at, 100), size = parseInt(text(at + 124, 12), 8);
    if (!(size >= 0)) throw new Error("the archive is no tar file");
    files.set(name.replace(/^\.\//, ""), tar.slice(at + 512, at + 512 + size));
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return (path: string) => {
    const found = files.get(path);
    if (!found) throw new Error(`the archive has no ${path}`);
    return found;
  };
}
