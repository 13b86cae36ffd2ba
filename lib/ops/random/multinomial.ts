import { noGrad } from "../../core/autograd.ts";
import { checkInteger, checkOptions } from "../../core/options.ts";
import { drawRandom } from "../../core/random.ts";
import { syncScope } from "../../core/scope.ts";
import { formatShape } from "../../core/shape.ts";
import { calls } from "../../native/calls.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { checkDType, floats } from "../_operands.ts";
import { cast } from "../elementwise/_cast.ts";
import { div } from "../elementwise/binary.ts";
import { gt } from "../elementwise/compare.ts";
import { log1p, neg } from "../elementwise/unary.ts";
import { where } from "../elementwise/where.ts";
import { topK } from "../index/topk.ts";
import { cumsum } from "../reduce/cumsum.ts";
import { reshape } from "../shape/movement.ts";

/** Options of {@linkcode multinomial}. */
export interface MultinomialOptions {
  /** Whether a class may be drawn several times. Default false. */
  replacement?: boolean | undefined;
}

/**
 * Classes drawn by their weights: int32 [numSamples] for weights [classes], [rows, numSamples] for
 * rows of them. Weights are floats from 0 up, in any scale; a class of weight 0 is never drawn.
 * Without replacement each is drawn once at most, in the order of drawing. The random numbers
 * follow manualSeed() and, but for last bits, are the same on every device. A row with a weight
 * that is negative or not finite, or with too few above 0, is found on the device and reported by
 * the next read or synchronize(). As torch.multinomial.
 *
 * @throws {ShapeError} for weights of another rank, or without replacement more samples than
 * classes.
 *
 * ```ts
 * import { multinomial, tensor } from "@cudeno/cudeno";
 * const weights = tensor([0, 3, 1]);
 * console.log(multinomial(weights, 5, { replacement: true }).shape); // [5]: 1 thrice as often as 2
 * console.log(multinomial(weights, 2).dataSync()); // 1 and 2 in a random order
 * ```
 */
export function multinomial(
  weights: Tensor,
  numSamples: number,
  options: MultinomialOptions = {},
): Tensor {
  const op = "multinomial";
  checkDType(op, weights, floats);
  checkInteger(op, "numSamples", numSamples, 0);
  checkOptions(op, options, ["replacement"]);
  const { replacement = false } = options;
  const cols = weights.shape.at(-1) ?? 0;
  if (weights.rank < 1 || weights.rank > 2 || cols === 0) {
    throw new ShapeError(
      `${op}: weights are ${formatShape(weights.shape)}; they must be [classes] or [rows, classes]`,
    );
  }
  if (!replacement && numSamples > cols) {
    throw new ShapeError(
      `${op}: numSamples is ${numSamples} of ${cols} classes; { replacement: true } draws as many`,
    );
  }
  const rows = weights.size / cols;
  return syncScope(() =>
    noGrad(() => {
      const wide = cast(reshape(weights, [rows, cols]), "float64");
      calls.cdn_check_weights(wide, rows, cols, replacement ? 1 : numSamples);
      const points = wide.make([rows, replacement ? numSamples : cols]);
      const { state, seed, offset } = drawRandom(Math.ceil(points.size / 2));
      calls.cdn_uniform(points, state, points.size, 0, 1, seed, offset, points.code);
      let y = wide.make([rows, numSamples], "int32");
      if (replacement) {
        calls.cdn_multinomial(y, wide, cumsum(wide, 1), points, rows, cols, numSamples);
      } else {
        // Each class waits for a time of the exponential distribution, shorter with more weight;
        // the first to come are drawn, as by Gumbel's trick.
        const rates = where(gt(wide, 0), div(wide, neg(log1p(neg(points)))), -1);
        y = topK(rates, numSamples).indices;
      }
      return reshape(y, [...weights.shape.slice(0, -1), numSamples]);
    })
  );
}
