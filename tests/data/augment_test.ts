// Transforms that compute: against their formulas in float64, with the same random numbers.
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  ArgumentError,
  data,
  type DType,
  DTypeError,
  manualSeed,
  memory,
  rand,
  randn,
  scope,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from "../../mod.ts";
import { permutation, philox, takeRandom } from "../../lib/core/random.ts";
import { beta } from "../../lib/data/transforms/_beta.ts";
import { cleanTest as test } from "../_helpers.ts";

const { colorJitter, cutmix, mixup, randomAffine, resize } = data.transforms;

type Shape = readonly [n: number, channels: number, height: number, width: number];
type Pixel = (i: number, c: number, y: number, x: number) => number;
const formats = ["contiguous", "channelsLast"] as const;
const floats = { float64: 2e-6, float32: 2e-6, float16: 2e-3, bfloat16: 1e-2 } as const;

function made([n, c, h, w]: Shape, pixel: Pixel): number[] {
  const all: number[] = [];
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < c; k++) {
      for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) all.push(pixel(i, k, y, x));
    }
  }
  return all;
}

const pixelsOf = (x: Tensor): Pixel => {
  const [, c, h, w] = x.shape as unknown as Shape, values = x.to("float64").dataSync();
  return (i, k, y, x) => values[((i * c + k) * h + y) * w + x]!;
};

function close(y: Tensor, wanted: readonly number[], tolerance: number, of = "") {
  const found = y.to("float64").dataSync();
  assertEquals(found.length, wanted.length);
  for (const [i, v] of wanted.entries()) assertAlmostEquals(found[i]!, v, tolerance, `${of} ${i}`);
}

/** A transform in every float and format gives, by one seed, what is wanted of the pixels. */
function check(
  transform: data.transforms.Transform,
  shape: Shape,
  wanted: (pixel: Pixel) => [Shape, Pixel],
  steepness = 1,
) {
  for (const [dtype, tolerance] of Object.entries(floats) as [DType, number][]) {
    for (const format of formats) {
      manualSeed(3);
      const x = rand(shape).to({ dtype, format });
      manualSeed(11);
      const y = transform(x);
      manualSeed(11);
      const [size, pixel] = wanted(pixelsOf(x));
      assertEquals([y.shape, y.dtype, y.format], [size, dtype, format]);
      close(y, made(size, pixel), tolerance * steepness, `${dtype} ${format}`);
    }
  }
}

const draws = (n: number, low: number, high: number) => [...rand([n], { low, high }).dataSync()];

// torchvision's _get_inverse_affine_matrix and grid, with pixels counted from the middle.
function affine(
  [n, , h, w]: Shape,
  { degrees, translate: [a, b], scale, shear: [x0, x1, y0, y1] }: {
    degrees: number;
    translate: [number, number];
    scale: [number, number];
    shear: [number, number, number, number];
  },
  read: (i: number, c: number, y: number, x: number) => number,
): Pixel {
  const unit = Math.PI / 180;
  const angle = draws(n, -degrees * unit, degrees * unit);
  const across = draws(n, -a * w, a * w).map(Math.round);
  const down = draws(n, -b * h, b * h).map(Math.round);
  const by = draws(n, ...scale);
  const sx = draws(n, x0 * unit, x1 * unit), sy = draws(n, y0 * unit, y1 * unit);
  return (i, c, row, column) => {
    const rot = angle[i]!, { sin, cos, tan } = Math;
    const A = cos(rot - sy[i]!) / cos(sy[i]!);
    const B = -cos(rot - sy[i]!) * tan(sx[i]!) / cos(sy[i]!) - sin(rot);
    const C = sin(rot - sy[i]!) / cos(sy[i]!);
    const D = -sin(rot - sy[i]!) * tan(sx[i]!) / cos(sy[i]!) + cos(rot);
    const x = column + 0.5 - w / 2 - across[i]!, y = row + 0.5 - h / 2 - down[i]!;
    return read(
      i,
      c,
      (-C * x + A * y) / by[i]! + h / 2 - 0.5,
      (D * x - B * y) / by[i]! + w / 2 - 0.5,
    );
  };
}

