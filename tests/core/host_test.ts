// What comes from the host: arrays that lie about themselves, buffers that go away, more than there
// is room for.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  arange,
  ArgumentError,
  chunk,
  CudenoError,
  data,
  DTypeError,
  eye,
  io,
  keep,
  memory,
  models,
  nn,
  optim,
  OutOfMemoryError,
  rand,
  scope,
  ShapeError,
  split,
  type Tensor,
  tensor,
  zeros,
} from "../../mod.ts";
import { cleanTest as test, modUrl, program, root } from "../_helpers.ts";

type Lies = Record<string, unknown>;

/** Floats that say something false of themselves, by properties of their own. */
function lying(values: number[], lies: Lies): Float32Array<ArrayBuffer> {
  const properties = Object.entries(lies).map(([key, value]) => [key, { value }]);
  return Object.defineProperties(Float32Array.from(values), Object.fromEntries(properties));
}

const lies: Lies[] = [
  { byteLength: 1 << 30 },
  { length: 1 << 28 },
  { length: 0, byteLength: 0 },
  { byteOffset: 1 << 20 },
  { buffer: new ArrayBuffer(1) },
  { constructor: Float64Array, [Symbol.toStringTag]: "Float64Array" },
];

test("tensors take what an array is, not what it says it is", async () => {
  for (const lie of lies) {
    assertEquals([...tensor(lying([1, 2, 3], lie)).dataSync()], [1, 2, 3]);
    assertEquals([...tensor(lying([1, 2, 3], lie), { dtype: "float64" }).dataSync()], [1, 2, 3]);
    for (const dtype of ["float32", "bfloat16"] as const) {
      const x = zeros([3], { dtype });
      assertEquals([...x.copyFrom(lying([1, 2, 3], lie)).dataSync()], [1, 2, 3]);
      assertEquals([...(await x.copyFromAsync(lying([4, 5, 6], lie))).dataSync()], [4, 5, 6]);
    }
  }
  // As large as the tensor by its own account alone.
  const small = lying([1], { byteLength: 4 << 20, length: 1 << 20 });
  const x = zeros([1 << 20]);
  assertThrows(() => x.copyFrom(small), ShapeError, "4 bytes were given");
  await assertRejects(() => x.copyFromAsync(small), ShapeError, "4 bytes were given");
  assertThrows(() => tensor(small, { shape: [1 << 20] }), ShapeError, "1 numbers were given");
});

test("getters of prototypes that were replaced later", async () => {
  const x = zeros([3]);
  const kinds = [Float32Array, Uint8Array];
  try {
    for (const { prototype } of kinds) {
      for (const key of ["byteLength", "length"]) {
        Object.defineProperty(prototype, key, { get: () => 1 << 24, configurable: true });
      }
    }
    x.copyFrom(Float32Array.of(1, 2, 3));
    await x.copyFromAsync(Float32Array.of(4, 5, 6));
    assertThrows(() => x.copyFrom(new Float32Array(2)), ShapeError, "8 bytes");
    tensor(Float32Array.of(7, 8)).dispose();
    void x.dataSync(), void await x.data();
  } finally {
    for (const { prototype } of kinds) {
      for (const key of ["byteLength", "length"]) Reflect.deleteProperty(prototype, key);
    }
  }
  assertEquals([...x.dataSync()], [4, 5, 6]);
});

test("subclasses, other prototypes and proxies", () => {
  class Own extends Float32Array<ArrayBuffer> {
    override get length() {
      return 1000;
    }
    override get byteLength() {
      return 4000;
    }
  }
  assertEquals([...tensor(new Own(Float32Array.of(1, 2).buffer)).dataSync()], [1, 2]);
  const disguised = Object.setPrototypeOf(Uint8Array.of(1, 2, 3), Float64Array.prototype);
  assertEquals([tensor(disguised).dtype, [...tensor(disguised).dataSync()]], ["uint8", [1, 2, 3]]);
  assertThrows(() => zeros([3], { dtype: "float64" }).copyFrom(disguised), DTypeError);
  const proxy = new Proxy(Float32Array.of(1, 2), {});
  assertThrows(() => tensor(proxy), ArgumentError);
  assertThrows(() => zeros([2]).copyFrom(proxy), DTypeError);
  const feigned = Object.create(Float32Array.prototype);
  assertThrows(() => zeros([2]).copyFrom(feigned), DTypeError);
});

