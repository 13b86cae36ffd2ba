// Paths that callbacks write to.
import { refuse } from "../../core/options.ts";
import { filePath } from "../../native/environment.ts";
import { DataError } from "../../native/errors.ts";

/** A path as a text; throws for what is none. */
export function pathOf(op: string, path: string | URL): string {
  if (path instanceof URL && path.protocol === "file:") return filePath(path);
  if (typeof path !== "string" || path === "") {
    refuse(op, "the path", path, "a path that is not empty, or a file: URL");
  }
  return path;
}

/** The folder of a file, as far as its path names one. */
export const folderOf = (path: string): string => path.match(/^(.*)[/\\]/s)?.[1] || ".";

/** Makes a folder with those around it, where it is not there. */
export async function makeFolder(op: string, path: string): Promise<void> {
  // Where there is one, no permission to write it is asked for.
  if (await Deno.stat(path).then(({ isDirectory }) => isDirectory, () => false)) return;
  await named(op, path, () => Deno.mkdir(path, { recursive: true }));
}

/** Runs fn; what the system says of a file becomes a DataError that names the path. */
export async function named<T>(op: string, path: string, fn: () => Promise<T>): Promise<T> {
  try {
    return await fn();
  } catch (cause) {
    if (cause instanceof DataError) throw cause;
    const why = cause instanceof Error ? cause.message : cause;
    throw new DataError(`${op}: ${path} cannot be written: ${why}`, { cause });
  }
}
