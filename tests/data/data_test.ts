import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  arange,
  ArgumentError,
  data,
  DataError,
  manualSeed,
  memory,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from "../../mod.ts";
import { cleanTest as test, failing, later, modUrl, program, root } from "../_helpers.ts";

const subset = new URL("examples/data/mnist_subset/", root).pathname;
const int = (...values: number[]) => tensor(values, { dtype: "int32" });

/** Rows [i, 10 i] with targets i. */
function counted(n: number) {
  const x = arange(n);
  const rows = tensor(Float32Array.from({ length: 2 * n }, (_, i) => (i >> 1) * (i % 2 ? 10 : 1)), {
    shape: [n, 2],
  });
  return later(new data.TensorDataset(rows, x.to("int32")));
}

test("TensorDataset: a batch holds the rows that the index names", () => {
  const set = counted(5);
  assertEquals([set.length, set.device], [5, set.inputs.device]);
  const { input, target } = set.batch(int(3, 0, 3));
  assertEquals([input.shape, [...input.dataSync()]], [[3, 2], [3, 30, 0, 0, 3, 30]]);
  assertEquals([target.dtype, [...target.dataSync()]], ["int32", [3, 0, 3]]);
  assertEquals(set.batch(int()).input.shape, [0, 2]);
});

test("TensorDataset: uint8 inputs are scaled and shifted, uint8 targets become int32", () => {
  const bytes = tensor(Uint8Array.of(0, 51, 255, 128), { shape: [2, 1, 2] });
  const labels = tensor(Uint8Array.of(7, 200));
  const plain = later(new data.TensorDataset(bytes, labels));
  const { input, target } = plain.batch(int(1, 0));
  assertEquals([input.dtype, input.shape], ["float32", [2, 1, 2]]);
  [1, 128 / 255, 0, 0.2].forEach((v, i) => assertAlmostEquals(input.dataSync()[i]!, v, 1e-7));
  assertEquals([target.dtype, [...target.dataSync()]], ["int32", [200, 7]]);
  const scaled = new data.TensorDataset(bytes, labels, { scale: 2, shift: -1 });
  assertEquals([...scaled.batch(int(0)).input.dataSync()], [-1, 101]);
});

test("TensorDataset: float and int32 data pass unchanged", () => {
  const x = tensor([0.1, -1e300], { dtype: "float64" });
  const set = later(new data.TensorDataset(x, int(5, -6)));
  const { input, target } = set.batch(int(1, 0));
  assertEquals([input.dtype, [...input.dataSync()]], ["float64", [-1e300, 0.1]]);
  assertEquals([...target.dataSync()], [-6, 5]);
});

test("TensorDataset: wrong arguments", () => {
  const x = zeros([3, 2]);
  assertThrows(() => new data.TensorDataset(x, zeros([2])), ShapeError, "[3, 2], targets [2]");
  assertThrows(
    () => new data.TensorDataset(tensor(1), tensor(1)),
    ShapeError,
    "one entry a sample",
  );
  const y = zeros([3]);
  for (const scale of [NaN, Infinity, "1" as unknown as number]) {
    assertThrows(
      () => new data.TensorDataset(x, y, { scale }),
      ArgumentError,
      `scale is ${Deno.inspect(scale)}`,
    );
    assertThrows(() => new data.TensorDataset(x, y, { shift: scale }), ArgumentError, "shift is");
  }
  const misspelt = { scal: 1 } as data.TensorDatasetOptions;
  assertThrows(() => new data.TensorDataset(x, y, misspelt), ArgumentError, "did you mean scale?");
});

/** The targets of all batches, batch by batch. */
function order(loader: data.DataLoader): number[][] {
  const batches: number[][] = [];
  for (const { input, target } of loader) {
    const targets = [...target.dataSync()];
    assertEquals([...input.dataSync()], targets.flatMap((i) => [i, 10 * i]));
    batches.push(targets);
  }
  return batches;
}

