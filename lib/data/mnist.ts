import type { DeviceName } from "../core/backend.ts";
import { checkFunction, checkOptions } from "../core/options.ts";
import { tensor } from "../create.ts";
import { fileBytes } from "../core/host.ts";
import { scope } from "../core/scope.ts";
import { withFile } from "../io/_files.ts";
import { environment, filePath } from "../native/environment.ts";
import { DataError } from "../native/errors.ts";
import type { Tensor } from "../tensor.ts";
import { TensorDataset } from "./dataset.ts";
import { type IdxArray, readIdx } from "./idx.ts";
import { checkSize, inflate, isGzip, maxHeader } from "./_idx_format.ts";
import { mnistFiles } from "./mnist_files.ts";
import { sha256Hex } from "./_sha256.ts";

/** Options of {@linkcode mnist}. */
export interface MnistOptions {
  /**
   * The folder of the four files, plain or .gz. Default: `MNIST_DIR`, else where `make data` puts
   * them.
   */
  dir?: string | undefined;
  /** Reads a file by name (without .gz) in place of the folder; may give it plain or gzipped. */
  read?: ((name: string) => Uint8Array | Promise<Uint8Array>) | undefined;
  /** Whether the files must be the real, whole MNIST, by their SHA-256. Default true. */
  verify?: boolean | undefined;
  /**
   * Whether to shift and scale pixels to mean 0 and deviation 1 instead of to 0..1. Default false.
   */
  normalize?: boolean | undefined;
  /** Where to put the data. Default: the device of init(). */
  device?: DeviceName | undefined;
}

/** A data set in its two parts. */
export interface Splits {
  /** For training. */
  readonly train: TensorDataset;
  /** For testing. */
  readonly test: TensorDataset;
}

type Reader = NonNullable<MnistOptions["read"]>;

const maxGzip = 2 ** 30;

// Of the training images' pixels, as fractions of 255.
const MEAN = 0.1306604762738429;
const STD = 0.3078108;

/**
 * MNIST on the device: handwritten digits, images [n, 1, 28, 28] as uint8 that batches turn into
 * float32, and class numbers [n]. `make data` downloads the files.
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
  checkOptions("mnist", options, ["dir", "read", "verify", "normalize", "device"]);
  const { verify = true, normalize = false, device } = options;
  if (options.read !== undefined) checkFunction("mnist", "read", options.read);
  const read = options.read ?? fromFolder(options.dir ?? environment("MNIST_DIR") ?? fetched());
  const scaling = normalize ? { scale: 1 / 255 / STD, shift: -MEAN / STD } : {};
  const [train, test] = [
    await parsePart("train", read, verify),
    await parsePart("t10k", read, verify),
  ];
  const place = device ? { device } : {};
  const toDevice = ({ images, labels }: Part): [Tensor, Tensor] => [
    tensor(images.data, { ...place, shape: images.shape.toSpliced(1, 0, 1) }),
    tensor(labels.data, place),
  ];
  // all of them or none
  const tensors = scope(() => ({ train: toDevice(train), test: toDevice(test) }));
  return {
    train: new TensorDataset(...tensors.train, scaling),
    test: new TensorDataset(...tensors.test, scaling),
  };
}

type Bytes = IdxArray & { data: Uint8Array<ArrayBuffer> };

interface Part {
  images: Bytes;
  labels: Bytes;
}

async function parsePart(name: string, read: Reader, verify: boolean): Promise<Part> {
  const images = await parse(`${name}-images-idx3-ubyte`, read, verify, 3);
  const labels = await parse(`${name}-labels-idx1-ubyte`, read, verify, 1);
  if (images.shape[0] !== labels.shape[0]) {
    throw new DataError(
      `${name}: there are ${images.shape[0]} images and ${
        labels.shape[0]
      } labels; both must be alike`,
    );
  }
  return { images, labels };
}

// Where `make data` puts the files: beside this module, if that is a file.
function fetched(): string {
  const beside = new URL("../../data/mnist", import.meta.url);
  return beside.protocol === "file:" ? filePath(beside) : "data/mnist";
}

function fromFolder(dir: string): (name: string) => Promise<Uint8Array> {
  return async (name) => {
    let cause: unknown;
    for (const path of [`${dir}/${name}.gz`, `${dir}/${name}`]) {
      try {
        return await withFile(path, async ({ size, read }) => {
          const head = await read(0, Math.min(maxHeader, size));
          if (!isGzip(head)) checkSize(head, size, name);
          else if (size > maxGzip) {
            throw new DataError(
              `${path} has ${size} bytes; at most ${maxGzip} are read of a gzip file`,
            );
          }
          return await read(0, size);
        });
      } catch (error) {
        cause = (error as Error).cause;
        if (!(cause instanceof Deno.errors.NotFound)) throw error;
      }
    }
    throw new DataError(
      `${dir}/${name}.gz is missing; download MNIST with \`make data\`, or name its folder by ` +
        "{ dir } or MNIST_DIR",
      { cause },
    );
  };
}

async function parse(
  name: string,
  read: Reader,
  verify: boolean,
  rank: number,
): Promise<Bytes> {
  const file = fileBytes("mnist: read", await read(name));
  const bytes = isGzip(file) ? await inflate(file, name) : file;
  if (verify) {
    const wanted = mnistFiles.find((file) => file.name === name)!;
    const sha256 = await sha256Hex(bytes);
    if (sha256 !== wanted.sha256) {
      throw new DataError(
        `${name} is not MNIST's: it has ${bytes.length} bytes and SHA-256 ${sha256}; ` +
          `wanted are ${wanted.bytes} bytes and ${wanted.sha256}. Delete it and run \`make data\``,
      );
    }
  }
  const idx = await readIdx(bytes, name);
  if (idx.dtype !== "uint8" || idx.shape.length !== rank) {
    throw new DataError(
      `${name} holds ${idx.dtype} of ${idx.shape.length} dimensions; wanted are uint8 and ${rank}`,
    );
  }
  return idx as Bytes;
}
