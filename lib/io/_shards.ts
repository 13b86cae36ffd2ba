// Weights in several files, with an index that says which tensor is in which, as Hugging Face's
// model.safetensors.index.json.
import { DataError } from "../native/errors.ts";
import { type OpenFile, pathOf, withFile } from "./_files.ts";
import type { Header } from "./_safetensors_format.ts";
import { headerOf } from "./_stored.ts";

/** A file that is open, and what its header says. */
export interface Opened extends Header {
  file: OpenFile;
}

const maxIndexBytes = 100_000_000;

/**
 * Runs `use` with a .safetensors file, or with those that an index, a path that ends in
 * `.index.json`, names for tensors that are `wanted`: all open, and known to hold what it says.
 *
 * @throws {DataError} where files are missing, damaged, or not as the index says.
 */
export async function withShards<T>(
  path: string | URL,
  wanted: (name: string) => boolean,
  use: (files: Opened[]) => Promise<T>,
): Promise<T> {
  const open = (file: OpenFile) => headerOf(file).then((header) => ({ file, ...header }));
  const name = pathOf(path);
  if (!name.endsWith(".index.json")) {
    return await withFile(name, async (file) => await use([await open(file)]));
  }
  const shards = await withFile(name, indexOf);
  const needed = [...shards].filter(([, names]) => [...names].some(wanted));
  const folder = name.replace(/[^/\\]*$/, "");
  const next = async (files: Opened[]): Promise<T> => {
    if (files.length === needed.length) return await use(files);
    const [shard, names] = needed[files.length]!;
    return await withFile(folder + shard, async (file) => {
      const opened = await open(file);
      checkNames(opened, names, name);
      return await next([...files, opened]);
    });
  };
  return await next([]);
}

/** The names of tensors by file. */
async function indexOf({ name, size, read }: OpenFile): Promise<Map<string, Set<string>>> {
  const fault = (message: string, options?: ErrorOptions) =>
    new DataError(`${name}: ${message}`, options);
  if (size > maxIndexBytes) throw fault(`found ${size} bytes, expected at most ${maxIndexBytes}`);
  let map: unknown;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await read(0, size));
    map = (JSON.parse(text) as { weight_map?: unknown } | null)?.weight_map;
  } catch (cause) {
    if (cause instanceof DataError) throw cause;
    throw fault("found no valid JSON, expected an index of weights", { cause });
  }
  if (typeof map !== "object" || map === null || Array.isArray(map)) {
    throw fault('found no "weight_map", expected one from names of tensors to files');
  }
  const shards = new Map<string, Set<string>>();
  for (const [tensor, shard] of Object.entries(map)) {
    if (typeof shard !== "string" || !isWithin(shard)) {
      throw fault(
        `${JSON.stringify(tensor.slice(0, 100))} is in ${
          JSON.stringify(shard)?.slice(0, 100)
        }, expected the name of a file beside the index`,
      );
    }
    let names = shards.get(shard);
    if (!names) shards.set(shard, names = new Set());
    names.add(tensor);
  }
  return shards;
}

/** Whether a path does not leave its folder. */
function isWithin(path: string): boolean {
  const plain = /^[^/\\:\0][^\\:\0]*$/.test(path);
  return plain && path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
}

function checkNames({ file, entries }: Opened, names: Set<string>, index: string): void {
  const found = new Set(entries.map(({ name }) => name));
  const [missing] = names.difference(found), [extra] = found.difference(names);
  const name = missing ?? extra;
  if (name === undefined) return;
  const quoted = JSON.stringify(name.slice(0, 100));
  throw new DataError(
    missing === undefined
      ? `${file.name} has ${quoted}; the index, ${index}, does not have it there`
      : `${file.name} lacks ${quoted}; the index, ${index}, has it there`,
  );
}