test("DataLoader: order, lengths and dropLast", () => {
  const set = counted(7);
  const load = (options?: data.DataLoaderOptions) => {
    const loader = new data.DataLoader(set, options);
    const batches = order(loader);
    assertEquals(loader.length, batches.length);
    return batches;
  };
  assertEquals(load({ batchSize: 3 }), [[0, 1, 2], [3, 4, 5], [6]]);
  assertEquals(load({ batchSize: 3, dropLast: true }), [[0, 1, 2], [3, 4, 5]]);
  assertEquals(load({ batchSize: 7, dropLast: true }), [[0, 1, 2, 3, 4, 5, 6]]);
  assertEquals(load({ batchSize: 8 }), [[0, 1, 2, 3, 4, 5, 6]]);
  assertEquals(load({ batchSize: 8, dropLast: true }), []);
  assertEquals(load(), [[0], [1], [2], [3], [4], [5], [6]]);
  const none = new data.DataLoader(counted(0), { batchSize: 3 });
  assertEquals([none.length, order(none)], [0, []]);
});

test("DataLoader: shuffled, each epoch has every sample once, in an order of its own", () => {
  const set = counted(100);
  const loader = new data.DataLoader(set, { batchSize: 32, shuffle: true });
  manualSeed(11);
  const [first, second] = [order(loader), order(loader)];
  const ascending = Array.from({ length: 100 }, (_, i) => i);
  for (const epoch of [first, second]) {
    assertEquals(epoch.map((batch) => batch.length), [32, 32, 32, 4]);
    assertEquals(epoch.flat().sort((a, b) => a - b), ascending);
  }
  assert(first.flat().join() !== second.flat().join());
  manualSeed(11);
  assertEquals([order(loader), order(loader)], [first, second]);
  // Places are shared out evenly: over many epochs sample 0 is everywhere about as often.
  const places = new Array<number>(10).fill(0);
  const small = new data.DataLoader(counted(10), { batchSize: 10, shuffle: true });
  for (let epoch = 0; epoch < 1000; epoch++) places[order(small)[0]!.indexOf(0)]!++;
  for (const n of places) assert(n > 60 && n < 140, `${places}`);
});

test("DataLoader: what it made is freed when an iteration is left", () => {
  const loader = new data.DataLoader(counted(10), { batchSize: 3 });
  const before = memory().tensors;
  for (const { input, target } of loader) {
    input.dispose();
    target.dispose();
    break;
  }
  assertEquals(memory().tensors, before);
  for (const _ of loader) break;
  const fail = () => {
    for (const _ of loader) throw new Error("stop");
  };
  assertThrows(fail, Error, "stop");
  const iterator = loader[Symbol.iterator]();
  for (let i = 0; i < 2; i++) iterator.next();
  iterator.return(undefined as never);
  const [first] = loader;
  assert(first!.input.disposed && first!.target.disposed);
  for (const _ of loader.indices()) break;
  assertEquals(memory().tensors, before);
});

test("DataLoader: what a batch() that fails had made is freed", () => {
  const set = failing(counted(10));
  const before = memory().tensors;
  assertThrows(() => [...new data.DataLoader(set)], Error, "no such file");
  assertEquals(memory().tensors, before);
});

test("DataLoader: wrong options", () => {
  const set = counted(2);
  for (const batchSize of [0, -1, 1.5, NaN]) {
    const make = () => new data.DataLoader(set, { batchSize });
    assertThrows(make, ArgumentError, `batchSize is ${batchSize}; it must be a whole number`);
  }
  const misspelt = { shufle: true } as data.DataLoaderOptions;
  assertThrows(() => new data.DataLoader(set, misspelt), ArgumentError, "did you mean shuffle?");
});

test("mnist: the subset that comes with the repository", async () => {
  const { train, test } = await data.mnist({ dir: subset, verify: false });
  later(train);
  later(test);
  assertEquals([train.inputs.shape, train.inputs.dtype], [[5000, 1, 28, 28], "uint8"]);
  assertEquals([test.inputs.shape, test.targets.shape], [[1000, 1, 28, 28], [1000]]);
  const { input, target } = train.batch(int(0, 1, 2, 3, 4));
  assertEquals([...target.dataSync()], [5, 0, 4, 1, 9]);
  assertEquals([...test.batch(int(0, 1, 2)).target.dataSync()], [7, 2, 1]);
  assertEquals([input.max().itemSync(), input.min().itemSync()], [1, 0]);
  const all = train.batch(arange(5000).to("int32"));
  assertAlmostEquals(all.input.mean().itemSync(), 0.13, 0.005);
});

