// Many random shapes, since a choice of kernels can be right at every round number and wrong
// between them.
import type { DeviceInfo } from "../../mod.ts";
import { median, rounded } from "../timing.ts";
import { line, type MatmulRow, measure } from "./measure.ts";
import type { Product, Transposes } from "./product.ts";

/**
 * What is kept of all of a dtype's shapes. ours_us, peer_us and ratio are of the sums of their
 * times.
 */
export interface RandomSummary extends MatmulRow {
  count: number;
  median_ratio: number | null;
  worst_ratio: number | null;
  /** The shape of the worst ratio: its row's name. */
  worst: string;
}

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
): Promise<{ summary: RandomSummary; rows: MatmulRow[] }> {
  const timing = device.device === "cpu"
    ? { rounds: 3, roundUs: 5000 }
    : { rounds: 3, roundUs: 600 };
  const measured: { product: Product; row: MatmulRow }[] = [];
  for (const product of products) {
    measured.push({ product, row: await measure(product, device, timing) });
  }
  const rows = measured.map(({ row }) => row);
  const total = (values: (number | null)[]) => values.reduce<number>((x, y) => x + (y ?? 0), 0);
  const compared = measured.filter(({ row }) => row.ratio !== null)
    .sort((x, y) => x.row.ratio! - y.row.ratio!);
  const peer = rows.find((row) => row.peer_us !== null)?.peer;
  const [ours, theirs] = [total(rows.map((r) => r.ours_us)), total(rows.map((r) => r.peer_us))];
  const largest = (key: "error" | "error_worst") => Math.max(...rows.map((r) => r[key] ?? 0));
  const summary: RandomSummary = {
    name: `matmul_random_${dtype}`,
    ours_us: rounded(ours),
    peer: peer ?? "none",
    peer_us: peer ? rounded(theirs) : null,
    ratio: peer ? rounded(theirs / ours) : null,
    floor_us: rows.some((r) => r.floor_us === null)
      ? null
      : rounded(total(rows.map((r) => r.floor_us))),
    error: largest("error"),
    error_worst: largest("error_worst"),
    count: rows.length,
    median_ratio: peer ? rounded(median(compared.map(({ row }) => row.ratio!))) : null,
    worst_ratio: compared[0]?.row.ratio ?? null,
    worst: compared[0]?.row.name ?? "",
  };
  for (const { product, row } of compared.slice(0, 8)) console.log(line(product, row, device));
  console.log(
    `${summary.name}: ${summary.count} shapes, ratio of the sums ${summary.ratio ?? "?"}, ` +
      `median ${summary.median_ratio ?? "?"}, worst ${
        summary.worst_ratio ?? "?"
      } (${summary.worst})`,
  );
  return { summary, rows };
}

// Mulberry32.
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ state >>> 15, 1 | state);
    x = (x + Math.imul(x ^ x >>> 7, 61 | x)) ^ x;
    return ((x ^ x >>> 14) >>> 0) / 2 ** 32;
  };
}
