// Transforms of batches, against the same written pixel by pixel with the same random numbers.
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  arange,
  ArgumentError,
  data,
  DTypeError,
  GradientError,
  manualSeed,
  memory,
  rand,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from "../../mod.ts";
import { cleanTest as test, later } from "../_helpers.ts";

const { compose, cutout, normalize, randomCrop, randomHorizontalFlip } = data.transforms;

type Shape = [n: number, channels: number, height: number, width: number];
type Pixel = (i: number, c: number, y: number, x: number) => number;

const dtypes = ["uint8", "int32", "float32", "float16", "bfloat16", "float64"] as const;
const formats = ["contiguous", "channelsLast"] as const;

/** Whole numbers that every dtype holds. */
const value = ([, c, h, w]: Shape): Pixel => (i, k, y, x) =>
  1 + ((((i * c + k) * h + y) * w + x) * 7) % 251;

function made([n, c, h, w]: Shape, pixel: Pixel): number[] {
  const all: number[] = [];
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < c; k++) {
      for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) all.push(pixel(i, k, y, x));
    }
  }
  return all;
}

/** A transform of images in every dtype and format gives, by one seed, what is `wanted`. */
function check(
  transform: data.transforms.Transform,
  shape: Shape,
  wanted: (pixel: Pixel) => [Shape, Pixel],
) {
  const pixel = value(shape);
  for (const dtype of dtypes) {
    for (const format of formats) {
      const x = tensor(made(shape, pixel)).reshape(shape).to({ dtype, format });
      manualSeed(5);
      const y = transform(x);
      manualSeed(5);
      const [size, expected] = wanted(pixel);
      assertEquals([y.shape, y.dtype, y.device], [size, dtype, x.device]);
      assertEquals(y.format, format);
      assertEquals([...y.to("float32").dataSync()], made(size, expected));
      assertEquals([...x.to("float32").dataSync()], made(shape, pixel)); // unchanged
    }
  }
}

const draws = (n: number, count: number) =>
  Array.from(rand([n], { high: count }).dataSync(), Math.floor);

const around = {
  zeros: (v: number, n: number) => (v < 0 || v >= n ? NaN : v),
  reflect: (v: number, n: number) => (v < 0 ? -v : v >= n ? 2 * n - 2 - v : v),
  replicate: (v: number, n: number) => Math.min(Math.max(v, 0), n - 1),
  circular: (v: number, n: number) => (v + n) % n,
};

test("randomCrop: a window of each image, at a place of its own", () => {
  const cases: [Shape, [number, number], [number, number]][] = [
    [[6, 3, 5, 7], [5, 7], [2, 1]],
    [[5, 2, 6, 4], [3, 2], [0, 0]],
    [[4, 1, 4, 4], [4, 6], [0, 1]],
    [[3, 2, 3, 5], [1, 1], [1, 1]],
    [[0, 2, 3, 3], [2, 2], [1, 1]],
    [[40, 3, 8, 8], [8, 8], [4, 4]],
  ];
  for (const [shape, size, padding] of cases) {
    for (const mode of ["zeros", "reflect", "replicate", "circular"] as const) {
      const [n, c, h, w] = shape;
      const crop = randomCrop(size, { padding, paddingMode: mode });
      check(crop, shape, (pixel) => {
        const beside = w + 2 * padding[1] - size[1] + 1;
        const first = draws(n, (h + 2 * padding[0] - size[0] + 1) * beside);
        return [[n, c, ...size], (i, k, y, x) => {
          const row = around[mode](Math.floor(first[i]! / beside) + y - padding[0], h);
          const column = around[mode](first[i]! % beside + x - padding[1], w);
          return row + column >= 0 ? pixel(i, k, row, column) : 0;
        }];
      });
    }
  }
});

test("randomHorizontalFlip: some images mirrored, all or none for 1 and 0", () => {
  for (const shape of [[9, 3, 2, 5], [4, 1, 3, 1], [0, 3, 2, 2], [3, 2, 0, 4]] as Shape[]) {
    for (const p of [0, 0.5, 1]) {
      check(randomHorizontalFlip(p), shape, (pixel) => {
        const chosen = Array.from(rand([shape[0]]).dataSync(), (u) => u < p);
        return [shape, (i, k, y, x) => pixel(i, k, y, chosen[i] ? shape[3] - 1 - x : x)];
      });
    }
  }
});

