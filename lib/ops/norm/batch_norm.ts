import { record } from "../../core/autograd.ts";
import { checkChoice, checkOptions } from "../../core/options.ts";
import { repeating } from "../../core/repeat.ts";
import { formatShape, sizeOf } from "../../core/shape.ts";
import { ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { autocasted, checkDType, floats } from "../_operands.ts";
import { cast } from "../elementwise/_cast.ts";
import { relu } from "../elementwise/activations.ts";
import {
  checkBatchNorm,
  checkParameters,
  checkResidual,
  keys,
  normalized,
  runningOf,
  statisticsOf,
  update,
} from "./_batch_norm.ts";

/** Options of {@linkcode batchNorm}. */
export interface BatchNormOptions {
  /** [channels]; multiplies the result. Default: 1. */
  weight?: Tensor | null | undefined;
  /** [channels]; added to the result; of weight's dtype. Default: 0. */
  bias?: Tensor | null | undefined;
  /**
   * [channels]; updated in training, used in evaluation. Without them the batch's own statistics
   * serve both.
   */
  runningMean?: Tensor | null | undefined;
  /** [channels]; with runningMean. */
  runningVar?: Tensor | null | undefined;
  /** One int32, which counts the batches of training. */
  numBatchesTracked?: Tensor | null | undefined;
  /** Whether to take the statistics of the batch, and to update the running ones. Default false. */
  training?: boolean | undefined;
  /**
   * The share of the new statistics in the running ones; null for the average of all so far.
   * Default 0.1.
   */
  momentum?: number | null | undefined;
  /** Added to the variance. Default 1e-5. */
  eps?: number | undefined;
  /** Of x's shape and dtype; added to the result, before the activation. Default none. */
  residual?: Tensor | null | undefined;
  /** Applied at the end. Default none. */
  activation?: "relu" | undefined;
}

/**
 * y = activation((x - mean) / sqrt(variance + eps) * weight + bias + residual) by channel, which is
 * axis 1 of x [n, channels, …]; without the last options it is torch.nn.functional.batch_norm, with
 * them it reads and writes no more than that, and rounds once. In training mean and (biased)
 * variance are the batch's, and the running statistics move towards them (the variance as an
 * estimate without bias) on the device; in evaluation the running ones are used. y has x's memory
 * format. Floats; 16-bit ones compute in float32, and their weight, bias and running statistics may
 * be float32. Under autocast() x keeps its dtype.
 *
 * @throws {ShapeError} in training with a single value a channel: it has no variance; when residual
 * is not of x's shape, or another tensor not [channels].
 * @throws {DTypeError} when the dtypes do not go together.
 * @throws {ArgumentError} for an activation that there is not.
 *
 * ```ts
 * import { batchNorm, tensor } from "@cudeno/cudeno";
 * const x = tensor([[1, 10], [3, 30]]);
 * console.log(batchNorm(x, { training: true }).dataSync()); // -1, -1, 1, 1
 * console.log(batchNorm(x, { training: true, activation: "relu" }).dataSync()); // 0, 0, 1, 1
 * ```
 */
export function batchNorm(x: Tensor, options: BatchNormOptions = {}): Tensor {
  const op = "batchNorm";
  checkOptions(op, options, keys);
  const { training = false, momentum = 0.1, eps = 1e-5, activation } = options;
  checkBatchNorm(op, { momentum, eps });
  if (activation !== undefined) checkChoice(op, "activation", activation, { relu });
  checkDType(op, x, floats);
  if (x.rank < 2) {
    throw new ShapeError(`${op}: x is ${formatShape(x.shape)}; it must be [n, channels, …]`);
  }
  const running = runningOf(op, x, options);
  let { weight = null, bias = null, residual = null } = options;
  [x, residual] = autocasted("widest", x, residual);
  [weight, bias] = autocasted("float32", weight, bias);
  const own = training || !running;
  // Channels that lie side by side are those of as many more images of one pixel.
  const [n, channels, pixels] = [x.shape[0]!, x.shape[1]!, sizeOf(x.shape.slice(2))];
  const [batch, inner] = x.format === "contiguous" ? [n, pixels] : [n * pixels, 1];
  if (own && batch * inner === 1) {
    throw new ShapeError(
      `${op}: x is ${formatShape(x.shape)}, a single value a channel; training needs more than one`,
    );
  }
  checkParameters(op, x, weight, bias);
  if (residual !== null) checkResidual(op, x, residual);
  const sizes = { batch, channels, inner, eps, weight, bias, residual, activation };
  if (x.size === 0) { // no elements, and nothing to learn from them
    const inputs = [x, weight, bias, residual].filter((input) => input !== null);
    const zeros = () => inputs.map((input) => input.make(input.shape).fill(0));
    return record(x.make(x.shape), op, inputs, zeros);
  }
  if (!own) {
    // Copies: the next training step moves the statistics, perhaps before backward() needs these.
    const [mean, variance] = running!.map((x) =>
      x.dtype === "float64" ? x.make(x.shape).copyFrom(x) : cast(x.detach(), "float64")
    );
    return normalized({ x, ...sizes, own, mean: mean!, variance: variance! });
  }
  const { mean, variance } = statisticsOf(x, sizes);
  if (running && training && !repeating()) {
    update(running, options.numBatchesTracked ?? null, { mean, variance }, batch * inner, momentum);
  }
  return normalized({ x, ...sizes, own, mean, variance });
}
