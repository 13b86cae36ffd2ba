// Timing on a device whose work is queued, and the rows that results are kept in.
import { type DeviceName, synchronize } from "../mod.ts";

/** One line of bench/results/<machine>/<topic>.json; ratio = peer_us / ours_us, above 1 where ours is faster. */
export interface Row {
  name: string;
  ours_us: number;
  peer: string;
  peer_us: number | null;
  ratio: number | null;
  floor_us: number | null;
  /** Relative error against float64, where it was measured. */
  error?: number;
}

/** Makes a row of its measured parts, rounded for reading. */
export function row(
  name: string,
  oursUs: number,
  peer: string,
  peerUs: number | null,
  floorUs: number | null,
  error?: number,
): Row {
  const round = (x: number) => Number(x.toPrecision(4));
  return {
    name,
    ours_us: round(oursUs),
    peer,
    peer_us: peerUs === null ? null : round(peerUs),
    ratio: peerUs === null ? null : round(peerUs / oursUs),
    floor_us: floorUs === null ? null : round(floorUs),
    ...(error === undefined ? {} : { error: round(error) }),
  };
}

/** The middle of some numbers. */
export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/**
 * Median microseconds of one call of `fn`, which queues work on `device`: rounds of as many calls as last about 30 ms,
 * after a warm-up, each waited for at its end.
 */
export async function timeUs(fn: () => void, device: DeviceName, rounds = 7): Promise<number> {
  const run = async (calls: number) => {
    const start = performance.now();
    for (let i = 0; i < calls; i++) fn();
    await synchronize(device);
    return (performance.now() - start) * 1000 / calls;
  };
  await run(2);
  const calls = Math.min(5000, Math.max(1, Math.ceil(30_000 / await run(1))));
  const times: number[] = [];
  for (let i = 0; i < rounds; i++) times.push(await run(calls));
  return median(times);
}

/** Writes rows as JSON, one a line. */
export function writeRows(path: string, rows: Row[]): void {
  Deno.writeTextFileSync(path, `[\n${rows.map((r) => `  ${JSON.stringify(r)}`).join(",\n")}\n]\n`);
}
