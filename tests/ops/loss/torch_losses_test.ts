// Losses and their gradients against PyTorch's, recorded by tests/fixtures/make_torch_losses.py.
import { assertEquals } from "@std/assert";
import * as cudeno from "../../../mod.ts";
import { type DeviceName, devices, nn, scope, type Tensor, tensor } from "../../../mod.ts";
import { assertNear, type Float, readCases, restored, type Stored } from "../../_recorded.ts";

interface Recorded {
  loss: string;
  options: Record<string, unknown>;
  inputs: Stored[];
  result: Stored;
  gradients: Stored[];
}

const isStored = (x: unknown): x is Stored => typeof x === "object" && x !== null;

function compare(recorded: Recorded, dtype: Float, device: DeviceName): void {
  const { loss, inputs, result, gradients } = recorded;
  const options = Object.fromEntries(
    Object.entries(recorded.options).map((
      [key, value],
    ) => [key, isStored(value) ? restored(value, dtype, device) : value]),
  );
  const given = inputs.map((x, i) => restored(x, dtype, device, i < gradients.length));
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

const all = await readCases<Recorded>("losses.jsonl");

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
