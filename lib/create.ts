import type { DeviceName } from "./core/backend.ts";
import {
  carried,
  checkValue,
  type DataOf,
  type DType,
  dtypeInfo,
  dtypeOf,
  isFloat,
} from "./core/dtype.ts";
import { byteLengthOf, bytesOf, plainArray } from "./core/host.ts";
import { checkInteger, checkNumber, checkOptions } from "./core/options.ts";
import { drawRandom } from "./core/random.ts";
import { checkShape, formatShape, MAX_RANK, type Shape, sizeOf } from "./core/shape.ts";
import { call } from "./native/call.ts";
import { ArgumentError, DTypeError, ShapeError } from "./native/errors.ts";
import { Tensor } from "./tensor.ts";
import { createKeys, empty } from "./_empty.ts";
import { checkTensor } from "./ops/_operands.ts";
import { probabilityOf } from "./ops/random/_probability.ts";
import { write } from "./ops/shape/_window.ts";

/** Numbers, in arrays nested as deep as the tensor has axes. */
export type NestedNumbers = number | readonly NestedNumbers[];

/** Options of functions that make tensors. */
export interface CreateOptions {
  /** Default float32, or what the data is. */
  dtype?: DType | undefined;
  /** Default: the device of init(). */
  device?: DeviceName | undefined;
  /**
   * Whether operations on it are recorded. Default false; `x.requiresGrad = true` says so later.
   */
  requiresGrad?: boolean | undefined;
}

/** Options of {@linkcode tensor}. */
export interface TensorOptions extends CreateOptions {
  /** For flat data: the shape to give it. Default [length]. */
  shape?: Shape | undefined;
}

/**
 * A tensor of given numbers: nested arrays, or a typed array (whose kind gives the dtype) with a
 * `shape`. Throws a ShapeError for rows of unequal length and a DTypeError for what the dtype
 * cannot hold, such as NaN as int32.
 *
 * ```ts
 * import { tensor } from "@cudeno/cudeno";
 * console.log(tensor([[1, 2, 3], [4, 5, 6]]).shape); // [2, 3]
 * console.log(tensor(new Float32Array(6), { shape: [3, 2] }).shape); // [3, 2]
 * ```
 */
export function tensor(data: NestedNumbers | ArrayBufferView, options: TensorOptions = {}): Tensor {
  checkOptions("tensor", options, [...createKeys, "shape"]);
  const array = plainArray("tensor", data);
  const own = array ? dtypeOf(array) : bytesOf("tensor", data) ? undefined : "float32";
  if (own === undefined) {
    throw new DTypeError(
      "tensor: this kind of typed array or buffer has no dtype; use a Float16Array, " +
        "Float32Array, Float64Array, Int32Array or Uint8Array, such as new Float32Array(buffer)",
    );
  }
  const shape = array
    ? [byteLengthOf(array) / array.BYTES_PER_ELEMENT]
    : shapeOf(data as NestedNumbers);
  const { shape: wanted = shape, dtype = own, ...rest } = options;
  checkShape("tensor", shape);
  checkShape("tensor", wanted);
  if (sizeOf(wanted) !== sizeOf(shape)) {
    throw new ShapeError(
      `tensor: ${sizeOf(shape)} numbers were given; shape ${formatShape(wanted)} has ${
        sizeOf(wanted)
      }`,
    );
  }
  const x = empty("tensor", wanted, { ...rest, dtype });
  const fits = array && own === dtypeInfo(dtype).host;
  return filled(
    x,
    () => x.copyFrom(fits ? array : numbersOf(array ?? data as NestedNumbers, shape, dtype)),
  );
}

/**
 * x, once `fill` has done its work on the host, which comes after x has found room; x is freed if
 * it fails.
 */
function filled(x: Tensor, fill: () => unknown): Tensor {
  try {
    fill();
    return x;
  } catch (error) {
    x.dispose();
    throw error;
  }
}

// Room for a shape on the host, which has its own limits.
function hostArray(op: string, shape: Shape, dtype: DType): DataOf {
  checkShape(op, shape);
  try {
    return dtypeInfo(dtype).make(sizeOf(shape));
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new ShapeError(`${op}: ${formatShape(shape)} is more than an array on the host can hold`);
  }
}

// The shape that the first rows have: no deeper than a tensor can be, as an array may hold itself.
function shapeOf(data: NestedNumbers): number[] {
  const shape: number[] = [];
  for (let at: NestedNumbers | undefined = data; Array.isArray(at); at = at[0]) {
    if (shape.length === MAX_RANK) {
      throw new ShapeError(
        `tensor: arrays are nested more than ${MAX_RANK} deep; a tensor has at most ${MAX_RANK} ` +
          "dimensions",
      );
    }
    shape.push(at.length);
  }
  return shape;
}

