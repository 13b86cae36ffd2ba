// What a checkpoint's metadata say, and whether they and its tensors fit what is to be loaded.
import { computeDType, type DType } from "../core/dtype.ts";
import { checkInteger, checkOptions, refuse } from "../core/options.ts";
import { setRandomPlace } from "../core/random.ts";
import { formatShape, sameShape } from "../core/shape.ts";
import { ArgumentError, DataError, DTypeError, ShapeError } from "../native/errors.ts";
import { Module, type StateDict } from "../nn/module.ts";
import { checkStateDict } from "../nn/_state_dict.ts";
import { EMA } from "../optim/ema.ts";
import { GradScaler, type GradScalerState } from "../optim/grad_scaler.ts";
import { Optimizer, type OptimizerState } from "../optim/optimizer.ts";
import { Schedule, type ScheduleState } from "../optim/schedule/schedule.ts";
import type { Tensor } from "../tensor.ts";
import type { CheckpointParts } from "./checkpoint.ts";
import { fromExactJson } from "./_exact_json.ts";
import type { Entry } from "./_safetensors_format.ts";
import { dtypeFor, listOf } from "./_stored.ts";

/** Under which name the file's metadata have ours. */
export const metaKey = "cudeno.checkpoint";
/** The version of what stands there. */
export const metaVersion = 1;

/** What stands there: the parts, without their tensors. */
export interface Meta {
  version: number;
  model?: object;
  optimizer?: { kind: string } & Omit<OptimizerState, "tensors">;
  schedule?: { kind: string; state: ScheduleState };
  scaler?: GradScalerState;
  ema?: { updates: number };
  random?: { seed: bigint; drawn: bigint };
  tensors?: object;
  state?: unknown;
}

const kinds = {
  model: Module,
  optimizer: Optimizer,
  schedule: Schedule,
  scaler: GradScaler,
  ema: EMA,
} as const;
type Kind = keyof typeof kinds;

/** The parts by name. */
export const partNames: readonly (keyof CheckpointParts)[] = [
  ...Object.keys(kinds) as Kind[],
  "random",
  "tensors",
];

/** What the names of parts' tensors begin with. */
export const prefixes = {
  model: "model.",
  optimizer: "optimizer.state.",
  ema: "ema.",
  tensors: "tensors.",
} as const;

/** A part that has tensors. */
export type TensorPart = keyof typeof prefixes;

/** Throws unless parts are what they are called. */
export function checkParts(op: string, parts: CheckpointParts, known: readonly string[]): void {
  checkOptions(op, parts, known);
  for (const [name, kind] of Object.entries(kinds)) {
    const part = parts[name as Kind];
    if (part === undefined || part instanceof (kind as unknown as new () => object)) continue;
    refuse(op, name, part, `the ${name} itself, whose class is ${kind.name} or extends it`);
  }
  const { optimizer, schedule, random, tensors } = parts;
  if (tensors !== undefined) checkStateDict(op, tensors);
  if (random !== undefined && typeof random !== "boolean") {
    refuse(op, "random", random, "true or false");
  }
  if (schedule && optimizer && schedule.optimizer !== optimizer) {
    throw new ArgumentError(`${op}: the schedule is one of another optimizer`);
  }
}

