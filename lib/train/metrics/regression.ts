import { checkOptions } from "../../core/options.ts";
import { weigh } from "../../ops/elementwise/_binary.ts";
import type { Tensor } from "../../tensor.ts";
import { accumulator } from "./_accumulator.ts";
import type { Metric, MetricOptions } from "./metric.ts";
import { paired } from "./_pairs.ts";

function meanOf(op: string, options: MetricOptions, far: (x: Tensor) => Tensor): Metric<number> {
  checkOptions(op, options, ["name"]);
  return accumulator(op, options.name, {
    add(state, ...batch) {
      const { x, y, counts } = paired(op, batch);
      state.addSum("far", weigh(far(x.sub(y)), counts));
      state.addSum("counted", counts);
    },
    value: ({ far, counted }) => far![0]! / counted![0]!,
  });
}

/**
 * The mean squared error, Σ w (prediction - target)² / Σ w over all elements. Both of one shape, or
 * [n] and [n, 1]: others, which would broadcast, are a ShapeError. NaN where an element is.
 *
 * ```ts
 * import { metrics, tensor } from "@cudeno/cudeno";
 * const mse = metrics.mse();
 * mse.update(tensor([[1], [2]]), tensor([1, 4]));
 * console.log(await mse.compute()); // 2
 * mse.reset();
 * ```
 */
export function mse(options: MetricOptions = {}): Metric<number> {
  return meanOf("mse", options, (x) => x.mul(x));
}

/**
 * The mean absolute error, Σ w |prediction - target| / Σ w over all elements; else as
 * {@linkcode mse}.
 *
 * ```ts
 * import { metrics, tensor } from "@cudeno/cudeno";
 * const mae = metrics.mae();
 * mae.update(tensor([1, 2]), tensor([1, 4]));
 * console.log(await mae.compute()); // 1
 * mae.reset();
 * ```
 */
export function mae(options: MetricOptions = {}): Metric<number> {
  return meanOf("mae", options, (x) => x.abs());
}
