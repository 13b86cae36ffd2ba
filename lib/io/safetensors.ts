import type { DeviceName } from "../core/backend.ts";
import { type DataOf, type DType, dtypeInfo } from "../core/dtype.ts";
import { checkBytes, checkOptions, refuse } from "../core/options.ts";
import { tensor } from "../create.ts";
import { DataError, DTypeError } from "../native/errors.ts";
import { type StateDict } from "../nn/module.ts";
import { checkState } from "../nn/state_dict.ts";
import { decodeSafetensors, encodeSafetensors, type StoredTensor } from "./safetensors_format.ts";

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
  /** Texts to store beside the tensors. PyTorch's own files have `{ format: "pt" }`, the default. */
  metadata?: Record<string, string> | undefined;
}

/** Options of {@linkcode loadSafetensors}. */
export interface LoadOptions {
  /** Where to put the tensors. Default: the device of init(). */
  device?: DeviceName | undefined;
}

/**
 * Writes tensors to a .safetensors file (https://github.com/huggingface/safetensors), which PyTorch reads unchanged:
 * `saveSafetensors("model.safetensors", model.stateDict())`. Needs --allow-write; with
 * --allow-read, too, the file appears whole or not at all.
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
  checkPath("saveSafetensors", path);
  const bytes = await toSafetensors(state, options);
  // Renaming needs --allow-read besides --allow-write; without it the file is written in place.
  if (Deno.permissions.querySync({ name: "read", path }).state !== "granted") {
    return await Deno.writeFile(path, bytes);
  }
  const temporary = path instanceof URL ? new URL(`${path.href}.part`) : `${path}.part`;
  try {
    await Deno.writeFile(temporary, bytes);
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
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
  checkState("saveSafetensors", state);
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
 * @throws {DataError} when the file is damaged: bad header, holes, overlaps, wrong sizes.
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
  checkPath("loadSafetensors", path);
  let bytes: Uint8Array;
  try {
    bytes = await Deno.readFile(path);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new DataError(`${path} is missing`, { cause });
  }
  return fromSafetensors(bytes, { ...options, name: `${path}` });
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
  bytes: Uint8Array,
  options: LoadOptions & { name?: string | undefined } = {},
): StateDict {
  checkOptions("loadSafetensors", options, ["device", "name"]);
  checkBytes("fromSafetensors", bytes);
  const { name = "safetensors file" } = options;
  if (typeof name !== "string") refuse("fromSafetensors", "name", name, "a string");
  const { tensors } = decodeSafetensors(bytes, name);
  const found = [...tensors].map(([name, stored]) => ({
    name,
    stored,
    dtype: storedDType(name, stored),
  }));
  return Object.fromEntries(found.map(({ name, stored, dtype }) => {
    const place = options.device ? { device: options.device } : {};
    return [name, tensor(hostArray(name, stored, dtype), { ...place, dtype, shape: stored.shape })];
  }));
}

function checkPath(op: string, path: unknown): void {
  if (typeof path !== "string" && !(path instanceof URL)) {
    refuse(op, "the path", path, "a string or a URL");
  }
}

function storedDType(name: string, stored: StoredTensor): DType {
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

// bfloat16 is the upper half of a float32, and what a bfloat16 tensor reads back as has zeros below.
function upperHalves(data: Float32Array<ArrayBuffer>): Uint16Array<ArrayBuffer> {
  return Uint16Array.from(new Uint32Array(data.buffer), (bits) => bits >>> 16);
}

// A copy at an address that suits the element type; the file promises none.
function hostArray(name: string, stored: StoredTensor, dtype: DType): DataOf {
  if (stored.dtype === "I64") {
    return Int32Array.from(new BigInt64Array(stored.data.slice().buffer), (value) => {
      if (value === BigInt.asIntN(32, value)) return Number(value);
      throw new DTypeError(`loadSafetensors: ${name} is I64 and has ${value}, which int32 has not`);
    });
  }
  if (dtype === "bfloat16") {
    const halves = new Uint16Array(stored.data.slice().buffer);
    return new Float32Array(Uint32Array.from(halves, (bits) => bits << 16).buffer);
  }
  const data = dtypeInfo(dtype).make(stored.data.length / dtypeInfo(dtype).bytes);
  new Uint8Array(data.buffer).set(stored.data);
  return data;
}
