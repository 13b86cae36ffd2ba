// fit() without training: hooks called in its order, with figures that a test makes up.
import {
  type Callback,
  type EpochResult,
  History,
  nn,
  type Optimizer,
  Trainer,
} from "../../../mod.ts";

/** An epoch's figures, with a loss at least. */
export const epochOf = (epoch: number, figures: Partial<EpochResult>): EpochResult => ({
  ...{ epoch, loss: 1, seconds: 2, samplesPerSecond: 50 },
  ...figures,
});

/** What a made-up fit() was told, and what it gave. */
export interface Told {
  trainer: Trainer;
  history: History;
  /** What saveCheckpoint() was called with. */
  saved: string[];
}

/** Options of {@linkcode playFit}. */
export interface PlayOptions {
  model?: nn.Module;
  optimizer?: Optimizer;
  /** Steps in an epoch; default 0. */
  steps?: number;
  validationEvery?: number;
  /** Called before each epoch's onEpochEnd(). */
  beforeEnd?: (epoch: number) => void;
}

/** Plays the epochs to callbacks, until the trainer is stopped. */
export async function playFit(
  callbacks: Callback | Callback[],
  epochs: Partial<EpochResult>[],
  options: PlayOptions = {},
): Promise<Told> {
  const { model = new nn.Identity(), steps = 0, validationEvery, beforeEnd } = options;
  const list = [callbacks].flat();
  const history = new History();
  const saved: string[] = [];
  let step = 0;
  const trainer = {
    model,
    optimizer: options.optimizer,
    get step() {
      return step;
    },
    stop: (reason: string) => void (history.stopped = reason),
    async saveCheckpoint(path: string) {
      await Deno.writeTextFile(path, `step ${step}`);
      saved.push(path);
    },
  } as unknown as Trainer;
  const fit = { trainer, epochs: epochs.length, samples: 100, history, validationEvery };
  try {
    for (const callback of list) await callback.onFitBegin?.(fit);
    for (let epoch = 1; epoch <= epochs.length && !history.stopped; epoch++) {
      const state = { ...fit, epoch };
      for (const callback of list) await callback.onEpochBegin?.(state);
      for (let i = 0; i < steps; i++) {
        history.stepLosses.push(1 / ++step);
        const loss = undefined as never; // no callback here reads it
        for (const callback of list) await callback.onStepEnd?.({ ...state, step, loss });
      }
      const result = epochOf(epoch, epochs[epoch - 1]!);
      for (const callback of list) await callback.onProgress?.({ ...state, ...result, done: 100 });
      history.push(result);
      beforeEnd?.(epoch);
      for (const callback of list) await callback.onEpochEnd?.(result, state);
    }
  } finally {
    for (const callback of list) await callback.onEnd?.(history, fit);
  }
  return { trainer, history, saved };
}
