// Scans, sorting and indexing beyond the case table: bad input, faults found on the device, the
// same bits on every run, sizes that are cut into pieces, and the layer.
import { assert, assertEquals } from "@std/assert";
import {
  all,
  any,
  arange,
  argsort,
  cumprod,
  cumsum,
  devices,
  type DType,
  embedding,
  full,
  gather,
  grad,
  indexAdd,
  indexSelect,
  logSumExp,
  manualSeed,
  nn,
  norm,
  oneHot,
  ones,
  prod,
  rand,
  randint,
  randn,
  scatter,
  scatterAdd,
  scope,
  sort,
  std,
  synchronize,
  take,
  type Tensor,
  tensor,
  topK,
  unique,
  uniqueSync,
  variance,
  zeros,
} from "../../../mod.ts";
import { cleanTest, later, refuse } from "../../_helpers.ts";

const found = devices().map(({ device }) => device);
const int = (...values: number[]) => tensor(values, { dtype: "int32" });
const list = (x: Tensor) => Array.from(x.dataSync());

cleanTest("bad input: statistics and scans", () => {
  const a = zeros([2, 3]);
  refuse(() => int(1).variance(), "dtype", "variance", "int32");
  refuse(() => norm(int(1)), "dtype", "norm", "int32");
  refuse(() => logSumExp(int(1)), "dtype", "logSumExp", "int32");
  refuse(() => cumsum(a, 0, { revers: true } as object), "argument", "did you mean reverse?");
  refuse(() => cumprod(a, 2), "shape", "cumprod: axis is 2");
  refuse(() => prod(a, 2), "shape", "prod: axis is 2");
  refuse(() => any(a, [0, -2]), "argument", "any", "one axis twice");
  refuse(() => a.variance(2), "shape", "variance: axis is 2");
  refuse(() => a.std([0, -2]), "argument", "std", "one axis twice");
  refuse(() => cumsum(a, 2), "shape", "cumsum: axis is 2");
  refuse(() => cumsum(a, 0.5), "argument", "axis is 0.5");
  refuse(() => cumsum(tensor(1), 0), "shape", "cumsum");
  refuse(() => variance(a, 0, { correction: NaN }), "argument", "correction is NaN");
  refuse(() => std(a, 0, { corection: 1 } as object), "argument", "did you mean correction?");
  refuse(() => norm(a, 0, { p: NaN }), "argument", "p is NaN");
  refuse(() => norm(a, 0, { p: "fro" as unknown as number }), "argument", 'p is "fro"');
  for (const p of [-1, Infinity, -Infinity]) {
    refuse(() => norm(zeros([0, 3]), 0, { p }), "shape", "norm", "[0, 3]", "no elements");
    assertEquals(norm(zeros([3, 0]), 0, { p }).shape, [0]);
  }
});

cleanTest("bad input: sorting", () => {
  const a = zeros([2, 3]);
  refuse(() => topK(a, 4), "shape", "topK: k is 4", "[2, 3]", "3 elements");
  refuse(() => topK(a, 3, { axis: 0 }), "shape", "k is 3", "2 elements");
  refuse(() => topK(a, 1.5), "argument", "k is 1.5");
  refuse(() => topK(a, -1), "argument", "k is -1");
  refuse(() => topK(a, 1, { axis: 2 }), "shape", "axis is 2");
  refuse(() => topK(a, 1, { larges: true } as object), "argument", "did you mean largest?");
  refuse(() => sort(a, { axis: -3 }), "shape", "sort: axis is -3");
  refuse(() => argsort(tensor(1)), "shape", "argsort");
  refuse(() => sort(3 as unknown as Tensor), "argument", "sort", "found 3");
});

