// matmul and einsum beyond the table of cases: what they refuse, and batches of special sizes.
import { assert, assertEquals } from "@std/assert";
import {
  autocast,
  type DeviceName,
  devices,
  einsum,
  eye,
  getMatmulPrecision,
  grad,
  linear,
  lstm,
  matmul,
  matmulVariants,
  memory,
  noGrad,
  ones,
  scope,
  setMatmulPrecision,
  type Tensor,
  tensor,
  zeros,
} from "../../../mod.ts";
import { randomFor } from "../../cases.ts";
import { cleanTest, nativeCalls, refuse } from "../../_helpers.ts";

const names = devices().map(({ device }) => device);

cleanTest("bad input: matmul of shapes that do not fit", () => {
  refuse(() => matmul(zeros([2, 3, 4]), zeros([2, 5, 6])), "shape", "matmul", "4 and 5");
  refuse(() => matmul(zeros([2, 3, 4]), zeros([3, 4, 5])), "shape", "matmul", "[2] and [3]");
  refuse(() => matmul(zeros([2, 3, 4]), zeros([5])), "shape", "matmul", "4 and 5");
  refuse(() => matmul(zeros([5]), zeros([2, 3, 4])), "shape", "matmul", "5 and 3");
  refuse(() => matmul(zeros([]), zeros([2, 2])), "shape", "matmul", "single number", "mul()");
  refuse(() => matmul(zeros([2, 2]), zeros([])), "shape", "matmul", "single number");
  refuse(
    () => matmul(zeros([2]), zeros([2, 2]), { transposeA: true }),
    "argument",
    "vector has no transpose",
  );
  refuse(() => matmul(zeros([2, 2]), 3 as unknown as Tensor), "argument", "matmul", "found 3");
  const int = tensor([[1]], { dtype: "int32" });
  refuse(() => matmul(int, int), "dtype", "matmul", "int32");
  const half = ones([1, 1], { dtype: "float16" });
  refuse(() => matmul(half, ones([1, 1])), "dtype", "float16 and float32");
});

cleanTest("bad input: linear", () => {
  refuse(() => linear(zeros([]), zeros([2, 2])), "shape", "linear");
  refuse(() => linear(zeros([2]), zeros([2])), "shape", "linear", "[out, in]");
  refuse(
    () => linear(zeros([2]), zeros([2, 2], { dtype: "bfloat16" })),
    "dtype",
    "linear",
    "bfloat16",
  );
  const [x, w] = [zeros([4, 2]), zeros([3, 2])];
  const ask = (options: object) => () => linear(x, w, null, options);
  refuse(ask({ activation: "tanh" }), "argument", "linear", "tanh", "relu, gelu, geluTanh, silu");
  refuse(ask({ residual: zeros([3]) }), "shape", "linear", "residual is [3]", "[4, 3]");
  refuse(ask({ residual: zeros([4, 3], { dtype: "float64" }) }), "dtype", "linear", "float64");
  refuse(ask({ residual: 3 }), "argument", "linear", "found 3");
  refuse(ask({ activations: "relu" }), "argument", "did you mean activation?");
  refuse(ask({ precision: "low" }), "argument", "linear", 'precision is "low"');
});

cleanTest("linear under autocast takes its dtype, with all that is fused", () => {
  const parameters = [ones([3, 2]), ones([3]), ones([4, 3])].map((x) => {
    x.requiresGrad = true;
    return x;
  }) as [Tensor, Tensor, Tensor];
  const [w, b, residual] = parameters;
  const y = autocast(
    "bfloat16",
    () => linear(ones([4, 2]), w, b, { activation: "silu", residual }),
  );
  assertEquals(y.dtype, "bfloat16");
  y.to("float32").sum().backward();
  assertEquals(parameters.map(({ grad }) => grad!.dtype), ["float32", "float32", "float32"]);
});

