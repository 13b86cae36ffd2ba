// Which tensors of a file are loaded, and to where.
import type { DeviceName } from "../core/backend.ts";
import type { DType } from "../core/dtype.ts";
import { checkList, checkOptions, refuse } from "../core/options.ts";
import { scope } from "../core/scope.ts";
import { formatShape, sameShape } from "../core/shape.ts";
import { empty } from "../_empty.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";
import type { StateDict } from "../nn/module.ts";
import { checkStateDict } from "../nn/_state_dict.ts";
import type { Tensor } from "../tensor.ts";
import type { Entry } from "./_safetensors_format.ts";
import { dtypeFor, listOf } from "./_stored.ts";

/** Options of {@linkcode loadSafetensors}. */
export interface LoadOptions {
  /** Where to put the tensors. Default: the device of init(). */
  device?: DeviceName | undefined;
  /** Loads only tensors whose names begin so, and takes it off: `model.` for a checkpoint's. */
  prefix?: string | undefined;
  /** Which tensors to load, of those with the prefix, by their names without it. */
  names?: readonly string[] | ((name: string) => boolean) | undefined;
  /**
   * Tensors to load into, such as `model.stateDict()`: no others are made, so that a model of
   * nearly the device's memory can be loaded. Names and shapes must be the file's; floats are cast.
   * An error while the file is read leaves some of them overwritten.
   */
  into?: StateDict | undefined;
}

/** Says under which name a tensor of a file is to be loaded, if at all. */
export type NameIn = (name: string) => string | undefined;

/** The same of options, which it checks. */
export function selection(op: string, options: LoadOptions, more: string[]): NameIn {
  checkOptions(op, options, ["device", "prefix", "names", "into", ...more]);
  const { prefix = "", names, into, device } = options;
  if (typeof prefix !== "string") refuse(op, "prefix", prefix, "a string");
  if (typeof names !== "function" && names !== undefined) {
    checkList(op, "names", names, (name) => typeof name === "string", "names, or a function");
  }
  if (into) {
    checkStateDict(op, into);
    if (device) throw new ArgumentError(`${op}: into says where tensors are; leave device out`);
  }
  const listed = typeof names === "object" ? new Set(names) : undefined;
  return (name) => {
    if (!name.startsWith(prefix)) return undefined;
    const rest = name.slice(prefix.length);
    const taken = typeof names === "function" ? names(rest) : listed?.has(rest) ?? true;
    if (typeof taken !== "boolean") refuse(op, `names(${rest})`, taken, "true or false");
    return taken ? rest : undefined;
  };
}

/** A tensor that is to be loaded from a file. */
export interface Slot {
  file: string;
  name: string;
  entry: Entry;
  /** What is the same of two that share a tensor. */
  place?: string;
}

/** What is to be loaded of a file. */
export function slotsOf(file: string, entries: readonly Entry[], nameIn: NameIn): Slot[] {
  return entries.flatMap((entry) => {
    const name = nameIn(entry.name);
    return name === undefined ? [] : [{ file, name, entry }];
  });
}

/**
 * A tensor for each slot, all of them before any is read: where there is no room, that is known at
 * once.
 */
export function roomFor<S extends Slot>(
  op: string,
  file: string,
  slots: readonly S[],
  options: LoadOptions,
): (S & { x: Tensor })[] {
  const { device, into, names } = options;
  const dtypes = slots.map(({ file, entry }) => dtypeFor(entry, file));
  const found = new Set(slots.map(({ name }) => name));
  const wanted = typeof names === "object" ? names : Object.keys(into ?? {});
  const missing = wanted.filter((name) => !found.has(name));
  const unexpected = into ? [...found].filter((name) => !Object.hasOwn(into, name)) : [];
  if (missing.length + unexpected.length > 0) {
    throw new ArgumentError(
      `${op}: ${file}: missing are [${listOf(missing)}], unexpected are [${listOf(unexpected)}]`,
    );
  }
  const made = new Map<string, Tensor>();
  const make = ({ entry: { shape }, place }: S, dtype: DType): Tensor => {
    const before = place === undefined ? undefined : made.get(place);
    const x = before ?? empty(op, shape, { dtype, ...(device && { device }) });
    if (place !== undefined) made.set(place, x);
    return x;
  };
  return scope(() =>
    slots.map((slot, i) => {
      const x = into ? alike(op, slot, into[slot.name]!) : make(slot, dtypes[i]!);
      return { ...slot, x };
    })
  );
}

function alike(op: string, { file, name, entry: { shape } }: Slot, x: Tensor): Tensor {
  void x.stored(x.format).handle; // throws for one that was disposed
  if (sameShape(shape, x.shape)) return x;
  throw new ShapeError(
    `${op}: ${file}: ${name} is ${formatShape(shape)}; wanted is ${formatShape(x.shape)}`,
  );
}

/** The tensors by name. */
export function stateOf(found: readonly { x: Tensor; name: string }[]): StateDict {
  return Object.fromEntries(found.map(({ x, name }) => [name, x]));
}
