import { checkInteger, checkNumber, checkOptions, refuse } from "../core/options.ts";
import { randomPlace, setRandomPlace } from "../core/random.ts";
import { keep } from "../core/scope.ts";
import type { AnyDataset } from "../data/dataset.ts";
import { DataLoader } from "../data/data_loader.ts";
import { ArgumentError } from "../native/errors.ts";
import type { StateDict } from "../nn/module.ts";
import type { Callback } from "./callbacks/callback.ts";
import { internals } from "./_internals.ts";
import { Trainer } from "./trainer.ts";

/** Options of {@linkcode lrFinder}. */
export interface LrFinderOptions {
  /** The rate of the first step. Default 1e-7. */
  min?: number | undefined;
  /** That of the last. Default 10. */
  max?: number | undefined;
  /** How many steps it takes from one to the other. Default 100. */
  steps?: number | undefined;
  /** What share of the mean loss so far stays with each step, from 0 to below 1. Default 0.9. */
  smoothing?: number | undefined;
  /** It stops at a mean loss of so many times the least one. Default 4. */
  explode?: number | undefined;
  /** Samples a batch, where the data is no DataLoader; default 32. */
  batchSize?: number | undefined;
}

/** What {@linkcode lrFinder} found. */
export interface LrFinderResult {
  /** The rate of each step. */
  rates: number[];
  /** The mean loss before each step. */
  losses: number[];
  /** The rate at which the loss falls most steeply; undefined where it does not fall. */
  suggestion: number | undefined;
}

/**
 * Smith's learning-rate range test (2017): trains a while with a rate that grows by the same factor
 * each step, the same one for all groups, until the loss explodes, and looks where it falls most
 * steeply on its way to the least. The losses are exponential moving averages, corrected as Adam's
 * are. Schedules and averages of the trainer are left out.
 *
 * Afterwards parameters, buffers, optimizer, scaler and random numbers are what they were, to the
 * bit, and the trainer's history knows nothing; gradients are freed.
 *
 * @throws {ArgumentError} when the trainer has no optimizer.
 *
 * ```ts
 * import { data, lrFinder, nn, optim, rand, Trainer } from "@cudeno/cudeno";
 * const x = rand([256, 4]);
 * const set = new data.TensorDataset(x, x.sum(1, { keepDims: true }));
 * const model = new nn.Sequential(new nn.Linear(4, 16), new nn.ReLU(), new nn.Linear(16, 1));
 * const optimizer = new optim.Adam(model.parameters());
 * const trainer = new Trainer(model, { loss: new nn.MSELoss(), optimizer });
 * const { suggestion } = await lrFinder(trainer, set);
 * if (suggestion !== undefined) optimizer.lr = suggestion;
 * ```
 */
export async function lrFinder<Input, Output, Target>(
  trainer: Trainer<Input, Output, Target>,
  data: AnyDataset<Input, Target> | DataLoader<Input, Target>,
  options: LrFinderOptions = {},
): Promise<LrFinderResult> {
  const op = "lrFinder";
  if (!(trainer instanceof Trainer)) refuse(op, "trainer", trainer, "a Trainer");
  checkOptions(op, options, ["min", "max", "steps", "smoothing", "explode", "batchSize"]);
  const { min = 1e-7, max = 10, steps = 100, smoothing = 0.9, explode = 4 } = options;
  checkNumber(op, "min", min, Number.MIN_VALUE);
  checkNumber(op, "max", max, min);
  checkInteger(op, "steps", steps, 2);
  checkNumber(op, "smoothing", smoothing, 0);
  if (smoothing >= 1) refuse(op, "smoothing", smoothing, "below 1");
  checkNumber(op, "explode", explode, 1);
  const without = { schedule: undefined, ema: undefined, metrics: undefined };
  const own = { ...internals.optionsOf(trainer), ...without };
  const { model } = trainer, { optimizer, scaler } = own;
  if (!optimizer) throw new ArgumentError(`${op}: the Trainer was made without an optimizer`);

  using kept = new DisposableStack();
  const copied = (tensors: StateDict): StateDict =>
    Object.fromEntries(
      Object.entries(tensors).map(([name, x]) => [name, kept.use(keep(x.detach().clone()))]),
    );
  const weights = copied(model.stateDict());
  const state = optimizer.stateDict();
  state.tensors = copied(state.tensors);
  const scale = scaler?.stateDict(), place = randomPlace();
  const epoch = data instanceof DataLoader ? data.epoch : 0;

  const rates: number[] = [], losses: number[] = [];
  let average = 0, least = Infinity;
  const rateOf = (i: number) => min * (max / min) ** (i / (steps - 1));
  const probe: Callback = {
    async onStepEnd({ loss, trainer }) {
      average = smoothing * average + (1 - smoothing) * await loss.item();
      const mean = average / (1 - smoothing ** (rates.length + 1));
      if (!Number.isFinite(mean)) return trainer.stop("the loss is not finite");
      rates.push(rateOf(rates.length));
      losses.push(mean);
      least = Math.min(least, mean);
      if (mean - least > (explode - 1) * Math.abs(least)) trainer.stop("the loss explodes");
      optimizer.lr = rateOf(rates.length);
    },
  };
  try {
    optimizer.lr = min;
    const { batchSize } = options;
    const fit = { epochs: 1, stepsPerEpoch: steps, batchSize, callbacks: [probe] };
    await new Trainer(model, own).fit(data, fit);
  } finally {
    optimizer.zeroGrad();
    model.loadStateDict(weights);
    optimizer.loadStateDict(state);
    if (scale) scaler!.loadStateDict(scale);
    setRandomPlace(place);
    if (data instanceof DataLoader) data.epoch = epoch;
  }
  return { rates, losses, suggestion: steepest(rates, losses) };
}

// By central differences; without the first steps, of which the mean knows little, and those after
// the least loss, where one that explodes may fall again.
function steepest(rates: readonly number[], losses: readonly number[]): number | undefined {
  let found: number | undefined, most = 0;
  const end = losses.indexOf(Math.min(...losses));
  for (let i = Math.min(10, rates.length >> 2) + 1; i < Math.min(end, rates.length - 1); i++) {
    const slope = losses[i + 1]! - losses[i - 1]!;
    if (slope < most) [found, most] = [rates[i], slope];
  }
  return found;
}
