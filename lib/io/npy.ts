import type { DeviceName } from "../core/backend.ts";
import { checkOptions, refuse } from "../core/options.ts";
import { scope } from "../core/scope.ts";
import { tensor } from "../create.ts";
import { DataError } from "../native/errors.ts";
import type { StateDict } from "../nn/module.ts";
import { checkStateDict } from "../nn/_state_dict.ts";
import { Tensor } from "../tensor.ts";
import { replaceFile } from "./_files.ts";
import { decodeNpy, encodeNpy, type NpyArray } from "./_npy_format.ts";
import { type Source, sourceOf } from "./_source.ts";
import { decodeZip, encodeZip } from "./_zip.ts";

export type { Source } from "./_source.ts";

/** Options of {@linkcode loadNpy} and {@linkcode loadNpz}. */
export interface NpyOptions {
  /** Where to put the tensors. Default: the device of init(). */
  device?: DeviceName | undefined;
}

/** Options of {@linkcode saveNpz} and {@linkcode toNpz}. */
export interface NpzOptions {
  /** Deflates the arrays, as `numpy.savez_compressed` does. Default false, as `numpy.savez`. */
  compress?: boolean | undefined;
}

/**
 * Reads a .npy file, NumPy's format of one array; `data.npy` is the same function. Types:
 *
 * | NumPy                | tensor                                          |
 * | -------------------- | ----------------------------------------------- |
 * | float16, 32, 64      | the same                                        |
 * | int8, 16, 32, 64     | int32, and an error where a value does not fit  |
 * | uint8, bool          | uint8                                           |
 *
 * Either byte order, C's or Fortran's order of elements, versions 1 to 3. Pickled objects are never
 * read.
 *
 * @throws {DataError} when the file is missing, truncated or no .npy file.
 * @throws {DTypeError} for other types, which it names, and for integers beyond int32.
 *
 * ```ts
 * import { io, tensor } from "@cudeno/cudeno";
 * const path = await Deno.makeTempFile({ suffix: ".npy" });
 * await io.saveNpy(path, tensor([[1, 2], [3, 4]])); // np.load(path) reads it
 * console.log((await io.loadNpy(path)).shape); // [2, 2]
 * await Deno.remove(path);
 * ```
 */
export async function loadNpy(source: Source, options: NpyOptions = {}): Promise<Tensor> {
  checkOptions("loadNpy", options, ["device"]);
  const { name, bytes } = await sourceOf("loadNpy", source);
  return tensorOf(decodeNpy(bytes, name), options);
}

/**
 * Reads a .npz file, a zip file of named arrays as `numpy.savez` and `savez_compressed` write it;
 * `data.npz` is the same function. Types are those of {@linkcode loadNpy}. Checksums are verified.
 *
 * @throws {DataError} when the file is missing or damaged, or holds anything but arrays.
 * @throws {DTypeError} for an array of another type, which it names.
 *
 * ```ts
 * import { io, tensor } from "@cudeno/cudeno";
 * const bytes = await io.toNpz({ x: tensor([1, 2, 3]), y: tensor([0, 1], { dtype: "uint8" }) });
 * const { x, y } = await io.loadNpz(bytes);
 * console.log(x!.dataSync(), y!.dtype); // 1, 2, 3, uint8
 * ```
 */
export async function loadNpz(source: Source, options: NpyOptions = {}): Promise<StateDict> {
  checkOptions("loadNpz", options, ["device"]);
  const { name, bytes } = await sourceOf("loadNpz", source);
  const arrays = new Map<string, NpyArray>();
  for await (const [entry, file] of decodeZip(bytes, name)) {
    const title = `${name}: ${JSON.stringify(entry.slice(0, 100))}`;
    if (!entry.endsWith(".npy")) {
      throw new DataError(`${title} is no array; expected names that end in .npy`);
    }
    arrays.set(entry.slice(0, -4), decodeNpy(file, title));
  }
  return scope(() =>
    Object.fromEntries([...arrays].map(([key, array]) => [key, tensorOf(array, options)]))
  );
}

