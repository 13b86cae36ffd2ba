// A product to be measured: its shape and arithmetic, its inputs, and its limits.
import { type DType, type MatmulOptions, randn, type Tensor } from "../../mod.ts";
import { floorUs, peakFlops, type Unit } from "../peaks.ts";

/** How float32 operands are multiplied. */
export type Precision = NonNullable<MatmulOptions["precision"]>;

/** op(a) [m, k] by op(b) [k, n]. */
export interface Product {
  readonly name: string;
  readonly dtype: DType;
  readonly precision?: Precision;
  readonly m: number;
  readonly k: number;
  readonly n: number;
  /** Whether a and b are stored as their transposes. */
  readonly transposes?: Transposes;
}

/** For a, then for b: `n` as it is, `t` stored as its transpose. */
export type Transposes = "nn" | "nt" | "tn" | "tt";

/** The operands of a product. */
export interface Operands {
  readonly a: Tensor;
  readonly b: Tensor;
}

/** What matmul() is given for it. */
export function optionsOf({ precision, transposes = "nn" }: Product): MatmulOptions {
  return {
    transposeA: transposes[0] === "t",
    transposeB: transposes[1] === "t",
    ...(precision === undefined ? {} : { precision }),
  };
}

/** The shapes in which a and b are stored. */
export function storedShapes(x: Product): { a: [number, number]; b: [number, number] } {
  const { m, k, n } = x;
  const { transposeA, transposeB } = optionsOf(x);
  return { a: transposeA ? [k, m] : [m, k], b: transposeB ? [n, k] : [k, n] };
}

/** Operations, a multiply-add being two. */
export function flopsOf({ m, k, n }: Product): number {
  return 2 * m * k * n;
}

const elementBytes: Partial<Record<DType, number>> = { float64: 8, float16: 2, bfloat16: 2 };

/** Bytes that must move: the operands and the result, each once. */
export function bytesOf({ m, k, n, dtype }: Product): number {
  return (m * k + k * n + m * n) * (elementBytes[dtype] ?? 4);
}

/**
 * The unit that does it fastest, and how many operations of it each one of the product's takes:
 * what is as exact as float32 takes at least three products of 16-bit parts.
 */
export function unitOf({ dtype, precision = "float32" }: Product): { unit: Unit; times: number } {
  if (dtype === "float64") return { unit: "float64", times: 1 };
  if (dtype !== "float32") return { unit: "half", times: 1 };
  if (precision === "ieee") return { unit: "float32", times: 1 };
  if (precision === "tf32") return { unit: "tf32", times: 1 };
  return { unit: "half", times: precision === "bfloat16" ? 1 : 3 };
}

/** The least microseconds it can take on a device, where that is known. */
export function floorOf(x: Product, device: string): number | null {
  const { unit, times } = unitOf(x);
  return floorUs(device, unit, times * flopsOf(x), bytesOf(x));
}

/**
 * Its rate in operations a second, and what part that is of the peak of the unit used, where that
 * is known.
 */
export function rateOf(x: Product, us: number, device: string): { tflops: number; share?: number } {
  const { unit, times } = unitOf(x);
  const flops = 1e6 * flopsOf(x) / us;
  const peak = peakFlops(device, unit);
  return { tflops: flops / 1e12, ...(peak === undefined ? {} : { share: times * flops / peak }) };
}

const L2_TWICE = 120e6; // bytes: twice what the caches of these devices hold

/**
 * So many copies of random operands that a cache does not hold them all: products use them in turn.
 */
export function operandsOf(x: Product): Operands[] {
  const shapes = storedShapes(x);
  const bytes = bytesOf(x);
  const copies = bytes >= L2_TWICE ? 1 : Math.min(16, Math.max(3, Math.ceil(L2_TWICE / bytes)));
  const { dtype } = x;
  return Array.from({ length: copies }, () => ({
    a: randn(shapes.a, { dtype }),
    b: randn(shapes.b, { dtype }),
  }));
}
