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
 * Stops training at the first step whose loss or gradients are NaN or infinite, as Keras's
 * TerminateOnNaN, and says where that came from. Nothing waits for it: the step and those after it
 * change no parameter, by a flag on the device, which is read with the losses about ten times a
 * second. Then the step is done again, and the first operation that gave what is not finite is in
 * `history.stopped`, with its layer. With a GradScaler, which leaves such steps out by itself, the
 * losses alone are looked at. Buffers such as running means have seen the batch.
 *
 * ```ts
 * import { callbacks, data, nn, optim, tensor, Trainer } from "@cudeno/cudeno";
 * const set = new data.TensorDataset(tensor([[0], [1]]), tensor([[1], [NaN]]));
 * const model = new nn.Linear(1, 1);
 * const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
 * const trainer = new Trainer(model, { loss: new nn.MSELoss(), optimizer });
 * const history = await trainer.fit(set, { callbacks: [new callbacks.TerminateOnNaN()] });
 * console.log(history.stopped); // TerminateOnNaN: step 1, in epoch 1, has the loss NaN: …
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