cleanTest("bad input: indexing", () => {
  const a = zeros([2, 3]);
  refuse(() => gather(a, 1, zeros([2, 3])), "dtype", "gather: index", "float32", "int32");
  refuse(() => gather(a, 1, int(0)), "shape", "gather", "[2, 3]", "[1]");
  refuse(() => gather(a, 0, zeros([2, 4], { dtype: "int32" })), "shape", "[2, 4]");
  refuse(() => gather(a, 2, int(0)), "shape", "axis is 2");
  const index = zeros([2, 3], { dtype: "int32" });
  refuse(() => scatterAdd(a, 0, index, zeros([2, 2])), "shape", "scatterAdd", "[2, 3]", "[2, 2]");
  refuse(() => scatterAdd(a, 0, index, ones([2, 3], { dtype: "float64" })), "dtype", "float64");
  refuse(() => scatterAdd(zeros([1], { dtype: "uint8" }), 0, int(0), int(0)), "dtype", "uint8");
  refuse(() => scatter(a, 0, index, zeros([2, 2])), "shape", "scatter", "[2, 3]", "[2, 2]");
  refuse(() => scatter(a, 0, index, undefined as never), "argument", "scatter", "undefined");
  refuse(() => scatter(index, 0, index, 0.5), "dtype", "scatter", "0.5 is no int32");
  refuse(() => take(a, zeros([2])), "dtype", "take: index", "float32");
  refuse(() => uniqueSync(ones([1], { requiresGrad: true })), "gradient", "unique");
  refuse(() => indexSelect(a, 0, index), "shape", "indexSelect", "[2, 3]", "one axis");
  refuse(() => indexSelect(a, 0, zeros([2])), "dtype", "index", "int32");
  refuse(() => indexAdd(a, 0, int(0, 1, 0), a), "shape", "indexAdd", "it must be [3, 3]");
  refuse(() => embedding(int(0), zeros([3])), "shape", "embedding", "[3]", "[num, dim]");
  refuse(() => embedding(zeros([1]), a), "dtype", "embedding: index", "float32");
  refuse(() => embedding(int(0), a, { paddingIndex: 2 }), "argument", "paddingIndex is 2", "-2..1");
  refuse(() => embedding(int(0), a, { paddingIndex: -3 }), "argument", "paddingIndex is -3");
  refuse(() => oneHot(int(0), 0), "argument", "classes is 0");
  refuse(() => oneHot(zeros([1]), 3), "dtype", "oneHot", "float32");
  refuse(() => oneHot(int(0), 3, { dtype: "int64" as DType }), "dtype", "int64");
  refuse(() => new nn.Embedding(0, 3), "argument", "num is 0");
  refuse(() => new nn.Embedding(3, 3, { paddingIndex: 3 }), "argument", "paddingIndex is 3");
});

