import { backendFor, type DeviceName } from "../core/backend.ts";
import { checkChoice, checkInteger, checkList, checkOptions, refuse } from "../core/options.ts";
import { scope } from "../core/scope.ts";
import { imageInfo, type ImageMode } from "../io/_image.ts";
import { filePath } from "../native/environment.ts";
import { DataError, IndexError } from "../native/errors.ts";
import { checkDType } from "../ops/_operands.ts";
import type { Tensor } from "../tensor.ts";
import { fileOf, type Picture, readPicture, toPng } from "./_image_file.ts";
import { fresh, type HostBatch, type Make } from "./_collate.ts";
import type { Dataset, WorkerModule } from "./dataset.ts";
import { finished, sent } from "./_upload.ts";

export type { Picture } from "./_image_file.ts";

const channelsOf = { rgb: 3, grey: 1, gray: 1, rgba: 4 } as const;
const decoded = ["png", "jpg", "jpeg"]; // by the native library

/** Options of {@linkcode imageFolder}. */
export interface ImageFolderOptions {
  /**
   * What pictures are resized to: [height, width], or a number for both. Bilinear, with weights for
   * all that a pixel covers (Pillow's BILINEAR, torchvision's antialias). Default: none is resized,
   * and all must have the size of the first.
   */
  size?: number | readonly [height: number, width: number] | undefined;
  /** The channels; default `"rgb"`, as torchvision's folder. */
  mode?: Exclude<ImageMode, "unchanged"> | undefined;
  /** Which files are pictures, by the ends of their names. Default: png, jpg, jpeg. */
  extensions?: readonly string[] | undefined;
  /** Where batches are made. Default: the device of init(). */
  device?: DeviceName | undefined;
}

/** What an {@linkcode ImageFolder} is made of. */
export interface ImageFolderParts {
  /** The names of the classes. */
  classes: readonly string[];
  /** The path of each picture. */
  files: readonly string[];
  /** The class of each picture. */
  targets: readonly number[];
  /** What pictures become. */
  picture: Picture;
  /** The bytes of pictures that are not read from their files, by path. */
  bytes: ReadonlyMap<string, Uint8Array>;
  /** Where batches are made. */
  device: DeviceName;
}

/**
 * Pictures in folders, one for each class, as {@linkcode imageFolder} finds them. Files are read
 * and decoded as a batch is made: inputs are float32 of 0..1, [n, channels, height, width], targets
 * int32, the numbers of the classes.
 *
 * ```ts
 * import { data } from "@cudeno/cudeno";
 * async function mean(dir: string) {
 *   const set: data.ImageFolder = await data.imageFolder(dir, { size: 224 });
 *   console.log(set.length, set.classes);
 *   for (const { input } of new data.DataLoader(set, { batchSize: 32 })) {
 *     console.log(input.mean([0, 2, 3]).dataSync()); // of each channel
 *   }
 * }
 * ```
 */
export class ImageFolder implements Dataset {
  /** The names of the classes, in order. */
  readonly classes: readonly string[];
  /** The paths of the pictures, class by class, in order. */
  readonly files: readonly string[];
  /** The class of each picture. */
  readonly targets: readonly number[];
  /** Where batches are made. */
  readonly device: Tensor["device"];
  /** Has Workers read the pictures, where a loader is to have some. */
  readonly worker: WorkerModule;
  readonly #picture: Picture;
  readonly #bytes: ReadonlyMap<string, Uint8Array>;

  constructor(parts: ImageFolderParts) {
    const { classes, files, targets, picture, bytes, device } = Object(parts) as ImageFolderParts;
    const lists = [classes, files, targets].every((list) => Array.isArray(list));
    if (!lists || !(bytes instanceof Map) || typeof picture !== "object") {
      refuse("ImageFolder", "the argument", parts, "what imageFolder() finds: call that");
    }
    this.classes = classes;
    this.files = files;
    this.targets = targets;
    this.device = device;
    const module = new URL("./_image_folder_worker.ts", import.meta.url);
    this.worker = { module, args: { classes, files, targets, picture, bytes, device } };
    this.#picture = picture;
    this.#bytes = bytes;
  }

  /** The number of pictures. */
  get length(): number {
    return this.files.length;
  }

  /** Of one picture: channels, height, width. */
  get shape(): [channels: number, height: number, width: number] {
    const { channels, height, width } = this.#picture;
    return [channels, height, width];
  }

  /**
   * The pictures that an int32 index names, and their classes.
   *
   * @throws {DataError} that names the file, for one that is missing or broken.
   */
  batch(index: Tensor): { input: Tensor; target: Tensor } {
    const op = "ImageFolder";
    checkDType(`${op}: the index`, index, ["int32"]);
    return scope(() => finished(sent(op, this.hostBatch(index.dataSync()), this.device)));
  }

