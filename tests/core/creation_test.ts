import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  arange,
  ArgumentError,
  bernoulli,
  CudenoError,
  type DeviceName,
  devices,
  DisposedError,
  type DType,
  DTypeError,
  eye,
  full,
  fullLike,
  linspace,
  manualSeed,
  type NestedNumbers,
  ones,
  onesLike,
  rand,
  randint,
  randLike,
  randn,
  randnLike,
  scope,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
  zerosLike,
} from "../../mod.ts";

const names = devices().map(({ device }) => device);

function parts(x: Tensor) {
  return { shape: [...x.shape], dtype: x.dtype, values: [...x.dataSync()] };
}

const dtypes: DType[] = ["float32", "float64", "float16", "bfloat16", "int32", "uint8"];
const arrays = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Float16Array,
  int32: Int32Array,
  uint8: Uint8Array,
} as const;
const ownKinds = Object.keys(arrays) as (keyof typeof arrays)[];

for (const device of names) {
  const test = (name: string, fn: () => void) => Deno.test(`${name} on ${device}`, () => scope(fn));

  test("tensor() of nested arrays", () => {
    const of = (data: NestedNumbers) => parts(tensor(data, { device }));
    const dtype: DType = "float32";
    assertEquals(of(3), { shape: [], dtype, values: [3] });
    assertEquals(of([]), { shape: [0], dtype, values: [] });
    assertEquals(of([[], []]), { shape: [2, 0], dtype, values: [] });
    assertEquals(of([1, 2]), { shape: [2], dtype, values: [1, 2] });
    assertEquals(of([[1, 2, 3], [4, 5, 6]]), { shape: [2, 3], dtype, values: [1, 2, 3, 4, 5, 6] });
    assertEquals(of([[[[[[[[7]]]]]]]]).shape, [1, 1, 1, 1, 1, 1, 1, 1]);
    assertEquals(parts(tensor([1, 2, 3, 4], { shape: [2, 2], device })).shape, [2, 2]);
    assertEquals(parts(tensor([[1, 2], [3, 4]], { shape: [4, 1], device })).shape, [4, 1]);
  });

  test("tensor() of typed arrays takes their kind as dtype", () => {
    for (const dtype of ownKinds) {
      const data = arrays[dtype].from([1, 2, 3, 4, 5, 6]);
      assertEquals(parts(tensor(data, { device })), { shape: [6], dtype, values: [...data] });
      assertEquals(tensor(data, { shape: [3, 2], device }).shape, [3, 2]);
      // A view into a larger buffer, at an odd place.
      const part = tensor(data.subarray(1, 4), { device });
      assertEquals(parts(part), { shape: [3], dtype, values: [2, 3, 4] });
      data.fill(0);
      assertEquals([...part.dataSync()], [2, 3, 4], "the numbers are copied");
      assert(part.dataSync() instanceof arrays[dtype]);
      for (const other of dtypes) {
        const cast = tensor(Uint8Array.of(1, 255), { dtype: other, device });
        assertEquals(parts(cast), { shape: [2], dtype: other, values: [1, 255] });
      }
    }
    assertEquals(tensor(Uint8ClampedArray.of(300), { device }).dtype, "uint8");
  });

  test("tensor() keeps NaN, inf, -0 and denormal numbers", () => {
    const values = [NaN, Infinity, -Infinity, -0, 2 ** -149];
    for (const dtype of ["float32", "float64"] as const) {
      assertEquals(parts(tensor(values, { dtype, device })).values, values);
    }
    assertEquals([...tensor([0.1], { device }).dataSync()], [Math.fround(0.1)]);
    const bounds = [-(2 ** 31), 2 ** 31 - 1];
    assertEquals([...tensor(bounds, { dtype: "int32", device }).dataSync()], bounds);
  });

  test("zeros(), ones() and full() of every dtype, empty ones too", () => {
    for (const dtype of dtypes) {
      for (const shape of [[], [0], [3], [2, 0, 3], [257, 129], [1, 2, 1, 2, 1, 2, 1, 2]]) {
        const options = { dtype, device };
        const made: [Tensor, number][] = [
          [zeros(shape, options), 0],
          [ones(shape, options), 1],
          [full(shape, 200, options), 200],
        ];
        for (const [x, value] of made) {
          assertEquals([x.shape, x.dtype], [shape, dtype]);
          assertEquals(x.size, shape.reduce((a, b) => a * b, 1));
          assert(x.dataSync().every((v) => v === value));
        }
      }
    }
    assertEquals([...full([2], -Infinity, { device }).dataSync()], [-Infinity, -Infinity]);
    assertEquals([...full([1], NaN, { device }).dataSync()], [NaN]);
  });

  test("arange() counts up, down and in fractions, without the end", () => {
    const values = (...args: Parameters<typeof arange>) => [
      ...arange(args[0], args[1], args[2], { device, dtype: "float64", ...args[3] }).dataSync(),
    ];
    assertEquals(values(4), [0, 1, 2, 3]);
    assertEquals(values(0), []);
    assertEquals(values(2, 5), [2, 3, 4]);
    assertEquals(values(5, 2), []);
    assertEquals(values(5, 2, -1), [5, 4, 3]);
    assertEquals(values(0, 1, 0.25), [0, 0.25, 0.5, 0.75]);
    assertEquals(values(1, 2, 5), [1]);
    assertEquals(arange(3, undefined, 1, { device }).dtype, "float32");
    assertEquals(parts(arange(0, 3, 1, { dtype: "uint8", device })), {
      shape: [3],
      dtype: "uint8",
      values: [0, 1, 2],
    });
  });

  test("linspace() has both ends and even steps", () => {
    const values = (...args: [number, number, number]) => [
      ...linspace(...args, { device, dtype: "float64" }).dataSync(),
    ];
    assertEquals(values(0, 1, 5), [0, 0.25, 0.5, 0.75, 1]);
    assertEquals(values(3, -3, 4), [3, 1, -1, -3]);
    assertEquals([values(7, 9, 1), values(7, 9, 0)], [[7], []]);
    assertEquals(values(-1.7e308, 1.7e308, 3), [-1.7e308, 0, 1.7e308]);
    const thirds = values(0.1, 0.7, 301);
    assertEquals([thirds[0], thirds[300]], [0.1, 0.7]);
    thirds.forEach((x, i) => assert(Math.abs(x - (0.1 + 0.6 * i / 300)) < 1e-15));
    assertEquals(parts(linspace(0, 9, 3, { dtype: "int32", device })), {
      shape: [3],
      dtype: "int32",
      values: [0, 4, 9],
    });
  });

  test("zerosLike(), onesLike(), fullLike() are as the tensor, but for the options", () => {
    const x = tensor([[1, 2]], { dtype: "float16", device, requiresGrad: true });
    assertEquals(parts(zerosLike(x)), { shape: [1, 2], dtype: "float16", values: [0, 0] });
    assertEquals(parts(onesLike(x, { dtype: undefined })), {
      shape: [1, 2],
      dtype: "float16",
      values: [1, 1],
    });
    const y = fullLike(x, 7, { dtype: "int32" });
    assertEquals([y.device, parts(y)], [x.device, {
      shape: [1, 2],
      dtype: "int32",
      values: [7, 7],
    }]);
    assertEquals([randLike(x).dtype, randnLike(x, { dtype: "float64" }).dtype], [
      "float16",
      "float64",
    ]);
    assertEquals(parts(randLike(x, { low: 2, high: 2 })).values, [2, 2]);
    assertThrows(() => randnLike(y), DTypeError, "int32");
    assertEquals([zerosLike(x).requiresGrad, onesLike(x, { requiresGrad: true }).requiresGrad], [
      false,
      true,
    ]);
  });

  test("eye() is the identity, also where it is not square", () => {
    assertEquals(parts(eye(2, 3, { device })).values, [1, 0, 0, 0, 1, 0]);
    assertEquals(parts(eye(3, 2, { device, dtype: "int32" })).values, [1, 0, 0, 1, 0, 0]);
    assertEquals(eye(0, undefined, { device }).shape, [0, 0]);
  });

  test("rand(), randn() and randint() have the shape and dtype asked for", () => {
    for (const shape of [[], [0], [5], [2, 3, 4]]) {
      for (const dtype of ["float32", "float64"] as const) {
        for (const make of [rand, randn]) {
          const x = make(shape, { dtype, device, requiresGrad: true });
          assertEquals([x.shape, x.dtype, x.device, x.requiresGrad], [shape, dtype, device, true]);
        }
      }
      assertEquals([randint(0, 9, shape, { device }).shape, "int32"], [shape, "int32"]);
    }
  });

  test("bernoulli() draws ones by one probability or by each one's own", () => {
    const draw = (...args: Parameters<typeof bernoulli>) => {
      manualSeed(3);
      return [...bernoulli(...args).dataSync()];
    };
    for (const dtype of ["float32", "float64", "float16", "bfloat16"] as const) {
      for (const n of [0, 1, 7, 4096]) {
        assertEquals(draw([n], { p: 0, dtype, device }), Array(n).fill(0));
        assertEquals(draw([n], { p: 1, dtype, device }), Array(n).fill(1));
        const drawn = draw([n], { p: 0.25, dtype, device });
        assertEquals(drawn, draw([n], { p: 0.25 }));
        assertEquals(drawn, draw(full([n], 0.25, { dtype, device })));
        const ones = drawn.reduce((a, b) => a + b, 0);
        assert(n < 4096 || Math.abs(ones / n - 0.25) < 0.03, `${ones} of ${n}`);
      }
      const edges = [NaN, -1, -Infinity, 0, 1, 2, Infinity];
      const x = tensor(edges, { dtype, device });
      assertEquals(parts(bernoulli(x)), { shape: [7], dtype, values: [0, 0, 0, 0, 1, 1, 1] });
    }
    assertEquals(draw([3, 2], { device }).length, 6);
    assertThrows(() => bernoulli([2], { p: 1.5, device }), ArgumentError, "1.5");
    assertThrows(() => bernoulli([2], { p: NaN, device }), ArgumentError, "NaN");
    assertThrows(() => bernoulli([2], { dtype: "int32", device }), DTypeError, "int32");
    assertThrows(() => bernoulli(tensor([1], { dtype: "int32", device })), DTypeError, "int32");
    assertThrows(() => bernoulli(tensor([1], { device }), { p: 0.5 }), ArgumentError, "p");
  });

  test("item() needs one element", () => {
    assertEquals(tensor([[7]], { device }).itemSync(), 7);
    assertThrows(() => zeros([2], { device }).itemSync(), ShapeError, "[2]");
    assertThrows(() => zeros([0], { device }).itemSync(), ShapeError, "[0]");
  });

  Deno.test(`data() and item() read without holding up the event loop on ${device}`, async () => {
    await scope(async () => {
      const x = tensor([[1, 2], [3, 4]], { device });
      const pending = x.add(1).data();
      x.fill(9); // queued after the read has begun
      assertEquals([...await pending], [2, 3, 4, 5]);
      assertEquals([...await x.data()], [9, 9, 9, 9]);
      assertEquals(await x.sum().item(), 36);
      await assertRejects(() => x.item(), ShapeError, "[2, 2]");
      const many = await Promise.all(Array.from({ length: 100 }, (_, i) => x.mul(i).sum().item()));
      assertEquals(many, Array.from({ length: 100 }, (_, i) => 36 * i));
      for (const dtype of ownKinds) {
        assert(await zeros([0], { dtype, device }).data() instanceof arrays[dtype]);
      }
      const half = tensor([1, 2.00390625, 3], { dtype: "bfloat16", device });
      const reading = half.data();
      half.fill(7); // queued after the read has begun
      assertEquals(await reading, Float32Array.of(1, 2, 3)); // bfloat16 has no typed array
      assertEquals(half.dataSync(), Float32Array.of(7, 7, 7));
    });
  });
}