test("buffers that are detached or change their size", async () => {
  const gone = Float32Array.of(1, 2);
  gone.buffer.transfer();
  for (const x of [zeros([2]), zeros([0])]) {
    assertThrows(() => x.copyFrom(gone), ArgumentError, "detached");
    await assertRejects(() => x.copyFromAsync(gone), ArgumentError, "detached");
  }
  assertThrows(() => tensor(gone), ArgumentError, "detached");
  assertThrows(() => io.fromSafetensors(gone), ArgumentError, "detached");
  await assertRejects(() => data.readIdx(gone), ArgumentError, "detached");

  const buffer = new ArrayBuffer(16, { maxByteLength: 1 << 20 });
  const [tracking, fixed] = [new Float32Array(buffer), new Float32Array(buffer, 0, 4)];
  tracking.set([1, 2, 3, 4]);
  const x = zeros([4]);
  buffer.resize(32);
  assertThrows(() => x.copyFrom(tracking), ShapeError, "32 bytes");
  assertEquals([...x.copyFrom(fixed).dataSync()], [1, 2, 3, 4]);
  buffer.resize(8);
  assertThrows(() => x.copyFrom(fixed), ShapeError, "0 bytes");
  assertEquals([...tensor(tracking).dataSync()], [1, 2]);
});

test("a buffer that is taken away while another thread copies", async () => {
  const n = 5 << 20; // several pieces
  const takes: ((buffer: ArrayBuffer) => void)[] = [
    (buffer) => buffer.transfer(0),
    (buffer) => structuredClone(buffer, { transfer: [buffer] }),
    (buffer) => buffer.resize(4096),
  ];
  for (const take of takes) {
    for (const dtype of ["float32", "bfloat16"] as const) {
      const x = zeros([n], { dtype });
      const source = new Float32Array(new ArrayBuffer(4 * n, { maxByteLength: 8 * n }));
      const copying = x.copyFromAsync(source.fill(1));
      take(source.buffer);
      await assertRejects(() => copying, ArgumentError, "before it was copied");
      const grown = new Float32Array(new ArrayBuffer(4 * n, { maxByteLength: 8 * n }), 0, n);
      const going = x.copyFromAsync(grown.fill(2));
      grown.buffer.resize(8 * n);
      await going;
      assertEquals(x.mean().itemSync(), 2);
    }
  }
});

