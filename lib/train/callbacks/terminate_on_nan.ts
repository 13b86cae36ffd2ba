import { optionsOf } from "../../core/options.ts";
import type { EpochResult } from "../history.ts";
import type { Callback, EpochState, ProgressState } from "./callback.ts";
import { checkFlags } from "./_figures.ts";

/** Options of {@linkcode TerminateOnNaN}. */
export interface TerminateOnNaNOptions {
  /** Whether a loss on the validation data that is no number stops too; default true. */
  validation?: boolean | undefined;
}

/**
 * Stops training when the mean loss is NaN or infinite: as Keras's TerminateOnNaN, but that it
 * looks about ten times a second and not at each batch, which would wait for the device.
 *
 * ```ts
 * import { callbacks, data, nn, optim, tensor, Trainer } from "@cudeno/cudeno";
 * const set = new data.TensorDataset(tensor([[0], [1]]), tensor([[1], [NaN]]));
 * const model = new nn.Linear(1, 1);
 * const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
 * const trainer = new Trainer(model, { loss: new nn.MSELoss(), optimizer });
 * const history = await trainer.fit(set, { callbacks: [new callbacks.TerminateOnNaN()] });
 * console.log(history.stopped); // TerminateOnNaN: the loss is NaN in epoch 1
 * ```
 */
export class TerminateOnNaN implements Callback {
  readonly #options: TerminateOnNaNOptions;

  constructor(options: TerminateOnNaNOptions = {}) {
    this.#options = optionsOf("TerminateOnNaN", options, { validation: true });
    checkFlags("TerminateOnNaN", this.#options, "validation");
  }

  /** Looks at the loss. */
  onProgress(state: ProgressState): void {
    check("loss", state.loss, state);
  }

  /** Looks at the losses. */
  onEpochEnd(result: EpochResult, state: EpochState): void {
    check("loss", result.loss, state);
    if (this.#options.validation) check("valLoss", result.valLoss, state);
  }
}

function check(name: string, value: number | undefined, { trainer, epoch }: EpochState): void {
  if (value === undefined || Number.isFinite(value)) return;
  trainer.stop(`TerminateOnNaN: the ${name} is ${value} in epoch ${epoch}`);
}