// The multiple of the unit in the last place that is nearest to x, of two the even one; bits:
// digits of the significand.
const formats = {
  float16: { bits: 11, lowest: -14, largest: 65504 },
  bfloat16: { bits: 8, lowest: -126, largest: 2 ** 127 * (2 - 2 ** -7) },
};
function nearest(x: number, { bits, lowest, largest }: (typeof formats)["float16"]): number {
  if (x === 0 || !Number.isFinite(x)) return x;
  const ulp = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(x))), lowest) - bits + 1);
  const [units, down] = [x / ulp, Math.floor(x / ulp)];
  const up = units - down > 0.5 || (units - down === 0.5 && down % 2 !== 0);
  const result = (up ? down + 1 : down) * ulp;
  if (result === 0) return x < 0 ? -0 : 0;
  return Math.abs(result) > largest ? result * Infinity : result;
}

for (const device of names) {
  Deno.test(`what becomes 16 bits wide is rounded once, to nearest even, on ${device}`, () =>
    scope(() => {
      for (const [dtype, format] of Object.entries(formats)) {
        const type = dtype as keyof typeof formats;
        const { bits, lowest, largest } = format;
        const values = [0, -0, NaN, Infinity, -Infinity, 1e-320, 1e300, 2 ** 24 + 1];
        // Middles of neighbours, and what is just off them by less than float32 sees.
        const half = (e: number) => 2 ** (Math.max(e, lowest) - bits);
        for (const e of [-150, -134, -126, -25, -24, -15, -14, -1, 0, 1, 10, 15, 16, 127]) {
          for (let k = 0; k < 7; k++) {
            const middle = 2 ** e + k * half(e);
            values.push(middle, middle * (1 + 2 ** -45), middle * (1 - 2 ** -45), -middle);
          }
        }
        // becomes infinite; below it nothing does
        const end = largest + half(Math.floor(Math.log2(largest)));
        values.push(end, end * (1 - 2 ** -45), -end, -end * (1 - 2 ** -45), largest);
        const wanted = values.map((x) => nearest(x, format));
        const found = (x: Tensor) => Array.from(x.dataSync());
        const wide = tensor(values, { dtype: "float64", device });
        assertEquals(found(wide.to(type)), wanted, `${dtype}: cast`);
        assertEquals(found(tensor(values, { dtype: type, device })), wanted, `${dtype}: tensor`);
        const filled = values.map((x) => full([1], x, { dtype: type, device }).itemSync());
        assertEquals(filled, wanted, `${dtype}: full`);
        const singles = values.map(Math.fround);
        assertEquals(
          found(tensor(singles, { device }).to(type)),
          singles.map((x) => nearest(x, format)),
          `${dtype}: cast of float32`,
        );
        const whole = [
          2 ** 24 + 2 ** 16 + 1,
          2 ** 24 + 2 ** 16,
          -(2 ** 30) - 2 ** 22 - 1,
          65519,
          65520,
        ]
          .concat([2049, -2051, 257, 2 ** 31 - 1, -(2 ** 31), 0]);
        assertEquals(
          found(tensor(whole, { dtype: "int32", device }).to(type)),
          whole.map((x) => nearest(x, format)),
          `${dtype}: cast of int32`,
        );
        const sum = tensor([1, 2 ** -bits, 2 ** -45], { dtype: "float64", device }).sum().to(type);
        assertEquals(sum.itemSync(), 1 + 2 * 2 ** -bits, `${dtype}: sum`);
        const steps = Array.from({ length: 300 }, (_, i) => 1 + i * (2 ** -bits + 2 ** -45));
        assertEquals(
          found(arange(1, 1 + 299.5 * (2 ** -bits + 2 ** -45), 2 ** -bits + 2 ** -45, {
            dtype: type,
            device,
          })),
          steps.map((x) => nearest(x, format)),
          `${dtype}: arange`,
        );
      }
    }));
}

