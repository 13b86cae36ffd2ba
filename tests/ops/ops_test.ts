import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  crossEntropy,
  devices,
  type DType,
  gatherRows,
  NativeError,
  scope,
  type Tensor,
  tensor,
} from "../../mod.ts";
import {
  type Case,
  cases,
  inputDType,
  inputsOf,
  rounded,
  type Special,
  toleranceOf,
  upload,
  uploadAll,
  type Variant,
} from "../cases.ts";
import { floats, halves, leastFloat16, rounding, shapesFor } from "../cases/case.ts";
import { difference, type Grid, mapped } from "../reference.ts";

// At module level, since a library stays open once it is, and a test must not open anything that it
// does not close.
const names = devices().map(({ device }) => device);

/** CDN_UNSUPPORTED of cuda/cudeno.h. */
const unsupported = 5;

// What the reference gives, as the dtype of the result has it: the tolerance covers a float's
// rounding.
function wantedOf(c: Case, dtype: DType, reference: Grid): Grid {
  const output = c.output ?? dtype;
  if (!floats.includes(output)) return rounded(reference, output);
  if (output !== "float16") return reference;
  // The small range of float16: what overflows, and what has fewer digits.
  const { shape, magnitudes } = reference;
  const values = Array.from(
    reference.values,
    (x) => Math.abs(x) < 65520 ? x : Math.sign(x) * Infinity,
  );
  return {
    shape,
    values,
    magnitudes: magnitudes && Array.from(magnitudes, (x) => Math.max(x, leastFloat16)),
  };
}

function check(c: Case, y: Tensor, dtype: DType, wanted: Grid, what: string): void {
  assertEquals(y.dtype, c.output ?? dtype, `${what}: dtype`);
  assertEquals(y.shape, wanted.shape, `${what}: shape`);
  const wrong = difference(y.dataSync(), wanted, toleranceOf(c, y.dtype));
  assert(wrong === undefined, `${what}: ${wrong}`);
}

// The case, with the variant's tolerance and steps if it has its own.
function asVariant(c: Case, { tolerance = c.tolerance, steps = c.steps }: Variant): Case {
  return { ...c, tolerance, steps };
}

// The result, or nothing where the variant is not supported on this machine.
function attempt({ call, optional }: Variant, inputs: readonly Tensor[]): Tensor | undefined {
  try {
    return call(...inputs);
  } catch (error) {
    if (optional && error instanceof NativeError && error.status === unsupported) return undefined;
    throw error;
  }
}

for (const c of cases) {
  for (const device of names) {
    Deno.test(`${c.name} matches the float64 reference on ${device}`, () => {
      const calls: Variant[] = [{ name: "", call: c.call }, ...(c.also?.(device) ?? [])];
      for (const dtype of c.dtypes) {
        for (const shapes of shapesFor(c, dtype)) {
          const grids = inputsOf(c, shapes, dtype);
          const wanted = wantedOf(c, dtype, c.reference(...grids));
          scope(() => {
            const inputs = uploadAll(c, grids, dtype, device);
            for (const variant of calls) {
              const what = `${variant.name} ${dtype} ${JSON.stringify(shapes)}`;
              const y = attempt(variant, inputs);
              if (y) check(asVariant(c, variant), y, dtype, wanted, what);
            }
            // No operation changes its inputs.
            inputs.forEach((x, i) =>
              assertEquals(difference(x.dataSync(), grids[i]!, 0), undefined)
            );
          });
        }
      }
    });
  }
}

// The part of a special that a 16-bit float can hold: of elementwise ones, the elements that have
// no other input.
function holdable(special: Special, dtype: DType): Special | undefined {
  if (!halves.includes(dtype)) return special;
  const { inputs, expected } = special;
  const holds = (x: number) => Number.isNaN(x) || rounding(x, dtype) === x;
  const alike = inputs.every(({ values }) => values.length === expected.values.length);
  const keep = Array.from(
    expected.values,
    (_, i) => alike && inputs.every(({ values }) => holds(values[i]!)),
  );
  if (keep.every((kept) => kept)) return special;
  const whole = inputs.every(({ values }) => Array.from(values).every(holds));
  if (whole) return special;
  if (!alike || expected.shape.length !== 1 || !keep.includes(true)) return undefined;
  const part = ({ values }: Grid): Grid => {
    const left = Array.from(values).filter((_, i) => keep[i]);
    return { shape: [left.length], values: left };
  };
  return { ...special, inputs: inputs.map(part), expected: part(expected) };
}

