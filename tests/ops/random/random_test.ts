import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import {
  arange,
  ArgumentError,
  devices,
  DTypeError,
  manualSeed,
  multinomial,
  rand,
  randint,
  randn,
  scope,
  type Tensor,
  tensor,
  zeros,
} from "../../../mod.ts";
import { permutation, philox, takeRandom } from "../../../lib/core/random.ts";
import { cleanTest, refuse } from "../../_helpers.ts";
import { randomFor } from "../../cases.ts";

const names = devices().map(({ device }) => device);

// Philox4x32-10 from the paper's formulas (Salmon et al. 2011), with the whole counter.
function philoxByFormula(counter: readonly bigint[], key: readonly bigint[]): bigint[] {
  const mask = 0xffffffffn;
  let [x0, x1, x2, x3] = counter as [bigint, bigint, bigint, bigint];
  let [k0, k1] = key as [bigint, bigint];
  for (let round = 0; round < 10; round++) {
    const [p0, p1] = [0xd2511f53n * x0, 0xcd9e8d57n * x2];
    [x0, x1, x2, x3] = [(p1 >> 32n) ^ x1 ^ k0, p1 & mask, (p0 >> 32n) ^ x3 ^ k1, p0 & mask];
    [k0, k1] = [(k0 + 0x9e3779b9n) & mask, (k1 + 0xbb67ae85n) & mask];
  }
  return [x0, x1, x2, x3];
}

// From Random123's kat_vectors: counter, key, result.
const known = [
  ["00000000 00000000 00000000 00000000", "00000000 00000000"],
  ["ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff"],
  ["243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0"],
].map((pair) => pair.map((words) => words.split(" ").map((word) => BigInt(`0x${word}`))));
const answers = [
  "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
  "408f276d 41c83b0e a20bc7c6 6d5451fd",
  "d16cfe09 94fdcceb 5001e420 24126ea1",
];

Deno.test("Philox: the formula used here gives Random123's known answers", () => {
  const found = known.map(([counter, key]) =>
    philoxByFormula(counter!, key!).map((word) => word.toString(16).padStart(8, "0")).join(" ")
  );
  assertEquals(found, answers);
});

// A block's counter is {low word, high word, 0, 0} of its number, and its key the seed's words.
const block = (seed: bigint, counter: bigint) =>
  philoxByFormula([counter & 0xffffffffn, counter >> 32n, 0n, 0n], [
    seed & 0xffffffffn,
    seed >> 32n,
  ])
    .map(Number);

