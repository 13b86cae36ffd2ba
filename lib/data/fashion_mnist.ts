import { fashionMnistFiles, fashionMnistMirrors } from "./fashion_mnist_files.ts";
import { idxSplits } from "./_idx_splits.ts";
import type { MnistOptions } from "./mnist.ts";
import type { Splits } from "./splits.ts";

/**
 * Fashion-MNIST on the device (Xiao, Rasul, Vollgraf 2017, https://arxiv.org/abs/1708.07747):
 * articles of clothing in MNIST's format, images [n, 1, 28, 28] as uint8 that batches turn into
 * float32, and class numbers [n], of 60,000 and 10,000 samples. `make data DATA=fashion_mnist`
 * downloads the files.
 *
 * @throws {DataError} that names the file which is missing, truncated or not Fashion-MNIST's.
 *
 * ```ts
 * import { data } from "@cudeno/cudeno";
 * // MNIST has the same format; { } takes what `make data` fetched.
 * const dir = "examples/data/mnist_subset";
 * const { train, classes } = await data.fashionMnist({ dir, verify: false });
 * console.log(train.length, classes[9]); // 5000, "Ankle boot"
 * ```
 */
export async function fashionMnist(options: MnistOptions = {}): Promise<Splits> {
  const set = {
    ...{ op: "fashionMnist", title: "Fashion-MNIST", folder: "fashion_mnist" },
    ...{ fetch: "make data DATA=fashion_mnist", files: fashionMnistFiles },
    remote: { mirrors: fashionMnistMirrors },
    classes: [
      ...["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"],
      ...["Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"],
    ],
    ...{ mean: 0.2860405969887955, std: 0.3530242445149224 },
  };
  return await idxSplits(set, options);
}
