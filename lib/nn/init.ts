import { formatValue } from "../core/describe.ts";
import { dtypeInfo } from "../core/dtype.ts";
import { parametersChanged } from "../core/autocast.ts";
import { checkChoice, checkNumber, checkOptions } from "../core/options.ts";
import { drawRandom } from "../core/random.ts";
import { formatShape, sizeOf } from "../core/shape.ts";
import { call } from "../native/call.ts";
import { ArgumentError, ShapeError } from "../native/errors.ts";
import { checkDType, checkTensor, floats } from "../ops/_operands.ts";
import type { Tensor } from "../tensor.ts";
import { normalBelow, normalQuantile, orthonormalColumns, uniforms } from "./_init_math.ts";

/** Functions whose gain {@linkcode calculateGain} knows. */
export type Nonlinearity =
  | "linear"
  | "sigmoid"
  | "tanh"
  | "relu"
  | "leakyRelu"
  | "selu";

/** Options of {@linkcode kaimingUniform} and {@linkcode kaimingNormal}. */
export interface KaimingOptions {
  /** The slope below 0 of leakyRelu. Default 0. */
  a?: number | undefined;
  /**
   * Whether to keep the variance forward (by the inputs of a unit) or backward (by its outputs).
   * Default `"fanIn"`.
   */
  mode?: "fanIn" | "fanOut" | undefined;
  /** What follows the layer. Default `"leakyRelu"`. */
  nonlinearity?: Nonlinearity | undefined;
}

// A Philox block makes four numbers of 32 bits or two of 64.
const takeFor = (x: Tensor) => drawRandom(Math.ceil(x.size / (x.dtype === "float64" ? 2 : 4)));

/**
 * Fills with numbers uniform in [low, high), by default [0, 1). As torch.nn.init.uniform_.
 *
 * ```ts
 * import { nn, zeros } from "@cudeno/cudeno";
 * console.log(nn.init.uniform(zeros([3]), { low: -1 }).dataSync()); // three numbers in [-1, 1)
 * ```
 */
export function uniform(
  x: Tensor,
  options: { low?: number | undefined; high?: number | undefined } = {},
): Tensor {
  checkOptions("uniform", options, ["low", "high"]);
  const { low = 0, high = 1 } = options;
  checkDType("uniform", x, floats);
  checkNumber("uniform", "low", low);
  checkNumber("uniform", "high", high, low);
  const { state, seed, offset } = takeFor(x);
  call("cdn_uniform", x.stored(x.format), state, x.size, low, high, seed, offset, x.code);
  parametersChanged();
  return x;
}

/**
 * Fills with numbers of the normal distribution, by default with mean 0 and deviation 1. As
 * torch.nn.init.normal_.
 *
 * ```ts
 * import { nn, zeros } from "@cudeno/cudeno";
 * console.log(nn.init.normal(zeros([3]), { std: 0.02 }).dataSync()); // three small numbers
 * ```
 */
export function normal(
  x: Tensor,
  options: { mean?: number | undefined; std?: number | undefined } = {},
): Tensor {
  checkOptions("normal", options, ["mean", "std"]);
  const { mean = 0, std = 1 } = options;
  checkDType("normal", x, floats);
  checkNumber("normal", "mean", mean);
  checkNumber("normal", "std", std, 0);
  const { state, seed, offset } = takeFor(x);
  call("cdn_normal", x.stored(x.format), state, x.size, mean, std, seed, offset, x.code);
  parametersChanged();
  return x;
}

/**
 * Fills with one value. As torch.nn.init.constant_.
 *
 * ```ts
 * import { nn, zeros } from "@cudeno/cudeno";
 * console.log(nn.init.constant(zeros([2]), 0.5).dataSync()); // 0.5, 0.5
 * ```
 */
export function constant(x: Tensor, value: number): Tensor {
  checkTensor("constant", x);
  return x.fill(value);
}

/**
 * Fills with 0. As torch.nn.init.zeros_.
 *
 * ```ts
 * import { nn } from "@cudeno/cudeno";
 * console.log(nn.init.zeros(new nn.Linear(3, 2).bias!).dataSync()); // 0, 0
 * ```
 */
export function zeros(x: Tensor): Tensor {
  return constant(x, 0);
}

/**
 * Fills with 1. As torch.nn.init.ones_.
 *
 * ```ts
 * import { nn, zeros } from "@cudeno/cudeno";
 * console.log(nn.init.ones(zeros([2])).dataSync()); // 1, 1
 * ```
 */
