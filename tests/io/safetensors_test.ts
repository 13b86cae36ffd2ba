// State dicts: in memory, and through .safetensors files.
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  ArgumentError,
  DataError,
  devices,
  DisposedError,
  DTypeError,
  io,
  nn,
  ones,
  scope,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from "../../mod.ts";
import { encodeSafetensors } from "../../lib/io/_safetensors_format.ts";
import { inFolder } from "../_helpers.ts";

devices(); // opens the library before the sanitizers look

/** Runs a test in a scope, with a folder of its own. */
function test(name: string, fn: (folder: string) => void | Promise<void>) {
  Deno.test(
    `state dict: ${name}`,
    () => inFolder((folder) => scope(async () => await fn(folder))),
  );
}

const values = (state: nn.StateDict) =>
  Object.fromEntries(Object.entries(state).map(([name, x]) => [name, x.dataSync()]));

test("loading copies values and reports nothing amiss", () => {
  const [from, to] = [new nn.Linear(3, 2), new nn.Linear(3, 2)];
  const { weight } = to;
  assertEquals(to.loadStateDict(from.stateDict()), { missing: [], unexpected: [] });
  assertEquals(values(to.stateDict()), values(from.stateDict()));
  assert(to.weight === weight && weight.requiresGrad, "the parameter is the same tensor");
  from.weight.fill(7);
  assert(!to.weight.dataSync().includes(7), "the values are a copy");
  to.loadStateDict(to.stateDict()); // from itself
  const before = values(to.stateDict());
  to.loadStateDict({ weight: to.weight.detach(), bias: to.bias!.detach() }); // from views of itself
  assertEquals(values(to.stateDict()), before);
  from.dispose();
  to.dispose();
});

test("names that are missing or unexpected are an error unless strict is false", () => {
  const model = new nn.Linear(3, 2);
  const before = values(model.stateDict());
  const state = { weight: ones([2, 3]), extra: zeros([1]) };
  const error = assertThrows(() => model.loadStateDict(state), ArgumentError);
  assertStringIncludes(error.message, "missing are [bias]");
  assertStringIncludes(error.message, "unexpected are [extra]");
  assertEquals(values(model.stateDict()), before);

  const result = model.loadStateDict(state, { strict: false });
  assertEquals(result, { missing: ["bias"], unexpected: ["extra"] });
  assertEquals([...model.weight.dataSync()], [1, 1, 1, 1, 1, 1]);
  assertEquals(model.bias!.dataSync(), before.bias);
  model.dispose();
});

test("a misspelt option is an error", () => {
  const model = new nn.Linear(3, 2);
  const options = { strikt: false } as { strict?: boolean };
  assertThrows(() => model.loadStateDict({}, options), ArgumentError, "did you mean strict?");
  model.dispose();
});

/** The state dict of a Linear(3, 2) with one entry of one's own. */
function stateWith(name: string, x: Tensor): nn.StateDict {
  return { weight: ones([2, 3]), bias: ones([2]), [name]: x };
}

test("nothing is loaded when one tensor has a wrong shape or is disposed", () => {
  const model = new nn.Linear(3, 2);
  const before = values(model.stateDict());
  const error = assertThrows(
    () => model.loadStateDict(stateWith("bias", ones([3]))),
    ShapeError,
    "bias is [3]; the module has [2]",
  );
  assertEquals(error.code, "shape");
  assertEquals(values(model.stateDict()), before);
  // The same count of elements in another shape does not fit either.
  assertThrows(() => model.loadStateDict(stateWith("weight", ones([3, 2]))), ShapeError);

  const gone = ones([2]);
  gone.dispose();
  assertThrows(() => model.loadStateDict(stateWith("bias", gone)), DisposedError);
  assertEquals(values(model.stateDict()), before);
  model.dispose();
});