Deno.test("philox() matches the formula for seeds and counters of every length", () => {
  const random = randomFor("philox");
  const bits = (n: number) => BigInt(Math.floor(random() * 2 ** n));
  assertEquals(philox(0n, 0n), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
  for (let i = 0; i < 200; i++) {
    const [seed, counter] = [bits(i % 54), bits(53 - i % 54)];
    assertEquals(philox(seed, counter), block(seed, counter) as ReturnType<typeof philox>);
  }
  const most = 2n ** 64n - 1n;
  assertEquals(philox(most, most), block(most, most) as ReturnType<typeof philox>);
});

// The words that follow manualSeed(seed), `skip` blocks on.
function words(seed: number, count: number, skip = 0): number[] {
  const blocks = Array.from(
    { length: Math.ceil(count / 4) },
    (_, i) => philox(BigInt(seed), BigInt(skip + i)),
  );
  return blocks.flat().slice(0, count);
}

const sizes = [0, 1, 2, 3, 4, 5, 31, 33, 1023, 1025, 40_003];

for (const device of names) {
  Deno.test(`randint() draws Philox's words on ${device}`, () => {
    for (const seed of [0, 7, 2 ** 32 + 5, Number.MAX_SAFE_INTEGER]) {
      for (const n of sizes) {
        for (const [low, high] of [[0, 10], [-3, -2], [-(2 ** 31), 2 ** 31 - 1]] as const) {
          manualSeed(seed);
          const found = scope(() => randint(low, high, [n], { device }).dataSync());
          const range = BigInt(high - low);
          const wanted = words(seed, n).map((w) => low + Number((BigInt(w) * range) >> 32n));
          assertEquals([...found], wanted);
          if (n > 1025) break; // BigInt is slow
        }
      }
    }
  });

  Deno.test(`rand() draws Philox's words on ${device}`, () => {
    for (const seed of [0, 2 ** 32 + 5]) {
      for (const n of sizes) {
        manualSeed(seed);
        const single = scope(() => rand([n], { device }).dataSync());
        assertEquals([...single], words(seed, n).map((w) => (w >>> 8) / 2 ** 24));
        manualSeed(seed);
        const double = scope(() => rand([n], { device, dtype: "float64" }).dataSync());
        const w = words(seed, 2 * n);
        const wanted = Array.from(
          { length: n },
          (_, i) => (w[2 * i]! * 2 ** 21 + (w[2 * i + 1]! >>> 11)) / 2 ** 53,
        );
        assertEquals([...double], wanted);
      }
    }
  });

  Deno.test(`randn() is Box and Muller's transform of Philox's words on ${device}`, () => {
    for (const n of sizes) {
      manualSeed(3);
      const found = scope(() => randn([n], { device, mean: 5, std: 2 }).dataSync());
      const u = words(3, 4 * Math.ceil(n / 4)).map((w) => (w >>> 8) / 2 ** 24);
      found.forEach((x, i) => {
        const [a, b] = [u[i - i % 2]!, u[i - i % 2 + 1]!];
        const turn = (i % 2 ? Math.sin : Math.cos)(2 * Math.PI * b);
        const wanted = 5 + 2 * Math.sqrt(-2 * Math.log(1 - a)) * turn;
        assert(Math.abs(x - wanted) < 1e-5, `element ${i} of ${n} is ${x}, not ${wanted}`);
      });
    }
  });

  Deno.test(`calls draw from blocks of their own on ${device}`, () => {
    manualSeed(11);
    scope(() => {
      rand([5], { device }); // two blocks, the second one used in part
      const second = randint(0, 2 ** 31 - 1, [4], { device }).dataSync();
      rand([3], { device, dtype: "float64" }); // two blocks: a float64 takes two words
      const fourth = rand([4], { device }).dataSync();
      const range = 2n ** 31n - 1n;
      const wanted = words(11, 4, 2).map((w) => Number((BigInt(w) * range) >> 32n));
      assertEquals([...second], wanted);
      assertEquals([...fourth], words(11, 4, 5).map((w) => (w >>> 8) / 2 ** 24));
    });
    assertEquals(takeRandom(0).offset, 6n);
  });

  Deno.test(`the same seed gives the same numbers, another seed others, on ${device}`, () => {
    const draw = (seed: number) => {
      manualSeed(seed);
      return scope(() =>
        [rand([9], { device }), randn([9], { device })].map((x) => [...x.dataSync()])
      );
    };
    assertEquals(draw(1), draw(1));
    assertNotEquals(draw(1), draw(2));
    assertNotEquals(draw(1), draw(1 + 2 ** 32));
    const [uniform, normal] = draw(1);
    assertNotEquals(uniform, normal);
  });
}

/**
 * The largest distance between a sample's distribution and the one that it should have (Kolmogorov,
 * Smirnov).
 */
function distance(sample: ArrayLike<number>, distribution: (x: number) => number): number {
  const sorted = Float64Array.from(sample).sort();
  return sorted.reduce((worst, x, i) => {
    const p = distribution(x);
    return Math.max(worst, p - i / sorted.length, (i + 1) / sorted.length - p);
  }, 0);
}

/** The normal distribution (Abramowitz and Stegun 7.1.26, to 1e-7). */
function normal(x: number): number {
  const z = Math.abs(x) / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * z);
  const poly = [1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592]
    .reduce((sum, c) => sum * t + c, 0) * t;
  const erf = 1 - poly * Math.exp(-z * z);
  return x < 0 ? (1 - erf) / 2 : (1 + erf) / 2;
}

function moments(sample: ArrayLike<number>) {
  const values = Array.from(sample);
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const central = (k: number) => values.reduce((a, b) => a + (b - mean) ** k, 0) / values.length;
  const variance = central(2);
  return {
    mean,
    variance,
    skewness: central(3) / variance ** 1.5,
    kurtosis: central(4) / variance ** 2,
  };
}

const n = 100_001;
const critical = 1.95 / Math.sqrt(n); // a true sample is further off once in a thousand times

