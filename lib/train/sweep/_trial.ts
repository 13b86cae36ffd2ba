// One trial, here or in a Worker.
import { checkNumber, refuse } from "../../core/options.ts";
import { derivedSeed, randomPlace, setRandomPlace } from "../../core/random.ts";
import { scope } from "../../core/scope.ts";
import { ArgumentError } from "../../native/errors.ts";
import type { SweepTrain, TrialContext } from "./sweep.ts";

/** What is to be tried. */
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

/** What a Worker tells of a trial. */
export type WorkerReply =
  | { report: [step: number, value: number] }
  | { value: number }
  | { error: { message: string; stack: string | undefined }; loaded: boolean };

/** Starts with its first trial. It is ended between trials only, never within native code. */
export class TrialWorker {
  readonly #module: string;
  #worker: Worker | undefined;
  /** Why it can run none. */
  broken: ArgumentError | undefined;

  /** Of a module that exports train(). */
  constructor(module: string) {
    this.#module = module;
  }

  /** Runs a trial there; rejects with its error. */
  run(job: TrialJob, signal: AbortSignal, report: TrialContext["report"]): Promise<number> {
    const worker = this.#worker ??= new Worker(new URL("./_worker.ts", import.meta.url), {
      type: "module",
    });
    signal.addEventListener("abort", () => worker.postMessage("stop"), { once: true });
    return new Promise((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<WorkerReply>) => {
        if ("report" in data) return report(...data.report);
        if ("value" in data) return resolve(data.value);
        const { error: { message, stack }, loaded } = data;
        if (!loaded) {
          this.broken = new ArgumentError(`sweep: workers.module, ${this.#module}: ${message}`);
        }
        reject(this.broken ?? Object.assign(new Error(message), { stack }));
      };
      worker.onerror = (event) => {
        event.preventDefault();
        this[Symbol.dispose](); // the next trial has a new one
        reject(new Error(`the worker failed: ${event.message}`));
      };
      worker.postMessage({ ...job, module: this.#module });
    });
  }

  /** Ends it. */
  [Symbol.dispose](): void {
    this.#worker?.terminate();
    this.#worker = undefined;
  }
}