test("randomAffine: torchvision's matrix, pixels by their distance", () => {
  const cases: [Shape, number][] = [[[5, 3, 6, 9], 0], [[3, 1, 7, 4], 0.5], [[2, 2, 1, 1], 0]];
  const options = {
    degrees: 40,
    translate: [0.2, 0.3] as [number, number],
    scale: [0.7, 1.4] as [number, number],
    shear: [-10, 20, -15, 5] as [number, number, number, number],
  };
  for (const [shape, fill] of cases) {
    const [, , h, w] = shape;
    check(randomAffine({ ...options, fill }), shape, (pixel) => {
      const at = (i: number, c: number, y: number, x: number) =>
        y >= 0 && y < h && x >= 0 && x < w ? pixel(i, c, y, x) : fill;
      const read: Pixel = (i, c, y, x) => {
        const [top, left] = [Math.floor(y), Math.floor(x)];
        const line = (y: number) =>
          (left + 1 - x) * at(i, c, y, left) + (x - left) * at(i, c, y, left + 1);
        return (top + 1 - y) * line(top) + (y - top) * line(top + 1);
      };
      return [shape, affine(shape, options, read)];
    }, 5); // a place is off by a few last bits of its distance from the middle
    check(randomAffine({ ...options, mode: "nearest", paddingMode: "border" }), shape, (pixel) => {
      const within = (v: number, n: number) => Math.min(Math.max(Math.round(v), 0), n - 1);
      const read: Pixel = (i, c, y, x) => pixel(i, c, within(y, h), within(x, w));
      return [shape, affine(shape, options, read)];
    });
  }
});

test("randomAffine: whole numbers move as they are, and what stays is unchanged", () => {
  const x = tensor(Uint8Array.from({ length: 36 }, (_, i) => i * 7), { shape: [1, 1, 6, 6] });
  assertEquals(randomAffine({ degrees: 0 })(x).dataSync(), x.dataSync());
  const turned = randomAffine({ degrees: [90, 90], fill: 9 })(x).dataSync();
  const wanted = made([1, 1, 6, 6], (_, __, row, column) => ((5 - column) * 6 + row) * 7);
  assertEquals([...turned], wanted); // clockwise
  const move = randomAffine({ degrees: 0, translate: [0.5, 0] });
  const seen = new Set<string>();
  manualSeed(11);
  for (let i = 0; i < 40; i++) seen.add(move(x).slice(2, 0, 1).dataSync().join());
  assertEquals(seen.size, 7);
  assertEquals(move(x.to("int32")).dtype, "int32");
});

const grayOf = ([red, green, blue]: number[]) => 0.2989 * red! + 0.587 * green! + 0.114 * blue!;
const clamp = (v: number) => Math.min(Math.max(v, 0), 1);

// As torchvision has it: to hue, saturation and value, and back.
function turned([r, g, b]: number[], by: number): number[] {
  const most = Math.max(r!, g!, b!), least = Math.min(r!, g!, b!), span = most - least;
  const [rc, gc, bc] = [r, g, b].map((v) => (most - v!) / (span || 1)) as [number, number, number];
  const hue = r === most ? bc - gc : g === most ? 2 + rc - bc : 4 + gc - rc;
  const h = ((hue / 6 + 1) % 1 + by + 1) % 1, s = span && span / most;
  const sector = Math.floor(h * 6), f = h * 6 - sector;
  const [p, q, t] = [most * (1 - s), most * (1 - s * f), most * (1 - s * (1 - f))];
  const all = [[most, t, p], [q, most, p], [p, most, t], [p, q, most], [t, p, most], [most, p, q]];
  return all[sector % 6]!.map(clamp);
}

const jitters: Record<string, (image: number[][], factor: number) => number[][]> = {
  brightness: (image, f) => image.map((pixel) => pixel.map((v) => clamp(v * f))),
  contrast(image, f) {
    const gray = image.map((pixel) => pixel.length === 1 ? pixel[0]! : grayOf(pixel));
    const mean = gray.reduce((a, b) => a + b) / gray.length;
    return image.map((pixel) => pixel.map((v) => clamp(f * v + (1 - f) * mean)));
  },
  saturation: (image, f) =>
    image.map((pixel) =>
      pixel.length === 1 ? pixel : pixel.map((v) => clamp(f * v + (1 - f) * grayOf(pixel)))
    ),
  hue: (image, f) => image.map((pixel) => pixel.length === 1 ? pixel : turned(pixel, f)),
};

