import { checkChoice, checkList, checkOptions, checkState, refuse } from "../core/options.ts";
import { scope } from "../core/scope.ts";
import { formatShape } from "../core/shape.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";
import { where } from "../ops/elementwise/where.ts";
import { checkDType, checkTensor, floats, inFloat32 } from "../ops/_operands.ts";
import type { Tensor } from "../tensor.ts";
import { constants } from "./_constants.ts";

/** Options of {@linkcode Normalizer.fit}. */
export interface NormalizerOptions {
  /**
   * To a mean of 0 and a standard deviation of 1 (of all rows, not of a sample), as scikit-learn's
   * StandardScaler, or to a range from 0 to 1, as its MinMaxScaler. Default "standard".
   */
  method?: "standard" | "minMax" | undefined;
}

/**
 * (x - center) / scale by column, with numbers that are fitted to training rows, and back. JSON
 * keeps it beside a model: `JSON.stringify(normalizer)`, `Normalizer.fromJSON(JSON.parse(text))`.
 *
 * ```ts
 * import { data, tensor } from "@cudeno/cudeno";
 * const train = tensor([[1, 100], [NaN, 300], [3, 500]]);
 * const normalizer = data.Normalizer.fit(train);
 * console.log(normalizer.center); // 2, 300
 * const x = normalizer.transform(tensor([[2, 300]])); // 0, 0
 * console.log(normalizer.inverse(x).dataSync()); // 2, 300
 * ```
 */
export class Normalizer {
  /** What is subtracted from each column: its mean or least number. */
  readonly center: readonly number[];
  /** What it is divided by: its standard deviation, or the extent of its numbers. */
  readonly scale: readonly number[];
  readonly #constants: (like: Tensor) => [Tensor, Tensor];

  /** Takes given numbers, one of each kind for a column. */
  constructor(center: readonly number[], scale: readonly number[]) {
    checkList("Normalizer", "center", center, Number.isFinite, "finite numbers");
    const positive = (s: unknown) => Number.isFinite(s) && (s as number) > 0;
    checkList("Normalizer", "scale", scale, positive, "numbers above 0");
    if (center.length !== scale.length) {
      refuse("Normalizer", "scale", scale, `as long as center, ${center.length}`);
    }
    this.center = [...center];
    this.scale = [...scale];
    this.#constants = constants([this.center, this.scale], [center.length]);
  }

  /**
   * Fits to x [rows, columns], or [..., columns], any dtype, in float64. What is missing, NaN, does
   * not count. Columns that do not change get a scale of 1, those of nothing but NaN also a center
   * of 0. Waits for the device.
   *
   * @throws {ArgumentError} for infinite numbers.
   * @throws {ShapeError} when there are no rows.
   */
  static fit(x: Tensor, options: NormalizerOptions = {}): Normalizer {
    const op = "Normalizer.fit";
    checkOptions(op, options, ["method"]);
    const { method = "standard" } = options;
    checkChoice(op, "method", method, { standard: 0, minMax: 0 });
    checkTensor(op, x);
    if (x.rank === 0 || x.size === 0) {
      throw new ShapeError(`${op}: x is ${formatShape(x.shape)}; it must be [rows, columns]`);
    }
    const columns = x.shape.at(-1)!, count = x.size / columns;
    const [center, scale] = scope(() => {
      const rows = x.detach().to("float64").reshape([count, columns]);
      const present = rows.eq(rows);
      if (method === "minMax") {
        const least = where(present, rows, Infinity).min(0);
        const most = where(present, rows, -Infinity).max(0);
        const some = present.to("float64").max(0).gt(0);
        return [least, most.sub(least)].map((v) => where(some, v, 0).dataSync());
      }
      const n = present.to("float64").sum(0).maximum(1);
      const mean = where(present, rows, 0).sum(0).div(n);
      const far = where(present, rows.sub(mean), 0);
      return [mean, far.mul(far).sum(0).div(n).sqrt()].map((v) => v.dataSync());
    }) as [Float64Array, Float64Array];
    const infinite = scale.findIndex((s, i) => !Number.isFinite(s) || !Number.isFinite(center[i]));
    if (infinite >= 0) {
      throw new ArgumentError(
        `${op}: column ${infinite} has infinite numbers, or too large ones; make them NaN, or ` +
          "leave them out",
      );
    }
    // a mean is off by so much at most
    const rounding = method === "minMax" ? 0 : count * Number.EPSILON;
    const safe = Array.from(scale, (s, i) => s <= rounding * Math.abs(center[i]!) ? 1 : s);
    return new Normalizer([...center], safe);
  }

  /** What toJSON() gave. */
  static fromJSON(state: { center: number[]; scale: number[] }): Normalizer {
    checkState("Normalizer.fromJSON", state);
    return new Normalizer(state.center, state.scale);
  }

  /** Numbers alone. */
  toJSON(): { center: number[]; scale: number[] } {
    return { center: [...this.center], scale: [...this.scale] };
  }

  /** (x - center) / scale of floats x [..., columns]; NaN stays NaN. */
  transform(x: Tensor): Tensor {
    return this.#apply("transform", x, (x, center, scale) => x.sub(center).div(scale));
  }

  /** x scale + center: of what was transformed, a prediction for instance, what it stands for. */
  inverse(x: Tensor): Tensor {
    return this.#apply("inverse", x, (x, center, scale) => x.mul(scale).add(center));
  }

  #apply(name: string, x: Tensor, fn: (...operands: [Tensor, Tensor, Tensor]) => Tensor): Tensor {
    const op = `Normalizer.${name}`, columns = this.center.length;
    checkDType(op, x, floats);
    if (x.rank === 0 || x.shape.at(-1) !== columns) {
      throw new ShapeError(`${op}: x is ${formatShape(x.shape)}; there are ${columns} columns`);
    }
    return scope(() => inFloat32([x], (x) => fn(x, ...this.#constants(x))));
  }
}