for (const device of found) {
  cleanTest(
    `a bad index is left out and reported by the next read on ${device}, once`,
    async () => {
      const x = tensor([[1, 2], [3, 4], [5, 6]], { device });
      const at = (...values: number[]) => tensor(values, { dtype: "int32", device });
      const src = ones([3, 2], { device });
      const nines = full([3, 2], 9, { device });
      const column = (index: Tensor) => index.reshape([3, 1]).broadcastTo([3, 2]);
      const ops: [name: string, op: (index: Tensor) => Tensor, wanted: number[]][] = [
        ["gather", (i) => gather(x, 0, column(i)), [5, 6, 0, 0, 3, 4]],
        ["gather", (i) => indexSelect(x, 0, i), [5, 6, 0, 0, 3, 4]],
        ["take", (i) => take(x.select(1, 0), i), [5, 0, 3]],
        ["embedding", (i) => embedding(i, x), [5, 6, 0, 0, 3, 4]],
        ["scatter", (i) => scatter(x, 0, column(i), nines), [1, 2, 9, 9, 9, 9]],
        ["scatter", (i) => scatter(x, 0, column(i), 9), [1, 2, 9, 9, 9, 9]],
        ["scatterAdd", (i) => scatterAdd(x, 0, column(i), src), [1, 2, 4, 5, 6, 7]],
        ["indexAdd", (i) => indexAdd(x, 0, i, src), [1, 2, 4, 5, 6, 7]],
        ["oneHot", (i) => oneHot(i, 3), [0, 0, 1, 0, 0, 0, 0, 1, 0]],
      ];
      for (const [name, op, wanted] of ops) {
        const fromEnd = name !== "embedding" && name !== "oneHot";
        for (const bad of [fromEnd ? -4 : -1, 3, 2 ** 31 - 1, -(2 ** 31)]) {
          // With CUDENO_SYNC=1 the call itself reports it, and there is no result to look at.
          let y: Tensor | undefined;
          const range = fromEnd ? "in -3..2" : "in 0..2";
          refuse(() => (y = op(at(2, bad, 1))).dataSync(), "index", name, `is ${bad};`, range);
          if (y) assertEquals(list(y), wanted, name);
          await synchronize(device);
        }
      }
    },
  );

  // Few places, one place, all in a row, at random; and sizes on either side of where work is cut.
  cleanTest(`sums by index repeat bit by bit and are right on ${device}`, () => {
    manualSeed(1);
    for (
      const [n, places] of [[4095, 7], [4097, 1], [300_001, 1], [300_001, 5000], [
        2_000_003,
        100_000,
      ]]
    ) {
      scope(() => {
        const src = randn([n!], { device });
        const index = randint(0, places!, [n!], { device });
        const base = randn([places!], { device });
        const once = scatterAdd(base, 0, index, src).dataSync();
        assertEquals(scatterAdd(base, 0, index, src).dataSync(), once);
        const wanted = Float64Array.from(base.dataSync());
        const [terms, at] = [src.dataSync(), index.dataSync()];
        for (let i = 0; i < n!; i++) wanted[at[i]!]! += terms[i]!;
        wanted.forEach((sum, i) => {
          assert(
            Math.abs(once[i]! - sum) <= 2 ** -23 * Math.abs(sum) + 1e-9,
            `${n} ${places} ${i}`,
          );
        });
        // The rows of a matrix, by the same index.
        const rows = indexAdd(base.reshape([places!, 1]), 0, index, src.reshape([n!, 1]))
          .dataSync();
        assertEquals(rows, once);
      });
    }
  });

  // What lies together, far apart and all in one place; as small, as large and as special as floats
  // get.
  cleanTest(`sums by index take any float on ${device}`, () => {
    const [n, places] = [2 ** 16 + 3, 5003];
    const largest = 2 ** 127 * (2 - 2 ** -23);
    const specials = [
      [Infinity, 1],
      [Infinity, -Infinity],
      [-Infinity, -1],
      [NaN, Infinity],
      [
        ...[-0, -0],
      ],
      [-0, 0],
      [largest, largest],
      [2 ** -149, -(2 ** -148)],
      [1, -1],
      [2 ** -60, 2 ** 60],
      [],
    ];
    const base = new Float32Array(places).map((_, i) => i < specials.length ? -0 : i);
    const few = places - specials.length;
    const spreads: ((i: number) => number)[] = [
      (i) => i * 7919 % few,
      (i) => Math.floor(i * few / n),
      (i) => i % 3,
      () => few - 1,
    ];
    for (const spread of spreads) {
      const at = new Int32Array(n).map((_, i) => specials.length + spread(i));
      const src = new Float32Array(n).map((_, i) => (i % 19 - 9) * 2 ** (i * 31 % 200 - 120));
      specials.flatMap((values, place) => values.map((value) => ({ place, value }))).forEach(
        ({ place, value }, i) => {
          at[i * 2000] = place;
          src[i * 2000] = value;
        },
      );
      const wanted = Float64Array.from(base), sizes = Float64Array.from(base);
      at.forEach((place, i) => {
        wanted[place]! += src[i]!;
        sizes[place]! += Math.abs(src[i]!);
      });
      scope(() => {
        const y = scatterAdd(
          tensor(base, { device }),
          0,
          tensor(at, { device }),
          tensor(src, { device }),
        ).dataSync();
        wanted.forEach((sum, i) => {
          const rounded = Math.fround(sum), error = Math.abs(y[i]! - rounded);
          const near = error <= 2 ** -23 * Math.abs(sum) + 2 ** -40 * sizes[i]!;
          assert(Object.is(y[i], rounded) || near, `${i}: ${y[i]}, not ${rounded}`);
        });
        assert(specials.every((_, i) => (wanted[i] === 0) <= Object.is(y[i], wanted[i])));
      });
    }
  });

  cleanTest(`rows by index repeat bit by bit and are right on ${device}`, () => {
    manualSeed(2);
    const [n, places, cols] = [20_011, 300, 65];
    const src = randn([n, cols], { device });
    const index = randint(0, places, [n], { device });
    const once = indexAdd(zeros([places, cols], { device }), 0, index, src).dataSync();
    assertEquals(indexAdd(zeros([places, cols], { device }), 0, index, src).dataSync(), once);
    const wanted = new Float64Array(places * cols);
    const [terms, at] = [src.dataSync(), index.dataSync()];
    for (let i = 0; i < n * cols; i++) {
      wanted[at[Math.floor(i / cols)]! * cols + i % cols]! += terms[i]!;
    }
    wanted.forEach((sum, i) =>
      assert(Math.abs(once[i]! - sum) <= 1e-5 * Math.max(1, Math.abs(sum)))
    );
  });

  cleanTest(`long cumulative sums are right on ${device}`, () => {
    manualSeed(3);
    for (const shape of [[3_000_017], [5, 600_011], [600_011, 3], [3, 70_001, 9]]) {
      scope(() => {
        const x = rand(shape, { device, low: -1 });
        const axis = shape.length === 3 ? 1 : shape[0]! > 5 ? 0 : 1;
        const once = cumsum(x, axis).dataSync();
        assertEquals(cumsum(x, axis).dataSync(), once);
        const values = x.dataSync();
        const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
        const block = shape[axis]! * inner;
        for (let start = 0; start < values.length; start += block) {
          for (let i = start; i < start + inner; i++) {
            let sum = 0;
            for (let at = i; at < start + block; at += inner) {
              sum += values[at]!;
              if (Math.abs(once[at]! - sum) > 1e-6 * Math.max(1, Math.abs(sum))) {
                throw new Error(`${shape}: element ${at} is ${once[at]}, not ${sum}`);
              }
            }
          }
        }
      });
    }
  });

  cleanTest(`long sorts are right and stable on ${device}`, () => {
    manualSeed(4);
    const inputs: [shape: number[], dtype: DType][] = [
      [[1_500_007], "float32"],
      [[300_007], "float64"],
      [[300_007], "bfloat16"],
      [[3, 100_003], "int32"],
      [[700, 300], "float32"],
      [[30_001, 10], "float32"],
      [[5, 5000], "float64"],
      [[70_001], "uint8"],
    ];
    for (const [shape, dtype] of inputs) {
      scope(() => {
        const fine = randn(shape, { device, dtype: "float32", std: 50 });
        // A third of the elements are whole numbers, of which many are equal.
        const x = fine.to("int32").to("float32").maximum(fine.sub(20)).to(dtype);
        const values = x.dataSync();
        const cols = shape.at(-1)!;
        for (const descending of [false, true]) {
          const sorted = sort(x, { descending });
          const [got, indices] = [sorted.values.dataSync(), sorted.indices.dataSync()];
          for (let i = 0; i < values.length; i++) {
            const row = i - i % cols;
            if (got[i] !== values[row + indices[i]!]) throw new Error(`${shape}: value ${i}`);
            if (i === row) continue;
            const [a, b] = descending ? [got[i]!, got[i - 1]!] : [got[i - 1]!, got[i]!];
            const ordered = a < b || a === b && indices[i - 1]! < indices[i]!;
            if (!ordered) throw new Error(`${shape} ${dtype}: elements ${i - 1} and ${i}`);
          }
          const k = Math.min(cols, 9);
          const top = topK(x, k, { largest: descending });
          const first = (from: ArrayLike<number>) =>
            Array.from(
              { length: values.length / cols * k },
              (_, i) => from[Math.floor(i / k) * cols + i % k]!,
            );
          assertEquals(list(top.values), first(got));
          assertEquals(list(top.indices), first(indices));
        }
      });
    }
  });
}

