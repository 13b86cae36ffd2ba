// The slope of an activation, applied by the gradient of the operation that reads its result: when
// that is done, and that the gradients stay what they are.
import { assert, assertEquals } from "@std/assert";
import {
  type DeviceName,
  devices,
  type FusedActivation,
  gelu,
  grad,
  linear,
  rand,
  relu,
  silu,
  type Tensor,
} from "../../mod.ts";
import { cleanTest, nativeCalls } from "../_helpers.ts";

const names = devices().map(({ device }) => device);
const apart: Record<FusedActivation, (x: Tensor) => Tensor> = {
  relu,
  gelu: (x) => gelu(x),
  geluTanh: (x) => gelu(x, { approximate: "tanh" }),
  silu,
};
const activations = Object.keys(apart) as FusedActivation[];

/** The gradients of activations that are computed by kernels of their own while fn runs. */
function slopesIn(device: DeviceName, fn: () => void): string[] {
  const names = ["relu", "gelu", "gelu_tanh", "silu"].map((name) => `cdn_${name}_grad`);
  return nativeCalls(names, fn, device).map(({ name }) => name);
}

function close(found: readonly Tensor[], wanted: readonly Tensor[], what: string): void {
  assertEquals(found.length, wanted.length);
  found.forEach((x, i) => {
    const [a, b] = [x.dataSync(), wanted[i]!.dataSync()];
    a.forEach((value, at) => {
      const off = Math.abs(value - b[at]!);
      assert(off <= 1e-13 * Math.max(1, Math.abs(b[at]!)), `${what}: ${i}, ${at}: off by ${off}`);
    });
  });
}

type Layers = (x: Tensor, parameters: readonly Tensor[], fused: boolean) => Tensor;

const layer = (activation: FusedActivation): Layers => (x, [w, b], fused) =>
  fused ? linear(x, w!, b, { activation }) : apart[activation](linear(x, w!, b));
const last: Layers = (x, [, , w, b]) => linear(x, w!, b);

/** Networks, and how many slopes are left to kernels of their own. */
const networks = (activation: FusedActivation): [string, number, Layers][] => [
  ["one reader", 0, (x, p, fused) => last(layer(activation)(x, p, fused), p, fused)],
  [
    "an activation by itself",
    0,
    (x, p) => last(apart[activation](linear(x, p[0]!, p[1]!)), p, true),
  ],
  ["activations in a row", 1, (x, p, fused) => {
    const deep = layer(activation)(last(layer(activation)(x, p, fused), p, fused), p, fused);
    return deep;
  }],
  ["another operation reads it", 1, (x, p, fused) => layer(activation)(x, p, fused).mul(2)],
  ["two readers", 1, (x, p, fused) => {
    const h = layer(activation)(x, p, fused);
    return last(h, p, fused).add(h);
  }],
  ["one reader, twice", 1, (x, p, fused) => {
    const h = layer(activation)(x, p, fused);
    return linear(h, p[2]!, p[3]!, { residual: h });
  }],
  ["the result is wanted too", 1, (x, p, fused) => {
    const h = layer(activation)(x, p, fused);
    return last(h, p, fused).sum().add(h.sum());
  }],
  ["a residual", 1, (x, p, fused) => {
    const h = fused
      ? linear(x, p[0]!, p[1]!, { activation, residual: x })
      : layer(activation)(x, p, false).add(x);
    return last(h, p, fused);
  }],
  ["a residual of a residual", 1, (x, p, fused) => {
    const h = layer(activation)(x, p, fused);
    return fused ? linear(x, p[2]!, p[3]!, { residual: h }) : linear(x, p[2]!, p[3]!).add(h);
  }],
];

for (const device of names) {
  cleanTest(
    `slopes go into the gradient of the one reader, if that is a layer, on ${device}`,
    () => {
      const make = (shape: number[]) =>
        rand(shape, { device, dtype: "float64", low: -1, requiresGrad: true });
      const inputs = [make([2, 3, 5]), make([5, 5]), make([5]), make([5, 5]), make([5])];
      const [x, ...parameters] = inputs as [Tensor, ...Tensor[]];
      for (const activation of activations) {
        for (const [name, count, network] of networks(activation)) {
          const what = `${activation}, ${name}`;
          const weights = rand([2, 3, 5], { device, dtype: "float64" });
          const loss = (fused: boolean) => {
            const y = network(x, parameters, fused);
            return y.size === 1 ? y : y.mul(weights).sum();
          };
          const options = { allowUnused: true };
          // nothing is fused
          const wanted = grad(loss(false), inputs, { ...options, createGraph: true });
          const y = loss(true);
          for (const _ of ["once", "and again"]) {
            let found: Tensor[] = [];
            const slopes = slopesIn(device, () => {
              found = grad(y, inputs, { ...options, retainGraph: true });
            });
            assertEquals(slopes.length, count, what);
            close(found, wanted, what);
          }
          const second = (first: readonly Tensor[]) =>
            grad(first.map((g) => g.mul(g).sum()).reduce((a, b) => a.add(b)), inputs, options);
          close(
            second(grad(y, inputs, { ...options, createGraph: true })),
            second(wanted),
            `${what}, second derivatives`,
          );
        }
      }
    },
  );

  cleanTest(`a gradient that is asked for has no slope in it on ${device}`, () => {
    const make = (shape: number[]) => rand(shape, { device, low: -1, requiresGrad: true });
    const [x, w, v] = [make([4, 3]), make([3, 3]), make([2, 3])];
    const h = linear(x, w, null, { activation: "relu" });
    const y = linear(h, v);
    const [dh] = grad(y.sum(), [h, x], { retainGraph: true });
    const columns = v.sum(0).dataSync();
    dh!.dataSync().forEach((value, i) => assert(Math.abs(value - columns[i % 3]!) < 1e-6));
    const [first] = grad([y.sum(), h.sum()], [x], { retainGraph: true });
    const [second, third] = [grad(y.sum(), [x], { retainGraph: true }), grad(h.sum(), [x])];
    const sum = second[0]!.add(third[0]!).dataSync();
    first!.dataSync().forEach((value, i) => assert(Math.abs(value - sum[i]!) < 1e-5));
  });
}
