import type { DeviceInfo, DeviceName } from "../core/backend.ts";
import type { DType } from "../core/dtype.ts";
import type { MatmulPrecision } from "../core/precision.ts";
import { philox, withRandomFrom } from "../core/random.ts";
import { scope } from "../core/scope.ts";
import { rand, randn, tensor } from "../create.ts";
import { conv2d } from "../ops/conv/conv2d.ts";
import { matmul } from "../ops/linalg/matmul.ts";
import { Adam } from "../optim/mod.ts";
import type { Tensor } from "../tensor.ts";
import { type DoctorFinding, finding, textOf } from "./report.ts";

type Numbers = ArrayLike<number> | (() => ArrayLike<number>);

// Without a pattern, the same each time.
const numbers = (n: number, seed: number) =>
  Float32Array.from({ length: n }, (_, i) => Math.sin(seed + i * i * 0.37));
const list = (n: number, at: (i: number) => number) =>
  Float64Array.from({ length: n }, (_, i) => at(i));
const sums = (n: number, count: number, term: (i: number, j: number) => number) =>
  list(n, (i) => {
    let sum = 0;
    for (let j = 0; j < count; j++) sum += term(i, j);
    return sum;
  });
// Drawn as after manualSeed(7), which the program's own numbers do not notice.
const seeded = <T>(fn: () => T) => withRandomFrom({ seed: 7n, drawn: 0n, held: null }, fn);

const advice = "rebuild by make clean and make; if it stays, the processor, its memory, the " +
  "driver or the library is faulty: compare with another machine";

/** What a device computes, held against float64 in TypeScript. */
export function testDevice({ device }: DeviceInfo): DoctorFinding[] {
  const found: DoctorFinding[] = [];
  // The error may be `tolerance` of the largest element that is right.
  const check = (name: string, tolerance: number, right: Numbers, run: () => Tensor) => {
    let value: string, ok = false;
    try {
      const got = scope(() => run().to("float64").dataSync());
      const wanted = typeof right === "function" ? scope(right) : right;
      let largest = 0, error = 0; // NaN, once it is
      for (let i = 0; i < wanted.length; i++) {
        largest = Math.max(largest, Math.abs(wanted[i]!));
        error = Math.max(error, Math.abs(got[i]! - wanted[i]!));
      }
      ok = error <= tolerance * largest;
      value = `error ${(error / largest).toExponential(1)}${ok ? "" : `, allowed ${tolerance}`}`;
    } catch (error) {
      value = textOf(error);
    }
    const [todo, status] = ok ? ["", "ok"] as const : [advice, "fault"] as const;
    found.push(finding("self-test", device, name, value, todo, status));
  };
  const make = (data: Float32Array | Int32Array, ...shape: number[]) =>
    tensor(data, { shape, device });

  const a = numbers(128 * 96, 1), b = numbers(96 * 128, 2);
  const product = sums(128 * 128, 96, (i, p) => a[(i >> 7) * 96 + p]! * b[p * 128 + i % 128]!);
  const multiply = (dtype: DType, tolerance: number, precision?: MatmulPrecision) =>
    check(`matmul ${precision ? `as ${precision}` : dtype}`, tolerance, product, () => {
      return matmul(make(a, 128, 96).to(dtype), make(b, 96, 128).to(dtype), { precision });
    });
  multiply("float32", 2e-6, "float32");
  multiply("float32", 2e-6, "ieee");
  multiply("float32", 2e-3, "tf32");
  multiply("float32", 2e-2, "bfloat16");
  multiply("float64", 1e-13);
  multiply("float16", 3e-3);
  multiply("bfloat16", 2e-2);
  const image = numbers(8 * 144, 3), filters = numbers(16 * 72, 4);
  const convolved = sums(1600, 72, (i, j) => {
    const row = Math.floor(i % 100 / 10) + Math.floor(j % 9 / 3), col = i % 10 + j % 3;
    const pixel = image[Math.floor(j / 9) * 144 + row * 12 + col]!;
    return pixel * filters[Math.floor(i / 100) * 72 + j]!;
  });
  check(
    "conv2d",
    2e-6,
    convolved,
    () => conv2d(make(image, 8, 12, 12), make(filters, 16, 8, 3, 3)),
  );
  const cells = numbers(50 * 999, 5), at = (i: number, j: number) => cells[i * 999 + j]!;
  const x = () => make(cells, 50, 999);
  const powers = sums(50, 999, (i, j) => Math.exp(at(i, j)));
  const shares = list(50 * 999, (i) => Math.exp(cells[i]!) / powers[Math.floor(i / 999)]!);
  check("softmax", 1e-5, shares, () => x().softmax(1));
  check("sum", 1e-6, sums(50, 999, at), () => x().sum(1));
  const largest = list(50, (i) => Math.max(...cells.subarray(i * 999, i * 999 + 999)));
  check("max", 0, largest, () => x().max(1));
  const index = Int32Array.from({ length: 350 }, (_, i) => i * 7919 % 999);
  const gathered = list(350, (i) => at(Math.floor(i / 7), index[i]!));
  check("gather", 0, gathered, () => x().gather(1, make(index, 50, 7)));
  const uniform = list(1000, (i) => (philox(7n, BigInt(i >> 2))[i % 4]! >>> 8) / 2 ** 24);
  check("rand", 0, uniform, () => seeded(() => rand([1000], { device })));
  check("randn", 0.02, [1], () => seeded(() => randn([100_000], { device }).pow(2).mean()));
  check("training repeats", 0, () => train(device).w.dataSync(), () => train(device).w);
  check("training learns", 0, [1], () => train(device).better);
  return found;
}

// Weights after some steps from the same start, and whether the loss is lower.
function train(device: DeviceName): { w: Tensor; better: Tensor } {
  return seeded(() => {
    const w = randn([8, 32], { device, requiresGrad: true });
    const x = randn([64, 8], { device }), target = x.sum(1, { keepDims: true }).tanh();
    const loss = () => x.matmul(w).tanh().mean(1, { keepDims: true }).sub(target).pow(2).mean();
    const before = loss().mul(0.9), optimizer = new Adam([w], { lr: 0.03 });
    try {
      for (let step = 0; step < 10; step++) {
        optimizer.zeroGrad();
        loss().backward();
        optimizer.step();
      }
    } finally {
      optimizer.dispose();
    }
    return { w, better: loss().lt(before) };
  });
}