test("mnist: normalize gives mean 0 and deviation 1", async () => {
  const { train, test } = await data.mnist({ dir: subset, verify: false, normalize: true });
  later(train);
  later(test);
  const { input } = train.batch(arange(5000).to("int32"));
  assertAlmostEquals(input.mean().itemSync(), 0, 0.02);
  assertAlmostEquals(input.mul(input).mean().sqrt().itemSync(), 1, 0.02);
});

/** A copy of the subset, spoilt. */
async function spoilt(change: (folder: string) => Promise<void>, options: data.MnistOptions = {}) {
  const folder = await Deno.makeTempDir();
  const before = memory().tensors;
  try {
    for (const { name } of Deno.readDirSync(subset)) {
      await Deno.copyFile(subset + name, `${folder}/${name}`);
    }
    await change(folder);
    const load = () => data.mnist({ dir: folder, verify: false, ...options });
    const error = await assertRejects(load, DataError);
    assertEquals(error.code, "data");
    return error.message;
  } finally {
    await Deno.remove(folder, { recursive: true });
    assertEquals(memory().tensors, before, "nothing is left on the device");
  }
}

for (const name of ["train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"]) {
  test(`mnist: a ${name} that is missing or spoilt is named`, async () => {
    const edit = (change: (bytes: Uint8Array) => Uint8Array) => async (folder: string) => {
      const path = `${folder}/${name}.gz`;
      await Deno.writeFile(path, change(await Deno.readFile(path)));
    };
    const missing = await spoilt((folder) => Deno.remove(`${folder}/${name}.gz`));
    assertStringIncludes(missing, `${name}.gz is missing; download MNIST by { download: true }`);
    const cases: [change: (bytes: Uint8Array) => Uint8Array, message: string][] = [
      [(bytes) => bytes.subarray(0, -50), "damaged or truncated"],
      [(bytes) => bytes.with(bytes.length >> 1, bytes[bytes.length >> 1]! ^ 0xff), "damaged"],
      [() => new TextEncoder().encode("<html>404</html>"), "expected 00 00"],
      [() => new Uint8Array(0), "found 0 bytes"],
      [() => Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 3, 1, 2), "truncated"],
    ];
    for (const [change, message] of cases) {
      const found = await spoilt(edit(change));
      assertStringIncludes(found, name);
      assertStringIncludes(found, message);
    }
  });
}

test("mnist: files that are not whole MNIST, or do not belong together", async () => {
  const found = await spoilt(() => Promise.resolve(), { verify: true });
  assertStringIncludes(found, "train-images-idx3-ubyte is not MNIST's");
  assertStringIncludes(found, "3920016 bytes");
  assertStringIncludes(found, "wanted are 47040016 bytes and ba891046");
  const labels = Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 2, 1, 2);
  const few = await spoilt((folder) =>
    Deno.writeFile(`${folder}/train-labels-idx1-ubyte.gz`, labels)
  );
  assertStringIncludes(few, "5000 images and 2 labels");
  const swapped = await spoilt((folder) =>
    Deno.copyFile(`${folder}/train-labels-idx1-ubyte.gz`, `${folder}/train-images-idx3-ubyte.gz`)
  );
  assertStringIncludes(swapped, "holds uint8 of 1 dimensions; wanted are uint8 and 3");
});

Deno.test("mnist: MNIST_DIR names the folder; read replaces it", async () => {
  const source = `
    import { data } from "${modUrl}";
    const { test } = await data.mnist({ verify: false });
    console.log(test.length);
  `;
  const { out, err } = await program(source, {
    flags: ["--allow-ffi", "--allow-env=MNIST_DIR", `--allow-read=${subset}`],
    env: { MNIST_DIR: subset },
  });
  assertEquals([out, err], ["1000\n", ""]);
});

Deno.test("DataLoader: a batch is freed when the next is asked for", () => {
  const set = new data.TensorDataset(zeros([5, 2]), zeros([5]));
  let before: Tensor | undefined;
  for (const { input } of new data.DataLoader(set, { batchSize: 2 })) {
    assert(before?.disposed ?? true);
    assert(!input.disposed);
    before = input;
  }
  assert(before!.disposed);
  set.dispose();
});
