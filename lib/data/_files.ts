// The files of a data set: where they are, and whether they are the right ones.
import { fileBytes } from "../core/host.ts";
import { checkFunction, checkOptions, refuse } from "../core/options.ts";
import { scope } from "../core/scope.ts";
import { tensor } from "../create.ts";
import { withFile } from "../io/_files.ts";
import { environment, filePath } from "../native/environment.ts";
import { DataError } from "../native/errors.ts";
import { TensorDataset, type TensorDatasetOptions } from "./dataset.ts";
import { cacheFolder, fetchMissing, type Remote } from "./_download.ts";
import { isGzip } from "./_inflate.ts";
import { sha256Hex } from "./_sha256.ts";
import type { DataFile, Splits, SplitsOptions } from "./splits.ts";

/** What there is to know of a data set before it is read. */
export interface FileSet {
  /** The function that reads it. */
  op: string;
  /** As messages call it. */
  title: string;
  /** The folder in data/ that `make data` puts it into. */
  folder: string;
  /** The command that fetches it. */
  fetch: string;
  files: readonly DataFile[];
  /** Where they are to be had. */
  remote: Remote;
  /** How many bytes at the beginning of a plain file checkSize() needs. */
  head: number;
  /** Throws unless a plain file that begins so may have this size. */
  checkSize(head: Uint8Array, size: number, name: string): void;
  /** The bytes of a gzip file. */
  inflate(bytes: Uint8Array, name: string): Promise<Uint8Array>;
}

const maxGzip = 2 ** 30;

/** Reads files of the set by name; they are inflated, and verified unless that is not wanted. */
export function readerOf(
  set: FileSet,
  options: SplitsOptions,
  more: readonly string[] = [],
): (name: string) => Promise<Uint8Array> {
  const { op, title, files, fetch } = set;
  checkOptions(op, options, ["dir", "read", "verify", "device", "download", ...more]);
  const { verify = true } = options;
  if (options.read !== undefined) checkFunction(op, "read", options.read);
  const { download = false } = options;
  if (typeof download !== "boolean" && typeof download !== "string") {
    refuse(op, "download", download, "true, or the address of a mirror");
  }
  const own = environment("CUDENO_DATA");
  const dir = options.dir ??
    (download ? cacheFolder(set.folder) : own ? `${own}/${set.folder}` : fetched(set.folder));
  const { mirrors, ...others } = set.remote;
  const remote = { ...others, mirrors: typeof download === "string" ? [download] : mirrors };
  let ready: Promise<void> | undefined;
  const read = options.read ?? fromFolder(set, dir);
  return async (name) => {
    if (download && !options.read) await (ready ??= fetchMissing(op, files, dir, remote));
    const file = fileBytes(`${op}: read`, await read(name));
    const bytes = isGzip(file) ? await set.inflate(file, name) : file;
    if (!verify) return bytes;
    const wanted = files.find((file) => file.name === name)!;
    const sha256 = await sha256Hex(bytes);
    if (sha256 !== wanted.sha256) {
      throw new DataError(
        `${name} is not ${title}'s: it has ${bytes.length} bytes and SHA-256 ${sha256}; ` +
          `wanted are ${wanted.bytes} bytes and ${wanted.sha256}. Delete it and run \`${fetch}\``,
      );
    }
    return bytes;
  };
}

// Where `make data` puts the files: beside this module, if that is a file.
function fetched(folder: string): string {
  const beside = new URL(`../../data/${folder}`, import.meta.url);
  return beside.protocol === "file:" ? filePath(beside) : `data/${folder}`;
}

function fromFolder(set: FileSet, dir: string): (name: string) => Promise<Uint8Array> {
  return async (name) => {
    let cause: unknown;
    for (const path of [`${dir}/${name}.gz`, `${dir}/${name}`]) {
      try {
        return await withFile(path, async ({ size, read }) => {
          const head = await read(0, Math.min(set.head, size));
          if (!isGzip(head)) set.checkSize(head, size, name);
          else if (size > maxGzip) {
            throw new DataError(
              `${path} has ${size} bytes; at most ${maxGzip} are read of a gzip file`,
            );
          }
          return await read(0, size);
        });
      } catch (error) {
        cause = (error as Error).cause;
        if (!(cause instanceof Deno.errors.NotFound)) throw error;
      }
    }
    throw new DataError(
      `${dir}/${name}.gz is missing; download ${set.title} by { download: true } or with ` +
        `\`${set.fetch}\`, or name its folder by { dir }`,
      { cause },
    );
  };
}

/** Images and labels on the host. */
export interface Part {
  images: Uint8Array;
  /** [n, channels, height, width]. */
  shape: readonly number[];
  labels: Uint8Array;
}

/** Puts both parts on the device, or neither. */
export function splits(
  parts: { train: Part; test: Part },
  classes: readonly string[],
  { device }: SplitsOptions,
  scaling: TensorDatasetOptions = {},
): Splits {
  const place = device ? { device } : {};
  const onDevice = ({ images, shape, labels }: Part) =>
    [tensor(images, { ...place, shape }), tensor(labels, place)] as const;
  const { train, test } = scope(() => ({
    train: onDevice(parts.train),
    test: onDevice(parts.test),
  }));
  return {
    train: new TensorDataset(...train, scaling),
    test: new TensorDataset(...test, scaling),
    classes,
  };
}
