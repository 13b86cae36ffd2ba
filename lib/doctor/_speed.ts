import { type Backend, backendFor, type DeviceInfo } from "../core/backend.ts";
import { deviceTime } from "../core/device_time.ts";
import { emptyCache } from "../core/memory.ts";
import { withRandomFrom } from "../core/random.ts";
import { scope } from "../core/scope.ts";
import { empty } from "../_empty.ts";
import { randn } from "../create.ts";
import { call } from "../native/call.ts";
import { type DoctorFinding, finding, textOf } from "./_report.ts";

// Multiply-adds that a multiprocessor starts in a cycle, of float32, and of bfloat16 by its tensor
// cores, from a compute capability on.
const rates = [
  [0, 64, 0],
  [80, 64, 1024],
  [86, 128, 256],
  [90, 128, 2048],
  [100, 128, 4096],
  [120, 128, 256],
] as const;

/** What a device should give at most, in the units of the measurements; null where nobody says. */
interface Limits {
  readonly copy: number | null;
  readonly float32: number | null;
  readonly bfloat16: number | null;
  readonly l2: number;
}

function limitsOf(backend: Backend, { name, computeCapability, processors }: DeviceInfo): Limits {
  const numbers = new Float64Array(3);
  backend.check(backend.functions.cdn_device_limits(numbers, backend.index));
  const [bytes, clock, l2] = numbers as Float64Array & [number, number, number];
  const capability = Number(computeCapability.replace(".", ""));
  const [, plain, tensor] = rates.findLast(([from]) => from <= capability)!;
  const whole = !name.includes("MIG"); // of an instance the attributes are the whole GPU's
  const known = (value: number) => value > 0 && whole ? value : null;
  const rate = (perCycle: number) => known(2 * perCycle * processors * clock / 1e12);
  return { copy: known(bytes / 1e9), float32: rate(plain), bfloat16: rate(tensor), l2 };
}

interface Measurement {
  name: string;
  unit: string;
  /** The least share of `expected` that is no cause for worry. */
  expected?: number | null;
  least?: number;
  run(): Promise<number> | number;
}

/** Measures a device; what cannot be measured is a warning that says why. */
export async function measureDevice(info: DeviceInfo): Promise<DoctorFinding[]> {
  const { device } = info;
  const found: DoctorFinding[] = [];
  for (const { name, unit, expected = null, least = 0, run } of measurements(info)) {
    const about = { part: "speed", device, name } as const;
    try {
      const value = await scope(async () => await run());
      const share = expected === null ? 1 : value / expected;
      const few = share < least;
      found.push(finding({
        ...about,
        value: `${value.toPrecision(3)} ${unit}` +
          (expected === null ? "" : `, ${(100 * share).toFixed(0)}% of ${expected.toPrecision(3)}`),
        measured: { value, unit, expected },
        ...(few && {
          status: "warning",
          advice: "far less than its clocks and widths give: look at nvidia-smi for other " +
            "programs, a power cap, throttling by heat, or MIG",
        }),
      }));
    } catch (error) {
      found.push(finding({
        ...about,
        status: "warning",
        value: "not measured",
        advice: textOf(error),
      }));
    }
  }
  emptyCache(device); // which others may want
  return found;
}

function measurements(info: DeviceInfo): Measurement[] {
  const { device, freeMemory } = info;
  const gpu = device !== "cpu";
  const backend = backendFor(device);
  const limits = limitsOf(backend, info);
  // Microseconds of `fn`, the least of several rounds after one that does not count.
  const timed = async (fn: () => void, times: number, rounds = 4) => {
    let least = Infinity;
    for (let round = 0; round < rounds; round++) {
      const time = await deviceTime(() => {
        for (let i = 0; i < times; i++) fn();
      }, { device });
      if (round > 0) least = Math.min(least, time / times);
    }
    return least;
  };
  const bytes = 2 ** Math.floor(Math.log2(Math.min(2 ** (gpu ? 28 : 26), freeMemory / 8)));
  const buffer = (n: number) => empty("doctor", [n / 4], { device });
  const copy: Measurement = {
    name: "copy",
    unit: "GB/s",
    expected: limits.copy,
    least: 0.6,
    async run() {
      const x = buffer(bytes), y = buffer(bytes);
      return 2 * bytes / 1000 /
        await timed(() => call("cdn_copy", y, x, 0, 0, bytes), gpu ? 20 : 1);
    },
  };
  const matmul = (dtype: "float32" | "bfloat16"): Measurement => ({
    name: `matmul ${dtype}`,
    unit: "TFLOP/s",
    expected: limits[dtype],
    least: 0.4,
    async run() {
      const n = gpu ? 4096 : 512;
      const [a, b] = withRandomFrom({ seed: 1n, drawn: 0n, held: null }, () => {
        return [randn([n, n], { device, dtype }), randn([n, n], { device, dtype })] as const;
      });
      return 2 * n ** 3 / 1e6 / await timed(() => a.matmul(b).dispose(), gpu ? 4 : 1);
    },
  });
  const few = 16, launches = 500;
  const fill = (x: ReturnType<typeof buffer>) => call("cdn_fill", x, few, 0, x.code);
  const launch: Measurement[] = [{
    name: "call, host",
    unit: "µs",
    async run() {
      const x = buffer(4 * few);
      await timed(() => fill(x), launches, 2);
      const start = performance.now();
      for (let i = 0; i < launches; i++) fill(x);
      return 1000 * (performance.now() - start) / launches;
    },
  }, {
    name: "call, device",
    unit: "µs",
    run() {
      const x = buffer(4 * few);
      return timed(() => fill(x), launches);
    },
  }];
  const transfer = (name: string, how: "cdn_write" | "cdn_stage" | "cdn_read"): Measurement => ({
    name,
    unit: "GB/s",
    run() {
      const size = Math.min(bytes, 2 ** 26), host = new Uint8Array(size), x = buffer(size);
      let least = Infinity;
      for (let round = 0; round < 4; round++) {
        const start = performance.now();
        if (how === "cdn_read") call(how, host, x, 0, size);
        else call(how, x, host, 0, size);
        x.view(size / 4 - 1, [1]).dataSync(); // waits for it
        least = Math.min(least, performance.now() - start);
      }
      return size / 1e6 / least;
    },
  });
  const load = (name: string, size: number, shared = 0): Measurement => ({
    name: `load, ${name}`,
    unit: "ns",
    async run() {
      const y = empty("doctor", [], { device, dtype: "float64" });
      const lines = 2 ** Math.floor(Math.log2(Math.min(size, freeMemory / 4, 2 ** 29) / 128));
      call("cdn_probe_latency", y, lines, 1 << 15, shared);
      return (await y.data())[0]!;
    },
  });
  const l2 = limits.l2 || 2 ** 22;
  return [
    copy,
    matmul("float32"),
    ...(gpu
      ? [
        matmul("bfloat16"),
        transfer("to it, plain", "cdn_write"),
        transfer("to it, pinned", "cdn_stage"),
        transfer("from it", "cdn_read"),
      ]
      : []),
    ...launch,
    ...(gpu
      ? [
        load("shared", 2 ** 16, 1),
        load("L1", 2 ** 14),
        load("L2", l2 / 4),
        load("memory", 16 * l2),
      ]
      : [
        load("16 KiB", 2 ** 14),
        load("256 KiB", 2 ** 18),
        load("4 MiB", 2 ** 22),
        load("256 MiB", 2 ** 28),
      ]),
  ];
}