function checkSpecial(c: Case, special: Special, dtype: DType, y: Tensor, what: string): void {
  const found = Array.from(y.dataSync());
  if (special.exact) {
    const wanted = Array.from(rounded(special.expected, y.dtype).values);
    const told = (x: number) => Object.is(x, -0) ? "-0" : `${x}`; // assertEquals takes -0 for 0
    assertEquals(found.map(told), wanted.map(told), what);
  } else {
    const wanted = wantedOf(c, dtype, special.expected);
    const wrong = difference(found, wanted, toleranceOf(c, y.dtype));
    assert(wrong === undefined, `${what}: ${wrong}`);
  }
}

for (const c of cases.filter(({ specials }) => specials?.length)) {
  for (const device of names) {
    Deno.test(`${c.name} treats NaN, infinity, zeros and ties as PyTorch does on ${device}`, () => {
      const calls: Variant[] = [{ name: "", call: c.call }, ...(c.also?.(device) ?? [])];
      for (const whole of c.specials!) {
        for (const dtype of whole.dtypes ?? c.dtypes.filter((dtype) => floats.includes(dtype))) {
          const special = holdable(whole, dtype);
          if (!special) continue;
          for (const variant of calls) {
            scope(() => {
              const inputs = special.inputs.map((x, i) =>
                upload(x, inputDType(c, i, dtype), device)
              );
              const y = attempt(variant, inputs);
              const what = `${variant.name} ${dtype} ${special.name}`;
              if (y) checkSpecial(c, special, dtype, y, what);
            });
          }
        }
      }
    });
  }
}

// An error ten times as large as what is allowed must be found, in every dtype that has a
// tolerance.
for (const c of cases.filter(({ tolerance }) => tolerance !== undefined)) {
  Deno.test(`${c.name}: tolerances are tight`, () => {
    for (const dtype of c.dtypes) {
      const tolerance = toleranceOf(c, c.output ?? dtype);
      if (tolerance === 0) continue;
      const noticed = shapesFor(c, dtype).some((shapes) => {
        const grids = inputsOf(c, shapes, dtype);
        const reference = c.reference(...grids);
        const inputs = () => uploadAll(c, grids, dtype, names[0]!);
        const found = scope(() => c.call(...inputs()).dataSync());
        const off = { ...reference, ...mapped(reference, (x) => x * (1 + 10 * tolerance)) };
        return difference(found, off, tolerance) !== undefined;
      });
      assert(noticed, `${dtype}: values off by 10 times the tolerance pass`);
    }
  });
}

for (const device of names) {
  Deno.test(`an index out of range is reported by the next read on ${device}`, () => {
    scope(() => {
      const x = tensor([[1, 2], [3, 4]], { device });
      for (const bad of [-1, 2]) {
        const index = tensor([0, bad, 1], { dtype: "int32", device });
        // With CUDENO_SYNC=1 the call itself reports it, and there is no result to look at.
        let y: Tensor | undefined, loss: Tensor | undefined;
        assertThrows(() => (y = gatherRows(x, index)).dataSync(), Error, `${bad}`);
        if (y) assertEquals([...y.dataSync()], [1, 2, 0, 0, 3, 4], "the other rows are there");
        const target = tensor([0, bad], { dtype: "int32", device });
        const none = { reduction: "none" } as const;
        assertThrows(() => (loss = crossEntropy(x, target, none)).dataSync(), Error, `${bad}`);
        if (loss) assertEquals(Number.isNaN(loss.dataSync()[1]), true);
      }
    });
  });
}
