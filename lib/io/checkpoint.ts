import { randomPlace } from "../core/random.ts";
import { checkFunction } from "../core/options.ts";
import { scope } from "../core/scope.ts";
import { empty } from "../_empty.ts";
import { ArgumentError } from "../native/errors.ts";
import type { Module, StateDict } from "../nn/module.ts";
import type { EMA } from "../optim/ema.ts";
import type { GradScaler } from "../optim/grad_scaler.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import type { Schedule } from "../optim/schedule/schedule.ts";
import type { Tensor } from "../tensor.ts";
import {
  apply,
  checkParts,
  checkStates,
  type Meta,
  metaKey,
  metaOf,
  metaVersion,
  partNames,
  prefixes,
  slotsOf,
  type TensorPart,
} from "./_checkpoint.ts";
import { exactJson } from "./_exact_json.ts";
import { replaceFile, withFile } from "./_files.ts";
import { dtypeFor, encode, fillAll, headerOf } from "./_stored.ts";

/** What of a training is in a checkpoint: whatever is given. */
export interface CheckpointParts {
  /** The model: parameters and buffers, as `model.0.weight`. */
  model?: Module | undefined;
  /** The optimizer, whose state tensors are `optimizer.state.0.expAvg`. */
  optimizer?: Optimizer | undefined;
  /** The schedule of its learning rate. */
  schedule?: Schedule | undefined;
  /** The scaler of losses. */
  scaler?: GradScaler | undefined;
  /** The moving averages, as `ema.0`; not while they are applied to the model. */
  ema?: EMA | undefined;
  /**
   * Whether random numbers go on as they would have: dropout, shuffling. Default true; loading, by
   * default, if the file has them.
   */
  random?: boolean | undefined;
  /** Other tensors, as `tensors.name`. Those given when loading are overwritten in place. */
  tensors?: StateDict | undefined;
}

/** The parts that {@linkcode saveCheckpoint} takes. */
export interface CheckpointContents extends CheckpointParts {
  /**
   * What else there is to remember, such as `{ epoch, best }`: null, booleans, numbers, bigints,
   * strings, and arrays and plain objects of those, all kept exactly.
   */
  state?: unknown;
}

/** What {@linkcode loadCheckpoint} returns. */
export interface Checkpoint<S = unknown> {
  /** The state that was given when it was saved. */
  state: S;
  /** The tensors that were given when it was saved. */
  tensors: StateDict;
}

/**
 * Writes all that a training needs to go on bit for bit to one .safetensors file: tensors under the
 * names of their parts, numbers in the file's metadata. Other readers of safetensors find the
 * weights there.
 *
 * The file appears whole or not at all, as with saveSafetensors. What is saved is what there is at
 * the call, and training may go on meanwhile. More than 256 MiB of tensors, though, are read one
 * after another: await the promise first. A step that was taken before is an ArgumentError, and
 * the old file stays.
 *
 * @throws {ArgumentError} for a state that is no plain data.
 * @throws {DataError} when the file cannot be written; its `cause` says why.
 *
 * ```ts
 * import { io, nn, optim } from "@cudeno/cudeno";
 * const model = new nn.Linear(3, 2);
 * const optimizer = new optim.AdamW(model.parameters());
 * const path = await Deno.makeTempFile({ suffix: ".safetensors" });
 * await io.saveCheckpoint(path, { model, optimizer, state: { epoch: 3 } });
 * const { state } = await io.loadCheckpoint<{ epoch: number }>(path, { model, optimizer });
 * console.log(state.epoch); // 3
 * await Deno.remove(path);
 * ```
 */