cleanTest("gradients: of norms and deviations of 0, and the padding row, are 0", () => {
  const gradients = (fn: (x: Tensor) => Tensor, values: number[][]) => {
    const x = tensor(values, { dtype: "float64", requiresGrad: true });
    const [first] = grad(fn(x).sum(), [x]);
    const [again] = grad(fn(x).sum(), [x], { createGraph: true });
    assertEquals(list(again!.detach()).map(Math.fround), list(first!).map(Math.fround));
    return list(first!).map((g) => Math.fround(g) + 0);
  };
  const half = Math.fround(Math.SQRT1_2);
  assertEquals(gradients((x) => std(x, 1), [[2, 2], [0, 2]]), [0, 0, -half, half]);
  assertEquals(gradients((x) => norm(x, 1), [[0, 0], [0, -2]]), [0, 0, 0, -1]);
  assertEquals(gradients((x) => norm(x, 1, { p: 1 }), [[0, 0], [0, -2]]), [0, 0, 0, -1]);
  assertEquals(gradients((x) => norm(x, 1, { p: 3 }), [[0, 0], [0, -2]]), [0, 0, 0, -1]);
  assertEquals(gradients((x) => norm(x, 1, { p: 0 }), [[0, 0], [0, -2]]), [0, 0, 0, 0]);
  const infinite = { p: Infinity };
  assertEquals(gradients((x) => norm(x, 1, infinite), [[3, -3], [0, -2]]), [0.5, -0.5, 0, -1]);
  const none = gradients((x) => logSumExp(x, 1), [[-Infinity, -Infinity], [0, -Infinity]]);
  assertEquals(none, [0, 0, 1, 0]);
  const padded = (x: Tensor) => embedding(int(1, 0, 1), x, { paddingIndex: 0 });
  assertEquals(gradients(padded, [[1, 2], [3, 4]]), [0, 0, 2, 2]);
});