export function ones(x: Tensor): Tensor {
  return constant(x, 1);
}

/**
 * Makes a matrix the identity, as far as it goes where it is not square. As torch.nn.init.eye_.
 *
 * ```ts
 * import { nn, zeros } from "@cudeno/cudeno";
 * console.log(nn.init.eye(zeros([2, 2])).dataSync()); // 1, 0, 0, 1
 * ```
 */
export function eye(x: Tensor): Tensor {
  checkTensor("eye", x);
  if (x.rank !== 2) throw new ShapeError(`eye: x is ${formatShape(x.shape)}; it must be a matrix`);
  const [n, m] = x.shape as [number, number];
  return write(x, (i) => Math.floor(i / m) === i % m && i % m < n ? 1 : 0);
}

function write(x: Tensor, at: (i: number) => number): Tensor {
  const data = dtypeInfo(x.dtype).make(x.size);
  for (let i = 0; i < data.length; i++) data[i] = at(i);
  return x.copyFrom(data);
}

/**
 * By how much a nonlinearity's layers are to be scaled so that the variance stays; as
 * torch.nn.init.calculate_gain. `slope` is leakyRelu's below 0, default 0.01.
 *
 * ```ts
 * import { nn } from "@cudeno/cudeno";
 * console.log(nn.init.calculateGain("relu")); // the root of 2
 * ```
 */
export function calculateGain(nonlinearity: Nonlinearity, slope = 0.01): number {
  checkNumber("calculateGain", "slope", slope);
  const gains: Record<Nonlinearity, number> = {
    linear: 1,
    sigmoid: 1,
    tanh: 5 / 3,
    relu: Math.SQRT2,
    leakyRelu: Math.sqrt(2 / (1 + slope * slope)),
    selu: 3 / 4,
  };
  checkChoice("calculateGain", "nonlinearity", nonlinearity, gains);
  return gains[nonlinearity];
}

// The inputs of a unit and its outputs, of weights [out, in, …] where the rest is the field of a
// convolution.
function fansOf(op: string, x: Tensor): { fanIn: number; fanOut: number } {
  checkDType(op, x, floats);
  if (x.rank < 2) {
    throw new ShapeError(`${op}: x is ${formatShape(x.shape)}; it must be [out, in, …]`);
  }
  const field = sizeOf(x.shape.slice(2));
  return { fanIn: x.shape[1]! * field, fanOut: x.shape[0]! * field };
}

function xavierStd(op: string, x: Tensor, options: { gain?: number | undefined }): number {
  checkOptions(op, options, ["gain"]);
  const { gain = 1 } = options;
  checkNumber(op, "gain", gain, 0);
  const { fanIn, fanOut } = fansOf(op, x);
  return x.size === 0 ? 0 : gain * Math.sqrt(2 / (fanIn + fanOut));
}

/**
 * Fills weights [out, in, …] uniformly, with deviation gain sqrt(2 / (fanIn + fanOut)) (Glorot and
 * Bengio, 2010). As torch.nn.init.xavier_uniform_.
 *
 * ```ts
 * import { nn } from "@cudeno/cudeno";
 * const layer = new nn.Linear(300, 100);
 * nn.init.xavierUniform(layer.weight, { gain: nn.init.calculateGain("tanh") });
 * ```
 */
export function xavierUniform(x: Tensor, options: { gain?: number | undefined } = {}): Tensor {
  const high = Math.sqrt(3) * xavierStd("xavierUniform", x, options);
  return uniform(x, { low: -high, high });
}

/**
 * As {@linkcode xavierUniform}, from the normal distribution. As torch.nn.init.xavier_normal_.
 *
 * ```ts
 * import { nn, zeros } from "@cudeno/cudeno";
 * console.log(nn.init.xavierNormal(zeros([2, 6])).dataSync()); // of deviation 0.5
 * ```
 */
export function xavierNormal(x: Tensor, options: { gain?: number | undefined } = {}): Tensor {
  return normal(x, { std: xavierStd("xavierNormal", x, options) });
}

function kaimingStd(op: string, x: Tensor, options: KaimingOptions): number {
  checkOptions(op, options, ["a", "mode", "nonlinearity"]);
  const { a = 0, mode = "fanIn", nonlinearity = "leakyRelu" } = options;
  if (mode !== "fanIn" && mode !== "fanOut") {
    throw new ArgumentError(`${op}: mode is ${formatValue(mode)}; it must be fanIn or fanOut`);
  }
  const fan = fansOf(op, x)[mode];
  return x.size === 0 ? 0 : calculateGain(nonlinearity, a) / Math.sqrt(fan);
}