// Each is refused before anything reaches the device, with an error that says what was wrong.
type Kind = typeof ArgumentError | typeof CudenoError | typeof DTypeError | typeof ShapeError;
const refused: [name: string, make: () => unknown, kind: Kind, says: string][] = [
  ["rows of unequal length", () => tensor([[1, 2], [3]]), ShapeError, "a row of 1"],
  ["a number among rows", () => tensor([[1], 2]), ShapeError, "a number"],
  ["a row among numbers", () => tensor([1, [2]]), ShapeError, "a row of 1"],
  ["rows of unequal depth", () => tensor([[[1]], [2]]), ShapeError, "depth"],
  ["what is no number", () => tensor(["1"] as unknown as number[]), ArgumentError, "no number"],
  ["nothing", () => tensor(undefined as unknown as number[]), ArgumentError, "no number"],
  ["NaN as int32", () => tensor([NaN], { dtype: "int32" }), DTypeError, "NaN"],
  ["inf as int32", () => tensor([Infinity], { dtype: "int32" }), DTypeError, "Infinity"],
  ["a fraction as int32", () => tensor([0.5], { dtype: "int32" }), DTypeError, "0.5"],
  ["2^31 as int32", () => tensor([2 ** 31], { dtype: "int32" }), DTypeError, "2147483648"],
  ["300 as uint8", () => tensor([300], { dtype: "uint8" }), DTypeError, "300"],
  ["-1 as uint8", () => tensor([-1], { dtype: "uint8" }), DTypeError, "-1"],
  ["floats as uint8", () => tensor(Float32Array.of(1.5), { dtype: "uint8" }), DTypeError, "1.5"],
  ["Int16Array", () => tensor(new Int16Array(2)), DTypeError, "typed array"],
  ["BigInt64Array", () => tensor(new BigInt64Array(2)), DTypeError, "typed array"],
  ["DataView", () => tensor(new DataView(new ArrayBuffer(4))), DTypeError, "typed array"],
  ["a shape of another size", () => tensor([1, 2, 3], { shape: [2] }), ShapeError, "3 numbers"],
  ["a dtype that is none", () => zeros([1], { dtype: "float8" as DType }), DTypeError, "float8"],
  ["a dtype of Object", () => ones([1], { dtype: "toString" as DType }), DTypeError, "toString"],
  [
    "a device that is none",
    () => zeros([1], { device: "gpu" as DeviceName }),
    ArgumentError,
    "gpu",
  ],
  ["a misspelt option", () => zeros([1], { dtyp: "int32" } as object), ArgumentError, "dtype?"],
  [
    "an option of another case",
    () => rand([1], { requiresgrad: true } as object),
    ArgumentError,
    "requiresGrad?",
  ],
  [
    "an option of tensor() for zeros()",
    () => zeros([1], { shape: [1] } as object),
    ArgumentError,
    "shape",
  ],
  [
    "an unknown option of tensor()",
    () => tensor(1, { shpae: [] } as object),
    ArgumentError,
    "shape?",
  ],
  ["a negative extent", () => zeros([2, -1]), ShapeError, "[2, -1]"],
  ["an extent with a fraction", () => ones([1.5]), ShapeError, "[1.5]"],
  ["an extent of NaN", () => full([NaN], 1), ShapeError, "NaN"],
  ["a negative extent of eye()", () => eye(-1), ShapeError, "-1"],
  ["more elements than 2^53", () => zeros([2 ** 30, 2 ** 30]), ShapeError, "counted"],
  ["an extent above 2^53", () => zeros([2 ** 60]), ShapeError, "extent"],
  ["bytes above 2^53", () => zeros([2 ** 51], { dtype: "float64" }), ShapeError, "memory"],
  ["more than any machine has", () => zeros([2 ** 50]), CudenoError, ""],
  ["rank 9", () => zeros([1, 1, 1, 1, 1, 1, 1, 1, 1]), ShapeError, "8 dimensions"],
  ["arrays nested nine deep", () => tensor([[[[[[[[[1]]]]]]]]]), ShapeError, "8 dimensions"],
  ["rank 9 by reshape()", () => ones([1]).reshape([1, 1, 1, 1, 1, 1, 1, 1, 1]), ShapeError, "8"],
  [
    "rank 9 by reshape() with -1",
    () => ones([1]).reshape([1, 1, 1, 1, 1, 1, 1, 1, -1]),
    ShapeError,
    "8 dimensions",
  ],
  ["rank 9 by unsqueeze()", () => ones([1, 1, 1, 1, 1, 1, 1, 1]).unsqueeze(0), ShapeError, "8"],
  ["two -1 in reshape()", () => ones([4]).reshape([-1, -1]), ShapeError, "[-1, -1]"],
  ["a step of 0", () => arange(0, 1, 0), ArgumentError, "step"],
  ["an infinite range", () => arange(Infinity), ArgumentError, "finite"],
  ["a line to infinity", () => linspace(0, Infinity, 3), ArgumentError, "end is Infinity"],
  ["a line of half a step", () => linspace(0, 1, 0.5), ArgumentError, "steps is 0.5"],
  ["a line beyond uint8", () => linspace(0, 300, 3, { dtype: "uint8" }), DTypeError, "300"],
  ["zeros like a number", () => zerosLike(3 as unknown as Tensor), ArgumentError, "found 3"],
  [
    "a fraction like whole numbers",
    () => fullLike(tensor([1], { dtype: "int32" }), 0.5),
    DTypeError,
    "0.5",
  ],
  ["a range of fractions as int32", () => arange(0, 1, 0.5, { dtype: "int32" }), DTypeError, "0.5"],
  ["a range beyond uint8", () => arange(0, 300, 1, { dtype: "uint8" }), DTypeError, "256"],
  ["a range longer than any array", () => arange(2 ** 52), CudenoError, ""],
  ["an identity larger than any array", () => eye(2 ** 24, 2 ** 24), CudenoError, ""],
  [
    "full() of what the dtype cannot hold",
    () => full([1], 256, { dtype: "uint8" }),
    DTypeError,
    "256",
  ],
  [
    "fill() of what the dtype cannot hold",
    () => zeros([1], { dtype: "int32" }).fill(0.5),
    DTypeError,
    "0.5",
  ],
  [
    "add() of what the dtype cannot hold",
    () => zeros([1], { dtype: "int32" }).add(0.5),
    DTypeError,
    "0.5",
  ],
];

