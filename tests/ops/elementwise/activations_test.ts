// Activations beyond the table of cases: their layers, bad options, gradients at kinks, digits in
// the tails.
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  ArgumentError,
  clip,
  crossEntropy,
  CudenoError,
  devices,
  type DType,
  elu,
  expm1,
  full,
  gelu,
  grad,
  leakyRelu,
  log1p,
  logSoftmax,
  nn,
  scope,
  sign,
  silu,
  softmax,
  softplus,
  type Tensor,
  tensor,
  zeros,
} from "../../../mod.ts";
import { erfc } from "../../reference.ts";

const names = devices().map(({ device }) => device);
const test = (name: string, fn: () => void) =>
  Deno.test(`activations: ${name}`, () => scope(fn) as void);

const layers: [layer: nn.Module, described: string, wanted: (x: Tensor) => Tensor][] = [
  [new nn.Identity(), "Identity", (x) => x],
  [new nn.SiLU(), "SiLU", silu],
  [new nn.LeakyReLU(), "LeakyReLU({ negativeSlope: 0.01 })", (x) => leakyRelu(x)],
  [
    new nn.LeakyReLU({ negativeSlope: 0.2 }),
    "LeakyReLU({ negativeSlope: 0.2 })",
    (x) => leakyRelu(x, { negativeSlope: 0.2 }),
  ],
  [new nn.ELU(), "ELU({ alpha: 1 })", (x) => elu(x)],
  [new nn.ELU({ alpha: 0.5 }), "ELU({ alpha: 0.5 })", (x) => elu(x, { alpha: 0.5 })],
  [new nn.GELU(), 'GELU({ approximate: "none" })', (x) => gelu(x)],
  [
    new nn.GELU({ approximate: "tanh" }),
    'GELU({ approximate: "tanh" })',
    (x) => gelu(x, { approximate: "tanh" }),
  ],
  [new nn.Softplus(), "Softplus({ beta: 1, threshold: 20 })", (x) => softplus(x)],
  [
    new nn.Softplus({ beta: 2, threshold: 5 }),
    "Softplus({ beta: 2, threshold: 5 })",
    (x) => softplus(x, { beta: 2, threshold: 5 }),
  ],
  [new nn.Softmax(), "Softmax({ axis: -1 })", (x) => x.softmax()],
  [new nn.Softmax({ axis: 0 }), "Softmax({ axis: 0 })", (x) => x.softmax(0)],
  [new nn.LogSoftmax(), "LogSoftmax({ axis: -1 })", (x) => x.logSoftmax()],
  [new nn.LogSoftmax({ axis: 0 }), "LogSoftmax({ axis: 0 })", (x) => x.logSoftmax(0)],
];

for (const [layer, described, wanted] of layers) {
  test(`${described} computes what its function does, and has no parameters`, () => {
    const x = tensor([[-3, -0.5, 0], [0.25, 1, 30]]);
    assertEquals(layer.describe(), described);
    assertEquals([...layer.forward(x).dataSync()], [...wanted(x).dataSync()]);
    assertEquals(layer.parameters(), []);
    assertEquals(Object.keys(layer.stateDict()), []);
  });
}

test("options that are wrong are refused", () => {
  const x = tensor([1, 2]);
  const refuse = (fn: () => unknown, ...parts: string[]) => {
    const { message, code } = assertThrows(fn, CudenoError);
    assertEquals(code, "argument", message);
    for (const part of parts) assert(message.includes(part), message);
  };
  refuse(() => leakyRelu(x, { negativeSlope: NaN }), "leakyRelu: negativeSlope is NaN");
  refuse(() => elu(x, { alpha: Infinity }), "elu: alpha is Infinity");
  refuse(() => elu(x, { alfa: 1 } as object), "did you mean alpha?");
  refuse(() => softplus(x, { beta: 0 }), "softplus: beta is 0");
  refuse(() => softplus(x, { threshold: NaN }), "threshold is NaN");
  refuse(
    () => gelu(x, { approximate: "erf" as "tanh" }),
    'approximate is "erf"',
    '"none" or "tanh"',
  );
  refuse(() => clip(x), "neither min nor max");
  refuse(() => clip(x, NaN, 1), "min is NaN");
  refuse(() => new nn.LeakyReLU({ slope: 1 } as object), "LeakyReLU", "negativeSlope");
  refuse(() => new nn.Softmax({ dim: 1 } as object), "Softmax", "axis");
  const index = tensor([1, 2], { dtype: "int32" });
  assertThrows(() => gelu(index), CudenoError, "float32");
  assertThrows(() => clip(index, 0.5), CudenoError, "0.5 is no int32");
  assertThrows(() => clip(undefined as unknown as Tensor, 0), ArgumentError, "clip");
});