function numbersOf(numbers: NestedNumbers | ArrayLike<number>, shape: Shape, dtype: DType): DataOf {
  const data = hostArray("tensor", shape, dtype);
  let n = 0;
  const visit = (item: NestedNumbers | ArrayLike<number>, depth: number) => {
    const row = Array.isArray(item) || (depth === 0 && ArrayBuffer.isView(item))
      ? item as ArrayLike<number>
      : undefined;
    if (row ? row.length !== shape[depth] : depth !== shape.length) {
      const found = row ? `a row of ${row.length}` : "a number";
      throw new ShapeError(
        `tensor: rows are not alike: at depth ${depth} there is ${found}, where the first has ` +
          `${depth < shape.length ? shape[depth] : "a number"}`,
      );
    }
    if (row) {
      for (let i = 0; i < shape[depth]!; i++) visit(row[i]!, depth + 1);
    } else {
      checkValue("tensor", item as number, dtype);
      data[n++] = carried(item as number, dtype);
    }
  };
  visit(numbers, 0);
  return data;
}

/**
 * A tensor of zeros.
 *
 * ```ts
 * import { zeros } from "@cudeno/cudeno";
 * console.log(zeros([2, 3]).sum().itemSync()); // 0
 * ```
 */
export function zeros(shape: Shape, options: CreateOptions = {}): Tensor {
  return empty("zeros", shape, options).fill(0);
}

/**
 * A tensor of ones.
 *
 * ```ts
 * import { ones } from "@cudeno/cudeno";
 * console.log(ones([2, 3], { dtype: "float16" }).sum().itemSync()); // 6
 * ```
 */
export function ones(shape: Shape, options: CreateOptions = {}): Tensor {
  return empty("ones", shape, options).fill(1);
}

/**
 * A tensor of one value.
 *
 * ```ts
 * import { full } from "@cudeno/cudeno";
 * console.log(full([3], 0.5).dataSync()); // 0.5, 0.5, 0.5
 * ```
 */
export function full(shape: Shape, value: number, options: CreateOptions = {}): Tensor {
  checkShape("full", shape);
  checkOptions("full", options, createKeys);
  checkValue("full", value, options.dtype ?? "float32");
  return empty("full", shape, options).fill(value);
}

/**
 * The numbers start, start + step, … below end; arange(n) counts from 0.
 *
 * ```ts
 * import { arange } from "@cudeno/cudeno";
 * console.log(arange(4).dataSync()); // 0, 1, 2, 3
 * console.log(arange(1, 2, 0.25, { dtype: "float64" }).dataSync()); // 1, 1.25, 1.5, 1.75
 * console.log(arange(0, 4, 1, { dtype: "int32" }).dataSync()); // for indices: options come fourth
 * ```
 */
export function arange(
  start: number,
  end?: number,
  step = 1,
  options: CreateOptions = {},
): Tensor {
  const [from, to] = end === undefined ? [0, start] : [start, end];
  for (const [name, value] of Object.entries({ start: from, end: to, step })) {
    checkNumber("arange", name, value);
  }
  if (step === 0) throw new ArgumentError("arange: step is 0; it must not be");
  const n = Math.max(0, Math.ceil((to - from) / step));
  const { dtype = "float32" } = options;
  const x = empty("arange", [n], options);
  return filled(x, () => {
    const data = hostArray("arange", [n], dtype);
    for (let i = 0; i < n; i++) {
      const value = from + i * step;
      checkValue("arange", value, dtype);
      data[i] = carried(value, dtype);
    }
    x.copyFrom(data);
  });
}

/**
 * `steps` numbers from start to end, both included, equally far apart; of one step, start. Whole
 * dtypes cut fractions off. As torch.linspace.
 *
 * ```ts
 * import { linspace } from "@cudeno/cudeno";
 * console.log(linspace(0, 1, 5).dataSync()); // 0, 0.25, 0.5, 0.75, 1
 * ```
 */
export function linspace(
  start: number,
  end: number,
  steps: number,
  options: CreateOptions = {},
): Tensor {
  for (const [name, value] of Object.entries({ start, end })) checkNumber("linspace", name, value);
  checkInteger("linspace", "steps", steps, 0);
  const { dtype = "float32" } = options;
  const x = empty("linspace", [steps], options);
  return filled(x, () => {
    const data = hostArray("linspace", [steps], dtype);
    const step = end / Math.max(1, steps - 1) - start / Math.max(1, steps - 1);
    for (let i = 0; i < steps; i++) {
      // From the nearer end, so that both are exact.
      const value = 2 * i < steps ? start + i * step : end - (steps - 1 - i) * step;
      const whole = isFloat(dtype) ? value : Math.trunc(value);
      checkValue("linspace", whole, dtype);
      data[i] = carried(whole, dtype);
    }
    x.copyFrom(data);
  });
}