for (const dtype of ["float32", "float64"] as const) {
  Deno.test(`rand() is uniform in [low, high), ${dtype}`, () => {
    manualSeed(5);
    const x = scope(() => rand([n], { dtype, low: -2, high: 6 }).dataSync());
    assert(x.every((v) => v >= -2 && v < 6));
    const { mean, variance } = moments(x);
    assert(Math.abs(mean - 2) < 0.03 && Math.abs(variance - 64 / 12) < 0.05, `${mean} ${variance}`);
    assert(distance(x, (v) => (v + 2) / 8) < critical);
  });

  Deno.test(`randn() is normal, ${dtype}`, () => {
    manualSeed(5);
    const x = scope(() => randn([n], { dtype }).dataSync());
    const { mean, variance, skewness, kurtosis } = moments(x);
    assert(Math.abs(mean) < 0.013 && Math.abs(variance - 1) < 0.018, `${mean} ${variance}`);
    assert(Math.abs(skewness) < 0.03 && Math.abs(kurtosis - 3) < 0.06, `${skewness} ${kurtosis}`);
    assert(distance(x, normal) < critical);
    assert(x.every(Number.isFinite));
    // Neighbours come from one pair of uniforms, and must be independent all the same.
    const products = x.slice(1).map((v, i) => v * x[i]!);
    assert(Math.abs(moments(products).mean) < 0.013);
  });
}

Deno.test("rand() does not round up to high", () => {
  manualSeed(5);
  scope(() => {
    const x = rand([n], { low: 1, high: 1 + 2 ** -22 }).dataSync();
    assert(x.every((v) => v >= 1 && v < 1 + 2 ** -22));
    const big = rand([n], { low: 2 ** 24, high: 2 ** 24 + 2 }).dataSync();
    assert(big.every((v) => v === 2 ** 24));
    assertEquals([...rand([3], { low: 4, high: 4 }).dataSync()], [4, 4, 4]);
    // What rounds to high becomes the number below it: were it low, bfloat16's mean would be off by
    // 1 / 256.
    for (
      const [low, below] of [[1, 2 - 2 ** -7], [-1, -(2 ** -133)], [-2, -1 - 2 ** -7]] as const
    ) {
      const x = rand([2 ** 20], { low, high: low + 1, dtype: "bfloat16" }).to("float32");
      assert(x.max().itemSync() <= below && x.min().itemSync() >= low);
      assert(Math.abs(x.mean().itemSync() - low - 0.5) < 0.0015); // of 5 deviations of a mean
    }
  });
});

Deno.test("randint() reaches each number about equally often, and no other", () => {
  manualSeed(5);
  const counts = new Map<number, number>();
  for (const v of scope(() => randint(-3, 4, [70_000]).dataSync())) {
    counts.set(v, (counts.get(v) ?? 0) + 1);
  }
  assertEquals([...counts.keys()].sort((a, b) => a - b), [-3, -2, -1, 0, 1, 2, 3]);
  for (const count of counts.values()) assert(Math.abs(count - 10_000) < 400, `${count}`);
});

Deno.test("permutation() is a permutation, and each place is about equally likely", () => {
  manualSeed(5);
  for (const n of [0, 1, 2, 3, 4, 5, 127, 10_001]) {
    assertEquals([...permutation(n)].sort((a, b) => a - b), Array.from({ length: n }, (_, i) => i));
  }
  const orders = new Map<string, number>();
  for (let i = 0; i < 24_000; i++) {
    const order = permutation(4).join();
    orders.set(order, (orders.get(order) ?? 0) + 1);
  }
  assertEquals(orders.size, 24);
  for (const count of orders.values()) assert(Math.abs(count - 1000) < 150, `${count}`);
  manualSeed(5);
  const first = permutation(100);
  assertNotEquals(permutation(100), first, "the next one is another");
  manualSeed(5);
  assertEquals(permutation(100), first);
});

