import { formatValue } from "./core/describe.ts";
import { DTypeError } from "./native/errors.ts";
import type { Backend, DeviceName } from "./core/backend.ts";
import { backendFor } from "./core/backend.ts";
import { type DType, dtypes, isDType } from "./core/dtype.ts";
import { checkFormat, type MemoryFormat } from "./core/layout.ts";
import { checkOptions } from "./core/options.ts";
import type { Shape } from "./core/shape.ts";
import { TensorBase } from "./core/tensor.ts";
import { allocate } from "./core/allocate.ts";
import { record } from "./core/autograd.ts";
import {
  elu,
  type EluOptions,
  gelu,
  type GeluOptions,
  leakyRelu,
  type LeakyReluOptions,
  relu,
  sigmoid,
  silu,
  softplus,
  type SoftplusOptions,
  tanh,
} from "./ops/elementwise/activations.ts";
import {
  add,
  div,
  floorDivide,
  maximum,
  minimum,
  mul,
  pow,
  remainder,
  sub,
} from "./ops/elementwise/binary.ts";
import { cast } from "./ops/elementwise/_cast.ts";
import { eq, ge, gt, isfinite, isinf, isnan, le, lt, ne } from "./ops/elementwise/compare.ts";
import { matmul, type MatmulOptions } from "./ops/linalg/matmul.ts";
import {
  broadcastTo,
  flatten,
  permute,
  reshape,
  squeeze,
  transpose,
  unsqueeze,
} from "./ops/shape/movement.ts";
import { adaptiveAvgPool2d, avgPool2d, type AvgPoolOptions } from "./ops/pool/avg_pool.ts";
import type { AdaptiveSize, PoolSize } from "./ops/pool/_pool.ts";
import { maxPool2d, type MaxPoolOptions } from "./ops/pool/max_pool.ts";
import { upsample, type UpsampleOptions } from "./ops/image/upsample.ts";
import { pad, type PadOptions } from "./ops/shape/pad.ts";
import { tile } from "./ops/shape/tile.ts";
import { all, any } from "./ops/reduce/any.ts";
import { argmax, argmin } from "./ops/reduce/argmax.ts";
import type { Axes } from "./ops/reduce/_axes.ts";
import { max, min } from "./ops/reduce/max.ts";
import { mean } from "./ops/reduce/mean.ts";
import type { ReduceOptions } from "./ops/reduce/_reduce.ts";
import { sum } from "./ops/reduce/sum.ts";
import { prod } from "./ops/reduce/prod.ts";
import { cumprod } from "./ops/reduce/cumprod.ts";
import { cumsum, type CumulateOptions } from "./ops/reduce/cumsum.ts";
import { multinomial, type MultinomialOptions } from "./ops/random/multinomial.ts";
import { gather } from "./ops/index/gather.ts";
import { scatter } from "./ops/index/scatter.ts";
import { take } from "./ops/index/take.ts";
import { type Unique, unique, uniqueSync } from "./ops/index/unique.ts";
import { scatterAdd } from "./ops/index/scatter_add.ts";
import { indexAdd } from "./ops/index/index_add.ts";
import { indexSelect } from "./ops/index/index_select.ts";
import { logSumExp } from "./ops/reduce/log_sum_exp.ts";
import { norm, type NormOptions } from "./ops/reduce/norm.ts";
import { argsort, type Ordered, sort, type SortOptions } from "./ops/index/sort.ts";
import { topK, type TopKOptions } from "./ops/index/topk.ts";
import { std, variance, type VarianceOptions } from "./ops/reduce/variance.ts";
import { chunk, split } from "./ops/shape/split.ts";
import { flip } from "./ops/shape/flip.ts";
import { repeatInterleave } from "./ops/shape/repeat_interleave.ts";
import { roll } from "./ops/shape/roll.ts";
import { select } from "./ops/shape/select.ts";
import { slice } from "./ops/shape/slice.ts";
import { logSoftmax, softmax } from "./ops/reduce/softmax.ts";
import { tril, triu } from "./ops/shape/triangle.ts";
import {
  abs,
  ceil,
  clip,
  cos,
  erf,
  exp,
  expm1,
  floor,
  log,
  log1p,
  neg,
  round,
  rsqrt,
  sign,
  sin,
  sqrt,
  trunc,
} from "./ops/elementwise/unary.ts";
import { where } from "./ops/elementwise/where.ts";