for (const device of names) {
  const gradient = (fn: (x: Tensor) => Tensor, values: number[]) => {
    const x = tensor(values, { device, dtype: "float64", requiresGrad: true });
    fn(x).sum().backward();
    return [...x.grad!.dataSync()];
  };

  test(`gradients at kinks and far away are PyTorch's, on ${device}`, () => {
    const at = [-Infinity, -1e4, -1, 0, 1, 2, 1e4, Infinity, NaN];
    assertEquals(gradient((x) => clip(x, -1, 1), at), [0, 0, 1, 1, 1, 0, 0, 0, 0]);
    assertEquals(gradient((x) => clip(x, undefined, 1), at), [1, 1, 1, 1, 1, 0, 0, 0, 0]);
    assertEquals(gradient(sign, at), at.map(() => 0));
    const slope = gradient((x) => leakyRelu(x, { negativeSlope: 0.5 }), at);
    assertEquals(slope, [0.5, 0.5, 0.5, 0.5, 1, 1, 1, 1, 0.5]);
    assertEquals(gradient(elu, [-Infinity, -1e4, 0, 2, 1e4, Infinity]), [0, 0, 1, 1, 1, 1]);
    assertEquals(gradient(softplus, [-Infinity, -1e4, 0, 30, 1e4]), [0, 0, 0.5, 1, 1]);
    for (const fn of [silu, gelu, (x: Tensor) => gelu(x, { approximate: "tanh" })]) {
      assertEquals(gradient(fn, [-1e4, 0, 1e4]).map(Math.abs), [0, 0.5, 1]);
    }
  });

  test(`sums over long rows keep their digits, on ${device}`, () => {
    const n = 2 ** 20;
    const x = full([1, n], -0.1, { device });
    x.view(0, [1]).fill(0);
    x.requiresGrad = true;
    // of addends that float32 rounds, one like the other
    const total = 1 + (n - 1) * Math.exp(Math.fround(-0.1));
    const logs = logSoftmax(x);
    const target = zeros([1], { device, dtype: "int32" });
    assertAlmostEquals(logs.view(0, [1]).itemSync(), -Math.log(total), 2e-6);
    assertAlmostEquals(crossEntropy(x, target).itemSync(), Math.log(total), 2e-6);
    assertAlmostEquals(softmax(x).view(0, [1]).itemSync() * total, 1, 1e-6);
    const [slope] = grad(logs.sum(), [x]);
    assertAlmostEquals(slope!.view(0, [1]).itemSync(), 1 - n / total, 2e-6);
  });

  test(`the logarithm of a class that is almost certain keeps its digits, on ${device}`, () => {
    const target = zeros([1], { device, dtype: "int32" });
    for (const cols of [2, 32, 100]) { // of which all but two count nothing
      const values = Array.from({ length: cols }, (_, i) => [20, 0][i] ?? -1000);
      const x = tensor([values], { device });
      const wanted = Math.log1p(Math.exp(-20)); // 2e-9
      for (
        const found of [-logSoftmax(x).view(0, [1]).itemSync(), crossEntropy(x, target).itemSync()]
      ) {
        assert(Math.abs(found / wanted - 1) < 1e-6, `${found} of ${cols}`);
      }
    }
  });

  // Against the value itself, where the table of cases allows errors relative to 1.
  test(`small results keep their digits, on ${device}`, () => {
    const near = (fn: (x: Tensor) => Tensor, wanted: (x: number) => number, values: number[]) => {
      for (const [dtype, allowed] of [["float32", 1e-5], ["float64", 1e-13]] as const) {
        const x = tensor(values, { device, dtype });
        const inputs = x.dataSync();
        fn(x).dataSync().forEach((found, i) => {
          const value = wanted(inputs[i]!);
          assert(Math.abs(found - value) <= allowed * Math.abs(value), `${inputs[i]}: ${found}`);
        });
      }
    };
    const tail = [-1, -2, -3, -4, -5, -6, -8];
    near(gelu, (x) => 0.5 * x * erfc(-x * Math.SQRT1_2), tail);
    const cubic = (x: number) => 2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3);
    near((x) => gelu(x, { approximate: "tanh" }), (x) => x / (1 + Math.exp(-cubic(x))), tail);
    near(silu, (x) => x / (1 + Math.exp(-x)), tail);
    near(softplus, (x) => Math.log1p(Math.exp(x)), [-5, -10, -20, -40]);
    near(elu, Math.expm1, [-1e-7, -1e-4, -0.01]);
    const small = [1e-20, -1e-20, 1e-7, -1e-7, 1e-3, -1e-3];
    near(expm1, Math.expm1, small);
    near(log1p, Math.log1p, small);
  });

  test(`values and slopes reach their limits, and are never NaN there, on ${device}`, () => {
    const tanhGelu = (x: Tensor) => gelu(x, { approximate: "tanh" });
    // At the far left and right: value (as a share of x where it grows), slope; second derivatives
    // are all 0.
    const limits: [fn: (x: Tensor) => Tensor, left: number[], right: number[], grows: boolean][] = [
      [(x) => x.relu(), [0, 0], [1, 1], true],
      [elu, [-1, 0], [1, 1], true],
      [gelu, [0, 0], [1, 1], true],
      [tanhGelu, [0, 0], [1, 1], true],
      [silu, [0, 0], [1, 1], true],
      [softplus, [0, 0], [1, 1], true],
      [(x) => x.sigmoid(), [0, 0], [1, 0], false],
      [(x) => x.tanh(), [-1, 0], [1, 0], false],
      [(x) => x.erf(), [-1, 0], [1, 0], false],
    ];
    const sizes = {
      float16: [100, 300, 1000, 65504, Infinity],
      bfloat16: [120, 1e4, 1e15, 1e38, Infinity],
      float32: [120, 1e4, 1e15, 3e38, Infinity],
      float64: [800, 1e4, 1e15, 1e155, 1e308, Infinity],
    };
    for (const [dtype, far] of Object.entries(sizes) as [DType, number[]][]) {
      for (const [k, [fn, left, right, grows]] of limits.entries()) {
        const x = tensor([...far.map((v) => -v), ...far, NaN], {
          device,
          dtype,
          requiresGrad: true,
        });
        const ones = x.detach().mul(0).fill(1);
        const at = x.dataSync();
        const y = fn(x);
        y.backward(ones, { retainGraph: true });
        const plain = x.grad!.dataSync();
        const slope = grad(y, [x], { gradOutputs: ones, createGraph: true })[0]!;
        const second = slope.requiresGrad
          ? grad(slope, [x], { gradOutputs: ones, allowUnused: true })[0]?.dataSync()
          : undefined;
        y.dataSync().forEach((value, i) => {
          const what = `${k} of ${at[i]} in ${dtype}`;
          if (Number.isNaN(at[i])) return assertEquals(value, NaN, what);
          const [size, rate] = at[i]! < 0 ? left : right;
          assertEquals(value + 0, grows && at[i]! > 0 ? at[i]! * size! : size!, what);
          assertEquals(
            [plain[i]! + 0, slope.dataSync()[i]! + 0],
            [rate!, rate!],
            `slope of ${what}`,
          );
          assertEquals((second?.[i] ?? 0) + 0, 0, `second derivative of ${what}`);
        });
      }
    }
  });
}