// The precisions that products are asked for while fn runs, by their numbers in cudeno.h.
function precisionsOf(device: DeviceName, fn: () => void): number[] {
  try {
    return nativeCalls(["cdn_matmul", "cdn_matmul_fused"], fn, device)
      .map(({ args }) => args.at(-2) as number);
  } finally {
    setMatmulPrecision("float32");
  }
}

// in the order of their numbers
const precisions = ["float32", "ieee", "tf32", "bfloat16"] as const;

cleanTest("bad input: precisions", () => {
  const wrong = "high" as "tf32";
  refuse(() => setMatmulPrecision(wrong), "argument", "high", "float32, ieee, tf32, bfloat16");
  refuse(() => setMatmulPrecision(undefined as unknown as "tf32"), "argument", "name a precision");
  refuse(() => matmul(eye(2), eye(2), { precision: wrong }), "argument", "matmul", "high");
  assertEquals(getMatmulPrecision(), "float32");
});

cleanTest("bad input: equations of einsum", () => {
  const a = zeros([2, 3]);
  const b = zeros([3, 4]);
  refuse(() => einsum("ij,jk", a), "argument", "2 operands", "1 tensors");
  refuse(() => einsum("ij,jk,kl->il", a, b), "argument", "3 operands");
  refuse(() => einsum("ij,kj->ik", a, b), "shape", "j stands for 3 and for 4");
  refuse(() => einsum("ijk,jk->i", a, b), "shape", "ijk", "[2, 3]", "3 letters for 2 axes");
  refuse(() => einsum(",jk->jk", a, b), "shape", "nothing", "[2, 3]");
  refuse(() => einsum("ij,jk->iz", a, b), "argument", "output's z");
  refuse(() => einsum("ij,jk->ii", a, b), "argument", "i is twice in the output");
  refuse(() => einsum("ii->i", a), "shape", "i stands for 2 and for 3");
  refuse(() => einsum("ij->...ii", a), "argument", "i is twice in the output");
  refuse(() => einsum("i..j->i", a), "argument", "a dot is only in ...");
  refuse(() => einsum("...i...->i", a), "argument", "a dot is only in ...");
  refuse(() => einsum("...ijk->i", a), "shape", "...ijk", "[2, 3]", "3 letters for 2 axes");
  refuse(() => einsum("...j,...k->jk", zeros([2, 3]), zeros([4, 3])), "shape", "2 and for 4");
  refuse(() => einsum("ij->...ij", a).add(einsum("")), "argument", "1 operands", "0 tensors");
  refuse(() => einsum("i1,1k->ik", a, b), "argument", "1 is no letter");
  refuse(() => einsum("ij,jk->i,k", a, b), "argument", ", is no letter");
  refuse(() => einsum("ij->i->j", a), "argument", "more than one ->");
  refuse(() => einsum(3 as unknown as string, a), "argument", "a string");
  refuse(() => einsum("ij->ij", tensor([[1]], { dtype: "int32" })), "dtype", "einsum", "int32");
  refuse(
    () => einsum("abcde,fghij->abcdefghij", ones([1, 1, 1, 1, 1]), ones([1, 1, 1, 1, 1])),
    "argument",
    "more than 8 axes",
  );
});

