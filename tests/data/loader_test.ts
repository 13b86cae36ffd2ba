// Loaders of samples, streams and structures: which batches they make, when, and what is left.
import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertNotEquals,
  assertRejects,
} from "@std/assert";
import {
  ArgumentError,
  data,
  type DeviceName,
  DTypeError,
  full,
  keep,
  manualSeed,
  memory,
  rand,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from "../../mod.ts";
import { cleanTest, deviceTest as test, later, refuse, xor } from "../_helpers.ts";

const { concat, DataLoader, map, randomSplit, stratifiedSplit, Subset, TensorDataset } = data;

const upTo = (n: number) => Array.from({ length: n }, (_, i) => i);
const tick = (ms = 0) => new Promise((resolve) => setTimeout(resolve, ms));
const list = (x: unknown) => [...(x as Tensor).dataSync()];

/** Samples i of input [i, i + 0.5] and target i. */
const counted = (n: number, device?: DeviceName): data.SampleDataset => ({
  length: n,
  classes: 99,
  device,
  get: (i) => ({ input: [i, i + 0.5], target: i }),
});
/** The same, in time; later ones are sooner there. */
const delayed = (n: number, seen: number[] = []): data.SampleDataset => ({
  ...counted(n),
  async get(i) {
    seen.push(i);
    await tick((n - i) % 7);
    return { input: [i, i + 0.5], target: i };
  },
});

/** The targets of all batches; each input must belong to its target. */
async function targets(
  from: data.AnyDataset,
  options: data.DataLoaderOptions = {},
): Promise<number[][]> {
  const found: number[][] = [];
  for await (const { input, target } of new DataLoader(from, options)) {
    const batch = list(target);
    assertEquals(list(input), batch.flatMap((i) => [i, i + 0.5]));
    found.push(batch);
  }
  return found;
}

/** The one batch of all samples. */
function batchOf(samples: data.Sample[], classes?: number, device?: DeviceName): data.Batch {
  const set = { length: samples.length, classes, device, get: (i: number) => samples[i]! };
  const [batch] = new DataLoader(set, { batchSize: 99 });
  return batch!;
}

test("samples: what their parts become", (device) => {
  const bf = keep(tensor([1, 2], { dtype: "bfloat16" }));
  later(bf);
  const cases: [unknown, string, number[], number[]][] = [
    [3, "float32", [2], [3, 3]],
    [true, "float32", [2], [1, 1]],
    [[1, 2], "float32", [2, 2], [1, 2, 1, 2]],
    [[[1], [2]], "float32", [2, 2, 1], [1, 2, 1, 2]],
    [Int32Array.of(7), "int32", [2, 1], [7, 7]],
    [Float64Array.of(0.1), "float64", [2, 1], [0.1, 0.1]],
    [Float16Array.of(0.5), "float16", [2, 1], [0.5, 0.5]],
    [bf, "bfloat16", [2, 2], [1, 2, 1, 2]],
    [Uint8Array.of(51), "float32", [2, 1], [0.2, 0.2]],
  ];
  for (const [input, dtype, shape, numbers] of cases) {
    const set = { length: 2, device, get: () => ({ input, target: 0 }) };
    for (const batch of new DataLoader(set, { batchSize: 2 })) {
      const { input, target, weight } = batch;
      assertEquals([input.dtype, input.shape, input.device], [dtype, shape, device]);
      list(input).forEach((x, i) => assertAlmostEquals(x, numbers[i]!, 1e-6));
      assertEquals([target.dtype, target.shape, weight], ["float32", [2], undefined]);
    }
  }
  for (const [target, classes, dtype] of [[1, 2, "int32"], [1, undefined, "float32"]] as const) {
    const set = { length: 1, device, classes, get: () => ({ input: 0, target }) };
    for (const batch of new DataLoader(set)) assertEquals(batch.target.dtype, dtype);
  }
  const bytes = { length: 1, device, get: () => ({ input: 0, target: Uint8Array.of(200) }) };
  for (const { target } of new DataLoader(bytes)) {
    assertEquals([target.dtype, list(target)], ["int32", [200]]);
  }
});

test("samples: structures, and weights where some have one", (device) => {
  const set: data.SampleDataset = {
    length: 3,
    device,
    get: (i) => ({
      input: { image: [[i]], more: [i, Int32Array.of(i)] },
      target: [[i], { data: [i], shape: 1 }],
      ...(i === 1 && { weight: 0.5 }),
    }),
  };
  type Input = { image: Tensor; more: Tensor[] };
  type Target = [Tensor, { data: Tensor; shape: Tensor }];
  let batches = 0;
  for (const { input, target, weight } of new DataLoader<Input, Target>(set, { batchSize: 2 })) {
    const n = batches++ ? 1 : 2;
    const { image, more: [more, ids] } = input;
    assertEquals([image.shape, ids!.dtype, ids!.shape, more!.shape], [[n, 1, 1], "int32", [n, 1], [
      n,
    ]]);
    const [first, { data, shape }] = target;
    assertEquals([first.shape, data.shape, shape.shape], [[n, 1], [n, 1], [n]]);
    assertEquals(weight && list(weight), n === 2 ? [1, 0.5] : undefined);
  }
  assertEquals(batches, 2);
});

cleanTest("samples: what does not go together", () => {
  const wrong = (error: Parameters<typeof refuse>[1], samples: unknown[], ...parts: string[]) =>
    refuse(() => batchOf(samples as data.Sample[], 5), error, ...parts);
  const of = (input: unknown, target: unknown = 0) => ({ input, target });
  wrong(ShapeError, [of([1, 2]), of([1])], "input is [2] in one sample, [1] in another");
  wrong(ShapeError, [of([[1, 2], [3]]), of([[1, 2], [3]])], "input has rows that are not alike");
  wrong(ShapeError, [of([[1], ["cat"]])], "input has rows");
  wrong(
    DTypeError,
    [of([1]), of(Int32Array.of(1))],
    "input is float32 in one sample, int32",
  );
  wrong(ArgumentError, [of({ a: 1 }), of({ b: 1 })], "input.a is undefined");
  wrong(ArgumentError, [of("cat")], 'input is "cat"');
  wrong(ArgumentError, [of({})], "input is");
  wrong(ArgumentError, [of([])], "input is");
  wrong(ArgumentError, [of(1, 0.5)], "target is 0.5", "a class number");
  wrong(ArgumentError, [of(1), 5], "a sample is 5");
  wrong(ArgumentError, [of(1, undefined)].map(({ input }) => ({ input })), "a sample is");
});

cleanTest(
  "samples in time: some batches ahead, in order, freed when the loop is left",
  async () => {
    for (const prefetch of [0, 1, 3]) {
      const seen: number[] = [];
      let batches = 0;
      for await (
        const { target } of new DataLoader(delayed(20, seen), { batchSize: 2, prefetch })
      ) {
        assertEquals(list(target), [2 * batches, 2 * batches + 1]);
        batches++;
        assertEquals(seen, upTo(Math.min(20, 2 * (batches + prefetch))));
      }
      assertEquals(batches, 10);
    }
    const before = memory().tensors;
    for await (const _ of new DataLoader(delayed(20), { batchSize: 2, prefetch: 4 })) {
      // those ahead come to the device
      for (let i = 0; i < 3000 && memory().tensors <= before + 2; i++) await tick(20);
      assert(memory().tensors > before + 2, "none is ahead");
      break;
    }
    assertEquals(memory().tensors, before);
  },
);

cleanTest("samples at once and in time may be mixed, and errors come in their turn", async () => {
  const mixed = {
    ...counted(9),
    get: (i: number) => i % 4 < 2 ? counted(9).get(i) : delayed(9).get(i),
  };
  assertEquals((await targets(mixed, { batchSize: 2 })).flat(), upTo(9));
  for (const sync of [true, false]) {
    const failing: data.SampleDataset = {
      ...counted(9),
      get(i) {
        if (i !== 5) return sync ? counted(9).get(i) : delayed(9).get(i);
        if (sync) throw new RangeError("no such file");
        return Promise.reject(new RangeError("no such file"));
      },
    };
    const found: number[] = [];
    await assertRejects(
      async () => {
        for await (const { target } of new DataLoader(failing, { batchSize: 2 })) {
          found.push(...list(target));
        }
      },
      RangeError,
      "no such file",
    );
    assertEquals(found, [0, 1, 2, 3]);
  }
});

cleanTest("a `for` loop is for what is there at once", async () => {
  assertEquals([...new DataLoader(counted(4), { batchSize: 2 })].length, 2);
  for (const set of [delayed(4), [{ input: 1, target: 0 }]]) {
    refuse(() => [...new DataLoader(set as data.AnyDataset)], ArgumentError, "for await");
  }
  await tick(30); // what was prepared is freed
});

cleanTest("tensors that get() makes are freed, those that it gives again are not", async () => {
  const mine = later(keep(rand([3])));
  for (const wait of [false, true]) {
    const set = {
      length: 4,
      get(i: number) {
        const sample = { input: i % 2 ? mine : rand([3]), target: zeros([]) };
        return wait ? Promise.resolve(sample) : sample;
      },
    };
    const before = memory().tensors;
    for await (const _ of new DataLoader(set, { batchSize: 2 }));
    assertEquals(memory().tensors, before);
  }
  assertEquals(mine.shape, [3]);
});

cleanTest("random numbers of a sample depend on the seed and its place alone", async () => {
  const draw = async (wait: boolean, options: data.DataLoaderOptions = {}, skip = 0) => {
    const set: data.SampleDataset = {
      length: 6,
      get(i, random = Math.random) {
        const sample = () => ({ input: [random(), random()], target: 0 });
        const library = rand([1]).itemSync();
        if (wait) return tick(6 - i).then(() => ({ ...sample(), target: library }));
        return { ...sample(), target: library };
      },
    };
    const feed = new DataLoader(set, options).feed(skip);
    const found: number[] = [];
    for (;;) {
      const { done, value } = await feed.next();
      if (done) break;
      found.push(...list(value.batch.input), ...list(value.batch.target));
    }
    await feed.close();
    return found;
  };
  const one = await draw(false, { seed: 1, batchSize: 2 });
  assertEquals(new Set(one).size, 18);
  assert(one.every((x) => x >= 0 && x < 1));
  assertEquals(await draw(true, { seed: 1, batchSize: 2 }), one);
  assertEquals(await draw(true, { seed: 1, batchSize: 2 }, 1), one.slice(6));
  assertNotEquals(await draw(false, { seed: 2, batchSize: 2 }), one);
  manualSeed(4);
  const drawn = await draw(false);
  assertNotEquals(await draw(false), drawn);
  manualSeed(4);
  assertEquals(await draw(true), drawn);
});

cleanTest("order: shuffle, seed, sampler, dropLast, and the length", async () => {
  const flat = async (options: data.DataLoaderOptions) =>
    (await targets(counted(10), options)).flat();
  assertEquals(await targets(counted(5), { batchSize: 2 }), [[0, 1], [2, 3], [4]]);
  assertEquals(await targets(counted(5), { batchSize: 2, dropLast: true }), [[0, 1], [2, 3]]);
  const one = await flat({ shuffle: true, seed: 1 });
  assertEquals([...one].sort((a, b) => a - b), upTo(10));
  assertEquals(await flat({ shuffle: true, seed: 1, batchSize: 3 }), one);
  const seeded = new DataLoader(counted(10), { shuffle: true, seed: 1, batchSize: 10 });
  const epochs = [...seeded, ...seeded].length;
  assertEquals([epochs, seeded.epoch], [2, 2]);
  assertEquals(await flat({ sampler: [3, 3, 0] }), [3, 3, 0]);
  let calls = 0;
  const loader = new DataLoader(counted(4), { sampler: () => [calls++, 3], batchSize: 2 });
  for (const first of [0, 1, 2]) {
    for (const { target } of loader) assertEquals(list(target), [first, 3]);
  }
  assertEquals(loader.length, NaN);
  assertEquals(new DataLoader(counted(5), { batchSize: 2 }).length, 3);
  assertEquals(new DataLoader(counted(5), { batchSize: 2, dropLast: true }).length, 2);
  assertEquals(new DataLoader([], {}).length, NaN);
  for (const sampler of [[4], [-1], [0.5], [NaN]]) {
    const wrong = new DataLoader(counted(4), { sampler });
    refuse(() => [...wrong], ArgumentError, "the sampler's number 0 is", "below 4");
  }
  for (const n of [0, 1]) assertEquals((await targets(counted(n))).length, n);
});

test("collate: what it makes of samples is the batch, and is freed", async (device) => {
  const sets = [
    counted(5, device),
    { ...delayed(5), device },
    upTo(5).map((i) => counted(5).get(i)),
  ];
  for (const set of sets) {
    const collate = (samples: data.Sample[]) => {
      rand([3], { device }); // on the way
      const rows = samples.map(({ input }) => input as number[]);
      return {
        input: tensor(rows, { device }).mul(2),
        target: tensor(rows.length, { device }).reshape([1]),
      };
    };
    const before = memory(device).tensors;
    let seen = 0;
    for await (
      const { input } of new DataLoader(set as data.AnyDataset, { batchSize: 2, collate })
    ) {
      assertEquals(list(input).slice(0, 2), [4 * seen, 4 * seen + 1]);
      if (++seen === 2) break;
    }
    assertEquals(memory(device).tensors, before);
  }
  for (const made of [5, {}, { input: 1, target: 2 }, Promise.resolve(), undefined]) {
    const loader = new DataLoader(counted(2), { collate: () => made as unknown as data.Batch });
    refuse(() => [...loader], ArgumentError, "collate returns");
  }
});

cleanTest("iterables: samples in turn, at once or in time", async () => {
  const samples = upTo(5).map((i) => ({ input: [i, i + 0.5], target: i }));
  let closed = 0;
  function* some() {
    try {
      yield* samples;
    } finally {
      closed++;
    }
  }
  async function* slow() {
    try {
      for (const sample of samples) yield (await tick(), sample);
    } finally {
      closed++;
    }
  }
  const each = (make: () => object, classes?: number) =>
    ({ ...(classes && { classes }), ...make() }) as unknown as data.AnyDataset;
  const sets = [
    samples,
    each(() => ({ [Symbol.iterator]: some })),
    each(() => ({ [Symbol.asyncIterator]: slow })),
    new ReadableStream({ start: (c) => (samples.forEach((x) => c.enqueue(x)), c.close()) }),
  ] as data.AnyDataset[];
  for (const [k, set] of sets.entries()) {
    if (k < 3) {
      assertEquals(await targets(set, { batchSize: 2, dropLast: true }), [[0, 1], [2, 3]]);
    }
    assertEquals(await targets(set, { batchSize: 2 }), [[0, 1], [2, 3], [4]]);
  }
  assertEquals(closed, 4);
  for (const set of sets.slice(1, 3)) for await (const _ of new DataLoader(set)) break;
  assertEquals(closed, 6);
  const classes = each(() => ({ [Symbol.iterator]: some }), 9);
  for await (const { target } of new DataLoader(classes)) assertEquals(target.dtype, "int32");
});

cleanTest("iterables: ready batches, which are freed as they are passed", async () => {
  function* ready() {
    for (let i = 0; i < 4; i++) yield { input: full([i + 1, 2], i), target: zeros([i + 1]) };
  }
  const set = { [Symbol.iterator]: ready };
  const before = memory().tensors;
  const sizes: number[] = [];
  for await (const { input } of new DataLoader(set, { batchSize: null })) {
    sizes.push(input.shape[0]!);
    if (sizes.length === 3) break;
  }
  assertEquals(sizes, [1, 2, 3]);
  assertEquals(memory().tensors, before);
  const feed = new DataLoader(set, { batchSize: null }).feed(2);
  assertEquals((await feed.next()).value?.size, 3);
  await feed.close();
  assertEquals(memory().tensors, before);
  const wrong = new DataLoader([5] as unknown as data.AnyDataset, { batchSize: null });
  await assertRejects(
    async () => {
      for await (const _ of wrong);
    },
    ArgumentError,
    "returns",
  );
});

cleanTest("options: what is refused, and how", () => {
  const make = (options: unknown, set: data.AnyDataset = counted(4)) => () =>
    new DataLoader(set, options as data.DataLoaderOptions);
  const cases: [unknown, ...string[]][] = [
    [{ batchSize: 0 }, "batchSize is 0", "at least 1"],
    [{ batchSize: 1.5 }, "batchSize is 1.5"],
    [{ batchSize: null }, "batchSize is null", "not iterable"],
    [{ prefetch: -1 }, "prefetch is -1"],
    [{ prefetch: Infinity }, "prefetch is Infinity"],
    [{ seed: -1 }, "seed is -1"],
    [{ collate: 5 }, "collate is 5"],
    [{ sampler: [0], shuffle: true }, "not both"],
    [{ sampler: [0], seed: 1 }, "not both"],
    [{ bachSize: 1 }, "did you mean batchSize?"],
    [4, "wanted are options"],
  ];
  for (const [options, ...parts] of cases) refuse(make(options), ArgumentError, ...parts);
  refuse(make({ shuffle: true }, []), ArgumentError, "iterable data comes in its own order");
  refuse(make({ sampler: [0] }, []), ArgumentError, "iterable data comes in its own order");
  refuse(make({ batchSize: null, collate: () => 0 }, []), ArgumentError, "collate is for");
  refuse(make({ collate: () => 0 }, xor()), ArgumentError, "collate is for");
  for (
    const set of [5, "text", null, { length: 3 }, { length: -1, get() {} }, zeros([2])]
  ) {
    refuse(make({}, set as unknown as data.AnyDataset), ArgumentError, "the data set is");
  }
  refuse(make({}, new DataLoader(counted(2)) as never), ArgumentError, "give its .dataset");
});

test("combinators of samples: Subset, map, concat and splits", async (device) => {
  const set = counted(10, device);
  const part = later(new Subset(set, [7, 2, 2]));
  assertEquals([part.length, part.classes, part.device], [3, 99, device]);
  assertEquals((await targets(part)).flat(), [7, 2, 2]);
  assertEquals((await targets(later(new Subset(part, [2, 0])))).flat(), [2, 7]);
  refuse(() => part.batch(zeros([1]).to("int32")), ArgumentError, "samples only");
  const next = ({ input, target, ...rest }: data.Sample) => ({
    ...rest,
    input: (input as number[]).map((x) => x + 1),
    target: (target as number) + 1,
  });
  for (const base of [set, { ...delayed(10), device }]) {
    const mapped = map(base, next);
    assertEquals([mapped.length, mapped.classes, mapped.device], [10, 99, device]);
    assertEquals((await targets(mapped)).flat(), upTo(10).map((i) => i + 1));
    assertEquals((await targets(map(base, async (x) => (await tick(), next(x))))).length, 10);
  }
  const both = concat(counted(2, device), counted(0, device), counted(3, device));
  assertEquals([both.length, both.classes], [5, 99]);
  assertEquals((await targets(both)).flat(), [0, 1, 0, 1, 2]);
  refuse(() => concat(xor(), set as never), ArgumentError, "one with batch()");
  const [a, b] = randomSplit(set, [0.7, 0.3], { seed: 1 }).map(later);
  const all = [...(await targets(a!)).flat(), ...(await targets(b!)).flat()];
  assertEquals([a!.length, b!.length, all.sort((x, y) => x - y)], [7, 3, upTo(10)]);
  const even = { ...set, get: (i: number) => ({ input: [i], target: i % 2 }) };
  const parts = stratifiedSplit(even, [0.6, 0.4], { seed: 1 }).map(later);
  for (const [k, part] of parts.entries()) {
    let ones = 0;
    for (const { target } of new DataLoader(part)) ones += list(target)[0]!;
    assertEquals(ones, k === 0 ? 3 : 2);
  }
  const labels = upTo(10).map((i) => i % 2);
  stratifiedSplit({ ...delayed(10), device }, [0.5, 0.5], { labels }).map(later);
  refuse(() => stratifiedSplit(delayed(10), [0.5, 0.5]), ArgumentError, "for await");
  const nested = { ...set, get: (i: number) => ({ input: i, target: [i, [i]] }) };
  refuse(() => stratifiedSplit(nested, [1]), ArgumentError, "target");
  await tick(20);
});

test("TensorDataset: structures and weights, in parts, mapped and one after another", (device) => {
  const make = (n: number, from = 0) => {
    const x = tensor(upTo(n).map((i) => [i + from]), { device, shape: [n, 1] });
    const image = tensor(Uint8Array.from(upTo(n), (i) => i + from), { device });
    const y = tensor(Int32Array.from(upTo(n), (i) => i + from), { device });
    const weights = tensor(upTo(n).map((i) => i + from + 0.5), { device });
    return later(new TensorDataset({ x, image }, [y, x.mul(2)], { weights }));
  };
  const check = (set: data.Dataset<{ x: Tensor; image: Tensor }, Tensor[]>, wanted: number[]) => {
    const found: number[] = [];
    for (const { input, target, weight } of new DataLoader(set, { batchSize: 2 })) {
      const at = list(target[0]);
      assertEquals(list(input.x), at);
      list(input.image).forEach((p, i) => assertAlmostEquals(p, at[i]! / 255, 1e-6));
      assertEquals(list(target[1]), at.map((i) => 2 * i));
      assertEquals(list(weight), at.map((i) => i + 0.5));
      found.push(...at);
    }
    assertEquals(found, wanted);
  };
  const set = make(5);
  assertEquals([set.length, set.device], [5, device]);
  check(set, upTo(5));
  check(later(new Subset(set, [4, 0, 2])), [4, 0, 2]);
  check(concat(set, make(3, 5)), upTo(8));
  check(map(set, ({ input, target, weight }) => ({ input, target, weight })), upTo(5));
  for (const part of randomSplit(set, [0.4, 0.6], { seed: 1 })) assert(later(part).length >= 2);
  refuse(() => stratifiedSplit(set, [1]), ArgumentError, "several targets");
  const bare = later(new TensorDataset(set.inputs, set.targets));
  refuse(() => check(concat(set, bare), []), ArgumentError, "some data sets have weights");
  const { inputs, targets } = set;
  refuse(
    () => new TensorDataset({ ...inputs, z: zeros([4], { device }) }, targets),
    ShapeError,
    "[4]",
  );
  refuse(() => new TensorDataset(inputs, [zeros([4], { device })]), ShapeError, "targets [4]");
  refuse(
    () => new TensorDataset(inputs, targets, { weights: zeros([4], { device }) }),
    ShapeError,
    "weights [4]",
  );
  refuse(() => new TensorDataset({ a: 5 }, targets), ArgumentError, "inputs.a is 5");
  refuse(() => new TensorDataset([], targets), ArgumentError, "inputs is");
});

cleanTest("waited: how long loops have waited for batches", async () => {
  const loader = new DataLoader(delayed(6), { batchSize: 6, prefetch: 0 });
  assertEquals(loader.waited, 0);
  for await (const _ of loader);
  const once = loader.waited;
  assert(once > 0.001, `${once}`);
  for await (const _ of loader) await tick(20);
  assert(loader.waited > once);
});
