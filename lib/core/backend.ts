import { formatValue } from "./describe.ts";
import { ArgumentError, CudenoError, DeviceError } from "../native/errors.ts";
import { environment } from "../native/environment.ts";
import { kindOf, type Library, openLibrary } from "../native/library.ts";
import { checkOptions } from "./options.ts";
import { manualSeed } from "./random.ts";

/** A device by name. */
export type DeviceName = "cpu" | "cuda" | `cuda:${number}`;

/** What is known of a device, and from where its library was loaded. */
export interface DeviceInfo {
  /** `"cpu"` or `"cuda:0"`, as tensors name it. */
  readonly device: DeviceName;
  /** The processor's own name. */
  readonly name: string;
  /** `"9.0"` and the like; empty on the CPU. */
  readonly computeCapability: string;
  /** Multiprocessors, or threads on the CPU. */
  readonly processors: number;
  /** Memory in bytes. */
  readonly totalMemory: number;
  /** Memory free at the time of asking, in bytes. */
  readonly freeMemory: number;
  /** The version that the CUDA driver supports, `"13.0"`; empty on the CPU. */
  readonly driver: string;
  /** The file of the native library. */
  readonly library: string;
  /** Its compiler and architectures. */
  readonly build: string;
  /** Why `"auto"` did not choose a GPU; empty otherwise. */
  readonly note: string;
}

/** Options of {@linkcode init}. */
export interface InitOptions {
  /** `"auto"` (default) takes the first GPU, else the CPU. */
  device?: "auto" | DeviceName | undefined;
  /** A native library's file, instead of the one found by itself. */
  library?: string | undefined;
  /**
   * The most bytes that this isolate takes of the device's memory; by default what the machine or
   * its container has.
   */
  memoryLimit?: number | undefined;
  /** As {@linkcode manualSeed}. */
  seed?: number | undefined;
}

/** One device through its library: what operations call. */
export class Backend {
  /**
   * The open library.
   *
   * @ignore
   */
  readonly library: Library;
  /** The device's number within it. */
  readonly index: number;
  /** Its name to users. */
  readonly device: DeviceName;
  /**
   * The functions of cudeno.h.
   *
   * @ignore
   */
  readonly functions: Library["functions"];
  /**
   * The last net: memory of tensors that nobody disposed, by handle. It works whenever the garbage
   * collector happens to.
   *
   * @ignore
   */
  readonly forgotten: FinalizationRegistry<number | { handle: number; what: string }>;

  /** Used by {@linkcode backendFor}. */
  constructor(library: Library, index: number) {
    this.library = library;
    this.index = index;
    this.device = library.kind === "cpu" ? "cpu" : `cuda:${index}`;
    this.functions = library.functions;
    this.forgotten = new FinalizationRegistry((held) => {
      const { handle, what } = typeof held === "number" ? { handle: held, what: "" } : held;
      if (what) {
        console.warn(`cudeno: ${what} was collected without dispose(); use scope() or \`using\``);
      }
      this.functions.cdn_free(handle);
    });
  }

  /** Throws what a status other than 0 stands for. */
  check(status: number): void {
    if (status !== 0) this.library.check(status);
  }

  /** Asks the library. */
  info(note = ""): DeviceInfo {
    const name = new Uint8Array(256);
    const numbers = new BigInt64Array(8);
    this.check(this.functions.cdn_device_info(name, numbers, this.index));
    const [total, free, major, minor, processors, driver] = Array.from(numbers, Number);
    const gpu = this.library.kind === "cuda";
    return {
      device: this.device,
      name: new TextDecoder().decode(name.subarray(0, name.indexOf(0))).trim(),
      computeCapability: gpu ? `${major}.${minor}` : "",
      processors: processors!,
      totalMemory: total!,
      freeMemory: free!,
      driver: gpu ? `${Math.floor(driver! / 1000)}.${(driver! % 1000) / 10}` : "",
      library: this.library.path,
      build: this.library.buildInfo(),
      note,
    };
  }
}

const backends = new Map<string, Backend>();
let current: Backend | undefined;

/**
 * Chooses the device for tensors that are made without naming one, and says what it chose. Called
 * by itself, with `"auto"`, at first use.
 *
 * @throws {DeviceError} when a GPU is asked for and there is none; never falls back to the CPU
 * then.
 * @throws {LibraryError} when the native library is missing or of another version.
 *
 * ```ts
 * import { init } from "@cudeno/cudeno";
 * const info = init({ device: "cpu", seed: 1 });
 * console.log(info.device, info.name);
 * ```
 */
