/**
 * The four files of the MNIST data set: what each must hold to be the real one.
 *
 * @module
 */

import type { DataFile } from "./splits.ts";

/**
 * The files of MNIST (60,000 training and 10,000 test images of 28x28 pixels, with their labels)
 * in the IDX format. Sizes and hashes are those of the uncompressed files, so they hold for every
 * mirror, however it compresses.
 *
 * ```ts
 * import { data } from "@cudeno/cudeno";
 * console.log(data.mnistFiles[0]?.name); // train-images-idx3-ubyte
 * ```
 */
export const mnistFiles: readonly DataFile[] = [
  {
    name: "train-images-idx3-ubyte",
    bytes: 47_040_016,
    sha256: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
  },
  {
    name: "train-labels-idx1-ubyte",
    bytes: 60_008,
    sha256: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
  },
  {
    name: "t10k-images-idx3-ubyte",
    bytes: 7_840_016,
    sha256: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
  },
  {
    name: "t10k-labels-idx1-ubyte",
    bytes: 10_008,
    sha256: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
  },
];

/**
 * Where MNIST's files are to be had, as `<name>.gz`.
 *
 * ```ts
 * import { data } from "@cudeno/cudeno";
 * console.log(data.mnistMirrors.length); // 2
 * ```
 */
export const mnistMirrors: readonly string[] = [
  "https://ossci-datasets.s3.amazonaws.com/mnist/",
  "https://storage.googleapis.com/cvdf-datasets/mnist/",
];