test("values are cast to the module's dtype, and nothing of that stays in memory", () => {
  const model = new nn.Linear(3, 2);
  const bias = tensor([0.1, -2], { dtype: "float64", requiresGrad: true });
  model.loadStateDict(stateWith("bias", bias));
  assertEquals(model.bias!.dtype, "float32");
  assertEquals([...model.bias!.dataSync()], [Math.fround(0.1), -2]);
  assert(model.bias!.node === null, "loading is not recorded");
  model.dispose();
});

test("a file gives back every dtype, shape and bit", async (folder) => {
  const state: nn.StateDict = {
    "0.weight": tensor([[1.5, NaN], [-0, Infinity]]),
    "nested.0.long name": tensor([0.1, 1e300], { dtype: "float64" }),
    indices: tensor([-(2 ** 31), 2 ** 31 - 1], { dtype: "int32" }),
    mask: tensor([0, 1, 255], { dtype: "uint8" }),
    scalar: tensor(3),
    empty: zeros([2, 0, 3]),
  };
  const path = `${folder}/state.safetensors`;
  await io.saveSafetensors(path, state);
  const loaded = await io.loadSafetensors(path);
  assertEquals(Object.keys(loaded).sort(), Object.keys(state).sort());
  for (const [name, x] of Object.entries(loaded)) {
    assertEquals([x.dtype, x.shape], [state[name]!.dtype, state[name]!.shape], name);
    assertEquals(x.dataSync(), state[name]!.dataSync(), name);
    assert(!x.requiresGrad);
  }
  assertEquals(Array.from(Deno.readDirSync(folder), (entry) => entry.name), ["state.safetensors"]);
});

test("a module goes through a file, by path and by URL, onto every device", async (folder) => {
  const path = `${folder}/model.safetensors`;
  const make = () => new nn.Sequential(new nn.Linear(3, 4), new nn.Tanh(), new nn.Linear(4, 2));
  const [from, to] = [make(), make()];
  await io.saveSafetensors(new URL(`file://${path}`), from.stateDict());
  for (const { device } of devices()) {
    const state = await io.loadSafetensors(path, { device });
    for (const x of Object.values(state)) assertEquals(x.device, device);
    to.loadStateDict(state);
    assertEquals(values(to.stateDict()), values(from.stateDict()));
  }
  from.dispose();
  to.dispose();
});

test("saving takes the values of the moment, and replaces a file whole", async (folder) => {
  const path = `${folder}/w.safetensors`;
  await Deno.writeTextFile(path, "old");
  const w = zeros([1000]);
  const saving = io.saveSafetensors(path, { w });
  w.fill(1);
  await saving;
  const { w: loaded } = await io.loadSafetensors(path);
  assertEquals(new Set(loaded!.dataSync()), new Set([0]));
});

test("PyTorch's 64-bit integers become int32, where they fit", () => {
  const file = (...values: bigint[]) => {
    const data = new Uint8Array(BigInt64Array.from(values).buffer);
    const tensors = new Map([["t", { dtype: "I64", shape: [values.length], data }]]);
    return encodeSafetensors({ tensors, metadata: {} });
  };
  const { t } = io.fromSafetensors(file(-1n, 2n ** 31n - 1n));
  assertEquals(t!.dtype, "int32");
  assertEquals([...t!.dataSync()], [-1, 2 ** 31 - 1]);
  const { message } = assertThrows(() => io.fromSafetensors(file(2n ** 31n)), DTypeError);
  assertStringIncludes(message, "t is I64 and has 2147483648");
});