Deno.test("colorJitter: torchvision's formulas, in the order that is drawn", () => {
  const ranges: [string, number, [low: number, high: number]][] = [
    ["brightness", 0.4, [0.6, 1.4]],
    ["contrast", 1.5, [0, 2.5]],
    ["saturation", 0.5, [0.5, 1.5]],
    ["hue", 0.3, [-0.3, 0.3]],
  ];
  const options = Object.fromEntries(ranges.map(([kind, value]) => [kind, value]));
  const last = ranges.map((range) => [range]); // each alone, and all
  for (const shape of [[4, 3, 3, 5], [3, 1, 2, 2], [2, 3, 1, 1], [0, 3, 2, 2]] as Shape[]) {
    const [n, channels, h, w] = shape;
    for (const chosen of [...last, ranges]) {
      const own = chosen === ranges
        ? options
        : Object.fromEntries(chosen.map(([kind, value]) => [kind, value]));
      check(colorJitter(own), shape, (pixel) => {
        const images = Array.from(
          { length: n },
          (_, i) =>
            Array.from({ length: h * w }, (_, at) =>
              Array.from(
                { length: channels },
                (_, c) => pixel(i, c, Math.floor(at / w), at % w),
              )),
        );
        for (const at of permutation(chosen.length)) {
          const [kind, , [low, high]] = chosen[at]!;
          const factors = draws(n, low, high);
          images.forEach((image, i) => images[i] = jitters[kind]!(image, factors[i]!));
        }
        return [shape, (i, c, y, x) => images[i]![y * w + x]![c]!];
      }, 4);
    }
  }
  using gray = tensor(Float32Array.of(0.5, 0.5, 0.5), { shape: [1, 3, 1, 1] });
  using hued = colorJitter({ hue: 0.5 })(gray); // no hue, and no 0 / 0
  assertEquals([...hued.dataSync()], [0.5, 0.5, 0.5]);
  assertEquals(colorJitter({ brightness: 0, hue: 0 })(gray), gray);
});

test("resize: upsample() in its dtypes; smaller ones by the filter's mean of all pixels", () => {
  const keys = (d: number) =>
    d < 1 ? 1.5 * d ** 3 - 2.5 * d ** 2 + 1 : d < 2 ? -0.5 * d ** 3 + 2.5 * d ** 2 - 4 * d + 2 : 0;
  const filters = { bilinear: (d: number) => Math.max(0, 1 - d), bicubic: keys };
  const cases: [Shape, [number, number]][] = [
    [[2, 3, 9, 7], [4, 3]],
    [[1, 2, 8, 6], [2, 9]],
    [[2, 1, 5, 5], [1, 1]],
    [[1, 2, 1, 1], [3, 2]],
    [[0, 2, 4, 4], [2, 2]],
  ];
  for (const [shape, to] of cases) {
    for (const mode of ["bilinear", "bicubic"] as const) {
      check(resize(to, { mode }), shape, (pixel) => {
        const weights = [2, 3].map((axis) => {
          const extent = shape[axis]!, scale = extent / to[axis - 2]!;
          return Array.from({ length: to[axis - 2]! }, (_, o) => {
            const all = Array.from(
              { length: extent },
              (_, i) => filters[mode](Math.abs(i + 0.5 - scale * (o + 0.5)) / Math.max(scale, 1)),
            );
            const sum = all.reduce((a, b) => a + b);
            return all.map((v) => v / sum);
          });
        });
        const size: Shape = [shape[0], shape[1], ...to];
        return [size, (i, c, y, x) => {
          let sum = 0;
          weights[0]![y]!.forEach((wy, iy) =>
            weights[1]![x]!.forEach((wx, ix) => sum += wy * wx * pixel(i, c, iy, ix))
          );
          return sum;
        }];
      });
    }
  }
  const x = rand([2, 3, 8, 6]);
  for (const mode of ["nearest", "bilinear", "bicubic"] as const) {
    const options = { size: [3, 9] as const, mode };
    assertEquals(
      resize([3, 9], { mode, antialias: false })(x).dataSync(),
      x.upsample(options).dataSync(),
    );
    const bytes = x.mul(256).to({ dtype: "uint8", format: "channelsLast" });
    const y = resize([3, 9], { mode, antialias: false })(bytes);
    const exact = bytes.to("float64").upsample(options).clip(0, 255);
    assertEquals([y.dtype, y.format], ["uint8", "channelsLast"]);
    close(y, [...exact.dataSync()], 0.50001);
  }
  assertEquals(resize([8, 6])(x), x);
  const nan = tensor([[[[NaN, 1, 1, 1, 1, 1, 1, 1, 1]]]]);
  assertEquals([...resize([1, 3])(nan).dataSync()], [NaN, 1, 1]); // and no further
});

