// Many random shapes, since a choice of kernels can be right at every round number and wrong
// between them.
import type { DeviceInfo } from "../../mod.ts";
import { byRatio, generator, type Summary, summaryOf } from "../random.ts";
import { line, type MatmulRow, measure } from "./measure.ts";
import type { Product, Transposes } from "./product.ts";

/** The shapes: each extent log-uniform in 1..most, the same ones at each run. */
export function randomProducts(
  count: number,
  dtype: "float32" | "bfloat16",
  most: number,
): Product[] {
  const random = generator(20_250_101);
  const extent = () => Math.min(most, Math.floor(Math.exp(random() * Math.log(most + 1))));
  const layouts: Transposes[] = ["nn", "nt", "tn", "tt"];
  return Array.from({ length: count }, (): Product => {
    const [m, k, n] = [extent(), extent(), extent()];
    const transposes = layouts[Math.floor(random() * 4)]!;
    return {
      name: `matmul_random_${dtype}_${m}x${k}x${n}_${transposes}`,
      dtype,
      m,
      k,
      n,
      transposes,
    };
  });
}

/** Measures them all; prints those that lose the most. */
export async function measureRandom(
  products: Product[],
  dtype: string,
  device: DeviceInfo,
): Promise<{ summary: Summary & MatmulRow; rows: MatmulRow[] }> {
  const timing = device.device === "cpu"
    ? { rounds: 3, roundUs: 5000 }
    : { rounds: 3, roundUs: 600 };
  const measured: { product: Product; row: MatmulRow }[] = [];
  for (const product of products) {
    measured.push({ product, row: await measure(product, device, timing) });
  }
  const rows = measured.map(({ row }) => row);
  for (const worst of byRatio(rows).slice(0, 8)) {
    console.log(line(measured.find(({ row }) => row === worst)!.product, worst, device));
  }
  const largest = (key: "error" | "error_worst") => Math.max(...rows.map((r) => r[key] ?? 0));
  const summary = {
    ...summaryOf(`matmul_random_${dtype}`, rows),
    error: largest("error"),
    error_worst: largest("error_worst"),
  };
  return { summary, rows };
}