/** What {@linkcode Tensor.to} changes. */
export interface ToOptions {
  /** Default: as it is. */
  device?: DeviceName | undefined;
  /** Default: as it is. */
  dtype?: DType | undefined;
  /** Default: as it is. */
  format?: MemoryFormat | undefined;
}

/**
 * A tensor: numbers on a device, with the operations as methods. Each method has a
 * function of the same name in lib/ops/, which says more.
 *
 * Operations only queue work and return at once; data() and item() wait for it. Made by tensor(),
 * zeros(), rand() and the like.
 *
 * ```ts
 * import { tensor } from "@cudeno/cudeno";
 * const x = tensor([[1, 2], [3, 4]], { requiresGrad: true });
 * x.mul(x).sum().backward();
 * console.log(x.grad!.dataSync()); // 2, 4, 6, 8
 * ```
 */
export class Tensor extends TensorBase {
  /** a + b, with broadcasting. */
  add(b: Tensor | number): Tensor {
    return add(this, b);
  }
  /** a - b, with broadcasting. */
  sub(b: Tensor | number): Tensor {
    return sub(this, b);
  }
  /** a * b by elements, with broadcasting. */
  mul(b: Tensor | number): Tensor {
    return mul(this, b);
  }
  /** a / b, with broadcasting; of int32 too as floats. */
  div(b: Tensor | number): Tensor {
    return div(this, b);
  }
  /** The largest whole number that is not above a / b, with broadcasting. */
  floorDivide(b: Tensor | number): Tensor {
    return floorDivide(this, b);
  }
  /** What floorDivide() leaves, with the sign of b: Python's %. */
  remainder(b: Tensor | number): Tensor {
    return remainder(this, b);
  }
  /** a to the power b, with broadcasting. */
  pow(b: Tensor | number): Tensor {
    return pow(this, b);
  }
  /** The larger of a and b by elements. */
  maximum(b: Tensor | number): Tensor {
    return maximum(this, b);
  }
  /** The smaller of a and b by elements. */
  minimum(b: Tensor | number): Tensor {
    return minimum(this, b);
  }

  /** 1 where a equals b, as uint8. */
  eq(b: Tensor | number): Tensor {
    return eq(this, b);
  }
  /** 1 where a differs from b, as uint8. */
  ne(b: Tensor | number): Tensor {
    return ne(this, b);
  }
  /** 1 where a is less than b, as uint8. */
  lt(b: Tensor | number): Tensor {
    return lt(this, b);
  }
  /** 1 where a is at most b, as uint8. */
  le(b: Tensor | number): Tensor {
    return le(this, b);
  }
  /** 1 where a is greater than b, as uint8. */
  gt(b: Tensor | number): Tensor {
    return gt(this, b);
  }
  /** 1 where a is at least b, as uint8. */
  ge(b: Tensor | number): Tensor {
    return ge(this, b);
  }

  /** -x. */
  neg(): Tensor {
    return neg(this);
  }
  /** |x|. */
  abs(): Tensor {
    return abs(this);
  }
  /** -1, 0 or 1 by the sign. */
  sign(): Tensor {
    return sign(this);
  }
  /** The nearest whole number, halves to the even one. */
  round(): Tensor {
    return round(this);
  }
  /** The largest whole number that is not above x. */
  floor(): Tensor {
    return floor(this);
  }
  /** The smallest whole number that is not below x. */
  ceil(): Tensor {
    return ceil(this);
  }
  /** Without the fraction. */
  trunc(): Tensor {
    return trunc(this);
  }
  /** 1 where x is NaN, as uint8. */
  isnan(): Tensor {
    return isnan(this);
  }
  /** 1 where x is neither NaN nor infinite, as uint8. */
  isfinite(): Tensor {
    return isfinite(this);
  }
  /** 1 where x is infinite, as uint8. */
  isinf(): Tensor {
    return isinf(this);
  }
  /** e^x. */
  exp(): Tensor {
    return exp(this);
  }
  /** e^x - 1. */
  expm1(): Tensor {
    return expm1(this);
  }
  /** The natural logarithm. */
  log(): Tensor {
    return log(this);
  }
  /** log(1 + x). */
  log1p(): Tensor {
    return log1p(this);
  }
  /** The square root. */
  sqrt(): Tensor {
    return sqrt(this);
  }
  /** 1 / sqrt(x). */
  rsqrt(): Tensor {
    return rsqrt(this);
  }
  /** The sine. */
  sin(): Tensor {
    return sin(this);
  }
  /** The cosine. */
  cos(): Tensor {
    return cos(this);
  }
  /** The error function. */
  erf(): Tensor {
    return erf(this);
  }
  /** x within min..max; either may be left out. */
  clip(min?: number, max?: number): Tensor {
    return clip(this, min, max);
  }

