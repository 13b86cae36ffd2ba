import type { DeviceName } from "../core/backend.ts";
import type { DType } from "../core/dtype.ts";
import type { MatmulPrecision } from "../core/precision.ts";
import { philox, withRandomFrom } from "../core/random.ts";
import { scope } from "../core/scope.ts";
import { rand, randn, tensor } from "../create.ts";
import { Linear, Sequential, Tanh } from "../nn/mod.ts";
import { conv2d } from "../ops/conv/conv2d.ts";
import { gather } from "../ops/index/gather.ts";
import { matmul } from "../ops/linalg/matmul.ts";
import { mseLoss } from "../ops/loss/mod.ts";
import { Adam } from "../optim/mod.ts";
import type { Tensor } from "../tensor.ts";
import { type DoctorFinding, finding, textOf } from "./_report.ts";

type Numbers = ArrayLike<number>;

/** What a check got, what it should be, and the error that is allowed, of the largest element. */
type Check = () => [got: Numbers, wanted: Numbers, tolerance: number];

// Numbers of float32 without a pattern, the same each time.
function numbers(n: number, seed: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: n }, (_, i) => Math.sin(seed + i * i * 0.37));
}

function sums(n: number, count: number, term: (i: number, j: number) => number): Float64Array {
  return Float64Array.from({ length: n }, (_, i) => {
    let sum = 0;
    for (let j = 0; j < count; j++) sum += term(i, j);
    return sum;
  });
}

// Large enough for the kernels that large products take.
const [M, N, K] = [128, 128, 96];
const left = numbers(M * K, 1), right = numbers(K * N, 2);

function checks(device: DeviceName): Record<string, Check> {
  const make = (data: Float32Array<ArrayBuffer>, shape: number[], dtype: DType = "float32") =>
    tensor(data, { shape, device }).to(dtype);
  const values = (x: Tensor): Numbers => x.to("float64").dataSync();
  let product: Float64Array | undefined;
  const multiply = (tolerance: number, dtype: DType, precision?: MatmulPrecision): Check => () => {
    const c = matmul(make(left, [M, K], dtype), make(right, [K, N], dtype), { precision });
    product ??= sums(M * N, K, (i, p) => left[Math.floor(i / N) * K + p]! * right[p * N + i % N]!);
    return [values(c), product, tolerance];
  };
  const rows = numbers(53 * 999, 3);
  const x = () => make(rows, [53, 999]);
  const row = (i: number) => rows.subarray(i * 999, i * 999 + 999);
  return {
    "matmul float32": multiply(2e-6, "float32", "float32"),
    "matmul ieee": multiply(2e-6, "float32", "ieee"),
    "matmul tf32": multiply(2e-3, "float32", "tf32"),
    "matmul as bfloat16": multiply(2e-2, "float32", "bfloat16"),
    "matmul float64": multiply(1e-13, "float64"),
    "matmul float16": multiply(3e-3, "float16"),
    "matmul bfloat16": multiply(2e-2, "bfloat16"),
    "conv2d": () => {
      const image = numbers(2 * 8 * 144, 4), weight = numbers(16 * 8 * 9, 5);
      const y = conv2d(make(image, [2, 8, 12, 12]), make(weight, [16, 8, 3, 3]), null, {
        padding: 1,
      });
      const wanted = sums(2 * 16 * 144, 72, (i, j) => {
        const tap = j % 9, channel = Math.floor(j / 9);
        const row = Math.floor(i / 12) % 12 + Math.floor(tap / 3) - 1, col = i % 12 + tap % 3 - 1;
        if (row < 0 || row > 11 || col < 0 || col > 11) return 0;
        const plane = Math.floor(i / 2304) * 8 + channel, filter = Math.floor(i / 144) % 16;
        return image[plane * 144 + row * 12 + col]! * weight[filter * 72 + j]!;
      });
      return [values(y), wanted, 2e-6];
    },
    "softmax": () => {
      const total = sums(53, 999, (i, j) => Math.exp(row(i)[j]!));
      return [
        values(x().softmax(1)),
        rows.map((v, i) => {
          return Math.exp(v) / total[Math.floor(i / 999)]!;
        }),
        1e-5,
      ];
    },
    "sum": () => [values(x().sum(1)), sums(53, 999, (i, j) => row(i)[j]!), 1e-6],
    "max": () => [values(x().max(1)), sums(53, 1, (i) => Math.max(...row(i))), 0],
    "gather": () => {
      const index = Int32Array.from({ length: 53 * 7 }, (_, i) => i * 7919 % 999);
      const y = gather(x(), 1, tensor(index, { shape: [53, 7], device }));
      return [values(y), Float32Array.from(index, (at, i) => row(Math.floor(i / 7))[at]!), 0];
    },
    "rand": () => {
      const words = Array.from({ length: 250 }, (_, block) => philox(7n, BigInt(block))).flat();
      const from = { seed: 7n, drawn: 0n, held: null };
      const drawn = withRandomFrom(from, () => rand([1000], { device }));
      return [values(drawn), words.map((word) => (word >>> 8) / 2 ** 24), 0];
    },
    "randn": () => {
      const from = { seed: 7n, drawn: 0n, held: null };
      const drawn = withRandomFrom(from, () => randn([100_000], { device }));
      return [[drawn.mean().itemSync(), drawn.std().itemSync()], [0, 1], 0.02];
    },
    "training repeats": () => [train(device), train(device), 0],
    "training learns": () => [[Math.min(1, train(device)[0]!)], [0], 0.2],
  };
}