  /**
   * The same on the host, for Workers.
   *
   * @ignore
   */
  hostBatch(rows: ArrayLike<number>, make: Make = fresh): HostBatch {
    const { shape, length, targets } = this;
    const size = shape.reduce((a, b) => a * b);
    const pixels = make("uint8", rows.length * size) as Uint8Array<ArrayBuffer>;
    const classes = Int32Array.from(rows, (row, i) => {
      if (!(row in targets)) {
        throw new IndexError(
          `ImageFolder: an index is ${row}; it must be in 0..${length - 1}`,
          row,
          length,
        );
      }
      const path = this.files[row]!;
      const to = pixels.subarray(i * size, (i + 1) * size);
      readPicture(to, path, this.#picture, this.#bytes.get(path));
      return targets[row]!;
    });
    return {
      input: { data: pixels, shape: [rows.length, ...shape], dtype: "uint8" },
      target: { data: classes, shape: [rows.length], dtype: "int32" },
    };
  }
}

/**
 * The pictures of a folder that has a folder for each class, `dir/<class>/…/*.jpg`, as
 * torchvision's ImageFolder: classes are numbered by name, and names that begin with a dot are left
 * out. PNG and JPEG files are decoded as batches ask for them; those of other `extensions`, such as
 * webp, gif (its first picture) or bmp, are decoded by the platform while the folder is read, and
 * kept in memory as PNG. Takes --allow-read.
 *
 * @throws {DataError} for a folder that is missing, has no folders or one without pictures.
 *
 * ```ts
 * import { data, io, rand } from "@cudeno/cudeno";
 * const dir = await Deno.makeTempDir();
 * for (const name of ["cat", "dog"]) {
 *   await Deno.mkdir(`${dir}/${name}`);
 *   await Deno.writeFile(`${dir}/${name}/1.png`, await io.encodePng(rand([3, 40, 50])));
 * }
 * const set = await data.imageFolder(dir, { size: 32 });
 * console.log(set.classes); // cat, dog
 * for (const { input, target } of new data.DataLoader(set, { batchSize: 2, shuffle: true })) {
 *   console.log(input.shape, target.dataSync()); // [2, 3, 32, 32], 0 and 1 in some order
 * }
 * await Deno.remove(dir, { recursive: true });
 * ```
 */
export async function imageFolder(
  dir: string | URL,
  options: ImageFolderOptions = {},
): Promise<ImageFolder> {
  const op = "imageFolder";
  checkOptions(op, options, ["size", "mode", "extensions", "device"]);
  const { size, mode = "rgb", extensions = decoded, device } = options;
  checkChoice(op, "mode", mode, channelsOf);
  const isName = (x: unknown) => typeof x === "string" && x !== "";
  checkList(op, "extensions", extensions, isName, 'names such as ["png", "webp"]');
  const given = typeof size === "number" ? [size, size] : size;
  if (given !== undefined && (!Array.isArray(given) || given.length !== 2)) {
    refuse(op, "size", size, "a number or [height, width]");
  }
  for (const n of given ?? []) checkInteger(op, "size", n, 1);
  if (typeof dir !== "string" && !(dir instanceof URL)) refuse(op, "dir", dir, "a path");
  const root = dir instanceof URL ? filePath(dir).replace(/(.)\/$/, "$1") : dir;

  const wanted = extensions.map((name) => name.toLowerCase().replace(/^\.?/, "."));
  const classes = (await entriesOf(root)).filter(({ isFolder }) => isFolder)
    .map(({ name }) => name);
  if (classes.length === 0) {
    throw new DataError(`${root} has no folders in it; wanted is one for each class of pictures`);
  }
  const files: string[] = [];
  const targets: number[] = [];
  for (const [target, name] of classes.entries()) {
    const found = await filesIn(`${root}/${name}`, wanted);
    if (found.length === 0) {
      throw new DataError(
        `${root}/${name} has no files in it that end in ${wanted.join(", ")}; wanted are some in ` +
          "each class's folder (other endings are an option, { extensions })",
      );
    }
    for (const path of found) files.push(path), targets.push(target);
  }
  const bytes = new Map<string, Uint8Array>();
  for (const path of files) {
    if (!decoded.includes(endOf(path).slice(1))) bytes.set(path, await toPng(path));
  }
  const [height, width] = given ?? firstSize(files[0]!, bytes);
  const picture = {
    ...{ mode, channels: channelsOf[mode], height: height!, width: width! },
    resize: given !== undefined,
  };
  return new ImageFolder({
    ...{ classes, files, targets, picture, bytes },
    device: backendFor(device).device,
  });
}

function firstSize(path: string, bytes: ReadonlyMap<string, Uint8Array>) {
  const { height, width } = imageInfo(bytes.get(path) ?? fileOf(path), path);
  return [height, width];
}

const endOf = (path: string) => /\.[^./\\]*$/.exec(path)?.[0].toLowerCase() ?? "";

async function filesIn(folder: string, wanted: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for (const { name, isFolder, isLink } of await entriesOf(folder)) {
    const path = `${folder}/${name}`;
    // A link to a folder may lead back to this one.
    if (isFolder && !isLink) files.push(...await filesIn(path, wanted));
    else if (!isFolder && wanted.includes(endOf(name))) files.push(path);
  }
  return files;
}

// What is in a folder, by name: folders and regular files, also behind links.
async function entriesOf(folder: string) {
  const entries: { name: string; isFolder: boolean; isLink: boolean }[] = [];
  try {
    for await (const { name, isSymlink, isFile, isDirectory } of Deno.readDir(folder)) {
      if (name.startsWith(".")) continue;
      const info = isSymlink
        ? await Deno.stat(`${folder}/${name}`).catch(() => undefined)
        : { isFile, isDirectory };
      if (!info?.isFile && !info?.isDirectory) continue;
      entries.push({ name, isFolder: info.isDirectory, isLink: isSymlink });
    }
  } catch (cause) {
    const missing = cause instanceof Deno.errors.NotFound;
    const reason = missing ? "is missing" : `cannot be read: ${(cause as Error).message}`;
    throw new DataError(`${folder} ${reason}`, { cause });
  }
  return entries.sort((a, b) => a.name < b.name ? -1 : 1);
}
