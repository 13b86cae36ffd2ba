import { environment, filePath } from "./environment.ts";
import {
  ArgumentError,
  type CudenoError,
  IndexError,
  LibraryError,
  NativeError,
  OutOfMemoryError,
} from "./errors.ts";
import { abiVersion, symbols, waiting } from "./symbols.ts";

/** Which of the two builds of cudeno.h a library is. */
export type LibraryKind = "cpu" | "cuda";

type Functions = Deno.DynamicLibrary<typeof symbols & typeof waiting>["symbols"];

const OUT_OF_MEMORY = 3;

/** An open native library: its functions, and what their status codes mean. */
export class Library {
  /** CPU or CUDA. */
  readonly kind: LibraryKind;
  /** The file it was opened from. */
  readonly path: string;
  /** The functions of cudeno.h. */
  readonly functions: Functions;

  /** Wraps what Deno.dlopen returned. */
  constructor(kind: LibraryKind, path: string, functions: Functions) {
    this.kind = kind;
    this.path = path;
    this.functions = functions;
  }

  /** Throws what a status other than 0 stands for. */
  check(status: number): void {
    if (status === 0) return;
    const text = this.lastError();
    throw errorOf(status, text);
  }

  /** The text of the last error on this thread. */
  lastError(): string {
    return text(this.functions.cdn_last_error());
  }

  /** Compiler and architectures. */
  buildInfo(): string {
    return text(this.functions.cdn_build_info());
  }

  /** The matmul variants that this library has, by number. */
  matmulVariants(): string[] {
    return this.#names(this.functions.cdn_matmul_variant);
  }

  /** The methods of convolution that this library has, by number. */
  convVariants(): string[] {
    return this.#names(this.functions.cdn_conv2d_variant);
  }

  #names(nameOf: (variant: number) => Deno.PointerValue): string[] {
    const names: string[] = [];
    for (;;) {
      const name = nameOf(names.length);
      if (name === null) return names;
      names.push(text(name));
    }
  }
}

// The error for a status and its text, "cdn_op: argument: cause (file:line)", in the words of
// whoever called from TypeScript.
function errorOf(status: number, detail: string): CudenoError {
  const message = detail.replace(/ \(\w+\.\w+:\d+\)$/, "")
    .replace(/\bcdn_\w+/g, (name) => camelCase(name.slice("cdn_".length)));
  if (status === OUT_OF_MEMORY) {
    return new OutOfMemoryError(
      message.replace(/free .*/, "use scope() or dispose() to free tensors, a smaller batch, or ") +
        "a higher memoryLimit in init()",
    );
  }
  const fault = /(\w+), called before, met index (-?\d+); it must be in (-?\d+)\.\.(-?\d+)/.exec(
    message,
  );
  const later = "Found later, by what waits for the device; CUDENO_SYNC=1 finds it at the call";
  const weights = /multinomial, called before, met (.*)/.exec(message)?.[1];
  if (weights) return new ArgumentError(`multinomial: there is ${weights}. ${later}`);
  if (!fault) return new NativeError(status, message, detail);
  const [op, index, last] = [fault[1]!, Number(fault[2]), Number(fault[4])];
  const range = `${fault[3]}..${last}`;
  const what = ["crossEntropy", "nllLoss"].includes(op)
    ? `a target is ${index}; classes are ${range} (the model has ${
      last + 1
    } outputs): count classes ` +
      "from 0, and give the model an output for each"
    : `an index is ${index}; it must be in ${range}`;
  return new IndexError(
    `${sharing[op] ?? op}: ${what}. ${later}`,
    index,
    last + 1,
  );
}

// Operations with one kernel, which does not know for whom it works.
const sharing: Record<string, string> = {
  gather: "embedding",
  nllLoss: "crossEntropy or nllLoss",
  take: "gather, indexSelect or take",
};

const camelCase = (name: string) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());

function text(pointer: Deno.PointerValue): string {
  return pointer === null ? "" : Deno.UnsafePointerView.getCString(pointer);
}

const open = new Map<LibraryKind, Library>();

/**
 * Opens a library, once per kind. Looks at the path given, else at `CUDENO_LIBRARY` when it names a
 * library of this kind, else at `cuda/build/` beside this module; never further when one is named.
 *
 * @throws {LibraryError} with every path tried, and the loader's own message as `cause`.
 */
