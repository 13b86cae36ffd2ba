// What the Workers of sweep_test.ts run.
import { rand, type SweepTrain } from "../../mod.ts";

export const train: SweepTrain<{ x: number }> = async ({ x }, { trial, report, signal }) => {
  if (trial === 1) throw new RangeError("too wide");
  const noise = rand([1]).itemSync();
  for (let step = 1; step <= 3 && !signal.aborted; step++) {
    report(step, x);
    await new Promise((resolve) => setTimeout(resolve, 20)); // a signal may come
  }
  return x + noise;
};