/**
 * Writes a tensor to a .npy file, which `numpy.load` reads. The file appears whole or not at all,
 * as with saveSafetensors.
 *
 * @throws {DTypeError} for bfloat16, which NumPy has not.
 * @throws {DataError} when the file cannot be written; its `cause` says why.
 *
 * ```ts
 * import { io, zeros } from "@cudeno/cudeno";
 * const path = await Deno.makeTempFile({ suffix: ".npy" });
 * await io.saveNpy(path, zeros([3, 4], { dtype: "float64" }));
 * await Deno.remove(path);
 * ```
 */
export async function saveNpy(path: string | URL, x: Tensor): Promise<void> {
  await replaceFile(path, await npyOf("saveNpy", x));
}

/**
 * The bytes of a .npy file with this tensor.
 *
 * ```ts
 * import { io, tensor } from "@cudeno/cudeno";
 * const bytes = await io.toNpy(tensor([1, 2, 3]));
 * console.log((await io.loadNpy(bytes)).dataSync()); // 1, 2, 3
 * ```
 */
export async function toNpy(x: Tensor): Promise<Uint8Array<ArrayBuffer>> {
  return await npyOf("toNpy", x);
}

/**
 * Writes named tensors to a .npz file, which `numpy.load` reads.
 *
 * @throws {DTypeError} for bfloat16, which NumPy has not.
 * @throws {ArgumentError} when the file would have 4 GiB or more.
 * @throws {DataError} when the file cannot be written; its `cause` says why.
 *
 * ```ts
 * import { io, ones, zeros } from "@cudeno/cudeno";
 * const path = await Deno.makeTempFile({ suffix: ".npz" });
 * await io.saveNpz(path, { images: zeros([2, 8, 8]), labels: ones([2]) }, { compress: true });
 * await Deno.remove(path);
 * ```
 */
export async function saveNpz(
  path: string | URL,
  tensors: StateDict,
  options: NpzOptions = {},
): Promise<void> {
  await replaceFile(path, await npzOf("saveNpz", tensors, options));
}

/**
 * The bytes of a .npz file with these tensors.
 *
 * ```ts
 * import { io, tensor } from "@cudeno/cudeno";
 * const bytes = await io.toNpz({ x: tensor([1, 2, 3]) }, { compress: true });
 * console.log(Object.keys(await io.loadNpz(bytes))); // x
 * ```
 */
export async function toNpz(
  tensors: StateDict,
  options: NpzOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  return await npzOf("toNpz", tensors, options);
}

async function npyOf(op: string, x: Tensor): Promise<Uint8Array<ArrayBuffer>> {
  if (!(x instanceof Tensor)) refuse(op, "x", x, "a tensor");
  return encodeNpy(op, x.dtype, x.shape, await x.data());
}

async function npzOf(op: string, tensors: StateDict, options: NpzOptions) {
  checkOptions(op, options, ["compress"]);
  const { compress = false } = options;
  if (typeof compress !== "boolean") refuse(op, "compress", compress, "true or false");
  checkStateDict(op, tensors);
  // All are asked for at once: what is saved is what they hold now.
  const files = await Promise.all(
    Object.entries(tensors).map(async ([name, x]) => [`${name}.npy`, await npyOf(op, x)] as const),
  );
  return await encodeZip(op, new Map(files), compress);
}

// Fortran's order is C's of the reversed shape.
function tensorOf({ dtype, shape, data, fortran }: NpyArray, { device }: NpyOptions): Tensor {
  const place = { dtype, ...(device && { device }) };
  if (!fortran || shape.length < 2) return tensor(data, { ...place, shape });
  return scope(() =>
    tensor(data, { ...place, shape: shape.toReversed() })
      .permute(shape.map((_, axis) => axis).reverse())
  );
}