test("every kind of memory of bytes: values, or an error that says what to do", async () => {
  const x = tensor([1.5, -2], { dtype: "float64" });
  const plain = await io.toSafetensors({ x });
  const idx = Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9);
  const path = await Deno.makeTempFile();
  await Deno.writeFile(path, plain);
  const inPool = (bytes: Uint8Array) => Buffer.from([99, ...bytes, 99]).subarray(1, -1);
  const shared = (bytes: Uint8Array) => {
    const copy = new Uint8Array(new SharedArrayBuffer(bytes.length));
    copy.set(bytes);
    return copy;
  };
  const forms = (bytes: Uint8Array<ArrayBuffer>) => [
    bytes,
    Buffer.from(bytes),
    inPool(bytes),
    inPool(inPool(bytes)),
    shared(bytes),
    shared(bytes).buffer,
    bytes.buffer,
    new DataView(inPool(bytes).buffer, inPool(bytes).byteOffset, bytes.length),
    new Uint8ClampedArray(bytes),
    new Int8Array(bytes.buffer),
  ];
  for (const form of [...forms(plain), readFileSync(path)]) {
    const state = io.fromSafetensors(form);
    assertEquals([...state["x"]!.dataSync()], [1.5, -2]);
  }
  for (const form of forms(idx)) {
    assertEquals([...(await data.readIdx(form)).data], [7, 8, 9]);
  }
  const labels = data.mnist({ verify: false, read: () => inPool(idx) });
  await assertRejects(() => labels, Error, "wanted are uint8 and 3"); // read as what it is
  for (const form of [inPool(idx), new Uint8ClampedArray(idx), shared(idx)]) {
    assertEquals([tensor(form).dtype, [...tensor(form).dataSync()]], ["uint8", [...idx]]);
    assertEquals([...tensor(form, { dtype: "int32" }).dataSync()], [...idx]);
    const y = zeros([idx.length], { dtype: "uint8" });
    assertEquals([...y.copyFrom(form).dataSync()], [...idx]);
    assertEquals([...(await y.copyFromAsync(form)).dataSync()], [...idx]);
  }
  for (const form of [idx.buffer, shared(idx).buffer, new DataView(idx.buffer)]) {
    assertThrows(
      () => tensor(form as unknown as Uint8Array),
      DTypeError,
      "new Float32Array(buffer)",
    );
    assertThrows(() => zeros([1]).copyFrom(form as unknown as Uint8Array), DTypeError);
  }
  for (const form of [path, undefined, null, 5, {}, [1, 2]]) {
    assertThrows(
      () => io.fromSafetensors(form as Uint8Array),
      ArgumentError,
      "must be a Uint8Array",
    );
    await assertRejects(() => data.readIdx(form as unknown as Uint8Array), ArgumentError, "bytes");
  }
  await Deno.remove(path);
});

test("there must be room on the device before there is work on the host", async () => {
  const { code, out, err } = await program(
    `
    import * as cudeno from "${modUrl}";
    const { arange, data, eye, init, io, memory, nn, OutOfMemoryError, tensor, zeros } = cudeno;
    init({ device: "cpu", memoryLimit: 64 * 2 ** 20 });
    let touched = 0;
    const rows = (n) => new Proxy(new Array(n).fill(1), {
      get: (array, key) => (touched += /^[0-9]+$/.test(String(key)), array[key]),
    });
    const a = { dtype: "F32", shape: [2 ** 25], data_offsets: [0, 2 ** 27] };
    const head = JSON.stringify({ a });
    const file = new Uint8Array(8 + head.length + 2 ** 27);
    new DataView(file.buffer).setBigUint64(0, BigInt(head.length), true);
    file.set(new TextEncoder().encode(head), 8);
    const sparse = await Deno.makeTempFile();
    await Deno.writeFile(sparse, file.subarray(0, 8 + head.length));
    await Deno.truncate(sparse, file.length);
    const huge = { length: 2 ** 31, device: "cpu", batch() {} };
    const before = memory().tensors;
    const cases = [
      () => arange(2 ** 32),
      () => arange(0, 2 ** 32, 1, { dtype: "bfloat16" }),
      () => eye(2 ** 16),
      () => eye(2 ** 31, 1),
      () => tensor(rows(2 ** 25)),
      () => tensor(rows(2 ** 24), { dtype: "float64" }),
      () => tensor(new Uint8Array(2 ** 26), { dtype: "float32" }),
      () => [...new data.DataLoader(huge, { shuffle: true, batchSize: 2 ** 20 }).indices()],
      () => [...new data.DataLoader(huge, { batchSize: 2 ** 20 }).indices()],
      () => new nn.Embedding(2 ** 20, 2 ** 12),
      () => io.fromSafetensors(file),
      () => io.loadSafetensors(sparse),
    ];
    for (const [i, make] of cases.entries()) {
      try {
        await make();
        console.log(i, "that was no error");
      } catch (error) {
        if (!(error instanceof OutOfMemoryError)) console.log(i, error);
      }
    }
    console.log(memory().tensors - before, touched, zeros([2]).sum().itemSync());
    await Deno.remove(sparse);
  `,
    { flags: ["-A"] },
  );
  // Of each of the two arrays the first element is read, for its depth.
  assertEquals([code, out, err], [0, "0 2 0\n", ""]);
});

