import { checkOptions, refuse } from "../core/options.ts";
import { fileBytes } from "../core/host.ts";
import { scope } from "../core/scope.ts";
import type { Shape } from "../core/shape.ts";
import type { StateDict } from "../nn/module.ts";
import { checkStateDict } from "../nn/_state_dict.ts";
import { replaceFile } from "./_files.ts";
import { decodeHeader } from "./_safetensors_format.ts";
import { type LoadOptions, roomFor, selection, slotsOf, stateOf } from "./_select.ts";
import { withShards } from "./_shards.ts";
import { encode, fill, fillAll } from "./_stored.ts";

export type { LoadOptions } from "./_select.ts";

/** Options of {@linkcode saveSafetensors}. */
export interface SaveOptions {
  /**
   * Texts to store beside the tensors. PyTorch's own files have `{ format: "pt" }`, the default.
   */
  metadata?: Record<string, string> | undefined;
}

/** What {@linkcode readSafetensorsHeader} returns. */
export interface SafetensorsHeader {
  /** The texts that were stored beside the tensors. */
  metadata: Record<string, string>;
  /** The tensors by name. */
  tensors: Record<string, SafetensorsEntry>;
}

/** What a header says of a tensor. */
export interface SafetensorsEntry {
  /** The file's name of its type: `F32`, `BF16`, `I64`, … */
  dtype: string;
  /** Its sizes. */
  shape: Shape;
  /** How many bytes it takes in the file. */
  bytes: number;
}

/**
 * Writes tensors to a .safetensors file (https://github.com/huggingface/safetensors), which PyTorch
 * reads unchanged: `saveSafetensors("model.safetensors", model.stateDict())`. The file appears
 * whole or not at all, keeps the mode of the one that it replaces, and is on the disk when the
 * promise resolves; links are followed. That takes --allow-read and
 * --allow-write of the folder; with --allow-write of the file alone it is overwritten in place, and
 * an error on the way leaves it damaged.
 *
 * The tensors are saved as they are at the call; where they have more than 256 MiB, they are read
 * one after another while the file is written: await the promise before changing them.
 *
 * @throws {DataError} when the file cannot be written; its `cause` says why.
 *
 * ```ts
 * import { io, nn } from "@cudeno/cudeno";
 * const path = await Deno.makeTempFile({ suffix: ".safetensors" });
 * await io.saveSafetensors(path, new nn.Linear(3, 2).stateDict());
 * await Deno.remove(path);
 * ```
 */
export async function saveSafetensors(
  path: string | URL,
  state: StateDict,
  options: SaveOptions = {},
): Promise<void> {
  const { parts, settled } = contents(state, options);
  await replaceFile(path, parts).finally(() => settled);
}

/**
 * The bytes of a .safetensors file with these tensors.
 *
 * ```ts
 * import { io, tensor } from "@cudeno/cudeno";
 * const bytes = await io.toSafetensors({ weight: tensor([1, 2, 3]) });
 * console.log(io.fromSafetensors(bytes).weight!.dataSync()); // 1, 2, 3
 * ```
 */
