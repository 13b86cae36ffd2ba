import { checkInteger, checkOptions, refuse } from "../../core/options.ts";
import { saveSafetensors } from "../../io/safetensors.ts";
import { ArgumentError } from "../../native/errors.ts";
import type { EpochResult } from "../history.ts";
import type { Callback, EpochState, FitState, StepState } from "./callback.ts";
import type { MonitorOptions } from "./early_stopping.ts";
import { checkFlags, figureOf, Monitor } from "./_figures.ts";
import { folderOf, makeFolder, named, pathOf } from "./_files.ts";
import { checkTemplate, filledIn, isTemplate } from "./_path_template.ts";

/** Options of {@linkcode ModelCheckpoint}. */
export interface ModelCheckpointOptions extends MonitorOptions {
  /**
   * Where to save: a path that ends in `.safetensors`, with figures as in
   * `"runs/{epoch:03d}-{valLoss:.4f}.safetensors"` (`epoch`, `step`, and what `monitor` may name),
   * or a folder, for `epoch-1.safetensors` and so on, `step-100.safetensors` with `everySteps`, and
   * `best.safetensors` with `saveBest`. Folders are made.
   */
  path: string | URL;
  /** Whether to keep the best alone: as `topK: 1`. Default false. */
  saveBest?: boolean | undefined;
  /**
   * How many of the best to keep, by `monitor`: others that this callback has written are deleted.
   * 0 is none, for `saveLast` alone. Default: all are kept, whatever the figures.
   */
  topK?: number | undefined;
  /** Whether to write what is last to `last.safetensors` too, in the folder. Default false. */
  saveLast?: boolean | undefined;
  /** After how many epochs to save, each time; default 1. */
  everyEpochs?: number | undefined;
  /** After how many steps to save, instead; there are no figures of an epoch then. */
  everySteps?: number | undefined;
  /**
   * Whether to save the model's stateDict() alone, which is smaller; or all that training needs to
   * go on, as Trainer.saveCheckpoint() does, the default.
   */
  weightsOnly?: boolean | undefined;
}

/** A file that was written, and its figure. */
interface Saved {
  path: string;
  value: number;
  /** Whether this object wrote it. */
  own: boolean;
}

