import { checkList } from "../../core/options.ts";
import { parallel } from "../../plot/parallel.ts";
import { ranked } from "./_rank.ts";
import type { SweepValue } from "./space.ts";

/** Whether less or more of what train() returns is better. */
export type SweepMode = "min" | "max";

/** A trial that has ended. */
export interface SweepTrial<P = Record<string, SweepValue>> {
  /** Its number, from 0. */
  trial: number;
  /** What it tried. */
  params: P;
  /** What train() returned, of a stopped one its last report; NaN where it failed. */
  value: number;
  /** Whether it came to its end, was stopped by halving, or threw. */
  status: "done" | "stopped" | "failed";
  /** What it threw. */
  error?: string | undefined;
  /** What it reported. */
  reports: [step: number, value: number][];
  /** How long it took. */
  seconds: number;
}

/**
 * What {@linkcode sweep} found. In a notebook it shows itself, as plot.parallel() draws its rows.
 *
 * ```ts
 * import { sweep } from "@cudeno/cudeno";
 * const options = { method: "grid" } as const;
 * const result = await sweep({ x: [1, 2, 3], up: [true, false] }, ({ x, up }) => {
 *   return up ? x : -x;
 * }, options);
 * console.log(result.best?.params); // { x: 3, up: false }
 * console.log(result.table());
 * ```
 */
export class SweepResult<P = Record<string, SweepValue>> {
  /** Whether less or more is better. */
  readonly mode: SweepMode;
  /** All trials, by number. */
  readonly trials: readonly SweepTrial<P>[];

  constructor(trials: readonly SweepTrial<P>[], mode: SweepMode) {
    const isTrial = (x: unknown) => typeof x === "object" && x !== null;
    checkList("SweepResult", "trials", trials, isTrial, "trials");
    this.mode = mode;
    this.trials = [...trials].sort((a, b) => a.trial - b.trial);
  }

  // What console.log and notebooks show.
  static {
    const value = function (this: SweepResult): Record<string, string> {
      return { "image/svg+xml": `${parallel(this.rows)}`, "text/plain": this.table() };
    };
    const text = { value: this.prototype.table };
    Object.defineProperty(this.prototype, Symbol.for("Deno.customInspect"), text);
    Object.defineProperty(this.prototype, Symbol.for("Jupyter.display"), { value });
  }

  /** The best trial; undefined where none gave a finite number. */
  get best(): SweepTrial<P> | undefined {
    const [first] = ranked(this.trials, this.mode);
    return first && Number.isFinite(first.value) ? first : undefined;
  }

  /** `{ ...params, value }` of each trial that gave a finite number, to plot. */
  get rows(): (P & { value: number })[] {
    return this.trials.filter(({ value }) => Number.isFinite(value))
      .map(({ params, value }) => ({ ...params, value }));
  }

  /** A line for each trial, the best first. */
  table(): string {
    const names = Object.keys(this.trials[0]?.params ?? {});
    const short = (x: unknown) => typeof x === "number" ? `${+x.toPrecision(4)}` : String(x);
    const lines = ranked(this.trials, this.mode).map(({ trial, params, value, status, error }) => {
      const values = names.map((name) => (params as Record<string, unknown>)[name]);
      const state = error === undefined ? status : `${status}: ${error.split("\n")[0]}`;
      return [...[trial, ...values, value].map(short), state];
    });
    const all = [["trial", ...names, "value", "status"], ...lines];
    const widths = all[0]!.map((_, i) => Math.max(...all.map((line) => line[i]!.length)));
    const last = widths.length - 1;
    return all.map((line) =>
      line.map((text, i) => i < last ? text.padStart(widths[i]!) : text).join("  ")
    ).join("\n");
  }

  /** Plain data for JSON, in which numbers that are not finite become null. */
  toJSON(): { mode: SweepMode; best: number | undefined; trials: readonly SweepTrial<P>[] } {
    return { mode: this.mode, best: this.best?.trial, trials: this.trials };
  }
}