export function init(options: InitOptions = {}): DeviceInfo {
  checkOptions("init", options, ["device", "library", "memoryLimit", "seed"]);
  const { device = "auto", library, memoryLimit, seed } = options;
  if (memoryLimit !== undefined && !(Number.isSafeInteger(memoryLimit) && memoryLimit > 0)) {
    throw new ArgumentError(
      `init: memoryLimit is ${formatValue(memoryLimit)}; it must be a number of bytes`,
    );
  }
  let note = "";
  let chosen: Backend;
  if (device === "auto") ({ chosen, note } = automatic(library));
  else chosen = backendFor(device, library);
  if (memoryLimit !== undefined) {
    chosen.check(chosen.functions.cdn_memory_limit(chosen.index, BigInt(memoryLimit)));
  }
  if (seed !== undefined) manualSeed(seed);
  current = chosen;
  return chosen.info(note);
}

/** Takes the CPU for tensors that name no device, where its library is: for preparing data. */
export function preferCpu(): void {
  try {
    current ??= backendFor("cpu");
  } catch (error) {
    if (!(error instanceof CudenoError)) throw error;
  }
}

// The device for tensors that are made without naming one.
function defaultBackend(): Backend {
  return current ??= automatic().chosen;
}

/** The device of a name; opens its library at first use. */
export function backendFor(device: DeviceName | undefined, library?: string): Backend {
  if (device === undefined) return defaultBackend();
  const match = typeof device === "string" && /^(cpu)$|^cuda(?::(\d+))?$/.exec(device);
  if (!match) {
    throw new ArgumentError(
      `Device is ${formatValue(device)}; it must be "cpu", "cuda" or "cuda:N"`,
    );
  }
  const index = Number(match[2] ?? 0);
  const kind = match[1] ? "cpu" : "cuda";
  const key = `${kind}:${index}`;
  const known = backends.get(key);
  if (known && library === undefined) return known;
  const opened = openLibrary(kind, library);
  const { count, why } = deviceCount(opened);
  if (count === 0) {
    throw new DeviceError(`There is no device ${device}: ${why}`);
  }
  if (index >= count) {
    throw new DeviceError(`There is no device ${device}; there are ${count}, numbered from 0`);
  }
  const backend = known ?? new Backend(opened, index);
  backends.set(key, backend);
  return backend;
}

/**
 * The devices that this machine has and whose libraries can be opened: the GPUs, then the CPU.
 *
 * ```ts
 * import { devices } from "@cudeno/cudeno";
 * for (const { device, name } of devices()) console.log(device, name);
 * ```
 */
export function devices(): DeviceInfo[] {
  const found: DeviceInfo[] = [];
  for (const kind of ["cuda", "cpu"] as const) {
    try {
      const { count } = deviceCount(openLibrary(kind));
      for (let i = 0; i < count; i++) {
        found.push(backendFor(kind === "cpu" ? "cpu" : `cuda:${i}`).info());
      }
    } catch (error) {
      if (!(error instanceof CudenoError)) throw error;
    }
  }
  return found;
}

/**
 * Waits until all work queued so far is done, on the device named or on the default one, without
 * holding up the event loop. Reports faults that the device met, such as an index out of range.
 *
 * ```ts
 * import { rand, synchronize } from "@cudeno/cudeno";
 * rand([1000, 1000]).exp();
 * await synchronize(); // now it has run
 * ```
 */
export async function synchronize(device?: DeviceName): Promise<void> {
  const backend = backendFor(device);
  const { functions } = backend;
  const out = new Uint32Array(1);
  backend.check(functions.cdn_wait_begin(out, backend.index));
  const ticket = out[0]!;
  await functions.wait_for_read(ticket);
  backend.check(functions.cdn_read_end(null, ticket, 0n)); // reports faults
}

function automatic(library?: string): { chosen: Backend; note: string } {
  if (library !== undefined) {
    return { chosen: backendFor(kindOf(library), library), note: "" };
  }
  const named = environment("CUDENO_LIBRARY");
  if (named) return { chosen: backendFor(kindOf(named)), note: `CUDENO_LIBRARY is ${named}` };
  try {
    return { chosen: backendFor("cuda"), note: "" };
  } catch (error) {
    if (!(error instanceof CudenoError)) throw error;
    return { chosen: backendFor("cpu"), note: error.message };
  }
}

function deviceCount(library: Library): { count: number; why: string } {
  const count = new Int32Array(1);
  library.check(library.functions.cdn_device_count(count));
  return { count: count[0]!, why: count[0] ? "" : library.lastError() };
}
