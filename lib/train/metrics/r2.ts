import { checkOptions } from "../../core/options.ts";
import { formatShape } from "../../core/shape.ts";
import { ArgumentError, ShapeError } from "../../native/errors.ts";
import { weigh } from "../../ops/elementwise/_binary.ts";
import { where } from "../../ops/elementwise/where.ts";
import { sum } from "../../ops/reduce/sum.ts";
import { reshape } from "../../ops/shape/movement.ts";
import type { Tensor } from "../../tensor.ts";
import { accumulator } from "./_accumulator.ts";
import type { Metric, MetricOptions } from "./metric.ts";
import { type Batch, paired } from "./_pairs.ts";
import type { State } from "./_state.ts";

// Sums of the targets are of their distance from the first one: far from 0 their squares would
// leave nothing of the variance.
function addColumns(op: string, state: State, batch: Batch): void {
  const { x, y, counts } = paired(op, batch);
  if (y.rank === 0 || y.rank > 2) {
    throw new ShapeError(`${op}: the target is ${formatShape(y.shape)}; wanted is [n] or [n, k]`);
  }
  const [p, t, w] = [x, y, counts].map((x) => reshape(x, [y.shape[0]!, -1])) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  if (!state.sum("shift")) {
    const first = t.slice(0, 0, 1);
    state.add("shift", where(first.sub(first).eq(0), first, 0));
  }
  const error = p.sub(t);
  const centred = t.sub(state.sum("shift")!);
  state.add("errors", sum(weigh(error.mul(error), w), 0));
  state.add("sums", sum(weigh(centred, w), 0));
  state.add("squares", sum(weigh(centred.mul(centred), w), 0));
  state.add("counted", sum(w, 0));
  state.addSum("samples", w.ne(0).to("float64").mean(1));
}

/**
 * The coefficient of determination, 1 - Σ w (target - prediction)² / Σ w (target - mean)², of
 * targets [n]; of [n, k] the mean over the k columns. As scikit-learn's: 1 where all targets are
 * equal and met, 0 where they are equal and not met. compute() throws an ArgumentError for fewer
 * than two samples. Else as {@linkcode mse}.
 *
 * ```ts
 * import { metrics, tensor } from "@cudeno/cudeno";
 * const r2 = metrics.r2();
 * r2.update(tensor([2.5, 0, 2, 8]), tensor([3, -0.5, 2, 7]));
 * console.log(await r2.compute()); // 0.949
 * r2.reset();
 * ```
 */
export function r2(options: MetricOptions = {}): Metric<number> {
  checkOptions("r2", options, ["name"]);
  return accumulator("r2", options.name, {
    add: (state, ...batch) => addColumns("r2", state, batch),
    value({ errors, sums, squares, counted, samples }) {
      if (samples![0]! < 2) {
        throw new ArgumentError("r2: one sample has no variance; wanted are at least 2");
      }
      const each = errors!.map((error, k) => {
        const spread = squares![k]! - sums![k]! ** 2 / counted![k]!;
        return spread <= 0 ? Number(error === 0) : 1 - error / spread;
      });
      return each.reduce((a, b) => a + b) / each.length;
    },
  });
}
