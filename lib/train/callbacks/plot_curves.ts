import { checkNumber, checkState, refuse } from "../../core/options.ts";
import { checkPlot } from "../../plot/_scene.ts";
import { curvesOf } from "../_curves.ts";
import type { CurvesOptions, EpochResult, History } from "../history.ts";
import type { Callback, EpochState, FitState, ProgressState } from "./callback.ts";
import { folderOf, makeFolder, pathOf } from "./_files.ts";

/** Options of {@linkcode PlotCurves}. */
export interface PlotCurvesOptions extends CurvesOptions {
  /** The .svg file; its folder is made. */
  path: string | URL;
  /** Draw within epochs too, at most once in so many seconds. Default: as epochs end. */
  everySeconds?: number | undefined;
}

/**
 * Draws the learning curves to a file, {@linkcode History.toSVG}, as each epoch ends: whole or not
 * at all, so that a viewer may look at any time.
 *
 * Throws a DataError, which names the path, where it cannot write.
 *
 * ```ts
 * import { callbacks, data, nn, optim, tensor, Trainer } from "@cudeno/cudeno";
 * const set = new data.TensorDataset(tensor([[0], [1]]), tensor([[1], [3]]));
 * const model = new nn.Linear(1, 1);
 * const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
 * const trainer = new Trainer(model, { loss: new nn.MSELoss(), optimizer });
 * const path = await Deno.makeTempFile({ suffix: ".svg" });
 * const curves = new callbacks.PlotCurves({ path, yScale: "log" });
 * await trainer.fit(set, { epochs: 3, callbacks: [curves] });
 * await Deno.remove(path);
 * ```
 */
export class PlotCurves implements Callback {
  readonly #path: string;
  readonly #options: CurvesOptions;
  readonly #pause: number; // ms
  #perEpoch: number | undefined;
  #last = 0;

  constructor(given: PlotCurvesOptions) {
    checkState("PlotCurves", given, "what is given", "options such as { path }");
    const { path, everySeconds, ...options } = given;
    checkPlot("PlotCurves", options, ["yScale"]);
    this.#path = pathOf("PlotCurves", path);
    if (/\.png$/i.test(this.#path)) refuse("PlotCurves", "path", this.#path, "an .svg file");
    if (everySeconds !== undefined) checkNumber("PlotCurves", "everySeconds", everySeconds, 0);
    this.#pause = everySeconds === undefined ? Infinity : everySeconds * 1000;
    this.#options = options;
  }

  /** Makes the folder. */
  async onFitBegin({ history }: FitState): Promise<void> {
    await makeFolder("PlotCurves", folderOf(this.#path));
    this.#perEpoch = history.length ? history.stepLosses.length / history.length : undefined;
  }

  /** Draws, with `everySeconds` and where it is time. */
  async onProgress({ history }: ProgressState): Promise<void> {
    if (performance.now() - this.#last >= this.#pause) await this.#draw(history);
  }

  /** Draws. */
  async onEpochEnd(_: EpochResult, { history }: EpochState): Promise<void> {
    this.#perEpoch = history.stepLosses.length / history.length;
    await this.#draw(history);
  }

  /** Draws what an epoch that was not finished has left. */
  async onEnd(history: History): Promise<void> {
    await this.#draw(history);
  }

  async #draw(history: History): Promise<void> {
    await curvesOf(history, this.#options, this.#perEpoch).save(this.#path);
    this.#last = performance.now();
  }
}