// The last loss and the weights after some steps from the same start.
function train(device: DeviceName): number[] {
  return withRandomFrom({ seed: 1n, drawn: 0n, held: null }, () => {
    using owned = new DisposableStack();
    const hidden = new Linear(8, 32, { device }), out = new Linear(32, 1, { device });
    const model = new Sequential(hidden, new Tanh(), out);
    owned.defer(() => model.dispose());
    const optimizer = new Adam(model.parameters(), { lr: 0.03 });
    owned.defer(() => optimizer.dispose());
    const x = randn([64, 8], { device }), target = x.sum(1, { keepDims: true }).tanh();
    let last = 0;
    for (let step = 0; step < 30; step++) {
      optimizer.zeroGrad();
      const loss = mseLoss(model.forward(x), target);
      loss.backward();
      optimizer.step();
      last = loss.itemSync();
    }
    return [last, ...model.parameters().flatMap((parameter) => [...parameter.dataSync()])];
  });
}

// Of the largest element; NaN where one is not finite.
function errorOf(got: Numbers, wanted: Numbers): number {
  if (got.length !== wanted.length) return NaN;
  let largest = 0, error = 0;
  for (let i = 0; i < got.length; i++) {
    largest = Math.max(largest, Math.abs(wanted[i]!));
    error = Math.max(error, Math.abs(got[i]! - wanted[i]!));
  }
  return error / (largest || 1);
}

/** What a device computes, held against float64 in TypeScript. */
export async function testDevice(device: DeviceName): Promise<DoctorFinding[]> {
  const found: DoctorFinding[] = [];
  for (const [name, check] of Object.entries(checks(device))) {
    let value: string, right = false;
    try {
      const [got, wanted, tolerance] = scope(check);
      const error = errorOf(got, wanted);
      right = error <= tolerance;
      value = right ? `error ${error.toExponential(1)}` : `error ${error}, allowed ${tolerance}`;
    } catch (error) {
      value = textOf(error);
    }
    found.push(finding({
      part: "self-test",
      device,
      name,
      value,
      ...(!right && {
        status: "fault",
        advice: "rebuild (make clean, make); if it stays, the processor, its memory, the driver " +
          "or the library is faulty: run it on another machine",
      }),
    }));
    await Promise.resolve();
  }
  return found;
}
