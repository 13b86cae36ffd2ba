import { maxRatio } from "../data/_inflate.ts";
import { refuse } from "../core/options.ts";
import { ArgumentError, DataError } from "../native/errors.ts";
import type { StateDict } from "../nn/module.ts";
import { fileOf, type OpenFile, withFile } from "./_files.ts";
import { type LoadOptions, roomFor, selection, stateOf } from "./_select.ts";
import { type Source, sourceOf } from "./_source.ts";
import { fill, fillAll, limits, listOf } from "./_stored.ts";
import { readTorchPickle, tensorsIn, type TorchTensor } from "./_torch_format.ts";
import { checkCrc, crc32, zipContent, zipEntries, type ZipEntry, zipStart } from "./_zip.ts";

/** Options of {@linkcode loadTorch}. */
export interface LoadTorchOptions extends LoadOptions {
  /** Which entry of the dict that was saved: `model` for one with the optimizer's state beside. */
  key?: string | undefined;
  /**
   * Whether to verify checksums, the default; not for files that were saved without, by
   * `torch.serialization.set_crc32_options(False)`.
   */
  verify?: boolean | undefined;
}

/**
 * Reads the tensors of a .pt or .pth file, as `torch.save(model.state_dict(), path)` writes it in
 * PyTorch 1.6 and later. Such a file is a zip file with a pickle, a program for Python. Of that
 * only what makes tensors, dicts, lists and plain values is understood; no code is run, and any
 * other name in it is an error that says which, before any tensor is made.
 *
 * Where dicts and lists are nested, as of `{ model: …, optimizer: …, epoch }`, names are joined by
 * dots, `model.0.weight`, and all but the tensors is left out; `key: "model"` takes an entry alone.
 * A lone tensor is called `tensor`. Names of the same memory, such as weights that are shared,
 * share a tensor. Types become dtypes as by {@linkcode loadSafetensors}; requiresGrad is false.
 *
 * A path is read piece by piece, a stream or bytes are in memory as a whole.
 *
 * @throws {DataError} when the file is missing or damaged, of PyTorch's old format, or needs a name
 * that is not known.
 * @throws {DTypeError} for types that do not fit a dtype, such as complex numbers.
 * @throws {ArgumentError} when `key` is not there, or names of `names` or `into` are not.
 *
 * ```ts
 * import { io, models } from "@cudeno/cudeno";
 * const path = "resnet18-f37072fd.pth"; // of download.pytorch.org/models
 * try {
 *   const state = await io.loadTorch(path);
 *   models.resnet18().loadStateDict(state);
 * } catch (error) {
 *   console.log((error as Error).message); // resnet18-f37072fd.pth is missing
 * }
 * ```
 */
export async function loadTorch(
  source: Source,
  options: LoadTorchOptions = {},
): Promise<StateDict> {
  const op = "loadTorch";
  const nameIn = selection(op, options, ["key", "verify"]);
  const { key, verify = true, into } = options;
  if (key !== undefined && typeof key !== "string") refuse(op, "key", key, "a string");
  if (typeof verify !== "boolean") refuse(op, "verify", verify, "true or false");

  const load = async (file: OpenFile): Promise<StateDict> => {
    const zip = await zipOf(file);
    const slots = [...await tensorsOf(zip, key)].flatMap(([from, tensor]) => {
      const name = nameIn(from);
      if (name === undefined) return [];
      const { offset, width, size, type, shape, strides } = tensor;
      const [begin, end] = [offset * width, (offset + size) * width];
      const entry = { name: from, dtype: type, shape, begin, end };
      const place = JSON.stringify([tensor.key, type, offset, shape, strides]);
      return [{ file: file.name, name, entry, place, tensor }];
    });
    checkSizes(zip, new Map(slots.map(({ place, tensor }) => [place, tensor])).values());
    const found = roomFor(op, file.name, slots, options);
    const views = new Map(found.map((slot) => [slot.x, slot])).values();
    try {
      for (const [storage, list] of Map.groupBy(views, ({ tensor }) => tensor.key)) {
        const { from, start } = await opened(zip, storage, verify);
        await fillAll(from, start, list.filter(({ tensor }) => tensor.contiguous));
        for (const { x, entry, tensor } of list) {
          if (tensor.contiguous) continue;
          const at = start + entry.begin;
          const bytes = await from.read(at, at + tensor.span * tensor.width);
          fill(x, entry, file.name, tensor.gather(bytes));
        }
      }
    } catch (error) {
      if (!into) { for (const { x } of found) x.dispose(); }
      throw error;
    }
    return stateOf(found);
  };
  if (typeof source === "string" || source instanceof URL) return await withFile(source, load);
  const { name, bytes } = await sourceOf(op, source);
  return await load(fileOf(name, bytes));
}

