// Parts of .safetensors files, files in several parts, and files too large to be held at once.
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  ArgumentError,
  DataError,
  DTypeError,
  io,
  memory,
  nn,
  ones,
  rand,
  randn,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from "../../mod.ts";
import { limits } from "../../lib/io/_stored.ts";
import { encodeSafetensors } from "../../lib/io/_safetensors_format.ts";
import { cleanTest, inFolder, later, modUrl, program } from "../_helpers.ts";

function test(name: string, fn: (folder: string) => void | Promise<void>) {
  cleanTest(`weights: ${name}`, () => inFolder(fn));
}

const data = (x: Tensor | undefined) => [...x!.dataSync()];

test("a header is read alone, of a path, bytes or an index", async (folder) => {
  const bytes = await io.toSafetensors(
    { w: zeros([2, 3]), half: zeros([4], { dtype: "bfloat16" }) },
    { metadata: { by: "me", lines: "1\n2" } },
  );
  const wanted = {
    metadata: { by: "me", lines: "1\n2" },
    tensors: {
      w: { dtype: "F32", shape: [2, 3], bytes: 24 },
      half: { dtype: "BF16", shape: [4], bytes: 8 },
    },
  };
  assertEquals(await io.readSafetensorsHeader(bytes), wanted);
  await Deno.writeFile(`${folder}/w`, bytes);
  assertEquals(await io.readSafetensorsHeader(new URL(`file://${folder}/w`)), wanted);
  await Deno.writeTextFile(
    `${folder}/w.index.json`,
    JSON.stringify({ metadata: { total_size: 32 }, weight_map: { w: "w", half: "w" } }),
  );
  assertEquals(await io.readSafetensorsHeader(`${folder}/w.index.json`), wanted);
  await assertRejects(() => io.readSafetensorsHeader(bytes.subarray(0, -1)), DataError);
  await assertRejects(() => io.readSafetensorsHeader(5 as never), ArgumentError);
});

test("some of the tensors, by name, function and prefix", async (folder) => {
  const path = `${folder}/w`;
  const [a, b, c] = [ones([2]), zeros([3]), tensor(5)];
  await io.saveSafetensors(path, { "model.a": a, "model.b": b, "modelx": c });
  const bytes = await Deno.readFile(path);
  for (
    const load of [
      (o: io.LoadOptions) => io.loadSafetensors(path, o),
      (o: io.LoadOptions) => Promise.resolve().then(() => io.fromSafetensors(bytes, o)),
    ]
  ) {
    const names = async (options: io.LoadOptions) => Object.keys(await load(options)).sort();
    assertEquals(await names({ names: ["modelx", "modelx"] }), ["modelx"]);
    assertEquals(await names({ names: (name) => name.endsWith("b") }), ["model.b"]);
    assertEquals(await names({ prefix: "model." }), ["a", "b"]);
    assertEquals(await names({ prefix: "model.", names: ["b"] }), ["b"]);
    assertEquals(await names({ names: [] }), []);
    for (const options of [{ names: ["none"] }, { prefix: "model.", names: ["model.a"] }]) {
      await assertRejects(() => load(options), ArgumentError, "missing are [");
    }
    for (const wrong of [{ names: "a" }, { names: [1] }, { prefix: 1 }, { names: () => 1 }]) {
      await assertRejects(() => load(wrong as never), ArgumentError);
    }
  }
});

test("into tensors that are there: cast, in any format, all names or none", async (folder) => {
  const path = `${folder}/w`;
  const x = randn([2, 3, 4, 5]);
  await io.saveSafetensors(path, { x, n: tensor([7], { dtype: "float64" }) });
  const half = tensor([0], { dtype: "float16", requiresGrad: true });
  const last = zeros([2, 3, 4, 5]).to({ format: "channelsLast" });
  const before = memory().tensors;
  const loaded = await io.loadSafetensors(path, { into: { x: last, n: half } });
  assert(loaded["x"] === last && loaded["n"] === half);
  assertEquals(memory().tensors, before);
  assertEquals([data(last), data(half), last.format], [data(x), [7], "channelsLast"]);
  const wrong: [io.LoadOptions, typeof ArgumentError | typeof ShapeError, string][] = [
    [{ into: { x: last } }, ArgumentError, "missing are [], unexpected are [n]"],
    [{ into: { x: last, n: half, m: half } }, ArgumentError, "missing are [m]"],
    [{ into: { x: last, n: zeros([1, 1]) } }, ShapeError, "n is [1]; wanted is [1, 1]"],
    [{ into: { x: last }, names: ["x"], device: "cpu" }, ArgumentError, "leave device out"],
  ];
  last.fill(0);
  for (const [options, error, message] of wrong) {
    await assertRejects(() => io.loadSafetensors(path, options), error, message);
  }
  assertEquals(new Set(data(last)), new Set([0]));
  // the same from bytes
  io.fromSafetensors(await Deno.readFile(path), { into: { x: last }, names: ["x"] });
  assertEquals(data(last), data(x));
});

