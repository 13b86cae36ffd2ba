import { checkFunction, checkInteger, checkOptions } from "../../core/options.ts";
import { scope } from "../../core/scope.ts";
import type { StateDict } from "../../nn/module.ts";
import type { Tensor } from "../../tensor.ts";
import type { EpochResult, History } from "../history.ts";
import type { Callback, EpochState, FitState } from "./callback.ts";
import { figuresOf, ofValidation } from "./_figures.ts";
import { pathOf } from "./_files.ts";
import { SummaryWriter } from "./summary_writer.ts";

/** Options of {@linkcode TensorBoard}. */
export interface TensorBoardOptions {
  /**
   * After how many epochs to write histograms of all parameters and of their last gradients, which
   * are read from the device; default 0, never.
   */
  histograms?: number | undefined;
  /** Gives images to show after each epoch, by their tags; see SummaryWriter.addImage(). */
  images?: ((state: EpochState) => StateDict | Promise<StateDict>) | undefined;
  /** Of how many steps to write one loss, or 0 for none; default 1. */
  everySteps?: number | undefined;
}

/**
 * Writes a run for TensorBoard (`tensorboard --logdir FOLDER`): after each epoch its figures, as
 * `loss/train`, `loss/validation`, `f1/train`, `lr`, `samplesPerSecond`; the losses of its steps,
 * as `loss/step`; and what is asked for. Give each run a folder of its own, as `runs/1`, under
 * the one that TensorBoard is given.
 *
 * ```ts
 * import { callbacks, data, nn, optim, tensor, Trainer } from "@cudeno/cudeno";
 * const set = new data.TensorDataset(tensor([[0], [1]]), tensor([[1], [3]]));
 * const model = new nn.Linear(1, 1);
 * const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
 * const trainer = new Trainer(model, { loss: new nn.MSELoss(), optimizer });
 * const folder = await Deno.makeTempDir();
 * const board = new callbacks.TensorBoard(`${folder}/1`, { histograms: 1 });
 * await trainer.fit(set, { epochs: 3, callbacks: [board] });
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export class TensorBoard implements Callback {
  readonly #folder: string;
  readonly #options: TensorBoardOptions;
  #writer: SummaryWriter | undefined;
  #written = 0; // of the history's losses of steps
  #before = 0; // steps before the first of them

  constructor(folder: string | URL, options: TensorBoardOptions = {}) {
    checkOptions("TensorBoard", options, ["histograms", "images", "everySteps"]);
    const { histograms = 0, everySteps = 1, images } = options;
    checkInteger("TensorBoard", "histograms", histograms, 0);
    checkInteger("TensorBoard", "everySteps", everySteps, 0);
    if (images !== undefined) checkFunction("TensorBoard", "images", images);
    this.#folder = pathOf("TensorBoard", folder);
    this.#options = { ...options };
  }

  /** What writes: for figures of one's own while training. Closed when fit() ends. */
  get writer(): SummaryWriter {
    return this.#writer ??= new SummaryWriter(this.#folder);
  }

  /** Looks where the steps begin. */
  onFitBegin({ trainer, history }: FitState): void {
    this.#written = history.stepLosses.length;
    this.#before = trainer.step - this.#written;
  }

  /** Writes what there is of the epoch. */
  async onEpochEnd(result: EpochResult, state: EpochState): Promise<void> {
    const { writer } = this;
    const { histograms = 0, images } = this.#options;
    for (const [name, value] of Object.entries(figuresOf(result))) {
      if (typeof value === "number") writer.addScalar(tagOf(name, result), value, result.epoch);
    }
    writer.addScalar("samplesPerSecond", result.samplesPerSecond, result.epoch);
    this.#writeSteps(state.history);
    await scope(async () => {
      if (histograms > 0 && result.epoch % histograms === 0) {
        for (const [name, p] of state.trainer.model.namedParameters()) {
          await writer.addHistogram(`parameters/${name}`, p, result.epoch);
          if (p.grad) {
            await writer.addHistogram(`gradients/${name}`, p.grad as Tensor, result.epoch);
          }
        }
      }
      for (const [tag, image] of Object.entries(await images?.(state) ?? {})) {
        await writer.addImage(tag, image, result.epoch);
      }
    });
    writer.flush();
  }

  #writeSteps({ stepLosses }: History): void {
    const { everySteps = 1 } = this.#options;
    for (; this.#written < stepLosses.length; this.#written++) {
      const step = this.#before + this.#written + 1;
      if (everySteps === 0 || step % everySteps !== 0) continue;
      this.writer.addScalar("loss/step", stepLosses[this.#written]!, step);
    }
  }

  /** Writes the losses of an epoch that was ended, and closes the file. */
  onEnd(history: History): void {
    this.#writeSteps(history);
    const writer = this.#writer;
    this.#writer = undefined;
    writer?.close();
  }
}

// So that training and validation stand together.
function tagOf(name: string, { metrics, valMetrics }: EpochResult): string {
  const both = new Set(["loss", "accuracy", ...Object.keys({ ...metrics, ...valMetrics })]);
  if (both.has(name)) return `${name}/train`;
  const other = [...both].find((one) => ofValidation(one) === name);
  return other === undefined ? name : `${other}/validation`;
}