  /** max(x, 0). */
  relu(): Tensor {
    return relu(this);
  }
  /** x above 0, negativeSlope x below. */
  leakyRelu(options: LeakyReluOptions = {}): Tensor {
    return leakyRelu(this, options);
  }
  /** x above 0, alpha (e^x - 1) below. */
  elu(options: EluOptions = {}): Tensor {
    return elu(this, options);
  }
  /** x times the share of the normal distribution below x. */
  gelu(options: GeluOptions = {}): Tensor {
    return gelu(this, options);
  }
  /** x sigmoid(x). */
  silu(): Tensor {
    return silu(this);
  }
  /** log(1 + e^(beta x)) / beta. */
  softplus(options: SoftplusOptions = {}): Tensor {
    return softplus(this, options);
  }
  /** 1 / (1 + e^-x). */
  sigmoid(): Tensor {
    return sigmoid(this);
  }
  /** The hyperbolic tangent. */
  tanh(): Tensor {
    return tanh(this);
  }
  /** e^x / sum(e^x) along an axis, by default the last. */
  softmax(axis = -1): Tensor {
    return softmax(this, axis);
  }
  /** log(softmax(x)) along an axis, by default the last. */
  logSoftmax(axis = -1): Tensor {
    return logSoftmax(this, axis);
  }

  /** The sum over some or all axes. */
  sum(axes?: Axes, options: ReduceOptions = {}): Tensor {
    return sum(this, axes, options);
  }
  /** The product over some or all axes. */
  prod(axes?: Axes, options: ReduceOptions = {}): Tensor {
    return prod(this, axes, options);
  }
  /** 1 where any element over some or all axes is not 0, as uint8. */
  any(axes?: Axes, options: ReduceOptions = {}): Tensor {
    return any(this, axes, options);
  }
  /** 1 where no element over some or all axes is 0, as uint8. */
  all(axes?: Axes, options: ReduceOptions = {}): Tensor {
    return all(this, axes, options);
  }
  /** The mean over some or all axes. */
  mean(axes?: Axes, options: ReduceOptions = {}): Tensor {
    return mean(this, axes, options);
  }
  /** The largest element over some or all axes. */
  max(axes?: Axes, options: ReduceOptions = {}): Tensor {
    return max(this, axes, options);
  }
  /** The smallest element over some or all axes. */
  min(axes?: Axes, options: ReduceOptions = {}): Tensor {
    return min(this, axes, options);
  }
  /** The index of the largest element, as int32. */
  argmax(axis?: number, options: ReduceOptions = {}): Tensor {
    return argmax(this, axis, options);
  }
  /** The index of the smallest element, as int32. */
  argmin(axis?: number, options: ReduceOptions = {}): Tensor {
    return argmin(this, axis, options);
  }

