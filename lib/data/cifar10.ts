import { DataError } from "../native/errors.ts";
import { cifar10Files } from "./cifar10_files.ts";
import { type Part, readerOf, splits } from "./_files.ts";
import { inflate, maxRatio } from "./_inflate.ts";
import type { Splits, SplitsOptions } from "./splits.ts";

const pixels = 3 * 32 * 32;
const record = 1 + pixels;
const classes = [
  ...["airplane", "automobile", "bird", "cat", "deer"],
  ...["dog", "frog", "horse", "ship", "truck"],
];

/**
 * CIFAR-10 on the device (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html): photos of
 * ten kinds of things, images [n, 3, 32, 32] as uint8 that batches turn into float32 in 0..1, and
 * class numbers [n], of 50,000 and 10,000 samples. The files are those of its binary version, which
 * `make data DATA=cifar10` downloads.
 *
 * @throws {DataError} that names the file which is missing, truncated or not CIFAR-10's.
 *
 * ```ts
 * import { data } from "@cudeno/cudeno";
 * // A red image of class 9 in each file; { } takes what `make data DATA=cifar10` fetched.
 * const file = new Uint8Array(1 + 3 * 32 * 32).fill(9, 0, 1).fill(255, 1, 1 + 32 * 32);
 * const { train, classes } = await data.cifar10({ read: () => file, verify: false });
 * console.log(train.inputs.shape, classes[9]); // [5, 3, 32, 32], "truck"
 * ```
 */
export async function cifar10(options: SplitsOptions = {}): Promise<Splits> {
  const read = readerOf({
    ...{ op: "cifar10", title: "CIFAR-10", folder: "cifar10", files: cifar10Files },
    ...{
      fetch: "make data DATA=cifar10",
      remote: {
        mirrors: ["https://www.cs.toronto.edu/~kriz/"],
        archive: { name: "cifar-10-binary.tar.gz", folder: "cifar-10-batches-bin" },
      },
      head: 2,
      checkSize: (_head, size, name) => count(size, name),
    },
    inflate: (bytes, name) =>
      inflate(bytes, name, {
        format: "gzip",
        head: 0,
        sizeOf: () => Math.min(10_000 * record, bytes.length * maxRatio),
      }),
  }, options);
  const part = async (which: string): Promise<Part> => {
    const files: Uint8Array[] = [];
    for (const { name } of cifar10Files) {
      if (!name.startsWith(which)) continue;
      const file = await read(name);
      count(file.length, name);
      files.push(file);
    }
    return joined(files);
  };
  return splits({ train: await part("data"), test: await part("test") }, classes, options);
}

/** How many images a file of this size holds. */
function count(size: number, name: string): number {
  const images = size / record;
  if (Number.isInteger(images) && images <= 10_000) return images;
  throw new DataError(
    `${name}: found ${size} bytes, expected ${record} for each image, of at most 10000`,
  );
}

function joined(files: readonly Uint8Array[]): Part {
  const n = files.reduce((sum, { length }) => sum + length / record, 0);
  const images = new Uint8Array(n * pixels), labels = new Uint8Array(n);
  let i = 0;
  for (const file of files) {
    for (let at = 0; at < file.length; at += record, i++) {
      labels[i] = file[at]!;
      images.set(file.subarray(at + 1, at + record), i * pixels);
    }
  }
  const bad = labels.findIndex((label) => label >= classes.length);
  if (bad >= 0) {
    throw new DataError(`cifar10: image ${bad} is of class ${labels[bad]}; there are 0 to 9`);
  }
  return { images, shape: [n, 3, 32, 32], labels };
}