test("beta: moments of the distribution, also where gammas are too small for floats", () => {
  manualSeed(2);
  for (const alpha of [0.2, 1, 4]) {
    const all = Array.from({ length: 4000 }, () => beta(alpha));
    const mean = all.reduce((a, b) => a + b) / all.length;
    const variance = all.reduce((a, b) => a + (b - mean) ** 2, 0) / all.length;
    assertAlmostEquals(mean, 0.5, 0.03);
    assertAlmostEquals(variance * 4 * (2 * alpha + 1), 1, 0.08);
  }
  const tiny = Array.from({ length: 200 }, () => beta(1e-4));
  assert(tiny.every((v) => v >= 0 && v <= 1), `${tiny}`);
  assertAlmostEquals(tiny.reduce((a, b) => a + b) / 200, 0.5, 0.15);
});

const shifted = <T>(list: readonly T[], i: number) => list[(i + list.length - 1) % list.length]!;

test("mixup: each sample and the one before it, targets too", () => {
  for (const n of [5, 1, 0]) {
    for (const [dtype, tolerance] of Object.entries(floats) as [DType, number][]) {
      for (const format of formats) {
        const input = randn([n, 3, 2, 4]).to({ dtype, format });
        const labels = Int32Array.from({ length: n }, (_, i) => i % 3);
        const hot = Array.from(labels, (label) => [0, 1, 2].map((c) => Number(c === label)));
        manualSeed(7);
        const batch = { input, target: tensor(labels), name: "kept" };
        const mixed = mixup({ classes: 3, alpha: 0.4 })(batch);
        manualSeed(7);
        const share = beta(0.4);
        assertEquals([mixed.input.dtype, mixed.input.format, mixed.name], [dtype, format, "kept"]);
        const pixel = pixelsOf(input), index = [...labels.keys()];
        const wanted: Pixel = (i, ...at) =>
          share * pixel(i, ...at) + (1 - share) * pixel(shifted(index, i), ...at);
        close(mixed.input, made([n, 3, 2, 4], wanted), 4 * tolerance);
        const target = hot.flatMap((row, i) =>
          row.map((v, c) => share * v + (1 - share) * shifted(hot, i)[c]!)
        );
        close(mixed.target, target, 1e-6);
        assertEquals([mixed.target.shape, mixed.target.dtype], [[n, 3], "float32"]);
        manualSeed(7);
        const probable = { input, target: tensor(hot.flat(), { shape: [n, 3] }) };
        close(mixup({ alpha: 0.4 })(probable).target, target, 1e-6);
      }
    }
  }
});

