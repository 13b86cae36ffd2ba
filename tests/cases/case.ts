import type { DeviceName, DType, Shape, Tensor } from "../../mod.ts";
import { type Grid, sizeOf } from "../reference.ts";

/** Makes element i of an input; random() is uniform in [0, 1), shapes are those of all inputs. */
export type Fill = (random: () => number, i: number, shapes: readonly Shape[]) => number;

/** The errors allowed, relative to max(|value|, 1) or to the reference's magnitudes. */
export interface Tolerance {
  readonly float32: number;
  readonly float64: number;
}

/** Inputs outside of the ordinary (NaN, infinity, ties, …) and what PyTorch gives for them. */
export interface Special {
  readonly name: string;
  readonly inputs: readonly Grid[];
  readonly expected: Grid;
  /** Default: the case's floats. */
  readonly dtypes?: readonly DType[] | undefined;
  /** Compare bit by bit: the sign of zero counts too. */
  readonly exact?: boolean | undefined;
}

/**
 * An operation with its parameters, what it must compute, and on what to try it. Tests and
 * benchmarks loop over these.
 */
export interface Case {
  /** As a call: `softmax()`, `sum(axes 0, 2)`. */
  readonly name: string;
  call(...inputs: Tensor[]): Tensor;
  /** From the formula, in float64. An integer result is wrapped to its dtype by the tests. */
  reference(...inputs: Grid[]): Grid;
  /** The shapes of the inputs, for each size to try. */
  readonly shapes: readonly (readonly Shape[])[];
  /** Of the inputs; and of the result, unless `output` says otherwise. */
  readonly dtypes: readonly DType[];
  /** By input; the last one serves those after it. Default: {@linkcode spiked}. */
  readonly fill?: readonly Fill[] | undefined;
  /**
   * The dtypes of inputs that do not follow `dtypes`, such as targets; undefined for the others.
   */
  readonly fixed?: readonly (DType | undefined)[];
  readonly output?: DType | undefined;
  /** Default 0: the result is exact. */
  readonly tolerance?: Tolerance | undefined;
  /**
   * How often a 16-bit float is rounded on the way to the result, by operations that follow one
   * another. Default 1.
   */
  readonly steps?: number | undefined;
  /**
   * The roundings by which gradients on two devices may differ, relative to the largest. Default
   * 32.
   */
  readonly gradRoundings?: number | undefined;
  readonly specials?: readonly Special[] | undefined;
  /**
   * Small shapes for gradcheck, of first and second derivatives; none when the operation has no
   * gradient.
   */
  readonly gradShapes?: readonly (readonly Shape[])[] | undefined;
  /** Other ways to ask for the same: methods, kernels by name. */
  also?(device: DeviceName): readonly Variant[];
  /** Bytes read and written; default: each input and the result once. */
  bytes?(inputs: readonly Shape[], output: Shape, dtype: DType): number;
  /** Floating-point operations. */
  flops?(inputs: readonly Shape[], output: Shape): number;
}

/** Another way to compute a case. */
export interface Variant {
  readonly name: string;
  /**
   * Needs what a machine may lack, such as another library: skipped where it says that it is not
   * supported.
   */
  readonly optional?: boolean | undefined;
  /** As the case's, where they are others. */
  readonly tolerance?: Tolerance | undefined;
  readonly steps?: number | undefined;
  call(...inputs: Tensor[]): Tensor;
}

/** n times the unit roundoff of each dtype: correct rounding is within 1. */
export function roundings(float32: number, float64 = float32): Tolerance {
  return { float32: float32 * 2 ** -24, float64: float64 * 2 ** -53 };
}

/** The unit roundoff of each float: half the distance from 1 to the next number. */
export const roundoff: Partial<Record<DType, number>> = {
  float32: 2 ** -24,
  float64: 2 ** -53,
  float16: 2 ** -11,
  bfloat16: 2 ** -8,
};

/**
 * The error allowed in a result of a dtype; 0 for integers. The 16-bit floats compute in float32
 * and round once when they store.
 */
export function toleranceOf({ tolerance, steps = 1 }: Case, dtype: DType): number {
  if (tolerance === undefined || !(dtype in roundoff)) return 0;
  if (dtype === "float32" || dtype === "float64") return tolerance[dtype];
  return steps * roundoff[dtype]! + tolerance.float32;
}

// The nearest number of 8 bits, even where two are as near.
function toBfloat16(value: number): number {
  if (!Number.isFinite(value) || value === 0) return value;
  // The last bit is worth 2^(e - 7) in [2^e, 2^(e + 1)); below 2^-126 it stays as it is there.
  const exponent = Math.max(Math.floor(Math.log2(Math.abs(value))), -126);
  const ulp = 2 ** (exponent - 7);
  const scaled = value / ulp;
  const below = Math.floor(scaled);
  const rest = scaled - below;
  const whole = rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below;
  const rounded = whole * ulp;
  return Math.abs(rounded) >= 2 ** 128 ? Math.sign(value) * Infinity : rounded;
}

/** The number of a float dtype that is nearest to x. */
export function rounding(x: number, dtype: DType): number {
  if (dtype === "float32") return Math.fround(x);
  if (dtype === "float16") return new Float16Array([x])[0]!;
  return dtype === "bfloat16" ? toBfloat16(x) : x;
}

