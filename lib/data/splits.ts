import type { DeviceName } from "../core/backend.ts";
import type { TensorDataset } from "./dataset.ts";

/** A data file as it is after decompression: its name, its size and its fingerprint. */
export interface DataFile {
  /** The name without `.gz`. */
  readonly name: string;
  /** The size of the uncompressed file, in bytes. */
  readonly bytes: number;
  /** The SHA-256 of the uncompressed file, in lower-case hexadecimal. */
  readonly sha256: string;
}

/** Options of data sets that are read from files. */
export interface SplitsOptions {
  /**
   * The folder of the files, plain or .gz. Default: the data set's own in the folder that
   * CUDENO_DATA names, else where `make data` puts them.
   */
  dir?: string | undefined;
  /**
   * Whether to fetch files that are not there, from the usual mirrors or from one by its address;
   * each is verified before it is kept. Then the default folder is that in CUDENO_DATA, else
   * `cudeno/` in XDG_CACHE_HOME or ~/.cache. Needs --allow-net, and --allow-write for the folder.
   * Default false.
   */
  download?: boolean | string | undefined;
  /** Reads a file by name (without .gz) in place of the folder; may give it plain or gzipped. */
  read?: ((name: string) => Uint8Array | Promise<Uint8Array>) | undefined;
  /** Whether the files must be the real, whole data set, by their SHA-256. Default true. */
  verify?: boolean | undefined;
  /** Where to put the data. Default: the device of init(). */
  device?: DeviceName | undefined;
}

/** A data set in its two parts. */
export interface Splits {
  /** For training. */
  readonly train: TensorDataset;
  /** For testing. */
  readonly test: TensorDataset;
  /** What the class numbers stand for. */
  readonly classes: readonly string[];
}
