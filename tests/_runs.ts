// Training runs that Python scripts recorded, a file each, for float32 and float64.
import { assert, assertEquals } from "@std/assert";
import { type DeviceName, devices, io, scope, type StateDict, type Tensor } from "../mod.ts";
import type { Float } from "./_recorded.ts";

/** Where and in what a run is repeated. */
export type Place = { device: DeviceName; dtype: Float };

/** The recorded tensors whose names begin with a prefix, by the rest of their names. */
export function part(all: StateDict, prefix: string): StateDict {
  return Object.fromEntries(
    Object.entries(all).filter(([name]) => name.startsWith(prefix))
      .map(([name, x]) => [name.slice(prefix.length), x]),
  );
}

/** What throws unless a tensor is what was recorded, but for rounding. */
export function within(tolerances: Record<Float, number>) {
  return (found: Tensor, wanted: Tensor, what: string): void => {
    assertEquals([found.dtype, ...found.shape], [wanted.dtype, ...wanted.shape], what);
    const [a, b] = [found.dataSync(), wanted.dataSync()];
    const tolerance = tolerances[found.dtype as Float];
    for (let i = 0; i < a.length; i++) {
      const near = Math.abs(a[i]! - b[i]!) <= tolerance * Math.max(1, Math.abs(b[i]!));
      assert(near, `${what}[${i}] is ${a[i]}, PyTorch's is ${b[i]}`);
    }
  };
}

/** A test for each run, in each dtype on each device, which `replay` repeats; `all` has both. */
export function testRuns<Run>(
  runs: Record<string, Run>,
  replay: (run: Run, recorded: StateDict, place: Place, all: StateDict) => void,
): void {
  for (const { device } of devices()) {
    for (const [name, run] of Object.entries(runs)) {
      for (const dtype of ["float32", "float64"] as const) {
        Deno.test(`torch: ${name} in ${dtype} on ${device} trains as in PyTorch`, async () => {
          const file = new URL(`fixtures/${name}.safetensors`, import.meta.url);
          const recorded = await io.loadSafetensors(file, { device });
          scope(() => replay(run, part(recorded, `${dtype}.`), { device, dtype }, recorded));
          for (const x of Object.values(recorded)) {
            x.grad?.dispose();
            x.dispose();
          }
        });
      }
    }
  }
}