/**
 * Fills weights [out, in, …] uniformly, with deviation gain / sqrt(fan) (He et al., 2015). As
 * torch.nn.init.kaiming_uniform_.
 *
 * ```ts
 * import { nn } from "@cudeno/cudeno";
 * const layer = new nn.Linear(300, 100);
 * nn.init.kaimingUniform(layer.weight, { nonlinearity: "relu" });
 * ```
 */
export function kaimingUniform(x: Tensor, options: KaimingOptions = {}): Tensor {
  const high = Math.sqrt(3) * kaimingStd("kaimingUniform", x, options);
  return uniform(x, { low: -high, high });
}

/**
 * As {@linkcode kaimingUniform}, from the normal distribution. As torch.nn.init.kaiming_normal_.
 *
 * ```ts
 * import { nn, zeros } from "@cudeno/cudeno";
 * console.log(nn.init.kaimingNormal(zeros([4, 2]), { nonlinearity: "relu" }).dataSync());
 * // of deviation 1
 * ```
 */
export function kaimingNormal(x: Tensor, options: KaimingOptions = {}): Tensor {
  return normal(x, { std: kaimingStd("kaimingNormal", x, options) });
}

/**
 * Fills [rows, …], taken as a matrix, with orthonormal rows or columns, whichever are fewer, times
 * the gain (Saxe et al., 2013); uniform among all such matrices. As torch.nn.init.orthogonal_.
 * Computed on the host.
 *
 * ```ts
 * import { nn, zeros } from "@cudeno/cudeno";
 * const x = nn.init.orthogonal(zeros([3, 5]));
 * console.log(x.matmul(x.transpose()).dataSync()); // about the identity
 * ```
 */
export function orthogonal(x: Tensor, options: { gain?: number | undefined } = {}): Tensor {
  checkOptions("orthogonal", options, ["gain"]);
  const { gain = 1 } = options;
  checkNumber("orthogonal", "gain", gain);
  checkDType("orthogonal", x, floats);
  if (x.rank < 2) {
    throw new ShapeError(`orthogonal: x is ${formatShape(x.shape)}; it must be [rows, …]`);
  }
  if (x.size === 0) return x;
  const rows = x.shape[0]!;
  const cols = x.size / rows;
  const wide = rows < cols;
  const length = Math.max(rows, cols);
  const q = orthonormalColumns(length, Math.min(rows, cols));
  return write(x, (i) => {
    const [r, c] = [Math.floor(i / cols), i % cols];
    return gain * q[wide ? r * length + c : c * length + r]!;
  });
}

/** Options of {@linkcode truncNormal}. */
export interface TruncNormalOptions {
  /** Of the distribution before it is cut. Default 0. */
  mean?: number | undefined;
  /** Of the distribution before it is cut. Default 1. */
  std?: number | undefined;
  /** The least value. Default -2. */
  a?: number | undefined;
  /** The largest value. Default 2. */
  b?: number | undefined;
}

/**
 * Fills with numbers of the normal distribution within [a, b]. As torch.nn.init.trunc_normal_.
 * Computed on the host, from uniform numbers by the inverse of the distribution.
 *
 * ```ts
 * import { nn, zeros } from "@cudeno/cudeno";
 * console.log(nn.init.truncNormal(zeros([4]), { std: 0.02, a: -0.04, b: 0.04 }).dataSync());
 * ```
 */
export function truncNormal(x: Tensor, options: TruncNormalOptions = {}): Tensor {
  checkOptions("truncNormal", options, ["mean", "std", "a", "b"]);
  const { mean = 0, std = 1, a = -2, b = 2 } = options;
  checkDType("truncNormal", x, floats);
  for (const [name, value] of Object.entries({ mean, a })) checkNumber("truncNormal", name, value);
  checkNumber("truncNormal", "std", std, 0);
  checkNumber("truncNormal", "b", b, a);
  if (std === 0) throw new ArgumentError("truncNormal: std is 0; it must be above 0");
  // Above the mean the distribution is taken from its other end, where a small share has more
  // digits.
  const flip = a > mean ? -1 : 1;
  const [from, to] = [a, b].map((edge) => normalBelow(flip * (edge - mean) / std)) as [
    number,
    number,
  ];
  const draws = uniforms(x.size);
  return write(x, (i) => {
    const value = mean + flip * std * normalQuantile(from + (to - from) * draws[i]!);
    return Math.min(Math.max(value, a), b);
  });
}