export function openLibrary(kind: LibraryKind, path?: string): Library {
  const known = open.get(kind);
  if (known && (path === undefined || path === known.path)) return known;
  if (known) {
    throw new LibraryError(
      `The ${kind} library is already open, from ${known.path}; it cannot be changed to ${path}`,
    );
  }
  const library = openFirst(kind, path === undefined ? candidates(kind) : [path]);
  open.set(kind, library);
  return library;
}

/**
 * A library for what works on the host's memory alone, and so needs no device: one that is open,
 * else the CPU's, else the other.
 */
export function hostLibrary(): Library {
  for (const library of open.values()) return library;
  try {
    return openLibrary("cpu");
  } catch (error) {
    try {
      return openLibrary("cuda");
    } catch {
      throw error;
    }
  }
}

/**
 * The kind of library that a file name stands for: one with `cuda` in it is CUDA, all else the CPU.
 */
export function kindOf(path: string): LibraryKind {
  return path.split(/[\\/]/).pop()!.includes("cuda") ? "cuda" : "cpu";
}

function candidates(kind: LibraryKind): string[] {
  const named = environment("CUDENO_LIBRARY");
  // another one would not be what was asked for
  if (named && kindOf(named) === kind) return [named];
  const suffix = Deno.build.os === "darwin" ? "dylib" : Deno.build.os === "windows" ? "dll" : "so";
  const beside = new URL(`../../cuda/build/libcudeno_${kind}.${suffix}`, import.meta.url);
  return beside.protocol === "file:" ? [filePath(beside)] : [];
}

function openFirst(kind: LibraryKind, paths: string[]): Library {
  let cause: unknown;
  const tried: string[] = [];
  for (const path of paths) {
    try {
      return load(kind, path);
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw permissionError(path, error);
      cause = error;
      const reason = error instanceof Error ? error.message : String(error);
      tried.push(`${path}: ${reason.replace(/^(Could not open library: )+/, "")}`);
    }
  }
  throw new LibraryError(
    `No ${kind} library could be opened. Tried:\n${
      tried.map((line) => `  ${line}`).join("\n")
    }\nBuild it with \`make ${kind}\`${
      kind === "cuda" ? " (a plain `make` does so only where a GPU is visible)" : ""
    }, or name it by init({ library }) or CUDENO_LIBRARY`,
    { cause },
  );
}

function permissionError(path: string, cause: Error): LibraryError {
  return new LibraryError(
    `Opening ${path} needs the permission to call native code; run with --allow-ffi (all of it, ` +
      "not --allow-ffi=FILE)",
    { cause },
  );
}

function load(kind: LibraryKind, path: string): Library {
  checkWhole(path);
  checkVersion(path);
  const opened = Deno.dlopen(path, { ...symbols, ...waiting });
  const library = new Library(kind, path, opened.symbols);
  // which no other isolate of this thread has
  library.check(opened.symbols.cdn_attach(performance.timeOrigin));
  if (!library.buildInfo().startsWith(kind)) {
    throw new LibraryError(
      `the library is one for ${library.buildInfo()}; a file with "cuda" in its name must be a ` +
        "CUDA build, any other a CPU build",
    );
  }
  return library;
}

// Loading an ELF file that was cut off, by a copy perhaps, ends the process. Its section table, by
// what the header says, commonly stands at its end.
function checkWhole(path: string): void {
  if (Deno.permissions.querySync({ name: "read", path }).state !== "granted") return;
  const header = new DataView(new ArrayBuffer(64));
  let size = 0;
  try {
    using file = Deno.openSync(path);
    size = file.readSync(new Uint8Array(header.buffer)) === 64 ? file.statSync().size : 0;
  } catch {
    return; // the loader says why
  }
  const ends = Number(header.getBigUint64(40, true)) +
    header.getUint16(58, true) * header.getUint16(60, true);
  if (header.getUint32(0) !== 0x7f454c46 || header.getUint8(4) !== 2 || size >= ends) return;
  throw new LibraryError(
    `the file is cut off, after ${size} of ${ends} bytes; copy or build it again`,
  );
}

// First by the version alone: a library of another version may lack functions that the table names.
function checkVersion(path: string): void {
  const probe = Deno.dlopen(path, { cdn_abi_version: symbols.cdn_abi_version });
  const version = probe.symbols.cdn_abi_version();
  probe.close();
  if (version !== abiVersion) {
    throw new LibraryError(
      `the library has ABI version ${version}, this module needs ${abiVersion}; rebuild it with ` +
        "`make`",
    );
  }
}