test("cutmix: a box of the image before, and targets by what is left of the pixels", () => {
  let boxes = 0;
  for (const [n, c, h, w] of [[3, 2, 6, 8], [2, 1, 1, 1], [1, 3, 5, 4], [0, 1, 3, 3]] as Shape[]) {
    for (let seed = 0; seed < 8; seed++) {
      const dtype = (["float32", "uint8", "float16"] as const)[seed % 3]!;
      const x = rand([n, c, h, w]).mul(200).to({ dtype, format: formats[seed % 2]! });
      const target = tensor(Uint8Array.from({ length: n }, (_, i) => i));
      manualSeed(seed);
      const mixed = cutmix({ classes: 3 })({ input: x, target });
      manualSeed(seed);
      const half = 0.5 * Math.sqrt(1 - beta(1));
      const { seed: key, offset } = takeRandom(1);
      const [u, v] = philox(key, offset).map((word) => word / 2 ** 32) as [number, number];
      const inside = (at: number, draw: number, extent: number) => {
        const middle = Math.floor(draw * extent), reach = Math.trunc(half * extent);
        return at >= middle - reach && at < middle + reach;
      };
      const pixel = pixelsOf(x);
      let cut = 0;
      const wanted: Pixel = (i, k, row, column) => {
        const other = inside(row, v, h) && inside(column, u, w);
        cut += Number(other);
        return pixel(other ? (i + n - 1) % n : i, k, row, column);
      };
      close(mixed.input, made([n, c, h, w], wanted), 0);
      assertEquals([mixed.input.dtype, mixed.input.format], [x.dtype, x.format]);
      const left = n ? 1 - cut / (n * c * h * w) : 1;
      boxes += Number(left < 1);
      const rows = Array.from({ length: n }, (_, i) => i).flatMap((i) =>
        [0, 1, 2].map((k) => left * Number(k === i) + (1 - left) * Number(k === (i + n - 1) % n))
      );
      close(mixed.target, rows, 1e-6);
    }
  }
  assert(boxes > 8);
});

test("mixup and cutmix: batches of a data set", () => {
  const labels = tensor([0, 1, 2, 1], { dtype: "int32" });
  const set = new data.TensorDataset(rand([4, 1, 4, 4]), labels);
  for (const transform of [mixup({ classes: 3 }), cutmix({ classes: 3 })]) {
    const before = memory().tensors;
    for (const { target } of new data.DataLoader(data.map(set, transform), { batchSize: 4 })) {
      scope(() => close(target.sum(1), [1, 1, 1, 1], 1e-6));
    }
    assertEquals(memory().tensors, before);
  }
  set.dispose();
});

test("augmentation: wrong arguments, before anything is made", () => {
  const before = memory().tensors;
  assertThrows(() => randomAffine({ degrees: -1 }), ArgumentError, "degrees is -1");
  assertThrows(() => randomAffine({ degrees: [3, 1] }), ArgumentError, "[least, most]");
  const far = { degrees: 0, translate: [2, 0] as const };
  assertThrows(() => randomAffine(far), ArgumentError, "translate is");
  assertThrows(() => randomAffine({ degrees: 0, scale: [0, 1] }), ArgumentError, "above 0");
  const edge = { degrees: 0, fill: 1, paddingMode: "border" as const };
  assertThrows(() => randomAffine(edge), ArgumentError, "fill is for");
  assertThrows(() => colorJitter({ hue: 0.7 }), ArgumentError, "within -0.5 and 0.5");
  assertThrows(() => colorJitter({ contrast: [-1, 1] }), ArgumentError, "at least 0");
  assertThrows(() => resize(4, { mode: "nearest", antialias: true }), ArgumentError, "antialias");
  assertThrows(() => mixup({ alpha: 0 }), ArgumentError, "alpha is 0");
  assertEquals(memory().tensors, before);
  const x = zeros([2, 2, 3, 3]), bytes = zeros([2, 3, 2, 2], { dtype: "uint8" });
  assertThrows(() => colorJitter({ hue: 0.1 })(x), ShapeError, "1 or 3 channels");
  assertThrows(() => colorJitter({ hue: 0.1 })(bytes), DTypeError, "dtype is uint8");
  const input = x, target = zeros([2], { dtype: "int32" });
  assertThrows(() => mixup()({ input, target }), ArgumentError, "classes is undefined");
  const hot = zeros([2, 4]);
  assertThrows(() => mixup({ classes: 3 })({ input, target: hot }), ShapeError, "[n, 3]");
  assertThrows(() => mixup({ classes: 2 })({ input: bytes, target }), DTypeError, "uint8");
  assertThrows(() => cutmix({ classes: 2 })({ input: hot, target }), ShapeError, "[n, channels");
  assertThrows(() => resize(2)(zeros([1, 1, 0, 3])), ShapeError, "empty");
});