/**
 * The least normal number of float16: below it, and so relative to it, errors do not shrink any
 * more.
 */
export const leastFloat16 = 2 ** -14;

/**
 * The shapes on which to try a dtype: the 16-bit floats, whose kernels are those of float32 but for
 * loading and storing, leave out the large ones.
 */
export function shapesFor({ shapes }: Case, dtype: DType): Case["shapes"] {
  if (!halves.includes(dtype)) return shapes;
  return shapes.filter((inputs) => inputs.every((shape) => sizeOf(shape) <= 5000));
}

export const halves: readonly DType[] = ["float16", "bfloat16"];
export const floats: readonly DType[] = ["float32", "float64", ...halves];
export const numbers: readonly DType[] = [...floats, "int32"];
export const anything: readonly DType[] = [...numbers, "uint8"];

/**
 * Uniform, with one element in 13 a multiple of that, so that sizes differ and results are far from
 * 0.
 */
export function spiked(low: number, high: number, spike = 8): Fill {
  return (random, i) => (low + (high - low) * random()) * (i % 13 === 5 ? spike : 1);
}

/** As {@linkcode spiked}, of either sign, but at least `low` away from 0. */
export function awayFromZero(low: number, high: number): Fill {
  return (random) => (random() < 0.5 ? -1 : 1) * (low + (high - low) * random());
}

/** Whole numbers from low to high, so that equal ones are frequent. */
export function whole(low: number, high: number): Fill {
  return (random) => low + Math.floor(random() * (high - low + 1));
}

/** Sizes at which blocks, warps and vector registers begin and end, and an empty one. */
const edges = [0, 1, 31, 32, 33, 127, 128, 129, 255, 256, 257, 1023, 1025];

/** For operations on one input, element by element. */
export const unaryShapes: readonly (readonly Shape[])[] = [
  [[]],
  ...edges.map((n): Shape[] => [[n]]),
  [[3, 5]],
  [[2, 0, 3]],
  [[2, 3, 4, 5]],
  [[2, 1, 3, 1, 2, 1, 2, 3]],
  [[70_001]],
];

/** For two inputs, equal in shape or broadcast. */
export const binaryShapes: readonly (readonly Shape[])[] = [
  ...unaryShapes.map(([shape]): Shape[] => [shape!, shape!]),
  [[], [5]],
  [[5], []],
  [[1], [1, 1]],
  [[33, 1], [1, 65]],
  [[1, 129], [31, 1]],
  [[4, 3], [3]],
  [[3], [4, 3]],
  [[257, 129], [129]],
  [[257, 129], [257, 1]],
  [[257, 1], [257, 129]],
  [[2, 3, 4], [3, 1]],
  [[2, 1, 4, 1], [3, 1, 5]],
  [[2, 3, 1, 5], [1, 1, 4, 5]],
  [[1, 2, 1, 2, 1, 2, 1, 2], [2, 1, 2, 1, 2, 1, 2, 1]],
  [[20_001, 3], [3]],
  [[33, 1], [64]], // lines of whole packs
  [[5, 1, 32], [7, 1]],
  [[3, 1, 48], [5, 48]],
  [[1], [0]],
  [[0, 3], [1, 3]],
  [[3, 0], [3, 1]],
];

export const unaryGradShapes: readonly (readonly Shape[])[] = [[[]], [[7]], [[2, 3]], [[2, 1, 2]]];

export const binaryGradShapes: readonly (readonly Shape[])[] = [
  [[2, 3], [2, 3]],
  [[3, 1], [1, 2]],
  [[2, 3], [3]],
  [[], [2, 2]],
  [[3], []],
  [[2, 1, 3], [2, 1]],
  [[1, 2, 1, 1, 1, 2, 1, 1], [1, 1, 2, 1]],
];

/** A one-dimensional grid. */
export function line(...values: number[]): Grid {
  return { shape: [values.length], values };
}

/** Rows of equal length as a grid. */
export function rows(...values: number[][]): Grid {
  return { shape: [values.length, values[0]!.length], values: values.flat() };
}

/** `cols` times one value, but for some columns. */
export function row(cols: number, value: number, but: Record<number, number> = {}): number[] {
  return Array.from({ length: cols }, (_, c) => but[c] ?? value);
}

/**
 * Columns of numbers (the inputs, then the result) often enough to fill vector registers and leave
 * a rest.
 */
export function elementwise(
  name: string,
  table: readonly (readonly number[])[],
  options: Pick<Special, "dtypes" | "exact"> = {},
): Special {
  const columns = table[0]!.map((_, c) => {
    const column = table.map((entry) => entry[c]!);
    return line(...Array.from({ length: 37 }, () => column).flat());
  });
  return { name, inputs: columns.slice(0, -1), expected: columns.at(-1)!, ...options };
}

/** Bytes that a case reads and writes. */
export function bytesOf(c: Case, inputs: readonly Shape[], output: Shape, dtype: DType): number {
  if (c.bytes) return c.bytes(inputs, output, dtype);
  const width = { float32: 4, float64: 8, float16: 2, bfloat16: 2, int32: 4, uint8: 1 };
  const read = inputs.map((shape, i) => sizeOf(shape) * width[c.fixed?.[i] ?? dtype]);
  return read.reduce((sum, bytes) => sum + bytes, sizeOf(output) * width[c.output ?? dtype]);
}
