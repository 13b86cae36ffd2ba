// Data sets made of others: which samples they have, and that they train on any device.
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import {
  arange,
  ArgumentError,
  autocast,
  data,
  DataError,
  DeviceError,
  type DeviceName,
  devices,
  DTypeError,
  full,
  gradcheck,
  IndexError,
  manualSeed,
  memory,
  rand,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from "../../mod.ts";
import { cleanTest, deviceTest as test, halves, later, network, refuse } from "../_helpers.ts";

const { concat, DataLoader, map, padSequence, randomSplit, stratifiedSplit, Subset } = data;

const ints = (list: readonly number[], device?: DeviceName) =>
  tensor(list, { dtype: "int32", shape: [list.length], device });

/** Samples i, from `first` on, of input [i, i + 0.5] and target i. */
function counted(n: number, device?: DeviceName, first = 0) {
  const from = arange(first, first + n, 1, { device });
  const inputs = from.reshape([n, 1]).add(tensor([[0, 0.5]], { device }));
  return later(new data.TensorDataset(inputs, from.to("int32")));
}

/** The targets in order; each sample's input must belong to it. */
function targetsOf(set: data.Dataset, batchSize = 3): number[] {
  const found: number[] = [];
  for (const { input, target } of new DataLoader(set, { batchSize })) {
    const targets = [...target.dataSync()];
    assertEquals([input.device, target.device], [set.device, set.device]);
    assertEquals([...input.dataSync()], targets.flatMap((i) => [i, i + 0.5]));
    found.push(...targets);
  }
  assertEquals(found.length, set.length);
  return found;
}

const sorted = (list: Iterable<number>) => [...list].sort((a, b) => a - b);
const upTo = (n: number) => Array.from({ length: n }, (_, i) => i);

test("Subset: samples by their indices, in order, from arrays and tensors", (device) => {
  const set = counted(7, device);
  const list = [6, 0, 3, 3];
  for (const indices of [list, Int32Array.from(list), Float64Array.from(list), ints(list)]) {
    const part = later(new Subset(set, indices));
    assertEquals([part.length, part.device, part.dataset], [4, set.device, set]);
    assertEquals([part.indices.dtype, part.indices.device], ["int32", set.device]);
    assertEquals(targetsOf(part), list);
    assertEquals(targetsOf(later(new Subset(part, [3, 1]))), [3, 0]);
  }
  assertEquals(targetsOf(later(new Subset(set, []))), []);
  const part = later(new Subset(set, list));
  const before = memory(device).tensors;
  part.batch(ints([1, 2], device));
  assertEquals(memory(device).tensors, before + 3); // the index, an input and a target
});

test("Subset: what is refused, before anything is made", (device) => {
  const set = counted(3, device);
  const before = memory(device).tensors;
  refuse(() => new Subset(set, [0, 3]), ArgumentError, "indices[1] is 3", "below 3");
  refuse(() => new Subset(set, [-1]), ArgumentError, "indices[0] is -1");
  refuse(() => new Subset(set, [0.5]), ArgumentError, "indices[0] is 0.5");
  refuse(() => new Subset(set, [NaN]), ArgumentError, "NaN");
  refuse(() => new Subset(set, 5 as unknown as number[]), ArgumentError, "indices is 5");
  const view = new DataView(new ArrayBuffer(8)) as unknown as number[];
  refuse(() => new Subset(set, view), ArgumentError, "indices is");
  refuse(() => new Subset([1] as unknown as data.Dataset, [0]), ArgumentError, "data set");
  assertEquals(memory(device).tensors, before);
  const bad = { length: 3, device, batch: () => 5 } as unknown as data.Dataset;
  refuse(() => later(new Subset(bad, [0])).batch(ints([0], device)), ArgumentError, "batch()");
});

test("randomSplit: by lengths and by fractions, each sample once", (device) => {
  const cases: [n: number, lengths: number[], sizes: number[]][] = [
    [10, [3, 7], [3, 7]],
    [10, [0.8, 0.2], [8, 2]],
    [10, [1 / 3, 1 / 3, 1 / 3], [4, 3, 3]],
    [100, [0.71, 0.29], [71, 29]],
    [10, [0.7, 0.2, 0.1], [7, 2, 1]],
    [3, [0, 0.5, 0.5], [0, 2, 1]],
    [7, [1], [7]],
    [1, [1, 0], [1, 0]],
    [4, [4, 0], [4, 0]],
    [0, [0.5, 0.5], [0, 0]],
    [0, [], []],
  ];
  for (const [n, lengths, sizes] of cases) {
    const parts = randomSplit(counted(n, device), lengths).map(later);
    assertEquals(parts.map(({ length }) => length), sizes);
    assertEquals(sorted(parts.flatMap((part) => targetsOf(part))), upTo(n));
  }
});

test("randomSplit: one seed, one split; the library's numbers go on as they were", (device) => {
  const set = counted(50, device);
  const split = (seed?: number) => targetsOf(randomSplit(set, [0.5, 0.5], { seed }).map(later)[0]!);
  manualSeed(3);
  const after = rand([2]).dataSync();
  manualSeed(3);
  const one = split(1);
  assertEquals(rand([2]).dataSync(), after);
  assertEquals(split(1), one);
  assertNotEquals(split(2), one);
  manualSeed(3);
  const drawn = split();
  assertNotEquals(split(), drawn);
  manualSeed(3);
  assertEquals(split(), drawn);
});

test("splits: what is refused, and leaves nothing", (device) => {
  const set = counted(10, device);
  for (const split of [randomSplit, stratifiedSplit]) {
    const before = memory(device).tensors;
    refuse(() => split(set, [3, 4]), ArgumentError, "come to 7", "10");
    refuse(() => split(set, [0.5, 0.4]), ArgumentError, "come to 0.9");
    refuse(() => split(set, [4.5, 5.5]), ArgumentError, "come to 10", "fractions to 1");
    refuse(() => split(set, [11, -1]), ArgumentError, "lengths[1] is -1");
    refuse(() => split(set, [NaN, 1]), ArgumentError, "lengths[0] is NaN");
    refuse(() => split(set, [1], { seed: 0.5 }), ArgumentError, "seed is 0.5");
    refuse(() => split(set, [1], { sed: 1 } as data.RandomSplitOptions), ArgumentError, "seed");
    refuse(() => split(set, 0.5 as unknown as number[]), ArgumentError, "lengths is 0.5");
    assertEquals(memory(device).tensors, before);
  }
});

/** How many of each class there are among samples. */
function shares(samples: readonly number[], labels: ArrayLike<number>): Map<number, number> {
  const counts = new Map<number, number>();
  for (const i of samples) counts.set(labels[i]!, (counts.get(labels[i]!) ?? 0) + 1);
  return counts;
}

test("stratifiedSplit: every part has each class in its share", (device) => {
  const random = Array.from(rand([211], { high: 1 }).dataSync(), (u) => Math.floor(u * u * 6));
  const cases: [labels: number[], fractions: number[]][] = [
    [upTo(100).map((i) => i % 10 === 0 ? 7 : -2), [0.8, 0.2]],
    [upTo(60).map((i) => i % 3), [0.5, 0.25, 0.25]],
    [random, [0.9, 0.1]],
    [random, [0.6, 0.2, 0.2]],
    [upTo(40).map((i) => i >> 1), [0.5, 0.5]],
    [upTo(20), [0.7, 0.3]],
    [[5], [0, 1]],
    [[], [0.5, 0.5]],
  ];
  for (const [labels, fractions] of cases) {
    const n = labels.length;
    const set = counted(n, device);
    const whole = shares(upTo(n), labels);
    const sizes = randomSplit(set, fractions).map((part) => later(part).length);
    for (const given of [labels, ints(labels, device), Float32Array.from(labels)]) {
      const parts = stratifiedSplit(set, fractions, { labels: given, seed: 4 }).map(later);
      const found = parts.map((part) => targetsOf(part));
      assertEquals(found.map(({ length }) => length), sizes);
      assertEquals(sorted(found.flat()), upTo(n));
      found.forEach((samples, p) => {
        const part = shares(samples, labels);
        for (const [label, count] of whole) {
          const off = Math.abs((part.get(label) ?? 0) - fractions[p]! * count);
          assert(off <= (fractions.length === 2 ? 1 : 1.5) + 1e-9, `class ${label}: ${off}`);
        }
      });
    }
  }
});

test("stratifiedSplit: labels from the targets, and samples of a part not by class", (device) => {
  const labels = upTo(600).map((i) => Number(i < 150));
  for (const shape of [[600], [600, 1]]) {
    for (const dtype of ["int32", "uint8", "float32"] as const) {
      const targets = tensor(labels, { dtype, device, shape });
      const set = later(new data.TensorDataset(zeros([600, 1], { device }), targets));
      const parts = stratifiedSplit(set, [0.8, 0.2], { seed: 2 }).map(later);
      const found = parts.map((part) => {
        const { target, input } = part.batch(ints(upTo(part.length), device));
        assertEquals(input.shape[0], part.length);
        return [...target.dataSync()];
      });
      assertEquals(found.map((list) => list.filter((label) => label === 1).length), [120, 30]);
      for (const list of found) assertNotEquals(list, sorted(list));
      for (const list of found) assertNotEquals(list, sorted(list).reverse());
      const again = stratifiedSplit(set, [0.8, 0.2], { seed: 2 }).map(later);
      assertEquals(again[0]!.indices.dataSync(), parts[0]!.indices.dataSync());
      const other = stratifiedSplit(set, [0.8, 0.2], { seed: 3 }).map(later);
      assertNotEquals(other[0]!.indices.dataSync(), parts[0]!.indices.dataSync());
    }
  }
  const hot = later(new data.TensorDataset(zeros([4, 1], { device }), zeros([4, 3], { device })));
  const before = memory(device).tensors;
  refuse(() => stratifiedSplit(hot, [0.5, 0.5]), ShapeError, "12 labels of 4", "{ labels }");
  refuse(() => stratifiedSplit(hot, [1], { labels: [1, 2] }), ShapeError, "2 labels of 4");
  const none = { labels: "0101" as unknown as number[] };
  refuse(() => stratifiedSplit(hot, [1], none), ArgumentError, "labels is");
  assertEquals(memory(device).tensors, before);
});

test("concat: data sets one after another, in any order of samples", (device) => {
  const parts = [counted(3, device), counted(0, device, 3), counted(1, device, 3)];
  parts.push(counted(4, device, 4));
  const all = concat(...parts);
  assertEquals([all.length, all.device], [8, parts[0]!.device]);
  for (const size of [1, 3, 8, 20]) assertEquals(targetsOf(all, size), upTo(8));
  const order = [7, 0, 3, 3, 2, 4, 1];
  assertEquals(targetsOf(later(new Subset(all, order))), order);
  const before = memory(device).tensors;
  const { input, target } = all.batch(ints([5], device));
  assertEquals([[...input.dataSync()], [...target.dataSync()]], [[5, 5.5], [5]]);
  assertEquals(memory(device).tensors, before + 3); // with the index
  assertEquals(all.batch(ints([], device)).input.shape, [0, 2]);
  assertEquals(targetsOf(concat(parts[3]!)), [4, 5, 6, 7]);
  assertEquals(targetsOf(concat(concat(parts[0]!, parts[2]!), parts[3]!)), upTo(8));
  assertEquals(concat(parts[1]!, parts[1]!).length, 0);
  for (const wrong of [-1, 8, -(2 ** 31), 2 ** 31 - 1]) {
    refuse(() => all.batch(ints([1, wrong], device)).target.dataSync(), IndexError, "an index is");
  }
});

test("concat: every dtype and format; what one data set has stays out of another", (device) => {
  for (const dtype of ["uint8", "int32", "float32", "float16", "bfloat16", "float64"] as const) {
    const images = (n: number, value: number) =>
      later(
        new data.TensorDataset(
          full([n, 2, 2, 3], value, { dtype, device }),
          full([n], value, { dtype, device }),
          dtype === "uint8" ? { scale: 1 } : {},
        ),
      );
    const last = (x: Tensor) => x.to({ format: "channelsLast" });
    for (const change of [(x: Tensor) => x, last]) {
      const parts = [images(2, 1), images(3, 2)].map((set) =>
        new data.TransformedDataset(set, change)
      );
      const { input, target } = concat(...parts).batch(ints([4, 0], device));
      assertEquals(input.format, change === last ? "channelsLast" : "contiguous");
      assertEquals([...target.to("float32").dataSync()], [2, 1]);
      assertEquals([...input.to("float32").dataSync()], upTo(24).map((i) => (i < 12 ? 2 : 1)));
    }
  }
  const bad = later(new data.TensorDataset(full([2], NaN, { device }), zeros([2], { device })));
  const good = later(new data.TensorDataset(zeros([2], { device }), zeros([2], { device })));
  const { input } = concat(bad, good, bad).batch(ints([2, 3], device));
  assertEquals([...input.dataSync()], [0, 0]);
});

test("concat: what is refused", (device) => {
  const set = counted(2, device);
  refuse(() => concat(), ArgumentError, "no data sets");
  refuse(() => concat(set, [set] as unknown as data.Dataset), ArgumentError, "the data set is");
  const wide = later(new data.TensorDataset(zeros([2, 3], { device }), ints([0, 1], device)));
  const index = ints([0, 3], device);
  const before = memory(device).tensors;
  refuse(() => concat(set, wide).batch(index), ShapeError, "inputs", "[2, 2]", "[2, 3]");
  const cast = map(set, ({ input, target }) => ({ input, target: target.to("float32") }));
  refuse(() => concat(set, cast).batch(index), DTypeError, "targets", "int32", "float32");
  const short = map(set, ({ target }) => ({ input: zeros([1, 2], { device }), target }));
  refuse(() => concat(short, short).batch(index), ShapeError, "inputs of 2 samples");
  refuse(() => concat(set).batch(zeros([1], { device })), DTypeError, "index");
  assertEquals(memory(device).tensors, before + 1); // the index of floats
  for (const other of devices()) {
    if (other.device === set.device) continue;
    refuse(() => concat(set, counted(2, other.device)), DeviceError, other.device);
  }
});

test("map: a function of each batch, inputs and targets", (device) => {
  const set = counted(5, device);
  let calls = 0;
  const mapped = map(set, ({ input, target }) => {
    calls++;
    return { input: input.mul(2).add(1), target: target.add(10) };
  });
  assertEquals([mapped.length, mapped.device, calls], [5, set.device, 0]);
  const before = memory(device).tensors;
  const { input, target } = mapped.batch(ints([4, 0], device));
  assertEquals([[...input.dataSync()], [...target.dataSync()]], [[9, 10, 1, 2], [14, 10]]);
  assertEquals(memory(device).tensors, before + 3);
  assertEquals([...new DataLoader(mapped, { batchSize: 2 })].length, 3);
  assertEquals(calls, 4);
  refuse(() => map(set, 5 as never), ArgumentError, "fn is 5");
  const bad = map(set, (() => ({ input: 1 })) as never);
  const made = memory(device).tensors;
  refuse(() => bad.batch(ints([0], device)), ArgumentError, "what fn returns");
  assertEquals(memory(device).tensors, made + 1);
  const failing = map(set, ({ input }) => {
    input.add(1);
    throw new DataError("broken");
  });
  refuse(() => failing.batch(ints([0], device)), DataError, "broken");
  assertEquals(memory(device).tensors, made + 2);
});

test("padSequence: as long as the longest, either axis first", (device) => {
  for (const dtype of ["uint8", "int32", "float32", "float16", "bfloat16", "float64"] as const) {
    for (const lengths of [[2, 4, 0, 1], [3], [2, 2], [0, 0]]) {
      for (const rest of [[], [3], [2, 0]]) {
        const width = rest.reduce((a, b) => a * b, 1);
        const list = lengths.map((n, i) => full([n, ...rest], i + 1, { dtype, device }));
        const most = Math.max(...lengths);
        const wanted = lengths.map((n, i) => upTo(most).map((t) => (t < n ? i + 1 : 9)));
        const padded = padSequence(list, { paddingValue: 9 });
        assertEquals([padded.shape, padded.dtype], [[lengths.length, most, ...rest], dtype]);
        const wide = (rows: number[][]) => rows.flat().flatMap((v) => Array(width).fill(v));
        assertEquals([...padded.to("float32").dataSync()], wide(wanted));
        const turned = padSequence(list, { paddingValue: 9, batchFirst: false });
        assertEquals(turned.shape, [most, lengths.length, ...rest]);
        const columns = upTo(most).map((t) => wanted.map((row) => row[t]!));
        assertEquals([...turned.to("float32").dataSync()], wide(columns));
      }
    }
  }
  const nan = padSequence([tensor([NaN, Infinity], { device }), tensor([1], { device })]);
  assertEquals([...nan.dataSync()], [NaN, Infinity, 1, 0]);
});

test("padSequence: gradients, and autocast", (device) => {
  const leaves = [3, 1, 2].map((n) => rand([n, 2], { dtype: "float64", device }));
  for (const x of leaves) x.requiresGrad = true;
  for (const batchFirst of [true, false]) {
    assert(gradcheck((...xs: Tensor[]) => {
      const y = padSequence(xs, { batchFirst, paddingValue: 2 });
      return y.mul(y);
    }, leaves));
  }
  const mixed = [rand([2], { device }), rand([3], { device, dtype: "bfloat16" })];
  assertEquals(autocast("bfloat16", () => padSequence(mixed)).dtype, "float32");
  const before = memory(device).tensors;
  refuse(() => padSequence(mixed), DTypeError, "padSequence");
  const [x] = leaves as [Tensor];
  const shapes = [x, rand([2, 3], { dtype: "float64", device })];
  refuse(() => padSequence(shapes), ShapeError, "[3, 2]", "[2, 3]");
  refuse(() => padSequence([x.sum()]), ShapeError, "must have an axis");
  refuse(() => padSequence([]), ArgumentError, "one sequence");
  refuse(() => padSequence([ints([1], device)], { paddingValue: 0.5 }), DTypeError, "0.5");
  const option = { padding: 1 } as data.PadSequenceOptions;
  refuse(() => padSequence([x], option), ArgumentError, "paddingValue");
  assertEquals(memory(device).tensors, before + 3); // a sum, a tensor of 2 x 3 and one of integers
});

cleanTest("a Trainer fits and validates on all of them together", async () => {
  manualSeed(1);
  const [first, second] = [halves(150), halves(50)];
  const all = map(concat(first, second), ({ input, target }) => ({ input: input.mul(1), target }));
  const [train, test] = stratifiedSplit(all, [0.8, 0.2], { seed: 1 }).map(later);
  const [part, rest] = randomSplit(train!, [0.5, 0.5], { seed: 1 }).map(later);
  const { trainer } = network();
  const history = await trainer.fit(concat(part!, rest!), {
    ...{ epochs: 8, batchSize: 16, validation: test!, callbacks: [] },
  });
  assert(history.at(-1)!.loss < history[0]!.loss / 2);
  assert(history.at(-1)!.valAccuracy! > 0.9);
});

test("all: the whole of a data set; stratifiedSplit by targets that are numbers", (device) => {
  const set = counted(5, device);
  const { input, target } = set.all();
  assertEquals([input.shape, [...target.dataSync()]], [[5, 2], [0, 1, 2, 3, 4]]);
  const targets = [0, 1, 0, 1];
  const samples = { length: 4, device, targets, get: () => assert(false, "nothing is decoded") };
  const parts = data.stratifiedSplit(samples as unknown as data.SampleDataset, [0.5, 0.5]);
  for (const part of parts) {
    assertEquals(sorted([...later(part).indices.dataSync()].map((i) => targets[i]!)), [0, 1]);
  }
});
