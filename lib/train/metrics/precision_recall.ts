import { type Figure, figures, share } from "./_figures.ts";
import type { BinaryMetricOptions, ClassMetricOptions, Metric } from "./metric.ts";

/** How the figures of classes become one. */
export type Average = "binary" | "micro" | "macro" | "weighted" | "none";

/** Options of {@linkcode precision}, {@linkcode recall} and {@linkcode f1}. */
export interface PrecisionOptions extends ClassMetricOptions, BinaryMetricOptions {
  /**
   * `"macro"` (default): the mean of the classes that are found or wanted somewhere; `"weighted"`:
   * by how often they are wanted; `"micro"`: all answers together; `"none"`: a number for each
   * class; `"binary"`: of yes, where scores and targets are as of {@linkcode binaryAccuracy}.
   */
  average?: Average | undefined;
  /** How many classes there are, where predictions are class numbers. */
  classes?: number | undefined;
}

/** A number for each class with `average: "none"`, else one number. */
export type Averaged<O> = O extends { average: "none" } ? number[] : number;

/**
 * The share of right ones among the answers that name a class, Σ w [found = wanted = c] /
 * Σ w [found = c], averaged over classes c; 0 where none name it, as scikit-learn's with
 * zero_division = 0. Scores and targets as of {@linkcode accuracy}, and so the errors.
 *
 * ```ts
 * import { metrics, tensor } from "@cudeno/cudeno";
 * const precision = metrics.precision({ average: "none" });
 * const target = tensor([0, 1, 1], { dtype: "int32" });
 * precision.update(tensor([[2, 1], [4, 3], [0, 1]]), target);
 * console.log(await precision.compute()); // [0.5, 1]
 * precision.reset();
 * ```
 */
export function precision<O extends PrecisionOptions>(
  options: O = {} as O,
): Metric<Averaged<O>> {
  return figures("precision", share, options) as Metric<Averaged<O>>;
}

/**
 * The share of the targets of a class that are found, Σ w [found = wanted = c] / Σ w [wanted = c],
 * averaged over classes c; 0 where there are none. Else as {@linkcode precision}.
 *
 * ```ts
 * import { metrics, tensor } from "@cudeno/cudeno";
 * const recall = metrics.recall({ average: "binary" });
 * recall.update(tensor([0.9, 0.2, 0.7]), tensor([1, 1, 0]));
 * console.log(await recall.compute()); // 0.5
 * recall.reset();
 * ```
 */
export function recall<O extends PrecisionOptions>(options: O = {} as O): Metric<Averaged<O>> {
  return figures("recall", (n, _, wanted) => share(n, wanted), options) as Metric<Averaged<O>>;
}

/**
 * F1, of each class 2 right / (found + wanted), the harmonic mean of precision and recall, averaged
 * over classes; 0 where both are. Else as {@linkcode precision}.
 *
 * ```ts
 * import { metrics, tensor } from "@cudeno/cudeno";
 * const f1 = metrics.f1({ average: "macro" });
 * f1.update(tensor([[2, 1], [4, 3], [0, 1]]), tensor([0, 1, 1], { dtype: "int32" }));
 * console.log(await f1.compute()); // 0.667
 * f1.reset();
 * ```
 */
export function f1<O extends PrecisionOptions>(options: O = {} as O): Metric<Averaged<O>> {
  const figure: Figure = (n, found, wanted) => share(2 * n, found + wanted);
  return figures("f1", figure, options) as Metric<Averaged<O>>;
}
