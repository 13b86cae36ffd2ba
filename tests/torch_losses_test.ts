// Losses and their gradients against PyTorch's, recorded by tests/fixtures/make_torch_losses.py.
import { assert, assertEquals } from "@std/assert";
import * as cudeno from "../mod.ts";
import { type DeviceName, devices, nn, scope, type Tensor, tensor } from "../mod.ts";

interface Stored {
  shape: number[];
  dtype: "float" | "int32";
  values: (number | string)[];
}

interface Recorded {
  loss: string;
  options: Record<string, unknown>;
  inputs: Stored[];
  result: Stored;
  gradients: Stored[];
}

type Float = "float32" | "float64";

// The inputs are exact in float32; what is computed from them is not.
const tolerances = { float32: 4e-6, float64: 1e-12 };

const numbers = ({ values }: Stored) =>
  values.map((x) => typeof x === "number" ? x : { inf: Infinity, "-inf": -Infinity }[x] ?? NaN);

function upload(x: Stored, dtype: Float, device: DeviceName, requiresGrad = false): Tensor {
  const own = x.dtype === "int32" ? "int32" : dtype;
  return tensor(numbers(x), { shape: x.shape, dtype: own, device, requiresGrad });
}

function assertNear(found: Tensor, wanted: Stored, dtype: Float, what: string): void {
  assertEquals(found.shape, wanted.shape, `${what}: shape`);
  assertEquals(found.dtype, dtype, `${what}: dtype`);
  const values = numbers(wanted);
  found.dataSync().forEach((x, i) => {
    const y = values[i]!;
    if (Object.is(x, y) || x === y) return;
    const error = Math.abs(x - y) / Math.max(Math.abs(y), 1);
    // Results that large were divided by an epsilon, of which PyTorch's has the digits of float32.
    const allowed = Math.abs(y) > 1e4 ? 1e-7 : 0;
    assert(error <= tolerances[dtype] + allowed, `${what}[${i}] is ${x}, PyTorch's is ${y}`);
  });
}

const isStored = (x: unknown): x is Stored => typeof x === "object" && x !== null;

function compare(recorded: Recorded, dtype: Float, device: DeviceName): void {
  const { loss, inputs, result, gradients } = recorded;
  const options = Object.fromEntries(
    Object.entries(recorded.options).map((
      [key, value],
    ) => [key, isStored(value) ? upload(value, dtype, device) : value]),
  );
  const given = inputs.map((x, i) => upload(x, dtype, device, i < gradients.length));
  // deno-lint-ignore no-explicit-any -- the functions differ in what they take
  const library = cudeno as any;
  const y: Tensor = library[loss](...given, options);
  assertNear(y, result, dtype, "the loss");
  const ramp = Array.from({ length: y.size }, (_, i) => i + 1);
  y.backward(tensor(ramp, { shape: y.shape, dtype, device }));
  gradients.forEach((wanted, i) => assertNear(given[i]!.grad!, wanted, dtype, `gradient ${i}`));
  // The class computes the same.
  const name = `${loss[0]!.toUpperCase()}${loss.slice(1).replace("Loss", "")}Loss`;
  const Class = (nn as unknown as Record<string, new (options: object) => nn.Loss>)[
    name.replace(/^(Mse|Bce|Nll|Kl(?=Div))/, (start) => start.toUpperCase())
  ]!;
  const made = new Class(options) as { forward(...inputs: Tensor[]): Tensor };
  assertEquals(made.forward(...given).dataSync(), y.dataSync(), "the class");
}

const file = new URL("fixtures/losses.jsonl", import.meta.url);
const all: Recorded[] = (await Deno.readTextFile(file)).trim().split("\n").map((line) =>
  JSON.parse(line)
);

for (const { device } of devices()) {
  for (const loss of new Set(all.map(({ loss }) => loss))) {
    for (const dtype of ["float32", "float64"] as const) {
      Deno.test(`torch: ${loss}() in ${dtype} on ${device}, and its gradients`, () => {
        for (const recorded of all.filter((recorded) => recorded.loss === loss)) {
          const what = JSON.stringify({
            ...recorded.options,
            shapes: recorded.inputs.map(({ shape }) => shape),
          });
          try {
            scope(() => compare(recorded, dtype, device));
          } catch (error) {
            throw new Error(`${what}: ${(error as Error).message}`, { cause: error });
          }
        }
      });
    }
  }
}