export async function saveCheckpoint(
  path: string | URL,
  parts: CheckpointContents,
): Promise<void> {
  const op = "saveCheckpoint";
  checkParts(op, parts, [...partNames, "state"]);
  const { model, optimizer, schedule, scaler, ema, random = true, state } = parts;
  const tensors: StateDict = {};
  const add = (part: TensorPart, state: StateDict) => {
    for (const [name, x] of Object.entries(state)) tensors[prefixes[part] + name] = x;
  };
  const meta: Meta = { version: metaVersion };
  if (model) {
    meta.model = {};
    add("model", model.stateDict());
  }
  if (optimizer) {
    const { tensors, numbers, groups } = optimizer.stateDict();
    meta.optimizer = { kind: optimizer.constructor.name, numbers, groups };
    add("optimizer", tensors);
  }
  if (schedule) meta.schedule = { kind: schedule.constructor.name, state: schedule.stateDict() };
  if (scaler) meta.scaler = scaler.stateDict();
  if (ema) {
    const { tensors, updates } = ema.stateDict();
    meta.ema = { updates };
    add("ema", tensors);
  }
  if (parts.tensors) {
    meta.tensors = {};
    add("tensors", parts.tensors);
  }
  if (random) {
    const { seed, drawn } = randomPlace();
    meta.random = { seed, drawn };
  }
  if (state !== undefined) meta.state = state;
  const text = exactJson(op, "parts", meta);
  const { parts: content, atOnce, settled } = encode(tensors, { format: "pt", [metaKey]: text });
  const counts = () =>
    exactJson(op, "counts", [optimizer?.stateDict().numbers ?? {}, ema?.updates ?? 0]);
  const before = atOnce ? "" : counts();
  await replaceFile(
    path,
    (async function* () {
      yield* content;
      if (atOnce || counts() === before) return;
      throw new ArgumentError(
        `${op}: the training went on while its tensors were read; await saveCheckpoint() first`,
      );
    })(),
  ).finally(() => settled); // where it cannot be written, what is read is freed all the same
}

/**
 * Goes on from a file of {@linkcode saveCheckpoint}: fills the given model, optimizer and so on,
 * which are made as they were for the training that was saved, on whatever device. Names, shapes
 * and dtypes must be the same; a file may have more parts than are asked for. All is checked and
 * read before anything is changed, which takes room for what is loaded twice. `check` may look at
 * the state too, before, and throw.
 *
 * @throws {DataError} when the file is missing, damaged or no checkpoint.
 * @throws {ArgumentError} when it lacks a part that is asked for, or is of another model, optimizer
 * or schedule.
 * @throws {ShapeError} when a tensor has another shape there.
 * @throws {DTypeError} when it has another dtype there.
 *
 * ```ts
 * import { io, manualSeed, optim, rand, tensor } from "@cudeno/cudeno";
 * const w = tensor([1, 2], { requiresGrad: true });
 * const optimizer = new optim.SGD([w], { lr: 0.1 });
 * const path = await Deno.makeTempFile({ suffix: ".safetensors" });
 * manualSeed(1);
 * await io.saveCheckpoint(path, { optimizer, tensors: { w }, state: { best: Infinity } });
 * const next = rand([2]);
 * w.fill(0);
 * const { state } = await io.loadCheckpoint(path, { optimizer, tensors: { w } });
 * console.log(w.dataSync(), state); // 1, 2, { best: Infinity }
 * console.log(rand([2]).sub(next).dataSync()); // 0, 0
 * await Deno.remove(path);
 * ```
 */
export async function loadCheckpoint<S = unknown>(
  path: string | URL,
  parts: CheckpointParts = {},
  check: (state: S) => void = () => {},
): Promise<Checkpoint<S>> {
  const op = "loadCheckpoint";
  checkParts(op, parts, partNames);
  checkFunction(op, "check", check);
  return await withFile(path, async (file) => {
    const { entries, metadata, dataStart } = await headerOf(file);
    const meta = metaOf(file.name, metadata);
    const slots = slotsOf(file.name, entries, parts, meta);
    checkStates(file.name, parts, meta);
    check(meta.state as S);
    const found = scope(() =>
      slots.map((slot) => {
        const { entry, like } = slot;
        const place = { dtype: dtypeFor(entry, file.name), ...(like && { device: like.device }) };
        return { ...slot, x: empty(op, entry.shape, place) };
      })
    );
    try {
      await fillAll(file, dataStart, found);
      apply(parts, meta, found);
    } catch (error) {
      for (const { x } of found) x.dispose();
      throw error;
    }
    const tensors: [string, Tensor][] = [];
    for (const { part, name, like, x } of found) {
      if (part === "tensors") tensors.push([name, like ?? x]);
      if (part !== "tensors" || like) x.dispose();
    }
    return { state: meta.state as S, tensors: Object.fromEntries(tensors) };
  });
}
