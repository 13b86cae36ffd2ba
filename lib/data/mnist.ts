import { environment } from "../native/environment.ts";
import { idxSplits } from "./_idx_splits.ts";
import { mnistFiles, mnistMirrors } from "./mnist_files.ts";
import type { Splits, SplitsOptions } from "./splits.ts";

/** Options of {@linkcode mnist} and {@linkcode fashionMnist}. */
export interface MnistOptions extends SplitsOptions {
  /**
   * Whether to shift and scale pixels to mean 0 and deviation 1 instead of to 0..1. Default false.
   */
  normalize?: boolean | undefined;
}

/**
 * MNIST on the device: handwritten digits, images [n, 1, 28, 28] as uint8 that batches turn into
 * float32, and class numbers [n]. `make data` or `{ download: true }` fetch the files; without
 * `dir` they are looked for in the folder that `MNIST_DIR` names, else there.
 *
 * @throws {DataError} that names the file which is missing, truncated or not MNIST's.
 *
 * ```ts
 * import { data } from "@cudeno/cudeno";
 * // A part that the repository has; { } takes what `make data` fetched.
 * const dir = "examples/data/mnist_subset";
 * const { train } = await data.mnist({ dir, verify: false });
 * console.log(train.length); // 5000
 * ```
 */
export async function mnist(options: MnistOptions = {}): Promise<Splits> {
  const set = {
    ...{ op: "mnist", title: "MNIST", folder: "mnist", fetch: "make data", files: mnistFiles },
    remote: { mirrors: mnistMirrors },
    classes: Array.from("0123456789"),
    ...{ mean: 0.1306604762738429, std: 0.3078108 },
  };
  const here = options?.dir === undefined && options?.read === undefined;
  const dir = here ? environment("MNIST_DIR") : undefined;
  return await idxSplits(set, dir === undefined ? options : { ...options, dir });
}