test("types that cudeno has no dtype for are named; BOOL becomes uint8, 16-bit floats load", () => {
  const file = (dtype: string, data: Uint8Array) =>
    encodeSafetensors({ tensors: new Map([["t", { dtype, shape: [2], data }]]), metadata: {} });
  const loaded = io.fromSafetensors(file("BOOL", Uint8Array.of(1, 0)));
  assertEquals([loaded.t!.dtype, [...loaded.t!.dataSync()]], ["uint8", [1, 0]]);
  const halves = (dtype: string, ...bits: number[]) =>
    io.fromSafetensors(file(dtype, new Uint8Array(Uint16Array.from(bits).buffer))).t!;
  const [f16, bf16] = [halves("F16", 0x3c00, 0xc100), halves("BF16", 0x3f80, 0xc020)];
  assertEquals([f16.dtype, ...f16.dataSync()], ["float16", 1, -2.5]);
  assertEquals([bf16.dtype, ...bf16.dataSync()], ["bfloat16", 1, -2.5]);
  const error = assertThrows(
    () => io.fromSafetensors(file("C64", new Uint8Array(16))),
    DTypeError,
  );
  assertStringIncludes(
    error.message,
    "t is C64; known are F32, F64, F16, BF16, I32, U8, BOOL, I64",
  );
});

/** A tensor of a file's own type, by the bytes of its elements. */
function loaded(dtype: string, data: ArrayBufferView, options: io.LoadOptions = {}): Tensor {
  const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
  const size = bytes.length / ((data as { length?: number }).length ?? 1);
  const tensors = new Map([["t", { dtype, shape: [bytes.length / size], data: bytes }]]);
  return io.fromSafetensors(encodeSafetensors({ tensors, metadata: {} }), options)["t"]!;
}

test("integers of every size become int32, where they fit", () => {
  const fitting = {
    I8: Int8Array.of(-128, 127),
    I16: Int16Array.of(-32768, 32767),
    U16: Uint16Array.of(0, 65535),
    U32: Uint32Array.of(0, 2 ** 31 - 1),
    U64: BigUint64Array.of(0n, 2n ** 31n - 1n),
    I64: BigInt64Array.of(-(2n ** 31n), 2n ** 31n - 1n),
  };
  for (const [dtype, data] of Object.entries(fitting)) {
    const x = loaded(dtype, data);
    assertEquals([x.dtype, ...x.dataSync()], ["int32", ...Array.from(data as never, Number)]);
  }
  const beyond: [string, ArrayBufferView, string][] = [
    ["U32", Uint32Array.of(1, 2 ** 31), "2147483648"],
    ["U64", BigUint64Array.of(2n ** 64n - 1n), "18446744073709551615"],
    ["I64", BigInt64Array.of(0n, -(2n ** 31n) - 1n), "-2147483649"],
    ["I64", BigInt64Array.of(2n ** 32n), "4294967296"],
  ];
  for (const [dtype, data, value] of beyond) {
    const { message } = assertThrows(() => loaded(dtype, data), DTypeError);
    assertStringIncludes(message, `t is ${dtype} and has ${value}, which int32 has not`);
  }
});

test("floats of 8 bits become float16 exactly, exponents float32", () => {
  const all = Uint8Array.from({ length: 256 }, (_, i) => i);
  const of = (dtype: string) => {
    const x = loaded(dtype, all);
    assertEquals(x.dtype, dtype === "F8_E8M0" ? "float32" : "float16");
    return x.dataSync();
  };
  const nans = (data: ArrayLike<number>) => [...all].filter((i) => Number.isNaN(data[i]));
  // largest, smallest normal, smallest and largest subnormal, 1, -1.5, as the papers have them
  const e4m3 = of("F8_E4M3");
  assertEquals([0x7e, 0x08, 0x01, 0x07, 0x38, 0xbc, 0x80].map((i) => e4m3[i]), [
    ...[448, 2 ** -6, 2 ** -9, 7 * 2 ** -9, 1, -1.5, -0],
  ]);
  assertEquals(nans(e4m3), [0x7f, 0xff]);
  const e5m2 = of("F8_E5M2");
  assertEquals([0x7b, 0x04, 0x01, 0x03, 0x3c, 0xbe, 0x7c, 0xfc].map((i) => e5m2[i]), [
    ...[57344, 2 ** -14, 2 ** -16, 3 * 2 ** -16, 1, -1.5, Infinity, -Infinity],
  ]);
  assertEquals(nans(e5m2), [0x7d, 0x7e, 0x7f, 0xfd, 0xfe, 0xff]);
  const [e4z, e5z, e8] = [of("F8_E4M3FNUZ"), of("F8_E5M2FNUZ"), of("F8_E8M0")];
  assertEquals([0x7f, 0x01, 0x40, 0].map((i) => e4z[i]), [240, 2 ** -10, 1, 0]);
  assertEquals([0x7f, 0x01, 0x40, 0].map((i) => e5z[i]), [57344, 2 ** -17, 1, 0]);
  assertEquals([nans(e4z), nans(e5z), nans(e8)], [[0x80], [0x80], [0xff]]);
  assertEquals([0, 127, 254].map((i) => e8[i]), [2 ** -127, 1, 2 ** 127]);
});

