// Every operation of the table within a captured step: its results and gradients, of values other
// than those that the step was captured with, are those without capture to the last bit.
import { assert, assertEquals } from "@std/assert";
import {
  capture,
  type DeviceName,
  devices,
  type DType,
  grad,
  scope,
  type Shape,
  type Tensor,
} from "../../mod.ts";
import { type Case, cases, inputDType, inputsOf, upload, uploadAll } from "../cases.ts";
import { floats, shapesFor } from "../cases/case.ts";
import { sizeOf } from "../reference.ts";

const names = devices().map(({ device }) => device);

// What cannot be captured by its nature.
const excepted: [name: RegExp, why: string][] = [
  [/^dropout/, "the case starts the random numbers anew, by manualSeed()"],
];

/** Cases that fill their inputs with the same numbers each time. */
const fixed = /^any\(/;

// The smallest and the largest of those that are quickly done.
function shapesOf(c: Case, dtype: DType): (readonly Shape[])[] {
  const weight = (shapes: readonly Shape[]) => Math.max(...shapes.map(sizeOf));
  const sorted = shapesFor(c, dtype).filter((shapes) => shapes.every((s) => sizeOf(s) > 1))
    .toSorted((a, b) => weight(a) - weight(b));
  const quick = sorted.filter((shapes) => weight(shapes) <= 1500);
  if (quick.length === 0) return (sorted.length ? sorted : shapesFor(c, dtype)).slice(0, 1);
  return [...new Set([quick[0]!, quick.at(-1)!])];
}

const bitsOf = (x: Tensor) => `${x.dtype} [${x.shape}] ${new Uint8Array(x.dataSync().buffer)}`;

// Returns whether the values that were compared were others each time.
function compare(c: Case, shapes: readonly Shape[], dtype: DType, device: DeviceName): boolean {
  const learned = c.gradShapes !== undefined && floats.includes(dtype);
  const free = shapes.flatMap((_, i) => c.fixed?.[i] === undefined ? [i] : []);
  const step = (...given: Tensor[]) => {
    const inputs = given.map((x, i) => {
      if (!learned || c.fixed?.[i] !== undefined) return x;
      const own = x.detach();
      own.requiresGrad = true;
      return own;
    });
    const y = c.call(...inputs);
    if (!y.requiresGrad) return [y];
    const gradOutputs = given[0]!.size === y.size && given[0]!.dtype === y.dtype
      ? given[0]!.reshape(y.shape) // one that changes with the inputs
      : y.detach().mul(0.5);
    return [y, ...grad(y, free.map((i) => inputs[i]!), { gradOutputs, allowUnused: true })];
  };
  using run = capture(step);
  const seen = new Set<string>();
  for (let i = 0; i < 5; i++) {
    scope(() => {
      const grids = inputsOf({ ...c, name: `${c.name} ${i}` }, shapes, dtype);
      const inputs = uploadAll(c, grids, dtype, device);
      const found = run(...inputs).map(bitsOf);
      if (i < 3) return;
      assert(run.captured);
      const wanted = step(...inputs).map(bitsOf);
      assertEquals(found, wanted, `call ${i}`);
      inputs.forEach((x, k) =>
        assertEquals(bitsOf(x), bitsOf(upload(grids[k]!, inputDType(c, k, dtype), device)))
      );
      seen.add(String(inputs.map(bitsOf)));
    });
  }
  return seen.size > 1;
}

for (const c of cases) {
  const why = excepted.find(([name]) => name.test(c.name))?.[1];
  for (const device of names) {
    Deno.test({
      name: `${c.name} is the same captured on ${device}${why ? `: not, as ${why}` : ""}`,
      ignore: why !== undefined,
      fn() {
        let fresh = 0;
        for (const dtype of c.dtypes) {
          for (const shapes of shapesOf(c, dtype)) {
            try {
              if (compare(c, shapes, dtype, device)) fresh++;
            } catch (error) {
              if (error instanceof Error) {
                error.message = `${dtype} ${JSON.stringify(shapes)}: ${error.message}`;
              }
              throw error;
            }
          }
        }
        assert(fresh > 0 || fixed.test(c.name), "values differ");
      },
    });
  }
}