Deno.test("random numbers: arguments out of range are refused", () => {
  for (const seed of [-1, 1.5, NaN, 2 ** 53]) {
    assertThrows(() => manualSeed(seed), ArgumentError, `${seed}`);
  }
  assertThrows(() => rand([2], { low: 1, high: 0 }), ArgumentError, "high");
  assertThrows(() => rand([2], { high: Infinity }), ArgumentError, "high");
  assertThrows(() => rand([2], { dtype: "int32" }), DTypeError, "int32");
  assertThrows(() => randn([2], { std: -1 }), ArgumentError, "std");
  assertThrows(() => randn([2], { mean: NaN }), ArgumentError, "mean");
  assertThrows(() => randn([2], { dtype: "uint8" }), DTypeError, "uint8");
  assertThrows(() => randint(0, 0, [2]), ArgumentError, "high");
  assertThrows(() => randint(0.5, 3, [2]), ArgumentError, "low");
  assertThrows(() => randint(0, 2 ** 31, [2]), ArgumentError, "int32");
  assertThrows(() => randint(-(2 ** 31) - 1, 0, [2]), ArgumentError, "low");
});

for (const device of names) {
  cleanTest(`multinomial(): classes come as often as their weights say, on ${device}`, () => {
    manualSeed(11);
    const weights = [0, 3, 1, 0, 4, 2, 0], n = 100_000;
    const total = weights.reduce((a, b) => a + b);
    const share = (counts: readonly number[], draws: number, of: readonly number[]) =>
      of.forEach((w, k) => {
        const wanted = draws * w / total;
        assert(Math.abs(counts[k]! - wanted) <= 4.5 * Math.sqrt(wanted), `${k}: ${counts[k]}`);
      });
    const counted = (x: Tensor) => {
      const counts = weights.map(() => 0);
      for (const k of x.dataSync()) counts[k]!++;
      return counts;
    };
    for (const dtype of ["float32", "bfloat16"] as const) {
      const w = tensor(weights, { dtype, device });
      const drawn = multinomial(w, n, { replacement: true });
      assertEquals([drawn.shape, drawn.dtype], [[n], "int32"]);
      share(counted(drawn), n, weights);
    }
    // The first of each row without replacement is drawn as with it; no class comes twice.
    const rows = tensor(weights, { device }).broadcastTo([20_000, 7]);
    const drawn = rows.multinomial(4);
    share(counted(drawn.slice(1, 0, 1)), 20_000, weights);
    assertEquals(counted(drawn), weights.map((w) => w > 0 ? 20_000 : 0));
    assertEquals(rows.slice(0, 0, 0).multinomial(2).shape, [0, 2]);
    assertEquals(rows.multinomial(0).shape, [20_000, 0]);
    // Of far more classes than one piece of a sum has, those of weight 0 between all others.
    const many = arange(200_001, undefined, 1, { device }).remainder(2);
    assertEquals(many.multinomial(n, { replacement: true }).remainder(2).sum().itemSync(), n);
  });

  cleanTest(`multinomial() follows the seed and refuses bad weights, on ${device}`, () => {
    const w = tensor([[1, 2, 3], [3, 0, 1]], { device });
    for (const options of [{}, { replacement: true }]) {
      manualSeed(3);
      const [first, second] = [w.multinomial(2, options), w.multinomial(2, options)];
      manualSeed(3);
      assertEquals(w.multinomial(2, options).dataSync(), first.dataSync());
      assertEquals(w.multinomial(2, options).dataSync(), second.dataSync());
    }
    for (const bad of [-1, NaN, Infinity]) {
      const x = tensor([[1, 1], [bad, 1]], { device });
      const draw = () => x.multinomial(1, { replacement: true }).dataSync();
      refuse(draw, "argument", "multinomial", "in row 1", "negative or not finite");
    }
    refuse(() => w.multinomial(3).dataSync(), "argument", "in row 1", "fewer than 3 above 0");
    const none = zeros([4], { device });
    refuse(() => multinomial(none, 1, { replacement: true }).dataSync(), "argument", "in row 0");
    refuse(() => multinomial(w, 4), "shape", "numSamples is 4 of 3 classes", "replacement: true");
    refuse(() => multinomial(zeros([2, 0], { device }), 1), "shape", "[2, 0]", "[rows, classes]");
    refuse(() => multinomial(tensor(1, { device }), 1), "shape", "[]", "[classes]");
    refuse(() => multinomial(w.to("int32"), 1), "dtype", "multinomial", "int32");
    refuse(() => multinomial(w, 1.5), "argument", "numSamples is 1.5");
  });
}
