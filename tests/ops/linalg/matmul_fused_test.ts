// cdn_matmul_fused itself, with all that it can be asked for: the layers and gradients above use
// but a part of that.
import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  devices,
  type DType,
  linear,
  randn,
  scope,
  type Tensor,
  tensor,
  zeros,
} from "../../../mod.ts";
import { randomFor } from "../../cases.ts";
import { roundoff } from "../../cases/case.ts";
import { cleanTest } from "../../_helpers.ts";
import { fusedActivations } from "../../reference.ts";

const names = devices().map(({ device }) => device);

// By their numbers in cudeno.h.
const { relu, gelu, geluTanh, silu } = fusedActivations;
const activations = [{ of: (x: number) => x, slope: () => 1 }, relu, gelu, geluTanh, silu];

interface Request {
  m: number;
  n: number;
  k: number;
  batch: readonly number[];
  /** Whether a and b have matrices of their own along each axis of the batch. */
  ownA: readonly boolean[];
  ownB: readonly boolean[];
  transA: boolean;
  transB: boolean;
  alpha: number;
  beta: number;
  activation: number;
  dtype: DType;
  out: DType;
  precision: number;
}

type Optional = "z" | "aSums" | "bias" | "residual" | "mask";

const product = (extents: readonly number[]) => extents.reduce((a, b) => a * b, 1);

// The distances from matrix to matrix along the axes of the batch.
function distances(batch: readonly number[], own: readonly boolean[], size: number): number[] {
  const strides = batch.map(() => 0);
  for (let d = batch.length - 1; d >= 0; d--) {
    if (!own[d]) continue;
    strides[d] = size;
    size *= batch[d]!;
  }
  return strides;
}

function call(
  r: Request,
  c: Tensor,
  a: Tensor,
  b: Tensor,
  given: Partial<Record<Optional, Tensor>>,
) {
  const layout = r.batch.flatMap((extent, d) => [
    extent,
    distances(r.batch, r.ownA, r.m * r.k)[d]!,
    distances(r.batch, r.ownB, r.k * r.n)[d]!,
  ]);
  const handle = (name: Optional) => given[name]?.handle ?? 0;
  return c.backend.functions.cdn_matmul_fused(
    ...[c.handle, handle("z"), handle("aSums")] as const,
    ...[a.handle, b.handle, handle("bias"), handle("residual"), handle("mask")] as const,
    BigInt64Array.from(layout, BigInt),
    r.batch.length,
    ...[BigInt(r.m), BigInt(r.n), BigInt(r.k), 0n, 0n, 0n] as const,
    ...[Number(r.transA), Number(r.transB)] as const,
    ...[r.alpha, r.beta, r.activation, a.code, c.code, r.precision, 0] as const,
  );
}

function check(r: Request, wanted: readonly Optional[], random: () => number, device: string) {
  const places = product(r.batch);
  const count = (own: readonly boolean[]) => product(r.batch.filter((_, d) => own[d]));
  const make = (size: number, dtype: DType) =>
    tensor(Float64Array.from({ length: size }, () => random() * 2 - 0.5), {
      dtype,
      device: device as "cpu",
    });
  const a = make(count(r.ownA) * r.m * r.k, r.dtype);
  const b = make(count(r.ownB) * r.k * r.n, r.dtype);
  const size = places * r.m * r.n;
  const c = r.beta === 0 ? make(size, r.out).fill(NaN) : make(size, r.out);
  const sizes = { z: size, aSums: places * r.m, bias: r.n, residual: size, mask: size };
  const given: Partial<Record<Optional, Tensor>> = {};
  for (const name of wanted) {
    given[name] = make(sizes[name], name === "aSums" || name === "bias" ? r.dtype : r.out);
  }
  const read = (x: Tensor | undefined) => (x ? [...x.dataSync()] : undefined);
  const [A, B, before] = [read(a)!, read(b)!, read(c)!];
  const [bias, residual, mask] = [read(given.bias), read(given.residual), read(given.mask)];
  c.backend.check(call(r, c, a, b, given));
  const [found, z, sums] = [read(c)!, read(given.z), read(given.aSums)];

  const what = JSON.stringify([r, wanted, device]);
  const close = (x: number, y: number, size: number, dtype: DType, name: string) => {
    const allowed =
      (2 * roundoff[dtype]! + 16 * roundoff[r.dtype === "float64" ? r.dtype : "float32"]!) *
      Math.max(size, 1);
    assert(Math.abs(x - y) <= allowed, `${name} is ${x}, wanted ${y}: ${what}`);
  };
  const { of, slope } = activations[r.activation]!;
  for (let place = 0; place < places; place++) {
    const offset = (own: readonly boolean[], size: number) => {
      let rest = place;
      let at = 0;
      const strides = distances(r.batch, own, size);
      for (let d = r.batch.length - 1; d >= 0; d--) {
        at += rest % r.batch[d]! * strides[d]!;
        rest = Math.floor(rest / r.batch[d]!);
      }
      return at;
    };
    const [fromA, fromB] = [offset(r.ownA, r.m * r.k), offset(r.ownB, r.k * r.n)];
    const atA = (i: number, p: number) => A[fromA + (r.transA ? p * r.m + i : i * r.k + p)]!;
    const atB = (p: number, j: number) => B[fromB + (r.transB ? j * r.k + p : p * r.n + j)]!;
    for (let i = 0; i < r.m; i++) {
      let rowSum = 0;
      for (let p = 0; p < r.k; p++) rowSum += atA(i, p);
      if (sums) close(sums[place * r.m + i]!, rowSum, Math.abs(rowSum), r.dtype, "a_sums");
      for (let j = 0; j < r.n; j++) {
        const at = (place * r.m + i) * r.n + j;
        let [v, size] = [0, 0];
        for (let p = 0; p < r.k; p++) {
          v += atA(i, p) * atB(p, j);
          size += Math.abs(atA(i, p) * atB(p, j));
        }
        v = r.alpha * v + (r.beta === 0 ? 0 : r.beta * before[at]!) + (bias?.[j] ?? 0);
        size = Math.abs(r.alpha) * size + 4;
        if (z) close(z[at]!, v, size, r.out, "z");
        v = (mask ? v * slope(mask[at]!) : of(v)) + (residual?.[at] ?? 0);
        close(found[at]!, v, size, r.out, "c");
      }
    }
  }
}

