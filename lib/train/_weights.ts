// What samples count in the loss.
import { noGrad } from "../core/autograd.ts";
import { isFloat } from "../core/dtype.ts";
import { isTensor, refuse } from "../core/options.ts";
import { keep, scope } from "../core/scope.ts";
import { formatShape } from "../core/shape.ts";
import { tensor } from "../create.ts";
import { isDataset, isSamples, numbersOf } from "../data/_check.ts";
import type { Sample } from "../data/batch.ts";
import type { AnyDataset, Dataset } from "../data/dataset.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";
import { mul, sub } from "../ops/elementwise/binary.ts";
import { eq, gt, lt } from "../ops/elementwise/compare.ts";
import { abs } from "../ops/elementwise/unary.ts";
import { cast } from "../ops/elementwise/_cast.ts";
import { all } from "../ops/reduce/any.ts";
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

function isPlain(x: unknown): boolean {
  const kind = typeof x === "object" && x !== null ? Object.getPrototypeOf(x) : undefined;
  return kind === Object.prototype || kind === null;
}

/**
 * The product of weights of samples or of what is in them: [n] goes with [n, t] as [n, 1] does.
 */
export function timesWeights(a: Tensor, b: Tensor): Tensor {
  const rank = Math.max(a.rank, b.rank);
  const wide = (x: Tensor) => reshape(x, [...x.shape, ...Array(rank - x.rank).fill(1)]);
  return mul(wide(cast(a, "float32")), wide(cast(b, "float32")));
}

/** The weights of classes: what each target counts by its class. */
export class ClassWeights implements Disposable {
  readonly #weights: number[] | undefined;
  #table: Tensor | undefined;
  #looked = false;

  /** By class number; others count 1. */
  constructor(weights: FitOptions["classWeight"]) {
    if (weights === undefined) return;
    if (!Array.isArray(weights) && !isPlain(weights)) {
      refuse("fit", "classWeight", weights, "an array by class number, or an object { 1: 5 }");
    }
    const classes = Object.keys(weights).map(Number);
    const wrong = classes.find((c) => !Number.isInteger(c) || c < 0 || c > 1e6);
    if (wrong !== undefined) refuse("fit", "a key of classWeight", wrong, "a class number");
    const length = classes.reduce((most, c) => Math.max(most, c + 1), 0);
    const all = Array.from({ length }, (_, c) => {
      return (weights as Record<number, number>)[c] ?? 1;
    });
    this.#weights = checkWeights("classWeight", all);
  }

  /**
   * What targets count: class numbers, whatever their shape; yes and no, floats [n] or [n, 1]; or
   * shares of classes [n, classes], one in all, of which the first ones are looked at.
   */
  of(target: unknown): Tensor | undefined {
    const weights = this.#weights;
    if (!weights || weights.length === 0) return undefined;
    if (!isTensor(target)) refuse("fit", "the target", target, "one tensor, for classWeight");
    const x = target as Tensor, { device } = x;
    const binary = isFloat(x.dtype) && (x.rank === 1 || (x.rank === 2 && x.shape[1] === 1));
    if (isFloat(x.dtype)) this.#look(x, binary);
    if (isFloat(x.dtype) && !binary) {
      const all = Array.from({ length: x.shape[1]! }, (_, c) => weights[c] ?? 1);
      return sum(mul(x, tensor(all, { device, dtype: x.dtype })), 1);
    }
    // classes without a weight of their own have the last row
    this.#table ??= keep(tensor([...weights, 1], { device }));
    const numbers = binary ? gt(x, 0.5).to("int32") : x.to("int32");
    const own = mul(lt(numbers, weights.length), gt(numbers, -1));
    const row = where(own, numbers, weights.length);
    return reshape(gatherRows(this.#table, reshape(row, [x.size])), x.shape);
  }

  // Throws, at the first batch, for floats that are neither yes and no nor shares of classes.
  #look(x: Tensor, binary: boolean): void {
    if (this.#looked) return;
    this.#looked = true;
    const fits = noGrad(() =>
      scope(() => {
        if (binary) return all(eq(mul(x, x), x)).itemSync() !== 0;
        return x.rank === 2 && all(lt(abs(sub(sum(x, 1), 1)), 1e-3)).itemSync() !== 0;
      })
    );
    if (fits) return;
    throw new ShapeError(
      `fit: classWeight is for class numbers, for 0 and 1 in [n] or [n, 1], or for shares of ` +
        `classes [n, classes] that sum to 1; the target is ${x.dtype} ${formatShape(x.shape)}. ` +
        "For several labels a sample give weights to the loss: posWeight",
    );
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
      get(i, random) {
        const weighted = (sample: Sample): Sample => {
          const own: unknown = sample.weight ?? 1;
          const number = isTensor(own) ? (own as Tensor).itemSync() : own as number;
          return { ...sample, weight: number * list[i]! };
        };
        const sample = data.get(i, random);
        return sample instanceof Promise ? sample.then(weighted) : weighted(sample);
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
        return { ...batch, weight: weight ? timesWeights(weight, own) : own };
      }),
  };
}