  /** The variance over some or all axes. */
  variance(axes?: Axes, options: VarianceOptions = {}): Tensor {
    return variance(this, axes, options);
  }
  /** The standard deviation over some or all axes. */
  std(axes?: Axes, options: VarianceOptions = {}): Tensor {
    return std(this, axes, options);
  }
  /** The norm over some or all axes. */
  norm(axes?: Axes, options: NormOptions = {}): Tensor {
    return norm(this, axes, options);
  }
  /** log(sum(e^x)) over some or all axes. */
  logSumExp(axes?: Axes, options: ReduceOptions = {}): Tensor {
    return logSumExp(this, axes, options);
  }
  /** Cumulative sums along an axis. */
  cumsum(axis: number, options: CumulateOptions = {}): Tensor {
    return cumsum(this, axis, options);
  }
  /** Cumulative products along an axis. */
  cumprod(axis: number, options: CumulateOptions = {}): Tensor {
    return cumprod(this, axis, options);
  }
  /** The k largest elements along an axis, and their indices. */
  topK(k: number, options: TopKOptions = {}): Ordered {
    return topK(this, k, options);
  }
  /** The elements along an axis in order, and their indices. */
  sort(options: SortOptions = {}): Ordered {
    return sort(this, options);
  }
  /** The indices of the elements along an axis in order. */
  argsort(options: SortOptions = {}): Tensor {
    return argsort(this, options);
  }
  /** Elements by their place along an axis. */
  gather(axis: number, index: Tensor): Tensor {
    return gather(this, axis, index);
  }
  /** Elements by their place in row-major order. */
  take(index: Tensor): Tensor {
    return take(this, index);
  }
  /** The values, each once and in order, where each element's is among them, and their counts. */
  unique(): Promise<Unique> {
    return unique(this);
  }
  /** As {@linkcode unique}, but waits here. */
  uniqueSync(): Unique {
    return uniqueSync(this);
  }
  /** Classes drawn by these weights, as int32. */
  multinomial(numSamples: number, options: MultinomialOptions = {}): Tensor {
    return multinomial(this, numSamples, options);
  }
  /** With the elements of src, or a number, put in places along an axis. */
  scatter(axis: number, index: Tensor, src: Tensor | number): Tensor {
    return scatter(this, axis, index, src);
  }
  /** With the elements of src added to places along an axis. */
  scatterAdd(axis: number, index: Tensor, src: Tensor): Tensor {
    return scatterAdd(this, axis, index, src);
  }
  /** Slices along an axis by index. */
  indexSelect(axis: number, index: Tensor): Tensor {
    return indexSelect(this, axis, index);
  }
  /** With the slices of src added to those that the index names. */
  indexAdd(axis: number, index: Tensor, src: Tensor): Tensor {
    return indexAdd(this, axis, index, src);
  }

  /** The matrix product. */
  matmul(b: Tensor, options: MatmulOptions = {}): Tensor {
    return matmul(this, b, options);
  }

  /** The largest element of each window of images [n, c, h, w]. */
  maxPool2d(options: MaxPoolOptions<PoolSize, false>): Tensor {
    return maxPool2d(this, options);
  }
  /** The average of each window of images [n, c, h, w]. */
  avgPool2d(options: AvgPoolOptions): Tensor {
    return avgPool2d(this, options);
  }
  /** The averages of windows that share out images [n, c, h, w]; 1 for those of whole images. */
  adaptiveAvgPool2d(outputSize: AdaptiveSize): Tensor {
    return adaptiveAvgPool2d(this, outputSize);
  }

  /** The same elements in another shape; one extent may be -1. */
  reshape(shape: Shape): Tensor {
    return reshape(this, shape);
  }
  /** Axes start..end as one. */
  flatten(start = 0, end = -1): Tensor {
    return flatten(this, start, end);
  }
  /** Without axes of extent 1. */
  squeeze(axis?: number): Tensor {
    return squeeze(this, axis);
  }
  /** With a new axis of extent 1. */
  unsqueeze(axis: number): Tensor {
    return unsqueeze(this, axis);
  }
  /** Repeated along axes of extent 1. */
  broadcastTo(shape: Shape): Tensor {
    return broadcastTo(this, shape);
  }
  /** The axes in another order. */
  permute(order: readonly number[]): Tensor {
    return permute(this, order);
  }
  /** Two axes exchanged, by default the last two. */
  transpose(axis0 = -2, axis1 = -1): Tensor {
    return transpose(this, axis0, axis1);
  }