for (const device of names) {
  cleanTest(`products are asked for the precision that is set on ${device}`, () => {
    const [a, b] = [0, 1].map(() => ones([3, 3], { device, requiresGrad: true })) as [
      Tensor,
      Tensor,
    ];
    const lstmOf = () => {
      const weights = { weightIh: ones([12, 3], { device }), weightHh: ones([12, 3], { device }) };
      return lstm(a.reshape([1, 3, 3]), weights).output;
    };
    const calls: [number, () => Tensor][] = [ // and how many products there are, forward and back
      [3, () => matmul(a, b)],
      [3, () => einsum("ij,jk->ik", a, b)],
      [3, () => linear(a, b)],
      [4, lstmOf],
    ];
    for (const [count, call] of calls) {
      precisions.forEach((precision, code) => {
        const seen = precisionsOf(device, () => {
          setMatmulPrecision(precision);
          assertEquals(getMatmulPrecision(), precision);
          const y = call().sum();
          setMatmulPrecision(precisions[(code + 1) % 4]!);
          y.backward();
        });
        assertEquals(seen, Array(count).fill(code), `${call}`);
      });
    }
    const seen = precisionsOf(device, () => {
      const c = matmul(a, b, { precision: "bfloat16" }).sum();
      const [da] = grad(c, [a], { createGraph: true });
      grad(da!.sum(), [b]);
    });
    assertEquals(seen, Array(seen.length).fill(3));
  });

  // More matrices than a GPU's grid has places in one direction, and no tile or vector left out.
  cleanTest(`a batch of 70,001 matrices on ${device}`, () => {
    const variants = matmulVariants(device).filter((name) => !name.endsWith("blas"));
    for (const [m, n] of [[2, 3], [1, 3], [2, 1]] as const) {
      const a = ones([70_001, m, 65], { device });
      const b = ones([70_001, 65, n], { device });
      for (const variant of variants) {
        const c = scope(() => matmul(a, b, { variant }));
        assertEquals([c.min().itemSync(), c.max().itemSync()], [65, 65], `${m} ${n} ${variant}`);
      }
    }
  });

  cleanTest(`matmul does not copy what it repeats on ${device}`, () => {
    const a = ones([64, 8, 32], { device });
    const b = ones([1, 32, 8], { device });
    const before = memory(device).live;
    const c = noGrad(() => matmul(a, b, { transposeA: false }));
    const d = noGrad(() => matmul(b.reshape([32, 8]), a, { transposeA: true, transposeB: true }));
    assertEquals(memory(device).live - before, 4 * (c.size + d.size));
  });
}

// Matrices of numbers that lie in a wider one, from column 1 on, NaN around them.
function inWider(x: number[][][], ld: number, distance: number): Float64Array {
  const wide = new Float64Array(x.length * distance).fill(NaN);
  x.forEach((rows, z) => rows.forEach((row, i) => wide.set(row, z * distance + i * ld)));
  return wide;
}