Deno.test("randomHorizontalFlip: alternate mirrors the other images at each call", () => {
  manualSeed(5);
  const flip = randomHorizontalFlip(0.5, { alternate: true });
  using x = tensor(Float32Array.from({ length: 24 }, (_, i) => i), { shape: [8, 1, 1, 3] });
  const calls = [1, 2, 3, 4].map(() => {
    using y = flip(x);
    return [...y.dataSync()];
  });
  const image = (i: number, mirrored: boolean) =>
    mirrored ? [3 * i + 2, 3 * i + 1, 3 * i] : [3 * i, 3 * i + 1, 3 * i + 2];
  manualSeed(5);
  using drawn = rand([8]);
  const chosen = [...drawn.dataSync()].map((u) => u < 0.5);
  const wanted = [0, 1].map((odd) => chosen.flatMap((is, i) => image(i, odd ? !is : is)));
  assertEquals(calls, [...wanted, ...wanted]);
  using fewer = zeros([7, 1, 1, 3]);
  assertThrows(() => flip(fewer), ShapeError, "7 images were given after 8");
});

test("cutout: a patch around any pixel, cut off at the borders", () => {
  const cases: [Shape, number | [number, number]][] = [
    [[30, 3, 6, 5], 3],
    [[20, 1, 4, 4], [2, 1]],
    [[5, 2, 3, 3], 1],
    [[5, 2, 3, 4], 20],
    [[3, 2, 1, 1], 2],
    [[0, 2, 3, 3], 2],
  ];
  for (const [shape, size] of cases) {
    const [tall, wide] = typeof size === "number" ? [size, size] : size;
    check(cutout(size), shape, (pixel) => {
      const [n, , h, w] = shape;
      const first = draws(n, h * w);
      return [shape, (i, k, y, x) => {
        const top = h - 1 - Math.floor(first[i]! / w) - (tall >> 1);
        const left = w - 1 - first[i]! % w - (wide >> 1);
        const inside = y >= top && y < top + tall && x >= left && x < left + wide;
        return inside ? 0 : pixel(i, k, y, x);
      }];
    });
  }
});

test("cutout: what was NaN or infinite under the patch is 0", () => {
  const x = tensor([[[[NaN, Infinity], [-Infinity, NaN]]]]);
  assertEquals([...cutout(4)(x).dataSync()], [0, 0, 0, 0]);
});

Deno.test("normalize: by channel, with constants that are made once", () => {
  const scale = normalize({ mean: [1, 3], std: [2, 0.5] });
  const shape: Shape = [2, 2, 3, 2];
  const wanted = (pixel: Pixel): Pixel => (i, k, y, x) =>
    (pixel(i, k, y, x) - [1, 3][k]!) / [2, 0.5][k]!;
  const pixel: Pixel = (i, k, y, x) => i + 2 * k + y + 4 * x;
  for (const dtype of dtypes.slice(2)) {
    for (const format of formats) {
      using x = tensor(made(shape, pixel)).reshape(shape).to({ dtype, format });
      using first = scale(x);
      const before = memory().tensors;
      using again = scale(x);
      assertEquals(memory().tensors, before + 1);
      for (const y of [first, again]) {
        assertEquals([y.dtype, y.format, y.shape], [dtype, format, shape]);
        using floats = y.to("float32");
        assertEquals([...floats.dataSync()], made(shape, wanted(pixel)));
      }
    }
  }
});