test("a file of PyTorch's safetensors.torch is read, and written the same", async () => {
  const path = new URL("../fixtures/weights.safetensors", import.meta.url);
  const state = await io.loadSafetensors(path);
  assertEquals(state["0.weight"]!.dataSync(), Float32Array.from({ length: 12 }, (_, i) => i));
  assertEquals([...state["0.bias"]!.dataSync()], [Math.fround(0.1), -0, NaN]);
  assertEquals([...state["half"]!.dataSync()], [1, Infinity]);
  assertEquals([state["double"]!.itemSync(), state["int"]!.itemSync()], [1e300, -(2 ** 31)]);
  assertEquals(await io.toSafetensors(state), await Deno.readFile(path));
});

test("16-bit floats keep their bits through a file", async () => {
  for (const [dtype, name] of [["float16", "F16"], ["bfloat16", "BF16"]] as const) {
    const x = tensor([1, -2.5, 0.1, Infinity, NaN, -0, 1e-7], { dtype });
    const bytes = await io.toSafetensors({ x });
    assertStringIncludes(new TextDecoder().decode(bytes.subarray(8, 120)), `"dtype":"${name}"`);
    const loaded = io.fromSafetensors(bytes).x!;
    assertEquals([loaded.dtype, ...loaded.dataSync()], [dtype, ...x.dataSync()]);
  }
});

test("a missing file is an error that names it", async (folder) => {
  const error = await assertRejects(
    () => io.loadSafetensors(`${folder}/none.safetensors`),
    DataError,
    `${folder}/none.safetensors is missing`,
  );
  assert(error.cause instanceof Deno.errors.NotFound);
});

test("bad headers, holes, overlaps, missing bytes are errors naming the file", async (folder) => {
  const path = `${folder}/model.safetensors`;
  const floats = { dtype: "F32", shape: [2], data: new Uint8Array(8) };
  const good = encodeSafetensors({
    tensors: new Map([["a", floats], ["b", floats]]),
    metadata: {},
  });
  const text = new TextDecoder("latin1").decode(good);
  const cases: [file: Uint8Array, message: string][] = [
    [new Uint8Array(3), "found 3 bytes"],
    [good.subarray(0, 20), "found 20 bytes, expected at least"],
    [good.subarray(0, -1), "data_offsets"],
    [bytesOf(text.replace("{", "[")), 'expected "{"'],
    [bytesOf(text.replace('"a":', '"a";')), "not valid JSON"],
    [bytesOf(text.replace("[8,16]", "[9,17]") + "x"), "a hole before it"],
    [bytesOf(text.replace("[8,16]", "[4,12]")), "an overlap"],
    [bytesOf(text.replace("[2]", "[3]")), "found 8 bytes, expected 12"],
    [bytesOf(text.replace("F32", "Q32")), 'dtype "Q32"'],
    [bytesOf(text + "x"), "found 17 bytes of data"],
  ];
  for (const [file, message] of cases) {
    await Deno.writeFile(path, file);
    const error = await assertRejects(() => io.loadSafetensors(path), DataError);
    assertEquals(error.code, "data");
    assertStringIncludes(error.message, path);
    assertStringIncludes(error.message, message);
  }
});

function bytesOf(latin1: string): Uint8Array {
  return Uint8Array.from(latin1, (char) => char.charCodeAt(0));
}
