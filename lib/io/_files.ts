import { filePath } from "../native/environment.ts";
import { refuse } from "../core/options.ts";
import { CudenoError, DataError } from "../native/errors.ts";

/** A regular file that is open for reading. */
export interface OpenFile {
  /** As messages call it. */
  readonly name: string;
  /** Its bytes when it was opened. */
  readonly size: number;
  /**
   * The bytes from `begin` to before `end`, which must lie within `size`: in memory of their own,
   * or at the start of `into`, where they fit.
   */
  read(
    begin: number,
    end: number,
    into?: Uint8Array<ArrayBuffer>,
  ): Promise<Uint8Array>;
}

/**
 * Runs `use` with a file, and closes it. Nothing but a regular file is opened: a pipe would wait
 * for a writer, and a device such as /dev/zero never ends.
 *
 * @throws {DataError} when it is missing, no regular file, or cannot be read.
 */
export async function withFile<T>(
  path: string | URL,
  use: (file: OpenFile) => Promise<T>,
): Promise<T> {
  const name = pathOf(path);
  const info = await Deno.stat(name).catch((cause) => {
    const missing = cause instanceof Deno.errors.NotFound;
    throw failure(missing ? `${name} is missing` : `${name} cannot be read`, cause);
  });
  checkRegular(name, info);
  const { size } = info;
  const file = await attempt(`${name} cannot be read`, () => Deno.open(name));
  try {
    const read = (begin: number, end: number, into?: Uint8Array<ArrayBuffer>) =>
      attempt(`${name} cannot be read`, async () => {
        const bytes = into ? into.subarray(0, end - begin) : new Uint8Array(end - begin);
        file.seekSync(begin, Deno.SeekMode.Start);
        for (let at = 0; at < bytes.length;) {
          const n = await file.read(bytes.subarray(at));
          if (n === null) throw new DataError(`${name}: it became shorter while it was read`);
          at += n;
        }
        return bytes;
      });
    return await use({ name, size, read });
  } finally {
    file.close();
  }
}

/** Bytes as a file. */
export function fileOf(name: string, bytes: Uint8Array): OpenFile {
  const read = (begin: number, end: number) => Promise.resolve(bytes.subarray(begin, end));
  return { name, size: bytes.length, read };
}

/** What a file is to hold: bytes, or parts of them as they become ready. */
export type Content = Uint8Array | AsyncIterable<Uint8Array>;

/**
 * Writes a file so that it holds, whatever happens, either all of `content` or what it held before:
 * to a new file in the same folder that is synced and then renamed. Links are followed, and the
 * mode of a file that is replaced stays.
 *
 * That takes --allow-read and --allow-write of the folder. Where only the file itself may be
 * written, it is overwritten in place under a lock, cut to its length last: an error or a loss of
 * power on the way leaves a mixture of old and new.
 *
 * @throws {DataError} when it cannot be written.
 */
export async function replaceFile(path: string | URL, content: Content): Promise<void> {
  const name = pathOf(path);
  await attempt(`${name} cannot be written`, async () => {
    const target = await targetOf(name);
    // Short and without the target's name, which may be as long as names can be.
    const temporary = target.replace(/[^/\\]*$/, `.cudeno-${crypto.randomUUID()}.tmp`);
    const before = granted("read", target) ? await found(Deno.stat(target)) : undefined;
    if (before) checkRegular(target, before);
    const inPlace = ![target, temporary].every((path) =>
      granted("read", path) && granted("write", path)
    );
    const file = inPlace ? undefined : await create(temporary, before);
    if (!file) return await overwrite(name, content);
    try {
      try {
        if (before?.mode != null) {
          // as far as that is allowed
          await Deno.chown(temporary, before.uid, before.gid).catch(() => {});
          await Deno.chmod(temporary, before.mode & 0o7777);
        }
        await writeAll(file, content);
        await file.sync();
      } finally {
        file.close();
      }
      await Deno.rename(temporary, target);
    } catch (error) {
      await Deno.remove(temporary).catch(() => {});
      throw error;
    }
    await syncFolder(target.replace(/[^/\\]*$/, "") || ".");
  });
}

function granted(name: "read" | "write", path: string): boolean {
  return Deno.permissions.querySync({ name, path }).state === "granted";
}

/**
 * What a path stands for once links are followed as far as may be, also where the last one leads to
 * nothing yet.
 */
async function targetOf(path: string, hops = 40): Promise<string> {
  const info = granted("read", path) ? await found(Deno.lstat(path)) : undefined;
  if (!info?.isSymlink) return path;
  if (hops === 0) throw new DataError(`${path}: the links go round in a circle`);
  const link = await Deno.readLink(path);
  const absolute = /^([/\\]|[a-z]:)/i.test(link);
  return await targetOf(absolute ? link : path.replace(/[^/\\]*$/, "") + link, hops - 1);
}

// No wider than the file that it is to replace. Undefined where the folder is read-only, but that
// file perhaps not.
async function create(path: string, before: Deno.FileInfo | undefined) {
  try {
    const mode = (before?.mode ?? 0o666) & 0o777;
    return await Deno.open(path, { write: true, createNew: true, mode });
  } catch (error) {
    if (before && error instanceof Deno.errors.PermissionDenied) return undefined;
    throw error;
  }
}

async function found(info: Promise<Deno.FileInfo>): Promise<Deno.FileInfo | undefined> {
  try {
    return await info;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

async function overwrite(path: string, content: Content): Promise<void> {
  let created = true;
  const file = await Deno.open(path, { write: true, createNew: true }).catch((error) => {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    created = false;
    return Deno.open(path, { write: true, create: true });
  });
  try {
    try {
      // else two saves would mix; not every file system has locks
      await file.lock(true).catch(() => {});
      await file.truncate(await writeAll(file, content));
      await file.sync();
    } finally {
      file.close();
    }
  } catch (error) {
    if (created) await Deno.remove(path).catch(() => {});
    throw error;
  }
}

/** Writes all, and says how much that was. */
async function writeAll(file: Deno.FsFile, content: Content): Promise<number> {
  let size = 0;
  for await (const bytes of content instanceof Uint8Array ? [content] : content) {
    for (let at = 0; at < bytes.length;) {
      const n = await file.write(bytes.subarray(at));
      if (n === 0) throw new Error("nothing more could be written");
      at += n;
    }
    size += bytes.length;
  }
  return size;
}

// The renaming is on the disk once its folder is. Not every system lets a folder be opened; the
// file is whole anyway.
async function syncFolder(path: string): Promise<void> {
  try {
    using folder = await Deno.open(path);
    await folder.sync();
  } catch { /* nothing else to try */ }
}

/** A path as the system has it. */
export function pathOf(path: string | URL): string {
  if (typeof path === "string") return path;
  if (!(path instanceof URL) || path.protocol !== "file:") {
    refuse("io", "the path", path, "a string or a file: URL");
  }
  return filePath(path);
}

function checkRegular(name: string, info: Deno.FileInfo): void {
  if (info.isFile) return;
  const what = info.isDirectory ? "a folder" : info.isFifo ? "a pipe" : "a device or the like";
  throw new DataError(`${name} is ${what}; wanted is a file`);
}

async function attempt<T>(wrong: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (cause) {
    throw failure(wrong, cause);
  }
}

function failure(wrong: string, cause: unknown): CudenoError {
  if (cause instanceof CudenoError) return cause; // of tensors, where these are what is written
  return new DataError(`${wrong}: ${cause instanceof Error ? cause.message : cause}`, { cause });
}
