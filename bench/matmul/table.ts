// The products of bench/results/<machine>/matmul.json.
import { flopsOf, type Product, type Transposes } from "./product.ts";

const sizes = [256, 512, 1024, 2048, 4096, 8192];
const square = (size: number) => ({ m: size, k: size, n: size });

// [m, k, n]: layers of MNIST and their gradients, tall, wide and deep ones.
const skinny: [number, number, number][] = [
  [128, 784, 128],
  [128, 128, 10],
  [1024, 784, 128],
  [784, 128, 128],
  [4096, 4096, 64],
  [64, 4096, 4096],
  [512, 512, 65536],
];

// Large outputs of few multiply-adds each; in 16 bits, lines that begin at any place.
const short: [number, number, number][] = [[696, 35, 5811], [1304, 70, 2940], [1547, 128, 5102]];

const all: Product[] = [
  ...(["bfloat16", "float16"] as const).flatMap((dtype) =>
    sizes.map((size): Product => ({ name: `matmul_${dtype}_${size}`, dtype, ...square(size) }))
  ),
  ...(["tf32", "float32", "ieee"] as const).flatMap((precision) =>
    sizes.filter((size) => precision !== "tf32" || size >= 2048).map((size): Product => ({
      name: `matmul_${precision}_${size}`,
      dtype: "float32",
      precision,
      ...square(size),
    }))
  ),
  ...[1024, 4096].map((size): Product => ({
    name: `matmul_float64_${size}`,
    dtype: "float64",
    ...square(size),
  })),
  ...(["bfloat16", "float32"] as const).flatMap((dtype) =>
    (["nn", "nt", "tn", "tt"] as Transposes[]).map((transposes): Product => ({
      name: `matmul_${dtype}_4096_${transposes}`,
      dtype,
      transposes,
      ...square(4096),
    }))
  ),
  ...(["bfloat16", "float32"] as const).flatMap((dtype) =>
    short.map(([m, k, n]): Product => ({ name: `matmul_${dtype}_${m}x${k}x${n}`, dtype, m, k, n }))
  ),
  ...skinny.map(([m, k, n]): Product => ({
    name: `matmul_float32_${m}x${k}x${n}`,
    dtype: "float32",
    m,
    k,
    n,
  })),
];

/** The products for a device: on a CPU those that take it no longer than a fraction of a second. */
export function products(device: string): Product[] {
  if (device !== "cpu") return all;
  return all.filter((x) => flopsOf(x) <= 3e9 && x.precision !== "tf32");
}