  /** Places start..stop of an axis, without stop, in steps; negative ones count from the end. */
  slice(axis: number, start?: number, stop?: number, step = 1): Tensor {
    return slice(this, axis, start, stop, step);
  }
  /** One place of an axis, without that axis. */
  select(axis: number, index: number): Tensor {
    return select(this, axis, index);
  }
  /** Parts of one size, or of the sizes listed, along an axis. */
  split(sizes: number | readonly number[], axis = 0): Tensor[] {
    return split(this, sizes, axis);
  }
  /** At most `chunks` parts along an axis. */
  chunk(chunks: number, axis = 0): Tensor[] {
    return chunk(this, chunks, axis);
  }
  /** With the axes reversed; all of them by default. */
  flip(axes?: number | readonly number[]): Tensor {
    return flip(this, axes);
  }
  /** With the elements moved on along axes, those at the end to the beginning. */
  roll(shifts: number | readonly number[], axes?: number | readonly number[]): Tensor {
    return roll(this, shifts, axes);
  }
  /** With each element of an axis repeated in a row. */
  repeatInterleave(repeats: number | readonly number[], axis?: number): Tensor {
    return repeatInterleave(this, repeats, axis);
  }
  /** With elements added, or taken away, before and after along each axis. */
  pad(pads: readonly (readonly [number, number])[], options: PadOptions = {}): Tensor {
    return pad(this, pads, options);
  }
  /** Images in another size. */
  upsample(options: UpsampleOptions): Tensor {
    return upsample(this, options);
  }
  /** Repeated along each axis. */
  tile(reps: readonly number[]): Tensor {
    return tile(this, reps);
  }
  /** The lower triangle of matrices. */
  tril(diagonal = 0): Tensor {
    return tril(this, diagonal);
  }
  /** The upper triangle of matrices. */
  triu(diagonal = 0): Tensor {
    return triu(this, diagonal);
  }
  /** This where the condition holds, else `other`. */
  where(condition: Tensor, other: Tensor | number): Tensor {
    return where(condition, this, other);
  }

  /**
   * The same tensor on another device, with another dtype or in another memory format, or with
   * several of these changed; itself where nothing changes. Recorded. `"channelsLast"` is for
   * images [n, channels, height, width]: shape and reads stay as they are, and operations that know
   * of it go through memory pixel by pixel.
   */
  to(target: DType | DeviceName | ToOptions): Tensor {
    if (typeof target === "object" && target !== null) return converted(this, target);
    if (target === "cpu" || (typeof target === "string" && target.startsWith("cuda"))) {
      return moved(this, backendFor(target as DeviceName));
    }
    if (!isDType(target)) {
      throw new DTypeError(
        `to: the target is ${formatValue(target)}; it must be a device, cpu, cuda or cuda:N, a ` +
          `dtype, ${dtypes}, or { device, dtype, format }`,
      );
    }
    return cast(this, target);
  }

  /** The same memory as a tensor that needs no gradient. */
  detach(): Tensor {
    return this.alias();
  }

  /** A copy in memory of its own. Recorded. */
  clone(): Tensor {
    return record(
      this.make(this.shape, this.dtype, this.format).copyFrom(this),
      "clone",
      [this as Tensor],
      (grad) => [grad],
    );
  }
}

function converted(x: Tensor, options: ToOptions): Tensor {
  checkOptions("to", options, ["device", "dtype", "format"]);
  const { device, dtype, format } = options;
  if (format !== undefined) checkFormat("to", format, x.shape);
  // Casts to fewer bytes come first, so that fewer are moved: none here widens by itself.
  let y = dtype === undefined ? x : x.to(dtype);
  if (format !== undefined) y = reordered(y, format);
  return device === undefined ? y : y.to(device);
}

function reordered(x: Tensor, format: MemoryFormat): Tensor {
  if (format === x.format) return x;
  const { format: before } = x;
  const y = x.make(x.shape, x.dtype, format).copyFrom(x);
  return record(y, "to", [x], (grad) => [reordered(grad, before)]);
}

function moved(x: Tensor, backend: Backend): Tensor {
  if (backend === x.backend) return x;
  const handle = allocate(backend, x.shape, x.dtype);
  const y = new Tensor(backend, x.shape, x.dtype, handle, x.format);
  y.copyFrom(x.dataSync());
  return record(y, "to", [x], (grad) => [moved(grad, x.backend)]);
}
