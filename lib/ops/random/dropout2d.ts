import { checkOptions } from "../../core/options.ts";
import { drawRandom } from "../../core/random.ts";
import type { Tensor } from "../../tensor.ts";
import { checkDType, floats } from "../_operands.ts";
import { weigh } from "../elementwise/_binary.ts";
import { checkImages } from "../image/_images.ts";
import { reshape } from "../shape/movement.ts";
import { drop } from "./_drop.ts";
import { probabilityOf } from "./_probability.ts";
import type { DropoutOptions } from "./dropout.ts";

/**
 * Whole channels of images [n, channels, height, width] at random become 0, with probability p; the
 * others are divided by 1 - p. As torch.nn.functional.dropout2d. Not training, or with p = 0, it
 * returns x itself. Floats; keeps the memory format. The random numbers follow manualSeed().
 *
 * @throws {ShapeError} when x is not [n, channels, height, width].
 *
 * ```ts
 * import { dropout2d, ones } from "@cudeno/cudeno";
 * console.log(dropout2d(ones([1, 3, 2, 2]), { p: 0.5 }).dataSync()); // fours of zeros and twos
 * ```
 */
export function dropout2d(x: Tensor, options: DropoutOptions = {}): Tensor {
  const op = "dropout2d";
  checkOptions(op, options, ["p", "training"]);
  const p = probabilityOf(op, options.p);
  checkDType(op, x, floats);
  checkImages(op, x.shape);
  if (!(options.training ?? true) || p === 0) return x;
  const [n, channels] = x.shape as [number, number];
  const from = drawRandom(Math.ceil(n * channels / 4));
  const kept = drop(x.make([n, channels]).fill(1), p, from, "contiguous");
  return weigh(x, reshape(kept, [n, channels, 1, 1]));
}
