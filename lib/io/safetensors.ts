import type { DeviceName } from "../core/backend.ts";
import type { DType } from "../core/dtype.ts";
import { checkOptions, refuse } from "../core/options.ts";
import { fileBytes } from "../core/host.ts";
import { scope } from "../core/scope.ts";
import { MAX_RANK } from "../core/shape.ts";
import { empty } from "../_empty.ts";
import { DataError, DTypeError } from "../native/errors.ts";
import type { StateDict } from "../nn/module.ts";
import { checkStateDict } from "../nn/_state_dict.ts";
import type { Tensor } from "../tensor.ts";
import { replaceFile, withFile } from "./_files.ts";
import {
  decodeHeader,
  encodeSafetensors,
  type Entry,
  headerEnd,
  type StoredTensor,
} from "./_safetensors_format.ts";

const fileTypes: Record<DType, string> = {
  float32: "F32",
  float64: "F64",
  float16: "F16",
  bfloat16: "BF16",
  int32: "I32",
  uint8: "U8",
};

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
  await replaceFile(path, await toSafetensors(state, options));
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
  checkOptions("saveSafetensors", options, ["metadata"]);
  checkStateDict("saveSafetensors", state);
  const tensors = new Map<string, StoredTensor>();
  for (const [name, x] of Object.entries(state)) {
    const data = x.dtype === "bfloat16" ? upperHalves(await x.data<"bfloat16">()) : await x.data();
    tensors.set(name, {
      dtype: fileTypes[x.dtype],
      shape: x.shape,
      data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    });
  }
  return encodeSafetensors({ tensors, metadata: options.metadata ?? { format: "pt" } });
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
  return await withFile(path, async ({ name, size, read }) => {
    const head = await read(0, Math.min(1 << 16, size));
    const end = headerEnd(head, size, name);
    const whole = end <= head.length ? head : await read(0, end);
    const { entries, dataStart } = decodeHeader(whole, size, name);
    const found = roomFor(entries, options, name);
    try {
      for (const { x, entry } of found) {
        x.copyFrom(hostArray(entry, await read(dataStart + entry.begin, dataStart + entry.end), x));
      }
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
      x.copyFrom(
        hostArray(entry, file.subarray(dataStart + entry.begin, dataStart + entry.end), x),
      );
    }
    return stateOf(found);
  });
}

/**
 * A tensor for each entry, all of them before any is read: where there is no room, that is known at
 * once.
 */
function roomFor(entries: readonly Entry[], { device }: LoadOptions, file: string) {
  const dtypes = entries.map((entry) => dtypeOf(entry, file));
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

function dtypeOf({ name, shape, ...stored }: Entry, file: string): DType {
  if (shape.length > MAX_RANK) {
    throw new DataError(`${file}: ${name} has ${shape.length} dimensions; at most are ${MAX_RANK}`);
  }
  const dtype = (Object.keys(fileTypes) as DType[]).find((d) => fileTypes[d] === stored.dtype);
  if (dtype) return dtype;
  if (stored.dtype === "BOOL") return "uint8";
  if (stored.dtype === "I64") return "int32"; // PyTorch's integers, such as num_batches_tracked
  throw new DTypeError(
    `loadSafetensors: ${name} is ${stored.dtype}; known are ${
      Object.values(fileTypes).join(", ")
    }, BOOL, I64`,
  );
}

// bfloat16 is the upper half of a float32, and what a bfloat16 tensor reads back as has zeros
// below.
function upperHalves(data: Float32Array<ArrayBuffer>): Uint16Array<ArrayBuffer> {
  return Uint16Array.from(new Uint32Array(data.buffer), (bits) => bits >>> 16);
}

// The elements of x as the host has them; copied to an address that suits their type where the
// file's does not.
function hostArray({ name, dtype }: Entry, bytes: Uint8Array, x: Tensor): ArrayBufferView {
  const { buffer, byteOffset, length } = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice();
  if (dtype === "I64") {
    return Int32Array.from(new BigInt64Array(buffer, byteOffset, length / 8), (value) => {
      if (value === BigInt.asIntN(32, value)) return Number(value);
      throw new DTypeError(`loadSafetensors: ${name} is I64 and has ${value}, which int32 has not`);
    });
  }
  if (x.dtype === "bfloat16") {
    const halves = new Uint16Array(buffer, byteOffset, length / 2);
    return new Float32Array(Uint32Array.from(halves, (bits) => bits << 16).buffer);
  }
  return new arrays[x.dtype](buffer as ArrayBuffer, byteOffset, x.size);
}

const arrays = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Float16Array,
  int32: Int32Array,
  uint8: Uint8Array,
};
