// Successive halving without waiting (ASHA: Li et al. 2020), by stopping: at each rung a trial goes
// on if it is in the best 1 / eta of those that came there.
import { checkNumber, checkOptions } from "../../core/options.ts";
import { ArgumentError } from "../../native/errors.ts";
import type { HalvingOptions } from "./sweep.ts";
import { score } from "./_rank.ts";
import type { SweepMode, SweepTrial } from "./sweep_result.ts";

/** What trials came to at each rung. */
export class Rungs {
  readonly #eta: number;
  readonly #mode: SweepMode;
  readonly #rungs: { resource: number; seen: number[] }[] = [];

  /** With the trials that there are. */
  constructor(op: string, options: HalvingOptions, mode: SweepMode, trials: SweepTrial<object>[]) {
    checkOptions(`${op}: halving`, options, ["eta", "minResource", "maxResource"]);
    const { eta = 3, minResource = 1, maxResource } = options;
    checkNumber(op, "halving.eta", eta, 1 + 1e-6);
    checkNumber(op, "halving.minResource", minResource, Number.MIN_VALUE);
    checkNumber(op, "halving.maxResource", maxResource, minResource);
    if (maxResource === minResource) {
      throw new ArgumentError(`${op}: halving.maxResource must be above minResource`);
    }
    this.#eta = eta;
    this.#mode = mode;
    for (let at = minResource; at < maxResource; at *= eta) {
      this.#rungs.push({ resource: at, seen: [] });
    }
    for (const { reports } of trials) {
      reports.forEach((_, i) => this.passes(reports.slice(0, i + 1)));
    }
  }

  /** Whether a trial goes on after the last of its reports, which counts from now on. */
  passes(reports: SweepTrial<object>["reports"]): boolean {
    const before = reports.at(-2)?.[0] ?? -Infinity;
    const [step, value] = reports.at(-1)!;
    return this.#rungs.every(({ resource, seen }) => {
      if (before >= resource || step < resource) return true;
      const own = score(value, this.#mode);
      seen.push(own);
      const better = seen.filter((other) => other < own).length;
      return own < Infinity && better < Math.max(1, Math.floor(seen.length / this.#eta));
    });
  }
}