/**
 * Saves the model as training goes: after each epoch, the best, the last, or each so many steps; as
 * Keras's and Lightning's ModelCheckpoint. A file appears whole or not at all. Of files nothing is
 * deleted but what this object wrote itself, and those only after the better one is there. NaN is
 * never better. What was best in one fit() still is in the next, also after loadCheckpoint().
 *
 * Throws an ArgumentError for options that make no sense and for figures that are not there, and a
 * DataError, which names the path, where it cannot write.
 *
 * ```ts
 * import { callbacks, data, io, nn, optim, tensor, Trainer } from "@cudeno/cudeno";
 * const set = new data.TensorDataset(tensor([[0], [1]]), tensor([[1], [3]]));
 * const model = new nn.Linear(1, 1);
 * const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
 * const trainer = new Trainer(model, { loss: new nn.MSELoss(), optimizer });
 * const folder = await Deno.makeTempDir();
 * const best = new callbacks.ModelCheckpoint({
 *   path: `${folder}/{epoch}-{valLoss:.4f}.safetensors`,
 *   saveBest: true,
 *   weightsOnly: true,
 * });
 * await trainer.fit(set, { epochs: 3, validation: set, callbacks: [best] });
 * model.loadStateDict(await io.loadSafetensors(best.bestPath!));
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export class ModelCheckpoint implements Callback {
  readonly #options: ModelCheckpointOptions;
  readonly #monitor: Monitor | undefined;
  readonly #template: string;
  readonly #folder: string;
  readonly #topK: number;
  #kept: Saved[] = []; // the best first
  #lastPath: string | undefined;
  /** Saves, where it is time, with `everySteps` alone: trainers keep losses for those who ask. */
  readonly onStepEnd?: (state: StepState) => Promise<void>;

  constructor(options: ModelCheckpointOptions) {
    const op = "ModelCheckpoint";
    checkOptions(op, options, [
      ...["path", "monitor", "mode", "saveBest", "topK", "saveLast", "everyEpochs", "everySteps"],
      "weightsOnly",
    ]);
    checkFlags(op, options, "saveBest", "saveLast", "weightsOnly");
    for (const name of ["everyEpochs", "everySteps"] as const) {
      checkInteger(op, name, options[name] ?? 1, 1);
    }
    const { saveBest, saveLast, everyEpochs, everySteps } = options;
    const path = pathOf(op, options.path).replace(/(?<=.)[/\\]+$/, "");
    const isFile = path.endsWith(".safetensors");
    const extension = /\.(pt|pth|bin|ckpt|onnx|npz|json|h5|keras)$/i.exec(path)?.[0];
    if (extension) refuse(op, "path", path, "a path that ends in .safetensors, or a folder");
    const topK = options.topK ?? (saveBest ? 1 : Infinity);
    if (topK !== Infinity) checkInteger(op, "topK", topK, 0);
    const wrong = saveBest && topK !== 1
      ? `saveBest is topK: 1, and topK is ${topK}; give one of them`
      : topK === 0 && !saveLast
      ? "with topK: 0 nothing is saved; give saveLast: true, or another topK"
      : everySteps !== undefined && everyEpochs !== undefined
      ? "everyEpochs and everySteps are both given; give one of them, or two callbacks"
      : everySteps !== undefined && topK !== Infinity && topK > 0
      ? "with everySteps there are no figures to tell the best by; leave out saveBest and topK"
      : !(topK > 0 && topK < Infinity) && (options.monitor ?? options.mode) !== undefined
      ? "monitor and mode are to tell the best, and all are saved; give saveBest or topK"
      : topK > 1 && topK < Infinity && isFile && !isTemplate(path)
      ? `topK is ${topK}, and all files would have the name ${path}; put {epoch} into it`
      : "";
    if (wrong) throw new ArgumentError(`${op}: ${wrong}`);
    const name = everySteps ? "step-{step}" : saveBest ? "best" : "epoch-{epoch}";
    this.#template = isFile ? path : `${path}/${name}.safetensors`;
    checkTemplate(op, this.#template);
    this.#folder = folderOf(this.#template);
    if (topK !== Infinity && topK > 0) this.#monitor = new Monitor(op, options);
    this.#topK = topK;
    this.#options = { ...options };
    if (everySteps === undefined) return;
    this.onStepEnd = async (state) => {
      if (state.step % everySteps === 0) await this.#save(state, state.step);
    };
  }

  /** The best value of the figure so far, where the best are kept. */
  get best(): number | undefined {
    return this.#monitor && this.#kept[0]?.value;
  }

  /** The file of the best so far, where the best are kept. */
  get bestPath(): string | undefined {
    return this.#monitor && (this.#kept[0]?.path || undefined);
  }

  /** The file that was written last. */
  get lastPath(): string | undefined {
    return this.#lastPath;
  }

  /**
   * Makes the folder, so that it fails before training if at all. Of a training that goes on, looks
   * in the history for what was the best.
   */
  async onFitBegin(state: FitState): Promise<void> {
    if (!isTemplate(this.#folder)) await makeFolder("ModelCheckpoint", this.#folder);
    if (this.#kept.length > 0) return;
    for (const result of state.history) {
      const value = this.#monitor?.find(result);
      if (value === undefined || result.epoch % (this.#options.everyEpochs ?? 1) !== 0) continue;
      const known = !this.#template.includes("{step"); // which the history does not say
      const path = known ? this.#pathFor({ ...state, epoch: result.epoch }, NaN, result) : "";
      if (this.#isBetter(path, value)) this.#rank({ path, value, own: false });
    }
  }

  /** Saves, where it is time and good enough. */
  async onEpochEnd(result: EpochResult, state: EpochState): Promise<void> {
    const { everyEpochs = 1, everySteps } = this.#options;
    if (everySteps !== undefined || result.epoch % everyEpochs !== 0) return;
    await this.#save(state, state.trainer.step, result);
  }

  async #save(state: EpochState, step: number, result?: EpochResult): Promise<void> {
    const value = result && this.#monitor?.read(result, state);
    if (!this.#monitor) {
      if (this.#topK > 0) await this.#write(this.#pathFor(state, step, result), state);
    } else if (value !== undefined) {
      const path = this.#pathFor(state, step, result);
      if (this.#isBetter(path, value)) {
        await this.#write(path, state);
        for (const old of this.#rank({ path, value, own: true })) await this.#delete(old);
      }
    }
    if (this.#options.saveLast) {
      const folder = isTemplate(this.#folder)
        ? folderOf(this.#pathFor(state, step, result))
        : this.#folder;
      await this.#write(`${folder}/last.safetensors`, state);
    }
  }

  #pathFor(state: EpochState, step: number, result?: EpochResult): string {
    return filledIn(this.#template, (name) => {
      if (name === "epoch") return state.epoch;
      if (name === "step") return step;
      if (result) return figureOf("ModelCheckpoint", name, result, state) ?? NaN;
      throw new ArgumentError(
        `ModelCheckpoint: the path has {${name}}; with everySteps there are {epoch}, {step}`,
      );
    });
  }

  // Better than the file of this name, or else than the one that has to go.
  #isBetter(path: string, value: number): boolean {
    const other = this.#kept.find((saved) => path && saved.path === path);
    return this.#monitor!.better(value, (other ?? this.#kept[this.#topK - 1])?.value);
  }

  // Takes a file into the list of the best, and returns what falls out of it.
  #rank(saved: Saved): Saved[] {
    const all = this.#kept.filter(({ path }) => !path || path !== saved.path);
    const place = all.findIndex(({ value }) => this.#monitor!.better(saved.value, value));
    all.splice(place < 0 ? all.length : place, 0, saved);
    this.#kept = all.slice(0, this.#topK);
    return all.slice(this.#topK);
  }

  async #delete({ path, own }: Saved): Promise<void> {
    if (!own) return;
    await named("ModelCheckpoint", path, async () => {
      const info = await Deno.lstat(path).catch(() => undefined); // it may be gone already
      if (info?.isFile) await Deno.remove(path); // a link is somebody else's
    });
  }

  async #write(path: string, { trainer }: FitState): Promise<void> {
    await makeFolder("ModelCheckpoint", folderOf(path));
    if (this.#options.weightsOnly) await saveSafetensors(path, trainer.model.stateDict());
    else await trainer.saveCheckpoint(path);
    this.#lastPath = path;
  }
}
