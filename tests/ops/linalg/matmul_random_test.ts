// 200 random products, each by a kernel by name or by the default, at a random precision: against
// float64 products of the same numbers on the same device. Errors are measured by the sum of |a|
// |b|, as rounding makes them.
import { assert } from "@std/assert";
import {
  type DeviceName,
  devices,
  type DType,
  manualSeed,
  matmul,
  type MatmulOptions,
  matmulVariants,
  NativeError,
  randn,
  scope,
} from "../../../mod.ts";

const unsupported = 5;

type Precision = NonNullable<MatmulOptions["precision"]>;
const precisions: readonly Precision[] = ["float32", "ieee", "tf32", "bfloat16"];
const dtypes: readonly DType[] = ["float32", "float32", "bfloat16", "float16"];

// What one product and its rounding may be off by, relative to |a| |b|.
function limit(dtype: DType, precision: Precision, k: number): number {
  const sums = 2 ** -24 * (8 + Math.sqrt(k));
  if (dtype === "float16") return 2 ** -10 + sums;
  if (dtype === "bfloat16" || precision === "bfloat16") return 2 ** -7 + sums;
  return precision === "tf32" ? 2 ** -10 + sums : sums;
}

function generator(seed: number): () => number {
  return () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32;
  };
}

for (const { device } of devices()) {
  Deno.test(`200 random products agree with float64 on ${device}`, () => {
    const random = generator(7);
    const most = device === "cpu" ? 96 : 1500;
    const extent = () => Math.floor(Math.exp(random() * Math.log(most + 1)));
    const pick = <T>(from: readonly T[]) => from[Math.floor(random() * from.length)]!;
    const variants = ["default", ...matmulVariants(device)];
    manualSeed(11);
    for (let i = 0; i < 200; i++) {
      const product = {
        ...{ m: extent(), n: extent(), k: extent(), dtype: pick(dtypes) },
        ...{ transposeA: random() < 0.5, transposeB: random() < 0.5 },
        ...{ variant: variants[i % variants.length]!, precision: pick(precisions) },
      };
      const ratio = scope(() => errorOf(device, product));
      assert(!(ratio > 1), `${JSON.stringify(product)}: ${ratio} of what is allowed`);
    }
  });
}

interface RandomProduct {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly dtype: DType;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly variant: string;
  readonly precision: Precision;
}

// The largest error, in terms of the limit; 0 where a variant of another library is not there.
function errorOf(device: DeviceName, x: RandomProduct): number {
  const { m, n, k, dtype, transposeA, transposeB, variant, precision } = x;
  const a = randn(transposeA ? [k, m] : [m, k], { device }).to(dtype);
  const b = randn(transposeB ? [n, k] : [k, n], { device }).to(dtype);
  let c;
  try {
    c = matmul(a, b, { transposeA, transposeB, variant, precision });
  } catch (error) {
    if (variant.endsWith("blas") && error instanceof NativeError && error.status === unsupported) {
      return 0;
    }
    throw error;
  }
  const transposes = { transposeA, transposeB };
  const [u, v] = [a.to("float64"), b.to("float64")];
  const size = u.abs().matmul(v.abs(), transposes).add(1e-30);
  const off = c.to("float64").sub(u.matmul(v, transposes)).abs().div(size).max().itemSync();
  return Number.isNaN(off) ? Infinity : off / limit(dtype, precision, k);
}