// Of the shape of x and, unless the options say otherwise, of its dtype and on its device.
function like<O extends CreateOptions>(
  op: string,
  x: Tensor,
  options: O,
  more: readonly string[] = [],
): O {
  checkTensor(op, x);
  checkOptions(op, options, [...createKeys, ...more]);
  const { dtype = x.dtype, device = x.device } = options;
  return { ...options, dtype, device };
}

/**
 * Zeros of the shape of x, by default of its dtype and on its device. As torch.zeros_like.
 *
 * ```ts
 * import { tensor, zerosLike } from "@cudeno/cudeno";
 * console.log(zerosLike(tensor([1, 2])).dataSync()); // 0, 0
 * ```
 */
export function zerosLike(x: Tensor, options: CreateOptions = {}): Tensor {
  const wanted = like("zerosLike", x, options);
  return empty("zerosLike", x.shape, wanted).fill(0);
}

/**
 * Ones of the shape of x, by default of its dtype and on its device. As torch.ones_like.
 *
 * ```ts
 * import { onesLike, tensor } from "@cudeno/cudeno";
 * console.log(onesLike(tensor([5, 2])).dataSync()); // 1, 1
 * ```
 */
export function onesLike(x: Tensor, options: CreateOptions = {}): Tensor {
  const wanted = like("onesLike", x, options);
  return empty("onesLike", x.shape, wanted).fill(1);
}

/**
 * One value in the shape of x, by default of its dtype and on its device. As torch.full_like.
 *
 * ```ts
 * import { fullLike, tensor } from "@cudeno/cudeno";
 * console.log(fullLike(tensor([1, 2]), 7).dataSync()); // 7, 7
 * ```
 */
export function fullLike(x: Tensor, value: number, options: CreateOptions = {}): Tensor {
  const wanted = like("fullLike", x, options);
  checkValue("fullLike", value, wanted.dtype ?? x.dtype);
  return empty("fullLike", x.shape, wanted).fill(value);
}

/**
 * The identity matrix of n rows and m columns (default n).
 *
 * ```ts
 * import { eye } from "@cudeno/cudeno";
 * console.log(eye(2).dataSync()); // 1, 0, 0, 1
 * ```
 */
export function eye(n: number, m: number = n, options: CreateOptions = {}): Tensor {
  checkShape("eye", [n, m]);
  const { requiresGrad: _, ...rest } = options;
  const x = empty("eye", [n, m], options);
  return filled(x, () => {
    using diagonal = ones([Math.min(n, m)], rest);
    write(x.fill(0), diagonal, { shape: diagonal.shape, strides: [m + 1], offset: 0 });
  });
}

/** Options of {@linkcode rand}. */
export interface RandOptions extends CreateOptions {
  /** Default 0. */
  low?: number | undefined;
  /** Default 1; is not reached. */
  high?: number | undefined;
}

// A Philox block makes four numbers of 32 bits or two of 64.
function takeFor(x: Tensor) {
  return drawRandom(Math.ceil(x.size / (x.dtype === "float64" ? 2 : 4)));
}

function checkFloat(op: string, dtype: DType | undefined): void {
  if (dtype !== undefined && !isFloat(dtype)) {
    throw new DTypeError(`${op}: dtype is ${dtype}; it must be a float`);
  }
}

/**
 * Random numbers, uniform in [low, high). The same on every device for one seed.
 *
 * ```ts
 * import { rand } from "@cudeno/cudeno";
 * const x = rand([1000], { low: -1, high: 1 });
 * console.log(Math.abs(x.mean().itemSync()) < 0.1); // true
 * ```
 */
export function rand(shape: Shape, options: RandOptions = {}): Tensor {
  checkShape("rand", shape);
  checkOptions("rand", options, [...createKeys, "low", "high"]);
  const { low = 0, high = 1, ...rest } = options;
  checkNumber("rand", "low", low);
  checkNumber("rand", "high", high, low);
  checkFloat("rand", rest.dtype);
  const x = empty("rand", shape, rest);
  const { state, seed, offset } = takeFor(x);
  call("cdn_uniform", x, state, x.size, low, high, seed, offset, x.code);
  return x;
}

/** Options of {@linkcode randn}. */
export interface RandnOptions extends CreateOptions {
  /** Default 0. */
  mean?: number | undefined;
  /** The standard deviation; default 1. */
  std?: number | undefined;
}

