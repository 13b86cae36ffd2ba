import type { DeviceName } from "../core/backend.ts";
import { checkOptions, refuse } from "../core/options.ts";
import { fileBytes } from "../core/host.ts";
import { scope } from "../core/scope.ts";
import { empty } from "../_empty.ts";
import type { StateDict } from "../nn/module.ts";
import { checkStateDict } from "../nn/_state_dict.ts";
import type { Tensor } from "../tensor.ts";
import { replaceFile, withFile } from "./_files.ts";
import { decodeHeader, type Entry } from "./_safetensors_format.ts";
import { dtypeFor, encode, fillAll, fillPart, headerOf } from "./_stored.ts";

/** Options of {@linkcode saveSafetensors}. */
export interface SaveOptions {
  /**
   * Texts to store beside the tensors. PyTorch's own files have `{ format: "pt" }`, the default.
   */
  metadata?: Record<string, string> | undefined;
}

/** Options of {@linkcode loadSafetensors}. */
export interface LoadOptions {
  /** Where to put the tensors. Default: the device of init(). */
  device?: DeviceName | undefined;
}

/**
 * Writes tensors to a .safetensors file (https://github.com/huggingface/safetensors), which PyTorch
 * reads unchanged: `saveSafetensors("model.safetensors", model.stateDict())`. The file appears
 * whole or not at all, keeps the mode of the one that it replaces, and is on the disk when the
 * promise resolves; links are followed. That takes --allow-read and
 * --allow-write of the folder; with --allow-write of the file alone it is overwritten in place, and
 * an error on the way leaves it damaged.
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
  await replaceFile(path, contents(state, options).parts);
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
 * Reads the tensors of a .safetensors file. Needs --allow-read.
 *
 * @throws {DataError} when the file is missing, no regular file, or damaged: bad header, holes,
 * overlaps, wrong sizes.
 * @throws {DTypeError} when a tensor has a type that cudeno has no dtype for.
 *
 * ```ts
 * import { io, nn } from "@cudeno/cudeno";
 * const path = await Deno.makeTempFile({ suffix: ".safetensors" });
 * const model = new nn.Linear(3, 2);
 * await io.saveSafetensors(path, model.stateDict());
 * model.loadStateDict(await io.loadSafetensors(path));
 * await Deno.remove(path);
 * ```
 */
export async function loadSafetensors(
  path: string | URL,
  options: LoadOptions = {},
): Promise<StateDict> {
  checkOptions("loadSafetensors", options, ["device"]);
  return await withFile(path, async (file) => {
    const { entries, dataStart } = await headerOf(file);
    const found = roomFor(entries, options, file.name);
    try {
      await fillAll(file, dataStart, found);
    } catch (error) {
      for (const { x } of found) x.dispose();
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
  checkOptions("fromSafetensors", options, ["device", "name"]);
  const { name = "safetensors file" } = options;
  if (typeof name !== "string") refuse("fromSafetensors", "name", name, "a string");
  const file = fileBytes("fromSafetensors", bytes);
  const { entries, dataStart } = decodeHeader(file, file.length, name);
  return scope(() => {
    const found = roomFor(entries, options, name);
    for (const { x, entry } of found) {
      fillPart(x, entry, 0, file.subarray(dataStart + entry.begin, dataStart + entry.end));
    }
    return stateOf(found);
  });
}

/**
 * A tensor for each entry, all of them before any is read: where there is no room, that is known at
 * once.
 */
function roomFor(entries: readonly Entry[], { device }: LoadOptions, file: string) {
  const dtypes = entries.map((entry) => dtypeFor(entry, file));
  const place = device ? { device } : {};
  return scope(() =>
    entries.map((entry, i) => {
      const x = empty("loadSafetensors", entry.shape, { ...place, dtype: dtypes[i]! });
      return { x, entry };
    })
  );
}

function stateOf(found: readonly { x: Tensor; entry: Entry }[]): StateDict {
  return Object.fromEntries(found.map(({ x, entry }) => [entry.name, x]));
}