cleanTest("nn.Embedding: shapes, key, initialisation and the padding row as in PyTorch", () => {
  manualSeed(5);
  const layer = later(new nn.Embedding(1000, 64, { paddingIndex: -1 }));
  assertEquals(Object.keys(layer.stateDict()), ["weight"]);
  assertEquals(layer.weight.shape, [1000, 64]);
  assertEquals(layer.paddingIndex, 999);
  assertEquals(layer.describe(), "Embedding(1000, 64, { paddingIndex: 999 })");
  const start = layer.weight.view(0, [999, 64]);
  assert(Math.abs(start.mean().itemSync()) < 0.02);
  assert(Math.abs(start.std().itemSync() - 1) < 0.02);
  assertEquals(norm(layer.weight.view(999 * 64, [64])).itemSync(), 0);
  const index = tensor([[3, 999, 3], [0, 1, 999]], { dtype: "int32" });
  const y = layer.forward(index);
  assertEquals(y.shape, [2, 3, 64]);
  y.sum().backward();
  const counts = list(layer.weight.grad!.sum(1));
  later(layer.weight.grad!);
  assertEquals([counts[0], counts[1], counts[3], counts[999]], [64, 64, 128, 0]);
  assertEquals(counts.reduce((a, b) => a + b), 256);
  assertEquals(later(new nn.Embedding(5, 3)).paddingIndex, null);
});

for (const device of found) {
  cleanTest(`unique() of floats, whole numbers and nothing on ${device}`, async () => {
    const x = tensor([[3, NaN, 1, 3], [-0, 0, NaN, -Infinity]], { device });
    const { values, inverse, counts } = await unique(x);
    assertEquals(list(values), [-Infinity, 0, 1, 3, NaN, NaN]);
    assertEquals([inverse.shape, inverse.dtype, counts.dtype], [[2, 4], "int32", "int32"]);
    assertEquals(list(inverse), [3, 4, 2, 3, 1, 1, 5, 0]);
    assertEquals(list(counts), [1, 2, 1, 2, 1, 1]);
    for (const dtype of ["int32", "uint8", "float16"] as const) {
      const y = tensor([200, 7, 7, 200, 7], { dtype, device });
      const found = y.uniqueSync();
      assertEquals([found.values.dtype, ...list(found.values)], [dtype, 7, 200]);
      assertEquals([list(found.inverse), list(found.counts)], [[1, 0, 0, 1, 0], [3, 2]]);
    }
    for (const shape of [[0], [2, 0]]) {
      const none = uniqueSync(zeros(shape, { device }));
      assertEquals([none.values.shape, none.inverse.shape, none.counts.shape], [[0], shape, [0]]);
    }
    const one = uniqueSync(tensor(5, { device }));
    assertEquals([list(one.values), one.inverse.shape, list(one.counts)], [[5], [], [1]]);
    // Many, against a set.
    const many = randint(0, 1000, [100_003], { device });
    const all = uniqueSync(many), sorted = [...new Set(list(many))].sort((a, b) => a - b);
    assertEquals(list(all.values), sorted);
    assertEquals(list(all.values.indexSelect(0, all.inverse)), list(many));
    assertEquals(all.counts.sum().itemSync(), 100_003);
  });

  cleanTest(`scatter(): of many that meet in one place the last one stays, on ${device}`, () => {
    const [n, places] = [50_021, 97];
    const index = randint(0, places, [n], { device }), src = arange(n, undefined, 1, { device });
    const wanted = new Array<number>(places).fill(-1);
    list(index).forEach((place, i) => wanted[place] = i);
    assertEquals(list(scatter(full([places], -1, { device }), 0, index, src)), wanted);
  });
}

// Where PyTorch has the same answers.
cleanTest("truth, sums and products of no elements, and of masks", () => {
  assertEquals([all(zeros([0])).itemSync(), any(zeros([0])).itemSync()], [1, 0]);
  assertEquals(list(all(zeros([0, 2]), 0)), [1, 1]);
  assertEquals([prod(zeros([0])).itemSync(), prod(zeros([2, 0]), 1).shape], [1, [2]]);
  const mask = ones([300]).gt(0);
  assertEquals([mask.sum().dtype, mask.sum().itemSync()], ["int32", 300]);
  assertEquals([any(mask).dtype, prod(mask).itemSync()], ["uint8", 1]);
});
