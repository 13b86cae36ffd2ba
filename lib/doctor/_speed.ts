import { backendFor, type DeviceInfo } from "../core/backend.ts";
import { deviceTime } from "../core/device_time.ts";
import { emptyCache } from "../core/memory.ts";
import { withRandomFrom } from "../core/random.ts";
import { scope } from "../core/scope.ts";
import { empty } from "../_empty.ts";
import { randn } from "../create.ts";
import { call } from "../native/call.ts";
import { type DoctorFinding, finding, textOf } from "./report.ts";

// Multiply-adds that a multiprocessor starts in a cycle, of float32 and, by its tensor cores, of
// bfloat16, from a compute capability on.
const rates = [[0, 64, 0], [80, 64, 1024], [86, 128, 256], [90, 128, 2048]];
rates.push([100, 128, 4096], [120, 128, 256]);

const few = "far less than its clocks and widths give: look at nvidia-smi for other programs, a " +
  "power cap, heat or MIG";

/** Measures a device; what cannot be measured is a warning that says why. */
export async function measureDevice(info: DeviceInfo): Promise<DoctorFinding[]> {
  const { device, freeMemory } = info;
  const gpu = device !== "cpu";
  const backend = backendFor(device);
  const limits = new Float64Array(3);
  backend.check(backend.functions.cdn_device_limits(limits, backend.index));
  const [bandwidth, clock, l2] = limits as Float64Array & [number, number, number];
  const capability = Number(info.computeCapability.replace(".", ""));
  const [, plain, tensor] = rates.findLast(([from]) => from! <= capability)!;
  const found: DoctorFinding[] = [];

  // `most` is what the device should give, 0 where nobody knows, and `least` a share of that.
  type Run = () => Promise<number> | number;
  const add = async (name: string, unit: string, run: Run, most = 0, least = 0) => {
    // Of an instance of MIG, the attributes are the whole GPU's.
    const expected = most > 0 && !info.name.includes("MIG") ? most : null;
    try {
      const value = await scope(async () => await run());
      const share = value / (expected ?? value);
      const of = expected ? `, ${(100 * share).toFixed(0)}% of ${expected.toPrecision(3)}` : "";
      const text = `${Number(value.toPrecision(3))} ${unit}${of}`;
      const measured = { value, unit, expected };
      found.push(
        finding("speed", device, name, text, share < least ? few : "", undefined, measured),
      );
    } catch (error) {
      found.push(finding("speed", device, name, "not measured", textOf(error)));
    }
  };
  // Microseconds of `fn`, the least of several rounds after one that does not count.
  const timed = async (times: number, fn: () => void) => {
    let least = Infinity;
    for (let round = 0; round < 4; round++) {
      const time = await deviceTime(() => {
        for (let i = 0; i < times; i++) fn();
      }, { device });
      if (round > 0) least = Math.min(least, time / times);
    }
    return least;
  };
  const buffer = (bytes: number) => empty("doctor", [bytes / 4], { device });

  const bytes = 2 ** Math.floor(Math.log2(Math.min(2 ** (gpu ? 28 : 26), freeMemory / 8)));
  await add(
    "copy",
    "GB/s",
    async () => {
      const x = buffer(bytes), y = buffer(bytes);
      return 2 * bytes / 1e3 / await timed(gpu ? 20 : 1, () => call("cdn_copy", y, x, 0, 0, bytes));
    },
    bandwidth / 1e9,
    0.6,
  );
  for (const [dtype, rate] of [["float32", plain!], ["bfloat16", tensor!]] as const) {
    if (!gpu && dtype === "bfloat16") continue; // there it is only storage
    await add(
      `matmul ${dtype}`,
      "TFLOP/s",
      async () => {
        const n = gpu ? 4096 : 512;
        const matrix = () => randn([n, n], { device, dtype });
        const from = { seed: 1n, drawn: 0n, held: null };
        const [a, b] = withRandomFrom(from, () => [matrix(), matrix()] as const);
        return 2 * n ** 3 / 1e6 / await timed(gpu ? 4 : 1, () => a.matmul(b).dispose());
      },
      2 * rate * info.processors * clock / 1e12,
      0.4,
    );
  }
  const half = Math.min(bytes, 2 ** 26);
  const ways = [["write", "to it"], ["stage", "to it, pinned"], ["read", "from it"]] as const;
  for (const [way, name] of gpu ? ways : []) {
    await add(name, "GB/s", () => {
      const host = new Uint8Array(half), x = buffer(half);
      let least = Infinity;
      for (let round = 0; round < 4; round++) {
        const start = performance.now();
        if (way === "read") call("cdn_read", host, x, 0, half);
        else call(`cdn_${way}`, x, host, 0, half);
        x.view(half / 4 - 1, [1]).dataSync(); // waits for it
        least = Math.min(least, performance.now() - start);
      }
      return half / 1e6 / least;
    });
  }
  for (const side of ["host", "device"] as const) {
    await add(`call, ${side}`, "µs", async () => {
      const times = 500, x = buffer(64);
      const fill = () => call("cdn_fill", x, 16, 0, x.code);
      const time = await timed(times, fill);
      if (side === "device") return time;
      const start = performance.now();
      for (let i = 0; i < times; i++) fill();
      return 1000 * (performance.now() - start) / times;
    });
  }
  const places: [string, number][] = gpu
    ? [["shared", 2 ** 16], ["L1", 2 ** 14], ["L2", Math.min(l2 / 4, 2 ** 22)], ["memory", 16 * l2]]
    : [["16 KiB", 2 ** 14], ["256 KiB", 2 ** 18], ["4 MiB", 2 ** 22], ["256 MiB", 2 ** 28]];
  for (const [name, size] of places) {
    await add(`load, ${name}`, "ns", () => {
      const y = empty("doctor", [], { device, dtype: "float64" });
      const room = Math.min(size || 2 ** 22, freeMemory / 4, 2 ** 29);
      const lines = 2 ** Math.floor(Math.log2(room / 128));
      call("cdn_probe_latency", y, lines, 2 ** 15, Number(name === "shared"));
      return y.itemSync();
    });
  }
  emptyCache(device); // others may want it
  return found;
}
