// The same on the GPU as on the CPU: values, gradients, random bits.
import { assert, assertEquals } from "@std/assert";
import {
  type DeviceName,
  devices,
  type DType,
  manualSeed,
  rand,
  randint,
  randn,
  scope,
  type Shape,
  tensor,
} from "../../mod.ts";
import {
  type Case,
  cases,
  inputDType,
  inputsOf,
  randomFor,
  toleranceOf,
  upload,
} from "../cases.ts";
import { floats, roundings, roundoff, shapesFor } from "../cases/case.ts";
import { build, difference, type Grid, sizeOf } from "../reference.ts";

const names = devices().map(({ device }) => device);
const gpu = names.find((name) => name.startsWith("cuda"));
const hasBoth = gpu !== undefined && names.includes("cpu");
const onBoth = (name: string, fn: (gpu: DeviceName) => void) =>
  Deno.test({
    name: `${name} is the same on ${gpu ?? "a GPU (there is none)"} and cpu`,
    ignore: !hasBoth,
    fn: () => fn(gpu!),
  });

interface Outcome {
  value: ArrayLike<number>;
  gradients: (ArrayLike<number> | null)[];
}

// The result, and the gradients of the inputs for a random gradient of it.
function outcome(c: Case, grids: readonly Grid[], dtype: DType, device: DeviceName): Outcome {
  return scope(() => {
    const differentiable = c.gradShapes !== undefined && floats.includes(dtype);
    const inputs = grids.map((x, i) =>
      upload(x, inputDType(c, i, dtype), device, differentiable && c.fixed?.[i] === undefined)
    );
    const y = c.call(...inputs);
    if (y.requiresGrad) {
      const random = randomFor(c.name);
      y.backward(upload(build(y.shape, () => random() * 2 - 0.5), y.dtype, device));
    }
    const gradients = inputs.map((x) => x.grad?.dataSync() ?? null);
    for (const x of inputs) x.grad?.dispose();
    return { value: y.dataSync(), gradients };
  });
}

// Each device may be off by the tolerance; the reference has the magnitudes that it refers to.
function compare(c: Case, shapes: readonly Shape[], dtype: DType, device: DeviceName): void {
  const grids = inputsOf(c, shapes, dtype);
  const what = `${dtype} ${JSON.stringify(shapes)}`;
  const [here, there] = [outcome(c, grids, dtype, "cpu"), outcome(c, grids, dtype, device)];
  const { shape, magnitudes } = c.reference(...grids);
  const tolerance = 2 * toleranceOf(c, c.output ?? dtype);
  const wrong = difference(there.value, { shape, values: here.value, magnitudes }, tolerance);
  assert(wrong === undefined, `${what}: ${wrong}`);
  here.gradients.forEach((wanted, i) => {
    if (wanted === null) return assertEquals(there.gradients[i], null);
    // Against the largest one, since a gradient is a sum of products. Long sums of float64 have no
    // wider type to add in.
    const largest = Array.from(wanted).reduce((a, b) => Math.max(a, Math.abs(b)), 1);
    const grid = {
      shape: shapes[i]!,
      values: wanted,
      magnitudes: Array.from(wanted, () => largest),
    };
    const terms = dtype === "float64" ? Math.max(...shapes.map(sizeOf), sizeOf(shape)) : 1;
    const roundings = (c.gradRoundings ?? 32) * Math.max(1, Math.sqrt(terms) / 16);
    const off = difference(there.gradients[i]!, grid, roundings * roundoff[dtype]!);
    assert(off === undefined, `${what}: gradient ${i}: ${off}`);
  });
}

for (const c of cases) {
  onBoth(c.name, (device) => {
    for (const dtype of c.dtypes) {
      for (const shapes of shapesFor(c, dtype)) compare(c, shapes, dtype, device);
    }
  });
}

// What `make` draws from one seed on each device.
function drawn(device: DeviceName, make: (device: DeviceName) => ArrayLike<number>[]) {
  const result: ArrayLike<number>[][] = [];
  for (const name of ["cpu", device] as const) {
    manualSeed(42);
    result.push(scope(() => make(name)));
  }
  return result as [ArrayLike<number>[], ArrayLike<number>[]];
}

const sizes = [0, 1, 3, 4, 5, 127, 1025, 100_003];

onBoth("rand() to the last bit", (gpu) => {
  const [here, there] = drawn(
    gpu,
    (device) =>
      sizes.flatMap((n) =>
        (["float32", "float64"] as const).flatMap((dtype) => [
          rand([n], { dtype, device }).dataSync(),
          rand([n], { dtype, device, low: -1.7, high: 3.3 }).dataSync(),
        ])
      ),
  );
  assertEquals(here, there);
});

onBoth("randint() to the last bit", (gpu) => {
  const [here, there] = drawn(gpu, (device) =>
    sizes.flatMap((n) => [
      randint(-5, 17, [n], { device }).dataSync(),
      randint(-(2 ** 31), 2 ** 31 - 1, [n], { device }).dataSync(),
    ]));
  assertEquals(here, there);
});

onBoth("multinomial()", (gpu) => {
  const [here, there] = drawn(gpu, (device) =>
    [[1, 7], [3, 300], [2, 70_001]].flatMap((shape) => {
      const weights = rand(shape, { device });
      return [
        weights.multinomial(1000, { replacement: true }).dataSync(),
        weights.multinomial(7).dataSync(),
      ];
    }));
  assertEquals(here, there);
});

onBoth("randn(), but for the last bits,", (gpu) => {
  for (const dtype of ["float32", "float64"] as const) {
    const [here, there] = drawn(
      gpu,
      (device) => sizes.map((n) => randn([n], { dtype, device, mean: 1, std: 2 }).dataSync()),
    );
    here.forEach((values, i) => {
      const wanted = { shape: [values.length], values };
      assertEquals(difference(there[i]!, wanted, roundings(32)[dtype]), undefined);
    });
  }
});

onBoth("a gradient that passes between devices", (gpu) => {
  scope(() => {
    const x = tensor([1, 2, 3], { device: "cpu", requiresGrad: true });
    x.to(gpu).exp().to("cpu").mul(x).sum().backward();
    const wanted = [1, 2, 3].map((v) => Math.exp(v) * (1 + v));
    const off = difference(x.grad!.dataSync(), { shape: [3], values: wanted }, 1e-6);
    assertEquals(off, undefined);
    assertEquals(x.grad!.device, "cpu");
  });
});