for (const [name, make, kind, says] of refused) {
  Deno.test(`refused: ${name}`, () => {
    scope(() => assertThrows(make, kind, says));
  });
}

Deno.test("a tensor cannot be used once disposed; disposing it again is harmless", async () => {
  const x = ones([2]);
  assert(!x.disposed);
  x.dispose();
  x.dispose();
  assert(x.disposed);
  assertThrows(() => x.dataSync(), DisposedError, "CUDENO_DEBUG=1");
  assertThrows(() => x.add(1), DisposedError, "[2]");
  await assertRejects(() => x.data(), DisposedError);
  {
    using y = ones([2]);
    assertEquals([...y.dataSync()], [1, 1]);
  }
});

Deno.test("copyFromAsync() writes, and refuses what copyFrom() refuses", async () => {
  using x = zeros([3]);
  await x.copyFromAsync(Float32Array.of(1, 2, 3));
  assertEquals([...x.dataSync()], [1, 2, 3]);
  await assertRejects(() => x.copyFromAsync(new Float64Array(3)), DTypeError);
  await assertRejects(() => x.copyFromAsync(new Float32Array(2)), ShapeError, "8 bytes");
});

// Elements as PyTorch 2.13 prints them, but for the names of what is not finite.
Deno.test("a tensor says what it is", () => {
  const half = { dtype: "bfloat16" } as const, int = { dtype: "int32" } as const;
  const dots = (x: Tensor) => `${x}`.replaceAll(/^ +| +(?= )/gm, "");
  const cases: [Tensor, string][] = [
    [tensor([[1, 2]]), "[1, 2] float32 cpu [[1., 2.]]"],
    [tensor(1.5), "[] float32 cpu 1.5000"],
    [tensor(3, { dtype: "uint8" }), "[] uint8 cpu 3"],
    [tensor([1 / 3, -2]), "[2] float32 cpu [ 0.3333, -2.0000]"],
    [tensor([[1, -20], [3, 4]], int), "[2, 2] int32 cpu\n[[  1, -20],\n [  3,   4]]"],
    [
      tensor([[[1], [2]], [[3], [4]]]),
      "[2, 2, 1] float32 cpu\n[[[1.],\n  [2.]],\n\n [[3.],\n  [4.]]]",
    ],
    [tensor([1e-9, 1]), "[2] float32 cpu [1.0000e-09, 1.0000e+00]"],
    [tensor([-1e-8, 1e8, 0]), "[3] float32 cpu [-1.0000e-08,  1.0000e+08,  0.0000e+00]"],
    [tensor([1e8]), "[1] float32 cpu [100000000.]"],
    [tensor([1, 1000]), "[2] float32 cpu [   1., 1000.]"],
    [tensor([1, 1001]), "[2] float32 cpu [1.0000e+00, 1.0010e+03]"],
    [tensor([1.5, -0]), "[2] float32 cpu [ 1.5000, -0.0000]"],
    [tensor([-0, 0]), "[2] float32 cpu [-0.,  0.]"],
    [tensor([1, NaN]), "[2] float32 cpu [ 1., NaN]"],
    [tensor([-Infinity, 1.5]), "[2] float32 cpu [-Infinity,    1.5000]"],
    // halfway between two: to the even one
    [tensor([1 / 32, -3 / 32], half), "[2] bfloat16 cpu [ 0.0312, -0.0938]"],
    [tensor([100005, 0.5]), "[2] float32 cpu [1.0000e+05, 5.0000e-01]"],
    [zeros([2, 0, 3]), "[2, 0, 3] float32 cpu []"],
    [tensor([1], { requiresGrad: true }), "[1] float32 cpu requiresGrad [1.]"],
    [tensor([1], { requiresGrad: true }).mul(2), "[1] float32 cpu gradFn mul [2.]"],
    [
      arange(2000, undefined, 1, int),
      "[2000] int32 cpu [   0,    1,    2,  ..., 1997, 1998, 1999]",
    ],
    [
      arange(30),
      "[30] float32 cpu\n" +
      "[ 0.,  1.,  2.,  3.,  4.,  5.,  6.,  7.,  8.,  9., 10., 11., 12., 13., 14., 15.,\n" +
      " 16., 17., 18., 19., 20., 21., 22., 23., 24., 25., 26., 27., 28., 29.]",
    ],
  ];
  for (const [x, wanted] of cases) {
    assertEquals(`${x}`, `Tensor ${wanted.replace("cpu", x.device)}`);
    assertEquals(Deno.inspect(x), `${x}`);
    x.dispose();
    assert(`${x}`.endsWith(", disposed"));
  }
  using large = arange(10_000, undefined, 1, int);
  using table = large.reshape([100, 100]);
  using images = large.reshape([10, 2, 50, 10]);
  assertEquals(dots(table).split("\n").slice(1, 5), [
    "[[ 0, 1, 2, ..., 97, 98, 99],",
    "[ 100, 101, 102, ..., 197, 198, 199],",
    "[ 200, 201, 202, ..., 297, 298, 299],",
    "...,",
  ]);
  assert(`${table}`.endsWith("[9900, 9901, 9902,  ..., 9997, 9998, 9999]]"));
  assertEquals(`${images}`.match(/\.\.\.,\n/g)!.length, 13); // 12 images' rows, and images
  using json = tensor([[1, NaN]]);
  assertEquals(JSON.stringify(json), '{"shape":[1,2],"dtype":"float32","data":[1,null]}');
});

Deno.test("what is no tensor, or no shape, is refused by name", () => {
  const loose = (value: unknown) => value as never;
  using x = zeros([2, 3]);
  assertThrows(() => x.matmul(loose(3)), ArgumentError, "found 3");
  assertThrows(() => x.add(loose(undefined)), ArgumentError, "undefined");
  assertThrows(() => zeros(loose(3)), ArgumentError, "[2, 3]");
  assertThrows(() => x.reshape(loose(2)), ArgumentError, "[2, 3]");
});