for (const device of names) {
  for (const dtype of ["float32", "float64", "float16", "bfloat16"] as const) {
    const gpu = ["tiled", "mma", "wgmma_128x64"];
    const variants = ["default", "naive", ...(device === "cpu" ? ["blocked"] : gpu)];
    for (const variant of variants) {
      const what = `${dtype} by ${variant} on ${device}`;
      cleanTest(`matmul: leading dimensions are kept, ${what}`, () => {
        const random = randomFor(what);
        const whole = () => Math.floor(random() * 9) - 4; // products are exact in any dtype
        const number = matmulVariants(device).indexOf(variant);
        for (const [m, n, k] of [[5, 7, 3], [1, 33, 65], [64, 48, 40], [130, 1, 20], [3, 4, 0]]) {
          for (const [transA, transB] of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
            for (const alpha of [1, 2]) { // with 2 by the other function, with beta and a_sums
              product(m!, n!, k!, transA!, transB!, alpha, number, whole);
            }
          }
        }
      });

      const product = (
        m: number,
        n: number,
        k: number,
        transA: number,
        transB: number,
        alpha: number,
        variant: number,
        whole: () => number,
      ) => {
        const make = (rows: number, cols: number) =>
          Array.from(
            { length: 2 },
            () => Array.from({ length: rows }, () => Array.from({ length: cols }, whole)),
          );
        const [a, b] = [make(m, k), make(k, n)];
        const turned = (x: number[][][], rows: number, cols: number) =>
          x.map((x) =>
            Array.from(
              { length: cols },
              (_, j) => Array.from({ length: rows }, (_, i) => x[i]![j]!),
            )
          );
        const [rowsA, lda] = transA ? [k, m + 3] : [m, k + 3];
        const [rowsB, ldb] = transB ? [n, k + 1] : [k, n + 1];
        const ldc = n + 5;
        const [apartA, apartB, apartC] = [rowsA * lda + 4, rowsB * ldb, m * ldc + 1];
        const upload = (values: Float64Array) => tensor(values, { device, dtype });
        const left = upload(inWider(transA ? turned(a, m, k) : a, lda, apartA));
        const right = upload(inWider(transB ? turned(b, k, n) : b, ldb, apartB));
        const c = zeros([2 * apartC], { device, dtype }).fill(7);
        const sums = zeros([2 * m], { device, dtype });
        const layout = BigInt64Array.from([2, apartA, apartB, apartC], BigInt);
        const sizes = [m, n, k, lda, ldb, ldc].map(BigInt) as [
          bigint,
          bigint,
          bigint,
          bigint,
          bigint,
          bigint,
        ];
        const { functions } = c.backend;
        c.backend.check(
          alpha === 1
            ? functions.cdn_matmul(
              ...[c.handle, left.handle, right.handle, layout, 1, ...sizes] as const,
              ...[transA, transB, c.code, 0, variant] as const,
            )
            : functions.cdn_matmul_fused(
              ...[c.handle, 0, sums.handle, left.handle, right.handle, 0, 0, 0, layout, 1] as const,
              ...[...sizes, transA, transB, alpha, 1, 0, c.code, c.code, 0, variant] as const,
            ),
        );
        const found = c.to("float64").dataSync();
        const wanted = new Float64Array(2 * apartC).fill(7);
        for (let z = 0; z < 2; z++) {
          for (let i = 0; i < m; i++) {
            for (let j = 0; j < n; j++) {
              let sum = 0;
              for (let p = 0; p < k; p++) sum += a[z]![i]![p]! * b[z]![p]![j]!;
              wanted[z * apartC + i * ldc + j] = alpha === 1 ? sum : alpha * sum + 7;
            }
          }
        }
        if (alpha !== 1) {
          const wanted = a.flatMap((rows) => rows.map((row) => row.reduce((x, y) => x + y, 0)));
          assertEquals([...sums.dataSync()], wanted);
        }
        const slack = dtype === "bfloat16" ? 1 / 128 : 0; // 8 bits do not hold all of these sums
        found.forEach((x, i) => {
          const off = Math.abs(x - wanted[i]!);
          assert(off <= slack * Math.abs(wanted[i]!), `${i} is ${x}, wanted ${wanted[i]}`);
        });
      };
    }
  }

  cleanTest(`matmul: leading dimensions that do not fit are refused on ${device}`, () => {
    const [a, b, c] = [zeros([40], { device }), zeros([40], { device }), zeros([40], { device })];
    const call = (sizes: number[], layout: number[] = []) =>
      c.backend.check(
        c.backend.functions.cdn_matmul(
          ...[c.handle, a.handle, b.handle, BigInt64Array.from(layout, BigInt)] as const,
          ...[
            layout.length / 4,
            ...sizes.map(BigInt) as [bigint, bigint, bigint, bigint, bigint, bigint],
          ] as const,
          ...[0, 0, c.code, 0, 0] as const,
        ),
      );
    call([4, 4, 4, 12, 12, 12]);
    call([2, 2, 4, 8, 8, 8], [2, 4, 4, 2, 2, 8, 8, 16]); // ranges of columns, as heads have them
    refuse(() => call([4, 4, 4, 3, 0, 0]), "native", "lda is 3", "4 elements");
    refuse(() => call([4, 4, 4, 0, -1, 0]), "native", "ldb is -1");
    refuse(() => call([4, 4, 4, 13, 0, 0]), "native", "a", "160 bytes", "172 are needed");
    refuse(() => call([4, 4, 4, 0, 0, 13]), "native", "c", "172 are needed");
    refuse(() => call([2, 2, 2, 0, 0, 4], [2, 0, 0, 1]), "native", "write an element twice");
    refuse(() => call([2, 2, 2, 0, 0, 4], [2, 0, 0, 0]), "native", "write an element twice");
  });
}
