import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  ArgumentError,
  devices,
  DTypeError,
  manualSeed,
  nn,
  rand,
  scope,
  ShapeError,
  type Tensor,
  zeros,
} from "../../mod.ts";
import { normalBelow, normalQuantile } from "../../lib/nn/_init_math.ts";

const { init } = nn;
const names = devices().map(({ device }) => device);

function moments(x: Tensor) {
  const values = Array.from(x.dataSync());
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const square = values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length;
  return { mean, std: Math.sqrt(square), low: Math.min(...values), high: Math.max(...values) };
}

// fanIn of [30, 20, 5] is 100, fanOut 150.
const shape = [30, 20, 5];
const scaled: [string, (x: Tensor) => Tensor, std: number, uniform: boolean][] = [
  ["uniform", (x) => init.uniform(x, { low: -1, high: 1 }), 1 / Math.sqrt(3), true],
  ["normal", (x) => init.normal(x, { std: 2 }), 2, false],
  ["xavierUniform", init.xavierUniform, Math.sqrt(2 / 250), true],
  ["xavierUniform(gain)", (x) => init.xavierUniform(x, { gain: 3 }), 3 * Math.sqrt(2 / 250), true],
  ["xavierNormal", init.xavierNormal, Math.sqrt(2 / 250), false],
  ["kaimingUniform", init.kaimingUniform, Math.sqrt(2 / 100), true],
  [
    "kaimingUniform(a, fanOut)",
    (x) => init.kaimingUniform(x, { a: Math.sqrt(5), mode: "fanOut" }),
    Math.sqrt(2 / 6 / 150),
    true,
  ],
  [
    "kaimingNormal(tanh)",
    (x) => init.kaimingNormal(x, { nonlinearity: "tanh" }),
    5 / 3 / Math.sqrt(100),
    false,
  ],
];

for (const device of names) {
  for (const [name, fill, std, uniform] of scaled) {
    Deno.test(`init.${name}: mean, deviation and range, on ${device}`, () =>
      scope(() => {
        manualSeed(12);
        const x = zeros(shape, { device, requiresGrad: true });
        assert(fill(x) === x && x.requiresGrad && x.node === null);
        const found = moments(x);
        assertAlmostEquals(found.mean, 0, 4 * std / Math.sqrt(x.size));
        assertAlmostEquals(found.std, std, 0.03 * std);
        if (uniform) {
          const edge = Math.sqrt(3) * std;
          assert(found.low >= -edge && found.high <= edge);
          assert(found.low < -0.99 * edge && found.high > 0.99 * edge);
        }
      }));
  }

  Deno.test(`init.truncNormal: within its bounds and of the right moments, on ${device}`, () =>
    scope(() => {
      for (const dtype of ["float32", "float64"] as const) {
        manualSeed(8);
        const x = init.truncNormal(zeros([20_000], { device, dtype }));
        const found = moments(x);
        assert(found.low >= -2 && found.high <= 2);
        // The variance of a normal cut at two deviations.
        const density = Math.exp(-2) / Math.sqrt(2 * Math.PI);
        const inside = 2 * normalBelow(2) - 1;
        assertAlmostEquals(found.mean, 0, 0.03);
        assertAlmostEquals(found.std, Math.sqrt(1 - 4 * density / inside), 0.02);
        const tail = init.truncNormal(zeros([1000], { device, dtype }), { a: 5, b: 9 });
        const above = moments(tail);
        assert(above.low >= 5 && above.high < 8);
        assertAlmostEquals(above.mean, 5.1865, 0.03);
      }
    }));

  Deno.test(`init.orthogonal: orthonormal rows or columns, on ${device}`, () =>
    scope(() => {
      for (const shape of [[4, 4], [3, 7], [9, 2], [1, 5], [5, 1], [4, 2, 3], [40, 33]]) {
        const x = init.orthogonal(zeros(shape, { device, dtype: "float64" }), { gain: 2 });
        const flat = x.reshape([shape[0]!, -1]);
        const [n, m] = flat.shape as [number, number];
        const product = n <= m ? flat.matmul(flat.transpose()) : flat.transpose().matmul(flat);
        product.dataSync().forEach((value, i) => {
          const k = Math.min(n, m);
          assertAlmostEquals(value, Math.floor(i / k) === i % k ? 4 : 0, 1e-12);
        });
      }
    }));

  Deno.test(`init.orthogonal: uniform, so that no sign or place is preferred, on ${device}`, () =>
    scope(() => {
      manualSeed(1);
      let positive = 0;
      const squares = [0, 0, 0, 0];
      for (let i = 0; i < 2000; i++) {
        const q = init.orthogonal(zeros([2, 2], { device })).dataSync();
        q.forEach((value, k) => squares[k]! += value * value / 2000);
        if (q[0]! > 0) positive++;
      }
      assertAlmostEquals(positive / 2000, 0.5, 0.05);
      for (const square of squares) assertAlmostEquals(square, 0.5, 0.05);
    }));

  Deno.test(`init: constant, zeros, ones and eye, in every dtype, on ${device}`, () =>
    scope(() => {
      for (const dtype of ["float32", "float64", "float16", "bfloat16", "int32"] as const) {
        const x = rand([2, 3], { device }).to(dtype);
        assertEquals([...init.ones(x).dataSync()], [1, 1, 1, 1, 1, 1]);
        assertEquals([...init.eye(x).dataSync()], [1, 0, 0, 0, 1, 0]);
        assertEquals([...init.constant(x, 7).dataSync()], [7, 7, 7, 7, 7, 7]);
        assertEquals([...init.zeros(x).dataSync()], [0, 0, 0, 0, 0, 0]);
      }
      assertEquals([...init.eye(zeros([3, 2], { device })).dataSync()], [1, 0, 0, 1, 0, 0]);
    }));
}