export async function toSafetensors(
  state: StateDict,
  options: SaveOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const { size, parts } = contents(state, options);
  const bytes = new Uint8Array(size);
  let at = 0;
  for await (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** What a file with these tensors holds, and how many bytes that is. */
function contents(state: StateDict, options: SaveOptions) {
  checkOptions("saveSafetensors", options, ["metadata"]);
  checkStateDict("saveSafetensors", state);
  return encode(state, options.metadata ?? { format: "pt" });
}

/**
 * Reads the tensors of a .safetensors file, or of the files that an index names, Hugging Face's
 * `model.safetensors.index.json`, beside which they must be. Needs --allow-read. A file is read
 * some MiB at a time. Types:
 *
 * | safetensors                          | tensor                                         |
 * | ------------------------------------ | ---------------------------------------------- |
 * | F32, F64, F16, BF16, I32, U8         | the same, bit for bit                          |
 * | BOOL                                 | uint8                                          |
 * | I8, U16, I16, U32, I64, U64          | int32, and an error where a value does not fit |
 * | F8_E4M3, F8_E5M2 and their FNUZ ones | float16, exactly                               |
 * | F8_E8M0                              | float32, exactly                               |
 *
 * @throws {DataError} when the file is missing, no regular file, or damaged: bad header, holes,
 * overlaps, wrong sizes; or when an index names other tensors than its files have.
 * @throws {DTypeError} when a tensor has another type, or integers beyond int32.
 * @throws {ArgumentError} when a name is not there that `names` or `into` has, or `into` lacks one.
 *
 * ```ts
 * import { io, nn } from "@cudeno/cudeno";
 * const path = await Deno.makeTempFile({ suffix: ".safetensors" });
 * const model = new nn.Linear(3, 2);
 * await io.saveSafetensors(path, model.stateDict());
 * model.loadStateDict(await io.loadSafetensors(path));
 * await io.loadSafetensors(path, { into: model.stateDict() }); // the same, in place
 * console.log(Object.keys(await io.loadSafetensors(path, { names: ["bias"] }))); // bias
 * await Deno.remove(path);
 * ```
 */
export async function loadSafetensors(
  path: string | URL,
  options: LoadOptions = {},
): Promise<StateDict> {
  const nameIn = selection("loadSafetensors", options, []);
  return await withShards(path, (name) => nameIn(name) !== undefined, async (files) => {
    const slots = files.flatMap(({ file, entries }) => slotsOf(file.name, entries, nameIn));
    const found = roomFor("loadSafetensors", `${path}`, slots, options);
    try {
      for (const { file, dataStart } of files) {
        await fillAll(file, dataStart, found.filter((slot) => slot.file === file.name));
      }
    } catch (error) {
      if (!options.into) { for (const { x } of found) x.dispose(); }
      throw error;
    }
    return stateOf(found);
  });
}

/**
 * The tensors in the bytes of a .safetensors file.
 *
 * ```ts
 * import { io, zeros } from "@cudeno/cudeno";
 * const bytes = await io.toSafetensors({ "0.bias": zeros([4]) });
 * console.log(io.fromSafetensors(bytes)["0.bias"]!.shape); // [4]
 * ```
 */
export function fromSafetensors(
  bytes: ArrayBufferView | ArrayBufferLike,
  options: LoadOptions & { name?: string | undefined } = {},
): StateDict {
  const nameIn = selection("fromSafetensors", options, ["name"]);
  const { name = "safetensors file" } = options;
  if (typeof name !== "string") refuse("fromSafetensors", "name", name, "a string");
  const file = fileBytes("fromSafetensors", bytes);
  const { entries, dataStart } = decodeHeader(file, file.length, name);
  const slots = slotsOf(name, entries, nameIn);
  return scope(() => {
    const found = roomFor("fromSafetensors", name, slots, options);
    for (const { x, entry } of found) {
      fill(x, entry, name, file.subarray(dataStart + entry.begin, dataStart + entry.end));
    }
    return stateOf(found);
  });
}

/**
 * What the header of a .safetensors file says, of which no more is read; of an index, what those of
 * all its files say.
 *
 * @throws {DataError} when the file is missing or damaged.
 *
 * ```ts
 * import { io, zeros } from "@cudeno/cudeno";
 * const bytes = await io.toSafetensors({ w: zeros([2, 3]) }, { metadata: { by: "me" } });
 * const { metadata, tensors } = await io.readSafetensorsHeader(bytes);
 * console.log(metadata.by, tensors.w); // me, { dtype: "F32", shape: [2, 3], bytes: 24 }
 * ```
 */
export async function readSafetensorsHeader(
  source: string | URL | ArrayBufferView | ArrayBufferLike,
): Promise<SafetensorsHeader> {
  const isPath = typeof source === "string" || source instanceof URL;
  const bytes = isPath ? undefined : fileBytes("readSafetensorsHeader", source);
  const headers = bytes
    ? [decodeHeader(bytes, bytes.length, "safetensors file")]
    : await withShards(source as string | URL, () => true, (files) => Promise.resolve(files));
  const tensors = headers.flatMap(({ entries }) =>
    entries.map(({ name, dtype, shape, begin, end }): [string, SafetensorsEntry] => [
      name,
      { dtype, shape, bytes: end - begin },
    ])
  );
  const metadata = headers.flatMap(({ metadata }) => Object.entries(metadata));
  return { metadata: Object.fromEntries(metadata), tensors: Object.fromEntries(tensors) };
}
