import { isFloat } from "../../core/dtype.ts";
import { formatShape, normalizeAxis, sameShape, type Shape } from "../../core/shape.ts";
import { ArgumentError, DTypeError, ShapeError } from "../../native/errors.ts";
import { cast } from "../../ops/elementwise/_cast.ts";
import { eq, ge, lt, ne } from "../../ops/elementwise/compare.ts";
import { where } from "../../ops/elementwise/where.ts";
import { argmax } from "../../ops/reduce/argmax.ts";
import { max } from "../../ops/reduce/max.ts";
import { permute, reshape } from "../../ops/shape/movement.ts";
import type { Tensor } from "../../tensor.ts";
import type { ClassMetricOptions } from "./metric.ts";
import type { State } from "./_state.ts";
import { tally, weightOf } from "./_weights.ts";

/** The axis of classes, by the shapes of scores and targets: 1, or else the last. */
export function classAxis(op: string, output: Shape, target: Shape): number {
  const last = output.length - 1;
  if (last > 0 && sameShape(output, target)) return 1;
  const axis = [1, last].find((axis) =>
    axis <= last && sameShape(output.filter((_, d) => d !== axis), target)
  );
  if (axis !== undefined) return axis;
  throw new ShapeError(
    `${op}: the output is ${formatShape(output)}, the target ${formatShape(target)}; wanted are ` +
      "[n, classes, …] or [n, …, classes] and class numbers [n, …], or two of one shape",
  );
}

/** Answers as rows: m of them. */
export interface Rows {
  /** Makes [m, classes]; undefined of predictions that are class numbers. */
  scores: (() => Tensor) | undefined;
  /** Classes predicted [m]; int32. */
  found: Tensor;
  /** Classes wanted [m], and 0 where they do not count; int32. */
  wanted: Tensor;
  /** What each counts [m]: 0 or its weight; float64. */
  counts: Tensor;
  classes: number;
}

/**
 * The answers of a batch; what spoils them is counted. `classes` of predictions that are class
 * numbers: how many there are, or, where it does not matter, Infinity.
 */
export function rowsOf(
  op: string,
  state: State,
  options: ClassMetricOptions & { classes?: number | undefined },
  [prediction, target, weight]: readonly [Tensor, Tensor, (Tensor | undefined)?],
): Rows {
  const [x, to] = [prediction, target].map((x) => x.dtype === "uint8" ? cast(x, "int32") : x) as [
    Tensor,
    Tensor,
  ];
  const { ignoreIndex = -100 } = options;
  const alike = sameShape(x.shape, to.shape);
  const flat = (weight: Tensor | undefined) => weight && reshape(weight, [-1]);
  if (alike && !isFloat(x.dtype) && !isFloat(to.dtype)) {
    const { classes } = options;
    if (classes === undefined) {
      throw new ArgumentError(`${op}: the predictions are class numbers; say how many classes`);
    }
    const [found, wanted] = [reshape(x, [-1]), reshape(to, [-1])];
    const counts = countsOf(wanted, ignoreIndex, flat(weightOf(op, weight, to.shape)));
    const rows = known(state, wanted, counts, classes);
    const judged = known(state, found, rows.counts, classes);
    return { scores: undefined, found: judged.wanted, ...rows, counts: judged.counts, classes };
  }
  const axis = options.axis === undefined
    ? classAxis(op, x.shape, to.shape)
    : normalizeAxis(op, options.axis, x.rank);
  const others = x.shape.filter((_, d) => d !== axis);
  if (!alike && !sameShape(others, to.shape)) {
    throw new ShapeError(
      `${op}: with classes in axis ${axis} of the output ${formatShape(x.shape)} the target must ` +
        `be ${formatShape(others)}, found ${formatShape(to.shape)}`,
    );
  }
  if (!alike && isFloat(to.dtype)) {
    throw new DTypeError(
      `${op}: target is ${to.dtype} ${formatShape(to.shape)}; class numbers are int32 or uint8: ` +
        'cast them with to("int32")',
    );
  }
  const classes = x.shape[axis]!;
  if (classes < 2) {
    throw new ShapeError(
      `${op}: axis ${axis} of the output ${
        formatShape(x.shape)
      } is of ${classes} classes; for yes ` +
        'or no there are metrics.binaryAccuracy() and average: "binary"',
    );
  }
  const highest = (x: Tensor) => reshape(argmax(x, axis), [-1]);
  const wanted = alike ? highest(to) : reshape(to, [-1]);
  const weights = flat(weightOf(op, weight, others));
  const counts = countsOf(wanted, alike ? undefined : ignoreIndex, weights);
  for (const given of alike ? [x, to] : [x]) {
    if (!isFloat(given.dtype)) continue;
    const best = reshape(max(given, axis), [-1]); // NaN where one is
    tally(state, "nan", ne(best, best), counts);
  }
  const order = [...x.shape.keys()].filter((d) => d !== axis);
  const scores = () => reshape(permute(x, [...order, axis]), [-1, classes]);
  return { scores, found: highest(x), classes, ...known(state, wanted, counts, classes) };
}

function countsOf(wanted: Tensor, ignoreIndex: number | undefined, weight?: Tensor): Tensor {
  const counts = ignoreIndex === undefined ? eq(wanted, wanted) : ne(wanted, ignoreIndex);
  return weight ? where(counts, weight, 0) : cast(counts, "float64");
}

// Where a number is no class it is noted and does not count.
function known(state: State, wanted: Tensor, counts: Tensor, classes: number) {
  if (classes === Infinity) return { wanted, counts };
  const legal = where(ge(wanted, 0), lt(wanted, classes), 0);
  tally(state, "unknown", eq(legal, 0), counts);
  return { wanted: where(legal, wanted, 0), counts: where(legal, counts, 0) };
}
