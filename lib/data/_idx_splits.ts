// MNIST and data sets that come in files of the same names: images and labels in the IDX format.
import { DataError } from "../native/errors.ts";
import { type FileSet, type Part, readerOf, splits } from "./_files.ts";
import { readIdx } from "./idx.ts";
import { checkSize, inflateIdx, maxHeader } from "./_idx_format.ts";
import type { MnistOptions } from "./mnist.ts";
import type { Splits } from "./splits.ts";

/** Such a data set. */
export interface IdxSet
  extends Pick<FileSet, "op" | "title" | "folder" | "fetch" | "files" | "remote"> {
  classes: readonly string[];
  /** Of the training images' pixels, as fractions of 255. */
  mean: number;
  std: number;
}

/** Reads it and puts it on the device. */
export async function idxSplits(set: IdxSet, options: MnistOptions): Promise<Splits> {
  const format = { head: maxHeader, checkSize, inflate: inflateIdx };
  const read = readerOf({ ...set, ...format }, options, ["normalize"]);
  const { normalize = false } = options;
  const scaling = normalize ? { scale: 1 / 255 / set.std, shift: -set.mean / set.std } : {};
  const parts = { train: await parsePart("train", read), test: await parsePart("t10k", read) };
  return splits(parts, set.classes, options, scaling);
}

async function parsePart(name: string, read: ReturnType<typeof readerOf>): Promise<Part> {
  const images = await parse(`${name}-images-idx3-ubyte`, read, 3);
  const labels = await parse(`${name}-labels-idx1-ubyte`, read, 1);
  if (images.shape[0] !== labels.shape[0]) {
    throw new DataError(
      `${name}: there are ${images.shape[0]} images and ${
        labels.shape[0]
      } labels; both must be alike`,
    );
  }
  return { images: images.data, shape: images.shape.toSpliced(1, 0, 1), labels: labels.data };
}

async function parse(name: string, read: ReturnType<typeof readerOf>, rank: number) {
  const { shape, dtype, data } = await readIdx(await read(name), name);
  if (dtype !== "uint8" || shape.length !== rank) {
    throw new DataError(
      `${name} holds ${dtype} of ${shape.length} dimensions; wanted are uint8 and ${rank}`,
    );
  }
  return { shape, data: data as Uint8Array };
}