/** What a file's metadata say. */
export function metaOf(file: string, metadata: Record<string, string>): Meta {
  if (!Object.hasOwn(metadata, metaKey)) {
    throw new DataError(
      `${file} is no checkpoint: saveCheckpoint did not write it. Weights alone are loaded by ` +
        "model.loadStateDict(await io.loadSafetensors(path))",
    );
  }
  const meta = fromExactJson(`${file}: ${metaKey}`, metadata[metaKey]!);
  if (!isRecord(meta) || meta["version"] !== metaVersion) {
    const found = isRecord(meta) ? meta["version"] : "none";
    throw new DataError(
      `${file} is a checkpoint of version ${`${found}`.slice(0, 40)}; this library reads version ` +
        metaVersion,
    );
  }
  for (const name of partNames) {
    if (meta[name] === undefined || isRecord(meta[name])) continue;
    throw new DataError(`${file}: the checkpoint's ${name} is no object`);
  }
  return meta as unknown as Meta;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A tensor that is to be loaded: what the file has, and what it is for, if that is there. */
export interface Slot {
  part: TensorPart;
  name: string;
  entry: Entry;
  like: Tensor | undefined;
}

/** The tensors that are asked for; throws unless all are there, and are alike. */
export function slotsOf(
  file: string,
  entries: readonly Entry[],
  parts: CheckpointParts,
  meta: Meta,
): Slot[] {
  const asked = partNames.filter((name) => parts[name]);
  if (asked.some((name) => meta[name] === undefined)) {
    const has = partNames.filter((name) => meta[name] !== undefined);
    throw new ArgumentError(
      `loadCheckpoint: ${file} has ${has.join(", ") || "no part"}; asked for are ` +
        asked.join(", "),
    );
  }
  const slots: Slot[] = [];
  for (const part of Object.keys(prefixes) as TensorPart[]) {
    if (!parts[part] && part !== "tensors") continue;
    const prefix = prefixes[part];
    const found = new Map(
      entries.filter(({ name }) => name.startsWith(prefix))
        .map((entry) => [entry.name.slice(prefix.length), entry]),
    );
    const wanted = wantedOf(part, parts, found.keys());
    const missing = Object.keys(wanted).filter((name) => !found.has(name));
    const unexpected = [...found.keys()].filter((name) => !Object.hasOwn(wanted, name));
    if (missing.length > 0 || (unexpected.length > 0 && part !== "tensors")) {
      throw new ArgumentError(
        `loadCheckpoint: ${file} is of another ${part}: missing there are [${listOf(missing)}], ` +
          `unexpected are [${listOf(unexpected)}]`,
      );
    }
    for (const [name, entry] of found) {
      const like = Object.hasOwn(wanted, name) ? wanted[name] : undefined;
      if (like) checkAlike(file, entry, like, part === "optimizer");
      slots.push({ part, name, entry, like });
    }
  }
  return slots;
}

// The tensors that a part has, or, of an optimizer, whose state is empty before its first step, the
// parameters that names in the file are of.
function wantedOf(part: TensorPart, parts: CheckpointParts, names: Iterable<string>): StateDict {
  if (part === "model") return parts.model!.stateDict();
  if (part === "tensors") return parts.tensors ?? {};
  if (part === "ema") return Object.fromEntries(parts.ema!.averages.map((x, i) => [`${i}`, x]));
  const params = parts.optimizer!.groups.flatMap(({ params }) => params);
  const known = Array.from(names, (name) => [name, params[Number.parseInt(name)]] as const)
    .filter((pair): pair is [string, Tensor] => pair[1] !== undefined);
  return Object.fromEntries(known);
}

function checkAlike(file: string, entry: Entry, like: Tensor, state: boolean): void {
  const { name, shape } = entry;
  const text = `loadCheckpoint: ${file}: ${name.slice(0, 100)}`;
  void like.stored(like.format).handle; // throws for one that was disposed
  if (!sameShape(shape, like.shape)) {
    throw new ShapeError(
      `${text} is ${formatShape(shape)} there; wanted is ${formatShape(like.shape)}`,
    );
  }
  const dtype = dtypeFor(entry, file);
  const wanted: DType = state ? computeDType(like.dtype) : like.dtype;
  if (dtype !== wanted) throw new DTypeError(`${text} is ${dtype} there; wanted is ${wanted}`);
}

/** Throws for states that the parts would not take, as far as they can be asked. */
export function checkStates(file: string, parts: CheckpointParts, meta: Meta): void {
  for (const part of ["optimizer", "schedule"] as const) {
    const [found, wanted] = [meta[part]?.kind, parts[part]?.constructor.name];
    if (wanted !== undefined && found !== wanted) {
      throw new ArgumentError(
        `loadCheckpoint: ${file} has the ${part} ${`${found}`.slice(0, 100)}; given is ${wanted}`,
      );
    }
  }
  parts.schedule?.checkState(meta.schedule!.state);
  if (parts.scaler) new GradScaler().loadStateDict(meta.scaler!); // another one, to ask
  if (parts.ema) {
    checkInteger("EMA", "updates", meta.ema!.updates, 0);
    if (parts.ema.applied) {
      throw new ArgumentError("EMA: restore() the model before loadCheckpoint()");
    }
  }
  const { random } = meta;
  if (parts.random === false || !random) return;
  for (const value of [random.seed, random.drawn]) {
    if (typeof value === "bigint" && value === BigInt.asUintN(63, value)) continue;
    throw new DataError(`${file}: the checkpoint's random numbers have no seed and count`);
  }
}

/**
 * Loads all. The optimizer comes first, as it alone may still refuse its state; what it was loaded
 * from is freed, so that there is room for the others.
 */
export function apply(
  parts: CheckpointParts,
  meta: Meta,
  found: readonly (Slot & { x: Tensor })[],
): void {
  const valuesOf = (part: TensorPart): StateDict =>
    Object.fromEntries(found.filter((slot) => slot.part === part).map(({ name, x }) => [name, x]));
  const { model, optimizer, schedule, scaler, ema } = parts;
  if (optimizer) {
    const { numbers, groups } = meta.optimizer!;
    const tensors = valuesOf("optimizer");
    optimizer.loadStateDict({ tensors, numbers, groups });
    for (const x of Object.values(tensors)) x.dispose();
  }
  model?.loadStateDict(valuesOf("model"));
  ema?.loadStateDict({ tensors: valuesOf("ema"), updates: meta.ema!.updates });
  for (const { part, like, x } of found) if (part === "tensors") like?.copyFrom(x);
  if (scaler) scaler.loadStateDict(meta.scaler!);
  if (schedule) schedule.loadStateDict(meta.schedule!.state);
  if (parts.random !== false && meta.random) setRandomPlace(meta.random);
}
