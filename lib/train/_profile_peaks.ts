// What a device reaches at most, measured once.
import { type Backend, backendFor, type DeviceName } from "../core/backend.ts";
import { deviceTime } from "../core/device_time.ts";
import { scope } from "../core/scope.ts";
import { full } from "../create.ts";
import type { DType } from "../core/dtype.ts";
import { call } from "../native/call.ts";

/** The most that a device was seen to do. */
export interface Peaks {
  /** Bytes a second, read and written together, of an elementwise operation. */
  readonly bandwidth: number;
  /** Operations a second of a float32 product, of the precision that is set. */
  readonly float32: number;
  /** The same of 16-bit floats. */
  readonly half: number;
}

const known = new WeakMap<Backend, Peaks>();
const REPEATS = 4, TIMES = 3;

/** Measures them, or remembers. */
export async function peaksOf(device: DeviceName): Promise<Peaks> {
  const backend = backendFor(device);
  const before = known.get(backend);
  if (before) return before;
  const cpu = device === "cpu";
  const perSecond = async (work: number, run: () => void) => {
    run(); // the first run takes longer
    let least = Infinity;
    for (let time = 0; time < TIMES; time++) {
      const repeated = () => {
        for (let i = 0; i < REPEATS; i++) run();
      };
      least = Math.min(least, await deviceTime(repeated, { device }) / REPEATS);
    }
    return 1e6 * work / least;
  };
  const product = async (n: number, dtype: DType) => {
    const a = full([n, n], 1, { device, dtype });
    return await perSecond(2 * n ** 3, () => a.matmul(a).dispose());
  };
  const peaks = await scope(async () => {
    const n = cpu ? 1 << 22 : 1 << 26;
    const x = full([n], 1, { device }), y = full([n], 1, { device });
    return {
      bandwidth: await perSecond(8 * n, () => call("cdn_neg", y, x, n, x.code)),
      float32: await product(cpu ? 256 : 4096, "float32"),
      half: await product(cpu ? 256 : 8192, "bfloat16"),
    };
  });
  known.set(backend, peaks);
  return peaks;
}
