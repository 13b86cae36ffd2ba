// One trial, in whatever thread.
import { checkNumber, refuse } from "../../core/options.ts";
import { derivedSeed, randomPlace, setRandomPlace } from "../../core/random.ts";
import { scope } from "../../core/scope.ts";
import type { SweepTrain, TrialContext } from "./sweep.ts";

/** What a Worker is to do. */
export interface TrialJob {
  params: object;
  trial: number;
  seed: number;
}

/** Runs a trial with random numbers of its own and in a scope; what it came to. */
export async function runTrial(
  train: SweepTrain<never>,
  { params, trial, seed }: TrialJob,
  signal: AbortSignal,
  tell: TrialContext["report"],
): Promise<number> {
  const report: typeof tell = (step, value) => {
    checkNumber("report", "step", step, 0);
    if (typeof value !== "number") refuse("report", "value", value, "a number");
    tell(step, value);
  };
  const place = randomPlace(), offset = BigInt(trial);
  setRandomPlace({ seed: derivedSeed({ state: null, seed: BigInt(seed), offset }), drawn: 0n });
  try {
    const context = { trial, report, signal };
    const value = await scope(async () => await train({ ...params } as never, context));
    if (typeof value !== "number") refuse("sweep", "what train returns", value, "a number");
    return value;
  } finally {
    setRandomPlace(place);
  }
}
