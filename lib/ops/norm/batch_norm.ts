import { gradEnabled, record } from "../../core/autograd.ts";
import { throughOps } from "../../core/backward.ts";
import type { DType } from "../../core/dtype.ts";
import { checkNumber, checkOptions } from "../../core/options.ts";
import { formatShape, sameShape, sizeOf } from "../../core/shape.ts";
import { ArgumentError, DTypeError, ShapeError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { add, div, mul, sub } from "../elementwise/binary.ts";
import { cast } from "../elementwise/cast.ts";
import { reshape } from "../shape/movement.ts";
import {
  autocasted,
  checkDType,
  checkSameDevice,
  checkSameDType,
  floats,
  inFloat32,
} from "../_operands.ts";
import { mean as meanOf } from "../reduce/reduce.ts";
import { sqrt } from "../elementwise/unary.ts";

/** Options of {@linkcode batchNorm}. */
export interface BatchNormOptions {
  /** [channels]; multiplies the result. Default: 1. */
  weight?: Tensor | null | undefined;
  /** [channels]; added to the result. Default: 0. */
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
}

const keys = [
  "weight",
  "bias",
  "runningMean",
  "runningVar",
  "numBatchesTracked",
  "training",
  "momentum",
  "eps",
];

/** momentum and eps, checked. */
export function checkBatchNorm(
  op: string,
  { momentum, eps }: { momentum: number | null; eps: number },
): void {
  if (momentum !== null) checkNumber(op, "momentum", momentum);
  checkNumber(op, "eps", eps, 0);
}

// x as [batch, channels, inner], what scales and shifts it, and by which statistics.
interface Batch {
  x: Tensor;
  weight: Tensor | null;
  bias: Tensor | null;
  mean: Tensor;
  variance: Tensor;
  /** Whether the statistics are x's own. */
  own: boolean;
  batch: number;
  channels: number;
  inner: number;
  eps: number;
}

/**
 * (x - mean) / sqrt(variance + eps) * weight + bias by channel, which is axis 1 of x [n, channels,
 * …]; as torch.nn.functional.batch_norm. In training mean and (biased) variance are the batch's,
 * and the running statistics move towards them (the variance as an estimate without bias) on the
 * device; in evaluation the running ones are used. Floats; 16-bit ones compute in float32, and
 * their running statistics may be float32.
 *
 * @throws {ShapeError} in training with a single value a channel: it has no variance.
 *
 * ```ts
 * import { batchNorm, tensor } from "@cudeno/cudeno";
 * const x = tensor([[1, 10], [3, 30]]);
 * console.log(batchNorm(x, { training: true }).dataSync()); // -1, -1, 1, 1
 * ```
 */
export function batchNorm(x: Tensor, options: BatchNormOptions = {}): Tensor {
  const op = "batchNorm";
  checkOptions(op, options, keys);
  const { training = false, momentum = 0.1, eps = 1e-5 } = options;
  checkBatchNorm(op, { momentum, eps });
  checkDType(op, x, floats);
  if (x.rank < 2) {
    throw new ShapeError(`${op}: x is ${formatShape(x.shape)}; it must be [n, channels, …]`);
  }
  const running = runningOf(op, x, options);
  const [input, ...given] = autocasted("float32", x, options.weight, options.bias);
  x = input;
  const own = training || !running;
  // Channels that lie side by side are those of as many more images of one pixel.
  const [n, channels, pixels] = [x.shape[0]!, x.shape[1]!, sizeOf(x.shape.slice(2))];
  const [batch, inner] = x.format === "contiguous" ? [n, pixels] : [n * pixels, 1];
  if (own && batch * inner === 1) {
    throw new ShapeError(
      `${op}: x is ${formatShape(x.shape)}, a single value a channel; training needs more than one`,
    );
  }
  const [weight, bias] = given.map((tensor, i) => {
    if (tensor) checkChannels(op, i === 0 ? "weight" : "bias", x, tensor, [x.dtype]);
    return tensor ?? null;
  });
  const sizes = { batch, channels, inner, eps, weight: weight!, bias: bias! };
  if (x.size === 0) { // no elements, and nothing to learn from them
    const inputs = [x, weight, bias].filter((input) => !!input);
    const zeros = () => inputs.map((input) => input.make(input.shape).fill(0));
    return record(x.make(x.shape), op, inputs, zeros);
  }
  if (!own) {
    const [mean, variance] = running!.map((tensor) => cast(tensor.detach(), "float64"));
    return normalized({ x, ...sizes, own, mean: mean!, variance: variance! });
  }
  const { mean, variance } = statisticsOf(x, sizes);
  if (running && training) {
    update(running, options.numBatchesTracked ?? null, { mean, variance }, batch * inner, momentum);
  }
  return normalized({ x, ...sizes, own, mean, variance });
}

function runningOf(op: string, x: Tensor, options: BatchNormOptions): [Tensor, Tensor] | null {
  const { runningMean, runningVar, numBatchesTracked, momentum } = options;
  if (!runningMean !== !runningVar) {
    throw new ArgumentError(`${op}: runningMean and runningVar are given together or not at all`);
  }
  if (!runningMean || !runningVar) return null;
  const dtypes: DType[] = x.dtype === "float64" ? ["float64"] : ["float32", x.dtype];
  checkChannels(op, "runningMean", x, runningMean, dtypes);
  checkChannels(op, "runningVar", x, runningVar, [runningMean.dtype]);
  if (numBatchesTracked) {
    checkDType(`${op}: numBatchesTracked`, numBatchesTracked, ["int32"]);
    checkSameDevice(`${op}: numBatchesTracked`, x, numBatchesTracked);
    if (numBatchesTracked.size !== 1) {
      throw new ShapeError(`${op}: numBatchesTracked must be one number`);
    }
  } else if (momentum === null && options.training) {
    throw new ArgumentError(
      `${op}: momentum is null, for an average of all batches; numBatchesTracked must count them`,
    );
  }
  return [runningMean, runningVar];
}

function checkChannels(
  op: string,
  name: string,
  x: Tensor,
  tensor: Tensor,
  dtypes: readonly DType[],
): void {
  checkSameDevice(`${op}: ${name}`, x, tensor);
  if (dtypes.length === 1 && dtypes[0] === x.dtype) checkSameDType(`${op}: ${name}`, x, tensor);
  if (!dtypes.includes(tensor.dtype)) {
    throw new DTypeError(`${op}: ${name} is ${tensor.dtype}; it must be ${dtypes.join(" or ")}`);
  }
  if (!sameShape(tensor.shape, [x.shape[1]!])) {
    throw new ShapeError(
      `${op}: ${name} is ${formatShape(tensor.shape)}; x ${formatShape(x.shape)} has ${
        x.shape[1]
      } channels, axis 1`,
    );
  }
}

type Sizes = Pick<Batch, "batch" | "channels" | "inner">;
type Statistics = Pick<Batch, "mean" | "variance">;

const counts = ({ batch, channels, inner }: Sizes) =>
  [BigInt(batch), BigInt(channels), BigInt(inner)] as const;

function statisticsOf(x: Tensor, sizes: Sizes): Statistics {
  const mean = x.make([sizes.channels], "float64");
  const variance = x.make([sizes.channels], "float64");
  const { backend } = x;
  backend.check(
    backend.functions.cdn_batch_norm_stats(
      mean.handle,
      variance.handle,
      x.stored(x.format).handle,
      ...counts(sizes),
      x.code,
    ),
  );
  return { mean, variance };
}

function update(
  [runningMean, runningVar]: [Tensor, Tensor],
  tracked: Tensor | null,
  { mean, variance }: Statistics,
  count: number,
  momentum: number | null,
): void {
  const { backend } = mean;
  backend.check(
    backend.functions.cdn_batch_norm_track(
      runningMean.handle,
      runningVar.handle,
      tracked?.handle ?? 0,
      mean.handle,
      variance.handle,
      BigInt(mean.size),
      BigInt(count),
      momentum ?? 0,
      momentum === null ? 1 : 0,
      runningMean.code,
    ),
  );
}

function normalized(all: Batch): Tensor {
  const { x, weight, bias, mean, variance, own, eps } = all;
  const { backend, format } = x;
  const y = x.make(x.shape, x.dtype, format);
  backend.check(
    backend.functions.cdn_batch_norm(
      y.stored(format).handle,
      x.stored(format).handle,
      mean.handle,
      variance.handle,
      weight?.handle ?? 0,
      bias?.handle ?? 0,
      ...counts(all),
      eps,
      x.code,
    ),
  );
  const inputs = [x, weight, bias].filter((input) => input !== null);
  return record(y, "batchNorm", inputs, (grad) => {
    if (!gradEnabled()) return fusedGradients(all, grad);
    return throughOps(
      (input, ...rest) => {
        const [w, b] = [weight ? rest[0]! : null, bias ? rest.at(-1)! : null];
        return inFloat32([input!, w, b], (x, weight, bias) => {
          return composed({ ...all, x, weight, bias }, own);
        });
      },
      inputs,
      grad,
    );
  });
}

function fusedGradients(all: Batch, grad: Tensor): (Tensor | null)[] {
  const { x, weight, bias, mean, variance, own, channels, eps } = all;
  const { backend, format } = x;
  const [from, dy] = [x.stored(format).handle, grad.stored(format).handle];
  const wanted = weight?.requiresGrad || bias?.requiresGrad || (own && x.requiresGrad);
  const [dweight, dbias] = wanted ? [mean.make([channels]), mean.make([channels])] : [null, null];
  if (dweight && dbias) {
    backend.check(
      backend.functions.cdn_batch_norm_sums(
        dweight.handle,
        dbias.handle,
        dy,
        from,
        mean.handle,
        variance.handle,
        ...counts(all),
        eps,
        x.code,
      ),
    );
  }
  let dx: Tensor | null = null;
  if (x.requiresGrad) {
    dx = x.make(x.shape, x.dtype, format);
    backend.check(
      backend.functions.cdn_batch_norm_grad(
        dx.stored(format).handle,
        dy,
        from,
        mean.handle,
        variance.handle,
        weight?.handle ?? 0,
        (own ? dweight?.handle : 0) ?? 0,
        (own ? dbias?.handle : 0) ?? 0,
        ...counts(all),
        eps,
        x.code,
      ),
    );
  }
  const gradients = [dx];
  if (weight) gradients.push(dweight && cast(dweight, weight.dtype));
  if (bias) gradients.push(dbias && cast(dbias, bias.dtype));
  return gradients;
}

// The formula in operations, for gradients of gradients; in float64, as kernels compute it.
function composed(all: Batch, own: boolean): Tensor {
  const { x, weight, bias, channels, eps } = all;
  const column = (tensor: Tensor) => reshape(tensor, [1, channels, 1]);
  const flat = cast(reshape(x, [x.shape[0]!, channels, -1]), "float64");
  const average = (tensor: Tensor) => meanOf(tensor, [0, 2], { keepDims: true });
  const centred = sub(flat, own ? average(flat) : column(all.mean));
  const variance = own ? average(mul(centred, centred)) : column(all.variance);
  let y = cast(div(centred, sqrt(add(variance, eps))), x.dtype);
  if (weight) y = mul(y, column(weight));
  if (bias) y = add(y, column(bias));
  return reshape(y, x.shape);
}