/**
 * Random numbers of the normal distribution. The same on every device for one seed, but for the
 * last bits.
 *
 * ```ts
 * import { manualSeed, randn } from "@cudeno/cudeno";
 * manualSeed(1);
 * const x = randn([2, 3], { std: 0.02 });
 * manualSeed(1);
 * console.log(x.eq(randn([2, 3], { std: 0.02 })).to("int32").sum().itemSync());
 * // 6: the same numbers
 * ```
 */
export function randn(shape: Shape, options: RandnOptions = {}): Tensor {
  checkShape("randn", shape);
  checkOptions("randn", options, [...createKeys, "mean", "std"]);
  const { mean = 0, std = 1, ...rest } = options;
  checkNumber("randn", "mean", mean);
  checkNumber("randn", "std", std, 0);
  checkFloat("randn", rest.dtype);
  const x = empty("randn", shape, rest);
  const { state, seed, offset } = takeFor(x);
  call("cdn_normal", x, state, x.size, mean, std, seed, offset, x.code);
  return x;
}

/**
 * {@linkcode rand} of the shape of x, by default of its dtype, a float, and on its device. As
 * torch.rand_like.
 *
 * ```ts
 * import { randLike, zeros } from "@cudeno/cudeno";
 * console.log(randLike(zeros([2, 3], { dtype: "float64" })).dtype); // float64
 * ```
 */
export function randLike(x: Tensor, options: RandOptions = {}): Tensor {
  const wanted = like("randLike", x, options, ["low", "high"]);
  return rand(x.shape, wanted);
}

/**
 * {@linkcode randn} of the shape of x, by default of its dtype, a float, and on its device. As
 * torch.randn_like.
 *
 * ```ts
 * import { randnLike, zeros } from "@cudeno/cudeno";
 * console.log(randnLike(zeros([2, 3]), { std: 0.1 }).shape); // [2, 3]
 * ```
 */
export function randnLike(x: Tensor, options: RandnOptions = {}): Tensor {
  const wanted = like("randnLike", x, options, ["mean", "std"]);
  return randn(x.shape, wanted);
}

/** Options of {@linkcode bernoulli}. */
export interface BernoulliOptions extends CreateOptions {
  /** The probability of 1, in [0, 1], of all elements of a shape. Default 0.5. */
  p?: number | undefined;
}

/**
 * Ones at random, with probability p, and zeros: of a shape, or by a tensor of probabilities, each
 * element by its own, whose dtype, a float, and device the result has; NaN gives 0. It has no
 * gradient. The same on every device and for every dtype for one seed. As torch.bernoulli.
 *
 * ```ts
 * import { bernoulli, tensor } from "@cudeno/cudeno";
 * console.log(bernoulli(tensor([0, 1, 0.5])).dataSync()); // 0, 1, and 0 or 1
 * console.log(Math.abs(bernoulli([1000], { p: 0.1 }).mean().itemSync() - 0.1) < 0.05); // true
 * ```
 */
export function bernoulli(of: Tensor | Shape, options: BernoulliOptions = {}): Tensor {
  const each = of instanceof Tensor ? of : null;
  checkOptions("bernoulli", options, each ? ["requiresGrad"] : [...createKeys, "p"]);
  const { p: given, ...rest } = options;
  const p = probabilityOf("bernoulli", given);
  checkFloat("bernoulli", each ? each.dtype : rest.dtype);
  const { dtype, device } = each ?? rest;
  const x = empty("bernoulli", each ? each.shape : of as Shape, { ...rest, dtype, device });
  const { state, seed, offset } = drawRandom(Math.ceil(x.size / 4));
  call("cdn_bernoulli", x, each, state, x.size, p, seed, offset, x.code);
  return x;
}

/**
 * Random whole numbers from low to high - 1, as int32. The same on every device for one seed.
 *
 * ```ts
 * import { randint } from "@cudeno/cudeno";
 * const dice = randint(1, 7, [5]);
 * console.log(dice.dtype, dice.dataSync());
 * ```
 */
export function randint(
  low: number,
  high: number,
  shape: Shape,
  options: Omit<CreateOptions, "dtype" | "requiresGrad"> = {},
): Tensor {
  checkOptions("randint", options, ["device"]);
  checkInteger("randint", "low", low, -(2 ** 31));
  checkInteger("randint", "high", high, low + 1);
  if (high > 2 ** 31 - 1) throw new ArgumentError(`randint: high is ${high}; it must fit int32`);
  const x = empty("randint", shape, { ...options, dtype: "int32" });
  const { state, seed, offset } = takeFor(x);
  call("cdn_randint", x, state, x.size, low, high, seed, offset);
  return x;
}