test("making a tensor fails without leaving one", () => {
  const before = memory().tensors;
  const cases: (() => unknown)[] = [
    () => tensor([[1, 2], [3]]),
    () => tensor([1, 2, NaN], { dtype: "int32" }),
    () => tensor(Float32Array.of(1, 2.5), { dtype: "uint8" }),
    () => tensor([1, 2], { dtype: "int32", requiresGrad: true }),
    () => zeros([2], { dtype: "uint8", requiresGrad: true }),
    () => tensor([1, "2"] as unknown as number[]),
  ];
  for (const make of cases) {
    assertThrows(make);
    assertEquals(memory().tensors, before);
  }
  const self: unknown[] = [];
  self.push(self);
  assertThrows(() => tensor(self as number[]), ShapeError, "8 dimensions");
});

/**
 * Calls `make` until nothing fails that could; each time the next allocation or view finds no room.
 */
async function failingOnce(name: string, make: () => unknown): Promise<void> {
  const functions = zeros([]).backend.functions as unknown as Record<
    string,
    (...args: unknown[]) => number
  >;
  const originals = { cdn_alloc: functions["cdn_alloc"]!, cdn_view: functions["cdn_view"]! };
  for (let failing = 0;; failing++) {
    const before = memory().tensors;
    let count = 0;
    for (const [key, original] of Object.entries(originals)) {
      functions[key] = (...args) => count++ === failing ? 3 : original(...args);
    }
    let error: unknown;
    let made: unknown;
    try {
      made = await make();
    } catch (thrown) {
      error = thrown;
    } finally {
      Object.assign(functions, originals);
    }
    if (count <= failing) {
      assert(failing > 0, `${name} takes memory`);
      assertEquals(error, undefined);
      for (const x of Array.isArray(made) ? made : Object.values(made ?? {})) x?.dispose?.();
      return;
    }
    assert(error instanceof OutOfMemoryError, `${name}, ${failing}: ${error}`);
    assertEquals(memory().tensors, before, `${name}: allocation ${failing} fails`);
  }
}

const place = { dtype: "bfloat16" } as const;
const state = () => ({
  weight: zeros([2, 3], { dtype: "float64" }),
  bias: zeros([2], { dtype: "float64" }),
});

/** Views, of what they alone keep alive. */
function parts(of: (x: Tensor) => Tensor[]): Tensor[] {
  using x = tensor([1, 2, 3]);
  return of(x);
}

/** Each as an array or object of what is to be disposed of. */
const makers: Record<string, () => unknown> = {
  "tensor()": () => [tensor([1, 2], place)],
  "tensor() of a typed array": () => [tensor(Float32Array.of(1, 2))],
  "arange()": () => [arange(3, undefined, 1, place)],
  "eye()": () => [eye(3)],
  "split()": () => parts((x) => split(x, 1)),
  "chunk()": () => parts((x) => chunk(x, 2)),
  "copyFrom()": () => void given.half.copyFrom(Float32Array.of(1, 2)),
  "copyFromAsync()": async () => void await given.half.copyFromAsync(Float32Array.of(1, 2)),
  "data()": async () => void await given.half.data(),
  "dataSync()": () => void given.half.dataSync(),
  "Linear": () => [new nn.Linear(3, 2)],
  "Embedding": () => [new nn.Embedding(3, 2, { paddingIndex: 0 })],
  "LayerNorm": () => [new nn.LayerNorm(3)],
  "BatchNorm1d": () => [new nn.BatchNorm1d(3)],
  "LSTM": () => [new nn.LSTM(2, 3, { numLayers: 2, bidirectional: true })],
  "GRUCell": () => [new nn.GRUCell(2, 3)],
  "MultiHeadAttention": () => [new nn.MultiHeadAttention(4, 2)],
  "TransformerEncoderLayer": () => [new nn.TransformerEncoderLayer(4, 2, { feedForward: 3 })],
  "mlp()": () => [models.mlp({ in: 2, hidden: [3, 4], out: 2, norm: "batch" })],
  "lenet5()": () => [models.lenet5({ classes: 2 })],
  "unet()": () => [models.unet({ widths: [2, 3] })],
  "EMA": () => [new optim.EMA(given.model)],
  "Module.loadStateDict()": () => void scope(() => given.model.loadStateDict(given.state)),
  "Optimizer.loadStateDict()": () => void given.adam.loadStateDict(given.adamState),
  "EMA.loadStateDict()": () => void given.ema.loadStateDict(given.ema.stateDict()),
  "fromSafetensors()": () => io.fromSafetensors(given.file),
  "loadSafetensors()": () => io.loadSafetensors(given.path),
  "toSafetensors()": async () => void await io.toSafetensors({ images: given.images }),
  "loadCheckpoint()": async () => void await io.loadCheckpoint(given.checkpoint, given.parts),
  "loadTorch()": () => io.loadTorch(new URL("tests/fixtures/torch_views.pt", root)),
  "mnist()": () =>
    data.mnist({ dir: fileURLToPath(new URL("examples/data/mnist_subset", root)), verify: false }),
  "DataLoader": () => void [...new data.DataLoader(given.set, { batchSize: 2, shuffle: true })],
};

