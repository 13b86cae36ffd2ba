// What samples count in the loss.
import { isTensor, refuse } from "../core/options.ts";
import { keep, scope } from "../core/scope.ts";
import { formatShape } from "../core/shape.ts";
import { tensor } from "../create.ts";
import { isDataset, isSamples, numbersOf } from "../data/_check.ts";
import type { AnyDataset, Dataset } from "../data/dataset.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";
import { mul } from "../ops/elementwise/binary.ts";
import { gt, lt } from "../ops/elementwise/compare.ts";
import { where } from "../ops/elementwise/where.ts";
import { gatherRows } from "../ops/index/gather_rows.ts";
import { sum } from "../ops/reduce/sum.ts";
import { reshape } from "../ops/shape/movement.ts";
import type { Tensor } from "../tensor.ts";
import type { FitOptions } from "./options.ts";

function checkWeights(name: string, list: ArrayLike<number>): number[] {
  return Array.from(list, (x, i) => {
    if (typeof x === "number" && Number.isFinite(x) && x >= 0) return x;
    return refuse("fit", `${name}[${i}]`, x, "a number, at least 0");
  });
}

/** The weights of classes: what each target counts by its class. */
export class ClassWeights implements Disposable {
  readonly #weights: number[] | undefined;
  #table: Tensor | undefined;

  /** By class number; others count 1. */
  constructor(weights: FitOptions["classWeight"]) {
    if (weights === undefined) return;
    if (typeof weights !== "object" || weights === null) {
      refuse("fit", "classWeight", weights, "an array by class number, or an object { 1: 5 }");
    }
    const classes = Object.keys(weights).map(Number);
    const wrong = classes.find((c) => !Number.isInteger(c) || c < 0 || c > 1e6);
    if (wrong !== undefined) refuse("fit", "a key of classWeight", wrong, "a class number");
    const all = Array.from({ length: Math.max(-1, ...classes) + 1 }, (_, c) => {
      return (weights as Record<number, number>)[c] ?? 1;
    });
    this.#weights = checkWeights("classWeight", all);
  }

  /** What targets count: class numbers, whatever their shape, or shares of classes [n, classes]. */
  of(target: unknown): Tensor | undefined {
    const weights = this.#weights;
    if (!weights || weights.length === 0) return undefined;
    if (!isTensor(target)) refuse("fit", "the target", target, "one tensor, for classWeight");
    const x = target as Tensor;
    const { device } = x;
    if (x.dtype === "int32" || x.dtype === "uint8") {
      // classes without a weight of their own have the last row
      this.#table ??= keep(tensor([...weights, 1], { device }));
      const own = lt(x, weights.length), known = gt(x, -1);
      const row = where(own, where(known, x, weights.length), weights.length);
      const flat = gatherRows(this.#table, reshape(row, [x.size]).to("int32"));
      return reshape(flat, x.shape);
    }
    if (x.rank !== 2) {
      throw new ShapeError(
        `fit: classWeight is for class numbers, or shares of classes [n, classes]; the target is ` +
          `${x.dtype} ${formatShape(x.shape)}`,
      );
    }
    const classes = x.shape[1]!;
    const all = Array.from({ length: classes }, (_, c) => weights[c] ?? 1);
    return sum(mul(x, tensor(all, { device, dtype: x.dtype })), 1);
  }

  /** Frees what it holds. */
  [Symbol.dispose](): void {
    this.#table?.dispose();
  }
}

/** The data with what each sample counts beside what it says itself. */
export function weightedData<Input, Target>(
  data: AnyDataset<Input, Target>,
  weights: ArrayLike<number> | Tensor,
  made: DisposableStack,
): AnyDataset<Input, Target> {
  const list = checkWeights("sampleWeight", numbersOf("fit", "sampleWeight", weights));
  const { length } = data as Dataset<Input, Target>;
  if (list.length !== length) {
    throw new ShapeError(
      `fit: sampleWeight has ${list.length} numbers; there are ${length} samples`,
    );
  }
  if (isSamples(data)) {
    const { device, classes } = data;
    return {
      length,
      ...(device && { device }),
      ...(classes !== undefined && { classes }),
      async get(i) {
        const sample = await data.get(i);
        return { ...sample, weight: (sample.weight ?? 1) * list[i]! };
      },
    };
  }
  if (!isDataset(data)) throw new ArgumentError("fit: sampleWeight is not for iterable data");
  const set = data as Dataset<Input, Target>;
  const all = keep(tensor(list, { device: set.device }));
  made.use({ [Symbol.dispose]: () => all.dispose() });
  return {
    length,
    device: set.device,
    batch: (index) =>
      scope(() => {
        const { weight, ...batch } = set.batch(index);
        const own = gatherRows(all, index);
        return { ...batch, weight: weight ? mul(weight, own) : own };
      }),
  };
}
