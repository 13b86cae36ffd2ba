// Timing on a device whose work is queued, and the rows that results are kept in.
import { dirname } from "@std/path";
import {
  CudenoError,
  type DeviceName,
  deviceTime,
  keep,
  matmulVariants,
  randn,
  synchronize,
  type Tensor,
} from "../mod.ts";

/**
 * One line of bench/results/<machine>/<topic>.json; ratio = peer_us / ours_us, above 1 where ours
 * is faster.
 */
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

/** A number rounded for reading. */
export function rounded(x: number): number {
  return Number(x.toPrecision(4));
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
  return {
    name,
    ours_us: rounded(oursUs),
    peer,
    peer_us: peerUs === null ? null : rounded(peerUs),
    ratio: peerUs === null ? null : rounded(peerUs / oursUs),
    floor_us: floorUs === null ? null : rounded(floorUs),
    ...(error === undefined ? {} : { error: rounded(error) }),
  };
}

/** The middle of some numbers. */
export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/**
 * Median microseconds of one call of `fn`, which queues work on `device`: rounds of as many calls
 * as last about 30 ms, after a warm-up, each waited for at its end. It is the host's time: for
 * short work that of the calls.
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

/**
 * Queues the i-th call of what is measured, on the i-th of several copies of its inputs, over and
 * over.
 */
export type Work = (i: number) => void;

/** Options of {@linkcode deviceUs}. */
export interface DeviceUsOptions {
  /** How often each is measured; the median counts. Default 7. */
  rounds?: number;
  /**
   * About how long one measurement takes, in microseconds. Default 5000 on a GPU, 30000 on the CPU.
   */
  roundUs?: number;
}

/**
 * Microseconds that the device takes for one call of `work` among many, back to back: what lies
 * between two launches counts, what the host takes to queue them does not.
 */
export async function deviceUs(
  work: Work,
  device: DeviceName,
  options: DeviceUsOptions = {},
): Promise<number> {
  const [us] = await deviceUsEach([work], device, options);
  return us!;
}

/**
 * The same for several, measured in turn, so that a clock or a temperature that drifts does so for
 * all.
 */
export async function deviceUsEach(
  works: Work[],
  device: DeviceName,
  options: DeviceUsOptions = {},
): Promise<number[]> {
  const { rounds = 7, roundUs = device === "cpu" ? 30_000 : 5000 } = options;
  const filler = await fillerOf(device);
  const meters: Meter[] = [];
  for (const work of works) meters.push(await Meter.prepared(work, device, filler, roundUs));
  const times = works.map((): number[] => []);
  for (let r = 0; r < rounds; r++) {
    for (const [i, meter] of meters.entries()) times[i]!.push(await meter.measure());
  }
  return times.map(median);
}

const MOST_CALLS = 400; // the driver takes about a thousand launches before the host has to wait

// One of the things measured: how many calls of it a round has, and how long the host takes to
// queue them.
class Meter {
  calls = 1;
  #work: Work;
  #device: DeviceName;
  #filler: Filler;
  #aheadUs = 2000;

  private constructor(work: Work, device: DeviceName, filler: Filler) {
    this.#work = work;
    this.#device = device;
    this.#filler = filler;
  }

  static async prepared(
    work: Work,
    device: DeviceName,
    filler: Filler,
    roundUs: number,
  ): Promise<Meter> {
    const meter = new Meter(work, device, filler);
    await meter.measure(); // loads the kernels
    let us = await meter.measure();
    if (us < roundUs / 10) {
      meter.calls = 10;
      us = await meter.measure();
    }
    const most = device === "cpu" ? 10 * MOST_CALLS : MOST_CALLS;
    meter.calls = Math.min(most, Math.max(1, Math.ceil(roundUs / us)));
    return meter;
  }

  /**
   * Microseconds of one call. The device gets other work first, and has not done it when the last
   * call is queued.
   */
  async measure(): Promise<number> {
    for (let attempt = 0;; attempt++) {
      const filledUs = this.#filler(this.#aheadUs);
      let hostUs = 0;
      const us = await deviceTime(() => {
        const start = performance.now();
        for (let i = 0; i < this.calls; i++) this.#work(i);
        hostUs = (performance.now() - start) * 1000;
      }, { device: this.#device });
      const ahead = this.#device === "cpu" || hostUs < 0.8 * filledUs;
      this.#aheadUs = Math.min(30_000, Math.max(this.#aheadUs, 1.5 * hostUs));
      if (ahead || attempt === 3) return us / this.calls;
    }
  }
}

// Queues work that keeps the device busy for at least so many microseconds, and returns for how
// many.
type Filler = (us: number) => number;

const fillers = new Map<DeviceName, Filler>();

async function fillerOf(device: DeviceName): Promise<Filler> {
  const known = fillers.get(device);
  if (known) return known;
  const filler = device === "cpu" ? () => 0 : await productFiller(device);
  fillers.set(device, filler);
  return filler;
}

// Naive products: a launch takes the host little, and the device a few hundred microseconds.
async function productFiller(device: DeviceName): Promise<Filler> {
  const variant = matmulVariants(device).includes("naive") ? "naive" : "default";
  const x: Tensor = keep(randn([1024, 1024], { device }));
  const queue = (times: number) => {
    for (let i = 0; i < times; i++) x.matmul(x, { variant }).dispose();
  };
  const unitUs = async () => await deviceTime(() => queue(8), { device }) / 8;
  await unitUs();
  const unit = median([await unitUs(), await unitUs(), await unitUs()]);
  return (us) => {
    const times = Math.ceil(us / unit);
    queue(times);
    return times * unit;
  };
}

const said = new Set<string>();

/** Whether what is called a variant runs here; says once why it does not. */
export function runs(run: () => void, variant: string): boolean {
  try {
    run();
    return true;
  } catch (error) {
    if (!(error instanceof CudenoError)) throw error;
    if (!said.has(error.message)) console.log(`without ${variant}: ${error.message}`);
    said.add(error.message);
    return false;
  }
}

/** One measurement of a peer, as the scripts in bench/peers print them: one JSON object a line. */
export interface PeerLine {
  name: string;
  us: number;
  peer: string;
  min_us?: number;
  /** The most memory that was in use. */
  bytes?: number;
}

/** Reads them. */
export function peerLines(text: string): PeerLine[] {
  return text.split("\n").filter((line) => line.trim()).map((line) => JSON.parse(line));
}

/** Runs a script of bench/peers; there is nothing to compare with where it fails. */
export async function runPeer(
  script: string,
  python: string,
  args: string[],
): Promise<PeerLine[]> {
  const path = new URL(`./peers/${script}`, import.meta.url).pathname;
  try {
    const command = new Deno.Command(python, { args: [path, ...args], stderr: "inherit" });
    return peerLines(new TextDecoder().decode((await command.output()).stdout));
  } catch (error) {
    console.error(`${script}: ${error}`);
    return [];
  }
}

/** Writes rows as JSON, one a line, into a folder that may be new. */
export function writeRows(path: string, rows: object[]): void {
  Deno.mkdirSync(dirname(path), { recursive: true });
  Deno.writeTextFileSync(path, `[\n${rows.map((r) => `  ${JSON.stringify(r)}`).join(",\n")}\n]\n`);
}
