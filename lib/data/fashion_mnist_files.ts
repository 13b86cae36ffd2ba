import type { DataFile } from "./splits.ts";

/**
 * The files of Fashion-MNIST in the IDX format, with MNIST's names. Sizes and hashes are those of
 * the uncompressed files, so they hold for every mirror, however it compresses.
 *
 * ```ts
 * import { data } from "@cudeno/cudeno";
 * console.log(data.fashionMnistFiles[0]?.name); // train-images-idx3-ubyte
 * ```
 */
export const fashionMnistFiles: readonly DataFile[] = [
  {
    name: "train-images-idx3-ubyte",
    bytes: 47_040_016,
    sha256: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
  },
  {
    name: "train-labels-idx1-ubyte",
    bytes: 60_008,
    sha256: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
  },
  {
    name: "t10k-images-idx3-ubyte",
    bytes: 7_840_016,
    sha256: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
  },
  {
    name: "t10k-labels-idx1-ubyte",
    bytes: 10_008,
    sha256: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
  },
];

/**
 * Where Fashion-MNIST's files are to be had, as `<name>.gz`.
 *
 * ```ts
 * import { data } from "@cudeno/cudeno";
 * console.log(data.fashionMnistMirrors.length); // 2
 * ```
 */
export const fashionMnistMirrors: readonly string[] = [
  "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
  "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
];