// A file that is open, the records in its folder, and an error of it.
interface Zip {
  file: OpenFile;
  records: Map<string, ZipEntry>;
  fault: (message: string, options?: ErrorOptions) => DataError;
}

async function zipOf(file: OpenFile): Promise<Zip> {
  const fault = faultOf(file.name);
  const head = await file.read(0, Math.min(300, file.size));
  if (String.fromCharCode(...head.subarray(0, 4)) !== "PK\x03\x04") throw fault(kindOf(head));
  const entries = await zipEntries(file);
  const pickle = entries.find(({ name }) => /^[^/]+\/data\.pkl$/.test(name));
  if (!pickle) throw fault("is a zip file without a data.pkl, so torch.save() did not write it");
  const folder = pickle.name.slice(0, -"data.pkl".length);
  const records = new Map(
    entries.filter(({ name }) => name.startsWith(folder))
      .map((entry) => [entry.name.slice(folder.length), entry]),
  );
  if (records.has("constants.pkl")) {
    throw fault("is a TorchScript program; in Python, torch.save(model.state_dict(), path)");
  }
  const order = records.get("byteorder");
  if (order && order.size <= 16) {
    const text = new TextDecoder().decode((await zipContent(file, order)).slice());
    if (text !== "little") {
      throw fault(
        `has the byte order ${JSON.stringify(text)}, expected little; save it again there`,
      );
    }
  }
  return { file, records, fault };
}

function faultOf(name: string): Zip["fault"] {
  return (message, options) => new DataError(`${name}: ${message}`, options);
}

// What a file is that is no zip file, and what to do.
function kindOf(head: Uint8Array): string {
  const again = "in Python, torch.save(torch.load(path), path) writes the one that is read";
  if (head[0] === 0x80) return `is of PyTorch's format before 1.6, or another pickle; ${again}`;
  if (String.fromCharCode(...head.subarray(257, 262)) === "ustar") {
    return `is of PyTorch's first format, a tar file; ${again}`;
  }
  if (head[8] === 0x7b) return "is no zip file; io.loadSafetensors reads .safetensors files";
  return "is no zip file, as torch.save() writes it";
}

const maxPickle = 2 ** 24;

async function tensorsOf(zip: Zip, key: string | undefined): Promise<Map<string, TorchTensor>> {
  const { file, records, fault } = zip;
  const record = records.get("data.pkl")!;
  if (record.size > maxPickle) {
    throw fault(`its pickle has ${record.size} bytes, at most ${maxPickle}`);
  }
  const pickle = await zipContent(file, record);
  let value = readTorchPickle(pickle, fault);
  if (key !== undefined) {
    const keys = value instanceof Map ? [...value.keys()] : [];
    if (!keys.includes(key)) {
      throw new ArgumentError(
        `loadTorch: ${file.name} has no ${JSON.stringify(key)}; there are [${
          listOf(keys.map(String))
        }]`,
      );
    }
    value = (value as Map<unknown, unknown>).get(key);
  }
  return tensorsIn(value, pickle.length + 1000, fault);
}

/**
 * Throws unless each storage is there, as long as it is said to be, and the tensors take no more
 * than may be: views of the same elements could be endless.
 */
function checkSizes({ records, fault }: Zip, tensors: Iterable<TorchTensor>): void {
  const storages = new Set<ZipEntry>();
  let wanted = 0, held = 0;
  for (const { key, offset, span, size, width } of tensors) {
    const record = records.get(`data/${key}`);
    if (!record) throw fault(`has no storage ${JSON.stringify(key.slice(0, 40))}`);
    const least = (offset + span) * width;
    if (record.size < least) {
      throw fault(
        `its storage ${record.name} has ${record.size} bytes, expected at least ${least}`,
      );
    }
    if (record.size > maxRatio * (record.packed + 1)) {
      throw fault(`its storage ${record.name} cannot hold the ${record.size} bytes that it claims`);
    }
    if (!storages.has(record)) held += record.size;
    storages.add(record);
    wanted += size * width;
  }
  if (wanted > held * 16 + 2 ** 16) {
    throw fault(
      `its tensors take ${wanted} bytes, its storages ${held}: they are expanded; in Python, ` +
        "save x.contiguous()",
    );
  }
}

/** A storage: a file, and where in it the bytes begin. */
async function opened({ file, records }: Zip, key: string, verify: boolean) {
  const record = records.get(`data/${key}`)!;
  if (record.method !== 0) {
    return { from: fileOf(file.name, await zipContent(file, record)), start: 0 };
  }
  const start = await zipStart(file, record);
  if (verify) {
    let crc = 0;
    const room = new Uint8Array(Math.min(limits.piece, record.size));
    for (let at = 0; at < record.size; at += limits.piece) {
      const end = Math.min(at + limits.piece, record.size);
      crc = crc32(await file.read(start + at, start + end, room), crc);
    }
    checkCrc(file, record, crc);
  }
  return { from: file, start };
}
