// Attention of random sizes and options against the same of operations in float64, with gradients;
// and what must not be looked at.
import { assert, assertEquals } from "@std/assert";
import {
  type AttentionOptions,
  devices,
  type DType,
  eye,
  full,
  grad,
  manualSeed,
  noGrad,
  rand,
  randn,
  scaledDotProductAttention,
  type Tensor,
  tensor,
  where,
} from "../../../mod.ts";
import { cleanTest } from "../../_helpers.ts";

type Three = [Tensor, Tensor, Tensor];

// Whole numbers from low to high, the same in each run.
function generator(seed: number) {
  let state = seed;
  return (low: number, high: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return low + Math.floor(state / 2 ** 32 * (high - low + 1));
  };
}

interface Drawn {
  readonly shapes: readonly number[][];
  readonly options: AttentionOptions;
  readonly lengths: readonly number[] | undefined;
  readonly mask: { readonly shape: number[]; readonly bits: boolean } | undefined;
}

function draw(n: (low: number, high: number) => number): Drawn {
  const size = () => [n(1, 8), n(30, 34), n(60, 70), n(120, 135)][n(0, 3)]!;
  const [batch, kvHeads, group] = [n(1, 2), n(1, 2), n(1, 3)];
  const [queries, keys, features, out] = [size(), size(), n(1, 70), n(1, 70)];
  const limit = () => n(0, 2) === 0 ? Infinity : n(0, 40);
  const one = (x: number) => n(0, 2) === 0 ? 1 : x;
  const shape = [one(batch), one(kvHeads * group), one(queries), one(keys)];
  return {
    shapes: [
      [batch, kvHeads * group, queries, features],
      [batch, kvHeads, keys, features],
      [batch, kvHeads, keys, out],
    ],
    options: {
      causal: n(0, 1) === 1,
      ...(n(0, 1) === 1 ? { window: [limit(), limit()] as const } : {}),
      offset: [0, n(-20, 20), "end" as const][n(0, 2)]!,
      scale: n(1, 20) / 20,
    },
    lengths: n(0, 2) === 0 ? Array.from({ length: batch }, () => n(0, keys + 3)) : undefined,
    mask: n(0, 1) === 1 ? { shape, bits: n(0, 1) === 1 } : undefined,
  };
}

// 1 where the options let a query see a key: [batch, 1, queries, keys].
function seen({ shapes, options, lengths }: Drawn): Tensor {
  const [[batch, , queries], [, , keys]] = shapes as [number[], number[]];
  const [left, right] = options.window ?? [Infinity, Infinity];
  const bits = [];
  for (let b = 0; b < batch!; b++) {
    const length = Math.min(lengths?.[b] ?? keys!, keys!);
    const offset = options.offset === "end" ? length - queries! : options.offset!;
    for (let i = 0; i < queries!; i++) {
      for (let j = 0; j < keys!; j++) {
        const beyond = j - i - offset, most = options.causal ? Math.min(right, 0) : right;
        bits.push(Number(j < length && beyond >= -left && beyond <= most));
      }
    }
  }
  return tensor(bits, { dtype: "uint8", device: "cpu" }).reshape([batch!, 1, queries!, keys!]);
}

function composed([q, k, v]: Three, drawn: Drawn, mask: Tensor | undefined): Tensor {
  const [batch, heads, queries] = q.shape as [number, number, number];
  const [, kvHeads, keys] = k.shape as [number, number, number];
  const repeated = (x: Tensor) => {
    const [rows, columns] = x.shape.slice(-2) as [number, number];
    const each = [batch, kvHeads, heads / kvHeads, rows, columns];
    return x.unsqueeze(2).broadcastTo(each).reshape([batch, heads, rows, columns]);
  };
  let scores = q.matmul(repeated(k), { transposeB: true }).mul(drawn.options.scale!);
  let see = seen(drawn).broadcastTo([batch, heads, queries, keys]);
  if (mask?.dtype === "uint8") see = see.mul(mask);
  else if (mask) scores = scores.add(mask);
  scores = where(see, scores, -1e30);
  const powers = where(see, scores.sub(scores.detach().max(-1, { keepDims: true })).exp(), 0);
  const sums = powers.sum(-1, { keepDims: true });
  return powers.div(sums.maximum(1e-300)).matmul(repeated(v));
}