Deno.test("init: the same numbers from one seed, others from the next call", () =>
  scope(() => {
    for (const fill of [init.uniform, init.normal, init.truncNormal, init.orthogonal]) {
      const draw = () => fill(zeros([5, 4])).dataSync();
      manualSeed(2);
      const [first, second] = [draw(), draw()];
      manualSeed(2);
      assertEquals(draw(), first);
      assert(first.some((value, i) => value !== second[i]));
    }
  }));

Deno.test("the normal distribution and its inverse", () => {
  // From tables of 15 digits.
  assertAlmostEquals(normalBelow(0), 0.5, 1e-16);
  assertAlmostEquals(normalBelow(1), 0.841344746068543, 1e-15);
  assertAlmostEquals(normalBelow(-3), 0.00134989803163009, 1e-15);
  assertAlmostEquals(normalQuantile(0.975), 1.95996398454005, 1e-13);
  assertAlmostEquals(normalQuantile(1e-20), -9.26234008979841, 1e-12);
  assertEquals([0, 1].map(normalQuantile), [-Infinity, Infinity]);
  assertEquals([-9, 9, -Infinity, Infinity].map(normalBelow), [0, 1, 0, 1]);
  for (let z = -5; z <= 5; z += 0.37) {
    assertAlmostEquals(normalQuantile(normalBelow(z)), z, 1e-9);
  }
});

Deno.test("calculateGain is PyTorch's", () => {
  const gains = (["linear", "sigmoid", "tanh", "relu", "leakyRelu", "selu"] as const)
    .map((name) => init.calculateGain(name));
  assertEquals(gains, [1, 1, 5 / 3, Math.SQRT2, Math.sqrt(2 / (1 + 0.01 ** 2)), 0.75]);
  assertEquals(init.calculateGain("leakyRelu", 1), 1);
});

Deno.test("bad input of initialisers is refused", () =>
  scope(() => {
    const x = zeros([2, 3]);
    assertThrows(() => init.xavierUniform(zeros([3])), ShapeError, "[3]");
    assertThrows(() => init.orthogonal(zeros([3])), ShapeError, "[3]");
    assertThrows(() => init.eye(zeros([3])), ShapeError, "matrix");
    assertThrows(() => init.uniform(x.to("int32")), DTypeError, "int32");
    assertThrows(() => init.uniform(x, { low: 2 }), ArgumentError, "high");
    assertThrows(() => init.normal(x, { std: -1 }), ArgumentError, "std");
    assertThrows(() => init.truncNormal(x, { a: 3 }), ArgumentError, "b is 2");
    assertThrows(() => init.truncNormal(x, { std: 0 }), ArgumentError, "std is 0");
    assertThrows(() => init.kaimingNormal(x, { mode: "fan" as never }), ArgumentError, "fanOut");
    assertThrows(() => init.calculateGain("swish" as never), ArgumentError, "swish");
    assertThrows(() => init.xavierNormal(x, { gian: 1 } as never), ArgumentError, "gain");
    assertEquals(init.kaimingNormal(zeros([0, 3])).size, 0);
    assertEquals(init.orthogonal(zeros([3, 0])).size, 0);
  }));