test("pieces of a few bytes make the same, of every type", async (folder) => {
  const path = `${folder}/w`;
  const { piece, atOnce } = limits;
  const state = {
    a: rand([7, 3]),
    b: randn([13], { dtype: "bfloat16" }),
    c: randn([5], { dtype: "float64" }),
    d: randn([1, 3, 2, 2]).to({ format: "channelsLast" }),
    e: tensor([1, 2, 3], { dtype: "uint8" }),
    none: zeros([0]),
  };
  const whole = await io.toSafetensors(state);
  try {
    [limits.piece, limits.atOnce] = [16, 0];
    assertEquals(await io.toSafetensors(state), whole);
    await io.saveSafetensors(path, state);
    assertEquals(await Deno.readFile(path), whole);
    const back = await io.loadSafetensors(path);
    for (const [name, x] of Object.entries(state)) assertEquals(data(back[name]), data(x), name);
    const wide = new Uint8Array(BigInt64Array.from({ length: 9 }, (_, i) => BigInt(-i)).buffer);
    const tensors = new Map([["t", { dtype: "I64", shape: [9], data: wide }]]);
    await Deno.writeFile(path, encodeSafetensors({ tensors, metadata: {} }));
    const into = { t: zeros([9], { dtype: "float64" }) };
    await io.loadSafetensors(path, { into });
    assertEquals(data(into.t), [0, -1, -2, -3, -4, -5, -6, -7, -8]);
    assertEquals(data((await io.loadSafetensors(path))["t"]), data(into.t));
  } finally {
    Object.assign(limits, { piece, atOnce });
  }
});

test("an index names files, each of which holds what it says", async (folder) => {
  const index = `${folder}/model.safetensors.index.json`;
  const write = (map: unknown) => Deno.writeTextFile(index, JSON.stringify({ weight_map: map }));
  const [one, two] = ["model-00001-of-00002.safetensors", "sub/model-00002-of-00002.safetensors"];
  const model = later(new nn.Sequential(new nn.Linear(3, 4), new nn.Linear(4, 2)));
  const state = Object.entries(model.stateDict());
  await Deno.mkdir(`${folder}/sub`);
  await io.saveSafetensors(`${folder}/${one}`, Object.fromEntries(state.slice(0, 2)));
  await io.saveSafetensors(`${folder}/${two}`, Object.fromEntries(state.slice(2)));
  const map = Object.fromEntries(state.map(([name], i) => [name, i < 2 ? one : two]));
  await write(map);
  const other = later(new nn.Sequential(new nn.Linear(3, 4), new nn.Linear(4, 2)));
  other.loadStateDict(await io.loadSafetensors(index));
  for (const [name, x] of state) assertEquals(data(other.stateDict()[name]), data(x));
  other.parameters().forEach((x) => x.fill(0));
  await io.loadSafetensors(new URL(`file://${index}`), { into: other.stateDict() });
  for (const [name, x] of state) assertEquals(data(other.stateDict()[name]), data(x));

  const { tensors } = memory();
  const bad: [unknown, string][] = [
    [{ ...map, extra: one }, 'lacks "extra"'],
    [
      { "0.weight": one, ...Object.fromEntries(state.slice(2).map(([n]) => [n, two])) },
      'has "0.bias"',
    ],
    [{ ...map, "1.bias": one }, 'lacks "1.bias"'],
    [{ ...map, "1.bias": "none.safetensors" }, "sub/model"],
    [{ "0.weight": "none.safetensors" }, "none.safetensors is missing"],
    [null, "weight_map"],
    [[one], "weight_map"],
    ...["../w", "/etc/passwd", "sub/../../w", "", ".", "sub//w", "a\\b", "c:x", "a\0b", 5, null]
      .map((path): [unknown, string] => [{ w: path }, "the name of a file beside the index"]),
  ];
  for (const [wrong, message] of bad) {
    await write(wrong);
    const error = await assertRejects(() => io.loadSafetensors(index), DataError);
    assertStringIncludes(error.message, message);
    assertEquals(memory().tensors, tensors);
  }
  for (const text of ["", "{", "null", "[]", "\xff"]) {
    await Deno.writeTextFile(index, text);
    await assertRejects(() => io.loadSafetensors(index), DataError, index);
  }
  // Only what is needed is opened.
  await write(map);
  await Deno.remove(`${folder}/${two}`);
  await assertRejects(() => io.loadSafetensors(index), DataError, "is missing");
  assertEquals(Object.keys(await io.loadSafetensors(index, { names: ["0.bias"] })), ["0.bias"]);
});

test("a type that is not known is refused where it is asked for", async (folder) => {
  const path = `${folder}/w`;
  const tensors = new Map([
    ["a", { dtype: "F32", shape: [1], data: new Uint8Array(4) }],
    ["b", { dtype: "C64", shape: [1], data: new Uint8Array(8) }],
  ]);
  await Deno.writeFile(path, encodeSafetensors({ tensors, metadata: {} }));
  await assertRejects(() => io.loadSafetensors(path), DTypeError, `${path}: b is C64`);
  assertEquals(data((await io.loadSafetensors(path, { names: ["a"] }))["a"]), [0]);
});

// The process may use little more than the tensors, which would be twice as much with the whole
// file in memory.
test("a large file is read and written piece by piece", async (folder) => {
  if (Deno.build.os !== "linux") return; // where /proc says how much it was
  const size = 320 * 2 ** 20;
  const source = `
    import { io, zeros } from "${modUrl}";
    const path = "${folder}/large.safetensors";
    const x = zeros([${size / 4}]);
    x.view(${size / 4 - 1}, [1]).fill(7);
    const peak = async () =>
      Number(/VmHWM:\\s+(\\d+)/.exec(await Deno.readTextFile("/proc/self/status"))[1]) / 1024;
    const before = await peak();
    await io.saveSafetensors(path, { x });
    const saved = await peak();
    x.fill(0);
    await io.loadSafetensors(path, { into: { x } });
    console.log(saved - before, await peak() - saved, x.view(${size / 4 - 1}, [1]).itemSync());
  `;
  const { out, err } = await program(source, { flags: ["-A"] });
  const [saving, loading, value] = out.trim().split(" ").map(Number);
  assert(saving! < 200 && loading! < 200, `${out} MiB ${err}`);

  assertEquals(value, 7);
});