function assertNear(found: Tensor, wanted: Tensor, tolerance: number, what: string) {
  assertEquals(found.shape, wanted.shape, what);
  if (found.size === 0) return;
  const largest = wanted.abs().max().itemSync();
  const off = found.to("cpu").to("float64").sub(wanted).abs().max().itemSync();
  assert(off <= tolerance * Math.max(largest, 1), `${what}: off by ${off} of ${largest}`);
}

for (const { device } of devices()) {
  for (const [dtype, tolerance] of [["float64", 1e-12], ["float32", 1e-5]] as const) {
    cleanTest(`attention: 200 random sizes and options, ${dtype} on ${device}`, () => {
      const n = generator(7);
      manualSeed(7);
      for (let i = 0; i < 200; i++) {
        const drawn = draw(n);
        const own = drawn.shapes.map((shape) =>
          randn(shape, { dtype, device: "cpu", requiresGrad: true })
        );
        const mask = drawn.mask &&
          (drawn.mask.bits
            ? rand(drawn.mask.shape, { device: "cpu" }).gt(0.4)
            : randn(drawn.mask.shape, { dtype, device: "cpu", requiresGrad: true }));
        const given = [...own, ...(mask ? [mask] : [])];
        const leaf = (x: Tensor, dtype: DType) => {
          const made = x.detach().to(x.dtype === "uint8" ? "uint8" : dtype).to(device).detach();
          made.requiresGrad = made.dtype !== "uint8";
          return made;
        };
        const [q, k, v, m] = given.map((x) => leaf(x, dtype)) as [...Three, Tensor?];
        const keyLengths = drawn.lengths && tensor(drawn.lengths, { dtype: "int32", device });
        const y = scaledDotProductAttention(q, k, v, { ...drawn.options, mask: m, keyLengths });
        const wide = given.map((x) => {
          const made = x.detach().to(x.dtype === "uint8" ? "uint8" : "float64").detach();
          made.requiresGrad = made.dtype !== "uint8";
          return made;
        });
        const wanted = composed(wide.slice(0, 3) as Three, drawn, wide[3]);
        const what = JSON.stringify(drawn);
        assertNear(y.detach(), wanted.detach(), tolerance, what);
        const dy = randn(y.shape, { dtype, device: "cpu" });
        const asked = <X extends Tensor>(x: (X | undefined)[]) =>
          x.filter((x) => x?.requiresGrad) as X[];
        const found = grad(y, asked([q, k, v, m]), { gradOutputs: dy.to(device) });
        const right = grad(wanted, asked(wide), { gradOutputs: dy.to("float64") });
        found.forEach((x, i) =>
          assertNear(x, right[i]!, tolerance * 4, `gradient ${i} of ${what}`)
        );
      }
    });
  }

  cleanTest(
    `attention: dropout leaves the weights that it leaves in gradients on ${device}`,
    () => {
      for (const [queries, keys] of [[1, 16], [65, 130], [33, 17]] as const) {
        const made = (rows: number, heads: number) =>
          randn([2, heads, rows, 8], { dtype: "float64", device, requiresGrad: true });
        const [q, k] = [made(queries, 4), made(keys, 2)];
        const dropped = (v: Tensor, dropout = 0.25) => {
          manualSeed(5);
          return scaledDotProductAttention(q, k, v, { dropout });
        };
        const one = eye(keys, keys, { dtype: "float64", device }).broadcastTo([2, 2, keys, keys]);
        const [all, some] = noGrad(() => [dropped(one, 0).dataSync(), dropped(one).dataSync()]);
        let gone = 0;
        all.forEach((weight, i) => {
          if (some[i] === 0) gone++;
          else assert(Math.abs(some[i]! - weight / 0.75) < 1e-12);
        });
        assert(Math.abs(gone / all.length - 0.25) < 3 / Math.sqrt(all.length));
        const v = made(keys, 2);
        const [fused, ops] = [false, true].map((createGraph) =>
          grad(dropped(v).mul(2).sum(), [q, k, v], { createGraph })
        );
        fused!.forEach((x, i) => assertNear(x, ops![i]!.detach().to("cpu"), 1e-12, `input ${i}`));
      }
      const x = randn([3, 4], { device });
      const none = scaledDotProductAttention(x, x, x, { dropout: 1 });
      assertEquals([...none.dataSync()], new Array(12).fill(0));
    },
  );

  cleanTest(`attention: few queries and many keys, which GPUs share out, on ${device}`, () => {
    for (const [dtype, tolerance] of [["float32", 1e-5], ["bfloat16", 2e-2]] as const) {
      for (const [queries, keys] of [[1, 5000], [3, 2049], [70, 4000]] as const) {
        const made = (rows: number, heads: number) =>
          randn([2, heads, rows, 64], { device }).to(dtype).detach();
        const given = [made(queries, 4), made(keys, 2), made(keys, 2)] as Three;
        const keyLengths = tensor([keys - 700, 0], { dtype: "int32", device });
        for (const options of [{}, { causal: true, offset: "end" as const }, { keyLengths }]) {
          const y = scaledDotProductAttention(...given, options);
          const exact = given.map((x) => x.to("float64")) as Three;
          const wanted = scaledDotProductAttention(...exact, options).to("cpu");
          assertNear(y, wanted, tolerance, `${dtype} ${queries} ${keys}`);
        }
      }
    }
  });

  cleanTest(`attention: dropout is the same in every dtype, forward and back, on ${device}`, () => {
    const near = { float32: 1e-5, bfloat16: 2e-2, float16: 3e-3 } as const;
    for (const [dtype, tolerance] of Object.entries(near) as [keyof typeof near, number][]) {
      for (
        const [queries, keys, features, causal] of [[130, 200, 64, false], [
          70,
          70,
          128,
          true,
        ]] as const
      ) {
        const made = (rows: number, heads: number) =>
          randn([2, heads, rows, features], { device }).to(dtype).detach();
        const given = [made(queries, 4), made(keys, 2), made(keys, 2)];
        const dy = made(queries, 4);
        const [own, exact] = [dtype, "float64" as const].map((dtype) => {
          const leaves = given.map((x) => {
            const leaf = x.to(dtype).detach();
            leaf.requiresGrad = true;
            return leaf;
          }) as Three;
          manualSeed(5);
          const y = scaledDotProductAttention(...leaves, { dropout: 0.3, causal });
          return [y, ...grad(y, leaves, { gradOutputs: dy.to(dtype) })];
        });
        own!.forEach((x, i) =>
          assertNear(x.detach(), exact![i]!.detach().to("cpu"), tolerance, `${dtype}, ${i}`)
        );
      }
    }
  });

  // 16-bit floats of features around the sizes of tiles, which kernels clear of what is hidden.
  const sizes = { float32: [8], float16: [8, 72], bfloat16: [40, 136] } as const;
  const hidden = Object.entries(sizes).flatMap(([dtype, of]) => of.map((n) => [dtype, n] as const));
  for (const [dtype, features] of hidden) {
    cleanTest(
      `attention: hidden keys and values may be NaN, ${dtype} ${features} on ${device}`,
      () => {
        const shape = [2, 2, 70, features];
        const clean = [0, 1, 2].map(() => randn(shape, { device, dtype: dtype as DType })) as Three;
        const rows = tensor(Array.from({ length: 70 }, (_, i) => Number(i < 50)), {
          dtype: "uint8",
        });
        const kept = rows.reshape([70, 1]).to(device);
        const dirty = clean.map((x, i) => i === 0 ? x : where(kept, x, NaN)) as Three;
        const lengths = tensor([50, 50], { dtype: "int32", device });
        const bits = kept.reshape([70]);
        const minus = where(bits, 0, full([70], -Infinity, { device }));
        for (const options of [{ keyLengths: lengths }, { mask: bits }, { mask: minus }]) {
          const results = [clean, dirty].map((of) => {
            const inputs = of.map((x) => {
              const own = x.clone();
              own.requiresGrad = true;
              return own;
            }) as Three;
            const y = scaledDotProductAttention(...inputs, options);
            return [y.detach(), ...grad(y.sum(), inputs)];
          });
          results[0]!.forEach((x, i) =>
            assertEquals([...results[1]![i]!.dataSync()], [...x.dataSync()])
          );
        }
      },
    );
  }
}
