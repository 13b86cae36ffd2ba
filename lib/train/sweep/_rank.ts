// Which trials are better.
import type { SweepMode, SweepTrial } from "./sweep_result.ts";

/** A number of which less is better; what is not finite is worst. */
export const score = (value: number, mode: SweepMode): number =>
  !Number.isFinite(value) ? Infinity : mode === "min" ? value : -value;

/** Trials from the best to the worst; of those that were stopped the later ones are better. */
export function ranked<P>(trials: readonly SweepTrial<P>[], mode: SweepMode): SweepTrial<P>[] {
  const keys = ({ value, status, reports }: SweepTrial<P>) => {
    const own = score(value, mode);
    return [own < Infinity ? 0 : 1, status === "stopped" ? -reports.at(-1)![0] : -Infinity, own];
  };
  return [...trials].sort((a, b) => {
    const x = keys(a), y = keys(b), at = x.findIndex((key, i) => key !== y[i]);
    return at < 0 ? a.trial - b.trial : x[at]! < y[at]! ? -1 : 1;
  });
}
