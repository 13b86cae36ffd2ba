// Random shapes that are the same at each run, and what is kept of many rows.
import { median, rounded, type Row } from "./timing.ts";

/** Numbers in [0, 1): Mulberry32. */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ state >>> 15, 1 | state);
    x = (x + Math.imul(x ^ x >>> 7, 61 | x)) ^ x;
    return ((x ^ x >>> 14) >>> 0) / 2 ** 32;
  };
}

/** What is kept of many shapes. ours_us, peer_us and ratio are of the sums of their times. */
export interface Summary extends Row {
  count: number;
  median_ratio: number | null;
  worst_ratio: number | null;
  /** The shape of the worst ratio: its row's name. */
  worst: string;
}

/** Sums up rows, of which those that have no peer count for our time alone; prints it. */
export function summaryOf(name: string, rows: readonly Row[]): Summary {
  const total = (values: (number | null)[]) => values.reduce<number>((x, y) => x + (y ?? 0), 0);
  const compared = byRatio(rows);
  const peer = compared[0]?.peer;
  const [ours, theirs] = [
    total(compared.map((r) => r.ours_us)),
    total(compared.map((r) => r.peer_us)),
  ];
  const summary = {
    name,
    ours_us: rounded(total(rows.map((r) => r.ours_us))),
    peer: peer ?? "none",
    peer_us: peer ? rounded(theirs) : null,
    ratio: peer ? rounded(theirs / ours) : null,
    floor_us: rows.some((r) => r.floor_us === null)
      ? null
      : rounded(total(rows.map((r) => r.floor_us))),
    count: rows.length,
    median_ratio: peer ? rounded(median(compared.map((r) => r.ratio!))) : null,
    worst_ratio: compared[0]?.ratio ?? null,
    worst: compared[0]?.name ?? "",
  };
  console.log(
    `${name}: ${summary.count} shapes, ratio of the sums ${summary.ratio ?? "?"}, ` +
      `median ${summary.median_ratio ?? "?"}, worst ${
        summary.worst_ratio ?? "?"
      } (${summary.worst})`,
  );
  return summary;
}

/** The rows that have a peer, those that lose the most first. */
export function byRatio<R extends Row>(rows: readonly R[]): R[] {
  return rows.filter((r) => r.ratio !== null).sort((x, y) => x.ratio! - y.ratio!);
}