const outputs: readonly [DType, DType][] = [
  ["float32", "float32"],
  ["float64", "float64"],
  ["float16", "float16"],
  ["bfloat16", "bfloat16"],
  ["float16", "float32"],
  ["bfloat16", "float32"],
  ["float32", "float16"],
  ["float32", "bfloat16"],
];
const extents = [0, 1, 2, 3, 7, 31, 33, 64, 65];

for (const device of names) {
  for (const [dtype, out] of outputs) {
    cleanTest(`fused products of ${dtype} to ${out} are the formula on ${device}`, () => {
      const random = randomFor(`${dtype} ${out}`);
      const below = (n: number) => Math.floor(random() * n);
      const yes = () => random() < 0.5;
      for (let trial = 0; trial < 150; trial++) {
        const batch = Array.from({ length: below(4) % 3 }, () => 1 + below(3));
        const [m, n, k] = [0, 0, 0].map(() => extents[below(batch.length ? 6 : extents.length)]!);
        const options: readonly Optional[] = ["z", "aSums", "bias", "residual", "mask"];
        check(
          {
            ...{ m: m!, n: trial % 20 === 0 ? 300 : n!, k: k!, batch, dtype, out },
            ...{ ownA: batch.map(yes), ownB: batch.map(yes), transA: yes(), transB: yes() },
            alpha: [1, 1, 0.5, -2][below(4)]!,
            beta: [0, 0, 1, -0.5][below(4)]!,
            activation: below(5),
            precision: below(2), // the exact ones
          },
          options.filter(yes),
          random,
          device,
        );
      }
    });
  }

  // More tiles than a GPU has multiprocessors, and more than one piece of a batch.
  cleanTest(`fused products of many tiles are those in steps on ${device}`, () => {
    const [m, k, n] = device === "cpu" ? [200, 64, 150] : [2100, 300, 1900];
    for (const dtype of ["float32", "bfloat16", "float16"] as const) {
      scope(() => {
        const x = randn([m!, k!], { device }).to(dtype), w = randn([n!, k!], { device }).to(dtype);
        const bias = randn([n!], { device }).to(dtype),
          residual = randn([m!, n!], { device }).to(dtype);
        const fused = linear(x, w, bias, { activation: "relu", residual });
        const exact = (t: Tensor) => t.to("float64");
        const [u, v] = [exact(x), exact(w)];
        const steps = u.matmul(v, { transposeB: true }).add(exact(bias)).relu().add(
          exact(residual),
        );
        // |x| |w| + |bias| + |residual|, about
        const size = u.abs().matmul(v.abs(), { transposeB: true }).add(10);
        const off = exact(fused).sub(steps).abs().div(size).max().itemSync();
        assert(off <= 2 * roundoff[dtype]! + 1e-6, `${dtype}: off by ${off}`);
      });
    }
  });

  cleanTest(`bad requests for fused products are refused on ${device}`, () => {
    const make = (n: number, dtype: DType = "float32") => zeros([n], { dtype, device });
    const [c, a, b] = [make(6), make(8), make(12)];
    const plain: Request = {
      ...{ m: 2, n: 3, k: 4, batch: [], ownA: [], ownB: [], transA: false, transB: false },
      ...{ alpha: 1, beta: 0, activation: 0, dtype: "float32", out: "float32", precision: 0 },
    };
    const refuse = (
      pattern: RegExp,
      request: Partial<Request>,
      given: Partial<Record<Optional | "c", Tensor>> = {},
    ) => {
      const { c: other, ...rest } = given;
      const status = call({ ...plain, ...request }, other ?? c, a, b, rest);
      assert(status !== 0, `${pattern}`);
      let text = "";
      try {
        c.backend.check(status);
      } catch (error) {
        text = (error as Error).message;
      }
      assertMatch(text, pattern);
    };
    refuse(/activation is 5/, { activation: 5 });
    refuse(/activation is -1/, { activation: -1 });
    refuse(/precision is 4/, { precision: 4 });
    refuse(/out_dtype is float64 for operands of float32/, {}, { c: make(6, "float64") });
    refuse(/out_dtype is int32/, {}, { c: make(6, "int32") });
    refuse(/bias: the buffer holds 8 bytes; 12/, {}, { bias: make(2) });
    refuse(/a_sums: the buffer holds 4 bytes; 8/, {}, { aSums: make(1) });
    for (const name of ["z", "residual", "mask"] as const) {
      refuse(new RegExp(`${name}: the buffer holds 20 bytes; 24`), {}, { [name]: make(5) });
      refuse(new RegExp(`${name} overlaps c`), {}, { [name]: c });
    }
    refuse(/a overlaps z/, {}, { z: a });

    assertEquals([...c.dataSync()], [0, 0, 0, 0, 0, 0], "nothing has been changed");
  });
}