const given = await (async () => {
  const model = new nn.Linear(3, 2);
  const adam = new optim.Adam(model.parameters());
  using x = rand([2, 3]);
  using loss = model.forward(x).sum();
  loss.backward();
  adam.step();
  const adamState = adam.stateDict();
  const from = scope(() =>
    Object.fromEntries(
      Object.entries(adamState.tensors).map(([name, x]) => [name, keep(x.to("float64"))]),
    )
  );
  const path = await Deno.makeTempFile();
  const file = await scope(async () => await io.toSafetensors(state()));
  await Deno.writeFile(path, file);
  const checkpoint = await Deno.makeTempFile();
  await io.saveCheckpoint(checkpoint, { model, optimizer: adam, random: false });
  addEventListener("unload", () => [path, checkpoint].forEach((path) => Deno.removeSync(path)));
  return {
    checkpoint,
    parts: { model, optimizer: adam },
    images: zeros([1, 2, 2, 2]).to({ format: "channelsLast" }),
    model,
    adam,
    path,
    file,
    x: tensor([1, 2, 3]),
    half: zeros([2], place),
    state: state(),
    adamState: { ...adamState, tensors: from },
    ema: new optim.EMA(model),
    set: new data.TensorDataset(zeros([4, 2]), zeros([4])),
  };
})();

for (const [name, make] of Object.entries(makers)) {
  test(`where there is no room nothing stays: ${name}`, () => failingOnce(name, make));
}

test("what cannot be loaded whole is not loaded in part", async () => {
  const before = memory().tensors;
  const files: [string, Uint8Array][] = [];
  const entry = (dtype: string, shape: number[], begin: number, end: number) => ({
    dtype,
    shape,
    data_offsets: [begin, end],
  });
  const file = (last: unknown, bytes: number) => {
    const header = new TextEncoder().encode(
      JSON.stringify({
        a: entry("F32", [1000], 0, 4000),
        b: entry("F64", [2], 4000, 4016),
        z: last,
      }),
    );
    const whole = new Uint8Array(8 + header.length + bytes).fill(255);
    new DataView(whole.buffer).setBigUint64(0, BigInt(header.length), true);
    whole.set(header, 8);
    return whole;
  };
  files.push(["past int32", file(entry("I64", [1], 4016, 4024), 4024).fill(1, -8)]);
  files.push(["an unknown dtype", file(entry("C64", [1], 4016, 4024), 4024)]);
  files.push(["too many dimensions", file(entry("U8", new Array(9).fill(1), 4016, 4017), 4017)]);
  files.push(["past the end", file(entry("F32", [4], 4016, 4032), 4024)]);
  const path = await Deno.makeTempFile();
  for (const [name, bytes] of files) {
    await Deno.writeFile(path, bytes);
    assertThrows(() => io.fromSafetensors(bytes), CudenoError);
    await assertRejects(() => io.loadSafetensors(path), CudenoError);
    assertEquals(memory().tensors, before, name);
  }
  await Deno.remove(path);
});