test("transforms: every place comes up, about as often", () => {
  const ramp = arange(9).reshape([1, 1, 3, 3]).broadcastTo([4000, 1, 3, 3]);
  const seen = new Map<number, number>();
  const count = (x: Tensor) => {
    for (const v of x.dataSync()) seen.set(v, (seen.get(v) ?? 0) + 1);
  };
  manualSeed(3);
  count(randomCrop(1)(ramp));
  assertEquals([...seen.keys()].sort(), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
  for (const n of seen.values()) assert(n > 350 && n < 540, `${[...seen]}`);
  const flipped = randomHorizontalFlip()(ramp).slice(3, 0, 1).eq(2).to("float32").sum([1, 2, 3]);
  assertAlmostEquals(flipped.mean().itemSync(), 0.5, 0.04);
});

test("compose: one after another; none leaves images as they are", () => {
  const shape: Shape = [5, 3, 6, 6];
  const x = rand(shape);
  const parts = [randomCrop(6, { padding: 2 }), randomHorizontalFlip(), cutout(3)];
  manualSeed(9);
  const y = compose(parts)(x);
  manualSeed(9);
  const z = parts[2]!(parts[1]!(parts[0]!(x)));
  assertEquals(y.dataSync(), z.dataSync());
  assert(y.dataSync().join() !== compose(parts)(x).dataSync().join(), "the same random numbers");
  assertEquals(compose([])(x), x);
  const before = memory().tensors;
  compose(parts)(x).dispose();
  assertEquals(memory().tensors, before);
});

test("TransformedDataset: batches of another data set, transformed", () => {
  const images = later(new data.TensorDataset(zeros([6, 1, 2, 2]), arange(6).to("int32")));
  let calls = 0;
  const set = new data.TransformedDataset(images, (x) => x.add(++calls));
  assertEquals([set.length, set.device, set.dataset], [6, images.device, images]);
  const seen = [...new data.DataLoader(set, { batchSize: 3 })].length;
  assertEquals([seen, calls], [2, 2]);
  const before = memory().tensors;
  const { input, target } = set.batch(tensor([4, 2], { dtype: "int32" }));
  assertEquals([[...input.dataSync()], [...target.dataSync()]], [Array(8).fill(3), [4, 2]]);
  for (const made of [input, target]) made.dispose();
  assertEquals(memory().tensors, before + 1); // the index
  const bad = new data.TransformedDataset(images, () => 5 as unknown as Tensor);
  assertThrows(
    () => bad.batch(tensor([0], { dtype: "int32" })),
    ArgumentError,
    "wanted is a tenso",
  );
});

test("transforms: wrong arguments, before anything is made", () => {
  const before = memory().tensors;
  assertThrows(() => randomCrop(0), ArgumentError, "size is 0");
  assertThrows(() => randomCrop(2, { padding: -1 }), ArgumentError, "padding is -1");
  const mode = { paddingMode: "edge" as "zeros" };
  assertThrows(() => randomCrop(2, mode), ArgumentError, "paddingMode is");
  assertThrows(() => randomHorizontalFlip(1.5), ArgumentError, "p is 1.5");
  assertThrows(() => cutout(1.5), ArgumentError, "size is 1.5");
  assertThrows(() => normalize({ mean: [0], std: [0] }), ArgumentError, "std[0]");
  assertThrows(() => normalize({ mean: [0, 1], std: [1] }), ShapeError, "2 means");
  assertThrows(() => compose([5 as never]), ArgumentError, "transforms[0]");
  assertEquals(memory().tensors, before);
  const x = zeros([2, 3, 4, 4]);
  const scale = normalize({ mean: [0, 0], std: [1, 1] });
  const all = [randomCrop(2), randomHorizontalFlip(), cutout(2), scale];
  for (const transform of all) {
    assertThrows(() => transform(zeros([2, 3])), ShapeError, "[n, channels, height, width]");
    assertThrows(() => transform(5 as unknown as Tensor), ArgumentError, "wanted is a tensor");
    const learned = zeros([1, 2, 4, 4], { requiresGrad: true });
    assertThrows(() => transform(learned), GradientError, "has no gradient");
  }
  assertThrows(() => randomCrop(7, { padding: 1 })(x), ShapeError, "the size, [7, 7]");
  assertThrows(() => scale(x), ShapeError, "means of 2 channels");
  assertThrows(() => scale(zeros([1, 2, 1, 1], { dtype: "uint8" })), DTypeError, "dtype is uint8");
});
