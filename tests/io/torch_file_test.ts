// PyTorch's .pt files, as tests/fixtures/make_torch_files.py made them, and such as nobody should.
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  ArgumentError,
  CudenoError,
  DataError,
  DTypeError,
  io,
  memory,
  nn,
  type Tensor,
  zeros,
} from "../../mod.ts";
import { crc32, decodeZip, encodeZip } from "../../lib/io/_zip.ts";
import { limits } from "../../lib/io/_stored.ts";
import { cleanTest, inFolder, later } from "../_helpers.ts";

const pathOf = (name: string) => new URL(`../fixtures/torch_${name}.pt`, import.meta.url);
const bytesOf = (name: string) => Deno.readFile(pathOf(name));
const plain = (state: nn.StateDict) =>
  Object.fromEntries(Object.entries(state).map(([name, x]) => [name, [x.shape, ...x.dataSync()]]));
const range = (n: number, from = 0) => Array.from({ length: n }, (_, i) => from + i);

cleanTest("torch: a state dict, from a path, a URL, bytes and a stream", async () => {
  const wanted = {
    "0.weight": [[3, 2], ...range(6)],
    "0.bias": [[3], ...range(3, 100)],
    "1.weight": [[3], ...range(3, 200)],
    "1.bias": [[3], ...range(3, 300)],
    "1.running_mean": [[3], 0, 0, 0],
    "1.running_var": [[3], 1, 1, 1],
    "1.num_batches_tracked": [[], 0],
  };
  const url = pathOf("state_dict"), bytes = await bytesOf("state_dict");
  const stream = new Blob([bytes]).stream();
  for (const source of [url, decodeURIComponent(url.pathname), bytes, bytes.buffer, stream]) {
    assertEquals(plain(await io.loadTorch(source)), wanted);
  }
  const state = await io.loadTorch(bytes, { names: (name) => name.startsWith("0.") });
  assertEquals(Object.keys(state), ["0.weight", "0.bias"]);
  const model = later(new nn.Sequential(new nn.Linear(2, 3)));
  await io.loadTorch(url, { into: model.stateDict(), names: Object.keys(state) });
  assertEquals(plain(model.stateDict()), plain(state));
  assertEquals(Object.keys(await io.loadTorch(url, { prefix: "1.", names: ["bias"] })), ["bias"]);
});

cleanTest("torch: views are gathered, the same memory is one tensor", async () => {
  const state = await io.loadTorch(pathOf("views"));
  assertEquals(plain(state), {
    whole: [[3, 4], ...range(12)],
    same: [[3, 4], ...range(12)],
    transposed: [[4, 3], 0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11],
    row: [[4], ...range(4, 4)],
    column: [[3], 2, 6, 10],
    steps: [[2, 2], 1, 3, 9, 11],
    scalar: [[], 11],
    empty: [[2, 0, 3]],
    expanded: [[3, 2], 0, 1, 0, 1, 0, 1],
    parameter: [[2], 1, 2],
  });
  assert(state["whole"] === state["same"] && !state["parameter"]!.requiresGrad);
  const into = Object.fromEntries(
    Object.entries(state).map(([name, x]) => [name, zeros(x.shape, { dtype: "float64" })]),
  );
  const { piece } = limits;
  try {
    limits.piece = 8;
    await io.loadTorch(pathOf("views"), { into });
  } finally {
    limits.piece = piece;
  }
  assertEquals(plain(into), plain(state));
});

cleanTest("torch: every type becomes a dtype, or is refused when it is asked for", async () => {
  const state = await io.loadTorch(pathOf("dtypes"));
  const dtypes = Object.entries(state).map(([name, x]) => {
    assertEquals([...x.dataSync()], [1, 0, 1], name);
    return [name, x.dtype];
  });
  assertEquals(Object.fromEntries(dtypes), {
    ...{ float32: "float32", float64: "float64", float16: "float16", bfloat16: "bfloat16" },
    ...{ int64: "int32", int32: "int32", int16: "int32", int8: "int32" },
    ...{ uint8: "uint8", bool: "uint8" },
  });
  await assertRejects(() => io.loadTorch(pathOf("complex")), DTypeError, "complex is C64");
  assertEquals(plain(await io.loadTorch(pathOf("complex"), { names: ["real"] })), {
    real: [[1], 1],
  });
});

cleanTest("torch: checkpoints of every protocol, flattened or an entry of them", async () => {
  for (const protocol of [2, 3, 4, 5]) {
    const path = pathOf(`protocol${protocol}`);
    const all = await io.loadTorch(path);
    assertEquals(Object.keys(all), [
      ...["model.weight", "model.bias"],
      ...range(2).flatMap((i) =>
        ["step", "exp_avg", "exp_avg_sq"].map((name) => `optimizer.state.${i}.${name}`)
      ),
      ...["ordered.x", "7.0"],
    ]);
    assertEquals([...all["7.0"]!.dataSync(), ...all["ordered.x"]!.dataSync()], [7, 5]);
    const model = await io.loadTorch(path, { key: "model" });
    assertEquals(Object.keys(model), ["weight", "bias"]);
    assertEquals(await io.loadTorch(path, { key: "epoch" }), {});
    const { message } = await assertRejects(
      () => io.loadTorch(path, { key: "state" }),
      ArgumentError,
      'has no "state"; there are [model, optimizer, epoch, ',
    );
    assert(message.length < 400);
  }
  assertEquals(plain(await io.loadTorch(pathOf("tensor"))), { tensor: [[2], 1, 2] });
});

cleanTest("torch: what is no state dict is told so, by what it needs or is", async () => {
  const zip = async (parts: Record<string, Uint8Array<ArrayBuffer>>) =>
    await encodeZip("test", new Map(Object.entries(parts)), false);
  const text = (text: string) => new TextEncoder().encode(text);
  const tar = new Uint8Array(512);
  tar.set(text("ustar"), 257);
  const cases: [Uint8Array, string][] = [
    [await bytesOf("module"), 'it needs "torch.nn.modules.linear.Linear", which is not loaded'],
    [await bytesOf("legacy"), "format before 1.6"],
    [tar, "first format, a tar file"],
    [await io.toSafetensors({}), "io.loadSafetensors reads"],
    [text("<html>"), "no zip file"],
    [new Uint8Array(), "no zip file"],
    [await zip({ "a/b": text("c") }), "without a data.pkl"],
    [await zip({ "a/data.pkl": text("\x80\x02N."), "a/constants.pkl": text("") }), "TorchScript"],
    [await zip({ "a/data.pkl": text("\x80\x02N."), "a/byteorder": text("big") }), '"big"'],
    [(await bytesOf("tensor")).subarray(0, -1), "truncated?"],
  ];
  for (const [bytes, message] of cases) {
    await assertRejects(() => io.loadTorch(bytes), DataError, message);
  }
  assertEquals(await io.loadTorch(await zip({ "a/data.pkl": pickle("\x80\x02N.") })), {});
  for (const options of [{ key: 1 }, { verify: 1 }, { kei: "model" }, { names: 1 }]) {
    await assertRejects(() => io.loadTorch(pathOf("tensor"), options as never), ArgumentError);
  }
  await assertRejects(() => io.loadTorch("none.pt"), DataError, "none.pt is missing");
});

/** Bytes by the characters of a text. */
function pickle(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

/** A file with this pickle and a storage of 8 floats. */
async function fileWith(text: string): Promise<Uint8Array<ArrayBuffer>> {
  const data = new Uint8Array(Float32Array.from(range(8)).buffer);
  const parts = new Map([["x/data.pkl", pickle(text)], ["x/data/0", data]]);
  return await encodeZip("test", parts, false);
}

const word = (text: string) => `X${String.fromCharCode(text.length)}\0\0\0${text}`;
const int = (n: number) => "J" + String.fromCharCode(...new Uint8Array(Int32Array.of(n).buffer));
const storage = (count = 8, key = "0") =>
  `(${word("storage")}ctorch\nFloatStorage\n${word(key)}${word("cpu")}${int(count)}tQ`;
const tensorOf = (from: string, offset: string, shape: string, strides: string) =>
  `ctorch._utils\n_rebuild_tensor_v2\n(${from}${offset}(${shape}t(${strides}t\x89N` + "tR";

cleanTest("torch: hostile pickles are refused before anything is made", async () => {
  const good = tensorOf(storage(), int(2), int(3), int(2));
  assertEquals(plain(await io.loadTorch(await fileWith(`\x80\x02${good}.`))), {
    tensor: [[3], 2, 4, 6],
  });
  const { tensors } = memory();
  const cases: [string, string][] = [
    ["cposix\nsystem\n(Vid\ntR.", '"posix.system"'],
    [`\x80\x04${word("builtins")}${word("eval")}\x93.`, '"builtins.eval"'],
    [`}(${word("a")}${good}${word("b")}c__main__\nNet\n)Ru.`, '"__main__.Net"'],
    ["cbuiltins\ngetattr\n.", '"builtins.getattr"'],
    ["ctorch\nhub.load\n.", '"torch.hub.load"'],
    [`ctorch.storage\n_load_from_bytes\n(C\x01xtR.`, "_load_from_bytes"],
    ["ctorch\nfloat32\n)R.", "calls torch.float32"],
    ["}b.", "takes what is not there"],
    ["N}b.", "sets attributes"],
    ["(lp0\n.", "instruction 0x70"],
    ["I5\n.", "instruction 0x49"],
    ["\x80\x01N.", "protocol 1"],
    ["]", "ends at 3"],
    ["X\xff\xff\xff\x7f", "ends at"],
    ["\x8d\xff\xff\xff\xff\xff\xff\xff\xff", "ends at"],
    ["\x8b\x00\x00\x10\x00", "integer of 1048576 bytes"],
    ["X\x01\0\0\0\xff.", "valid UTF-8"],
    ["NN.", "more or less than a value"],
    ["(.", "more or less than a value"],
    ["h\x05.", "did not note"],
    ["N]a.", "adds to what is no Array"],
    ["}(Nu.", "a key without a value"],
    ["Q.", "takes what is not there"],
    ["NQ.", "no storage"],
    [`]q\0h\0a.`, "hold themselves"],
    ["]q\x000" + "](h\0h\0eq\x000".repeat(60) + "h\0.", "hold themselves"],
    ["]".repeat(500) + "a".repeat(499) + ".", "hold themselves"],
    [`}(${word("a.b")}${good}${word("a")}}${word("b")}${good}su.`, "choose by key"],
    [`})${good}s.`, "key that is no text"],
    [tensorOf("N", int(0), "", ""), "no storage"],
    [tensorOf(storage(), int(2), int(4), int(2)), "beyond the 8 elements"],
    [tensorOf(storage(), int(-1), int(1), int(1)), "no valid place"],
    [tensorOf(storage(), int(0), int(1), ""), "no valid place"],
    [tensorOf(storage(), int(0), "N", int(1)), "no valid place"],
    [tensorOf(storage(9), int(8), "", ""), "has 32 bytes, expected at least 36"],
    [tensorOf(storage(8, "1"), int(0), "", ""), 'no storage "1"'],
    [tensorOf(storage(8, "../0"), int(0), "", ""), 'no storage "../0"'],
    [tensorOf(storage(), int(0), int(2 ** 30), int(0)), "save x.contiguous()"],
    [tensorOf(storage(), int(0), int(2 ** 30).repeat(4), int(0).repeat(4)), "overflows"],
    [tensorOf(storage(), int(0), int(1).repeat(9), int(1).repeat(9)), "9 dimensions"],
  ];
  for (const [text, message] of cases) {
    const whole = text.startsWith("\x80") ? text : `\x80\x02${text}`;
    const file = await fileWith(text.endsWith("R") ? `${whole}.` : whole);
    const error = await assertRejects(() => io.loadTorch(file), DataError, undefined, message);
    assertStringIncludes(error.message, message);
    assert(error.message.length < 1000);
    assertEquals(memory().tensors, tensors);
  }
});

cleanTest("torch: what later versions of PyTorch write", async () => {
  const bytes = `(${word("storage")}ctorch.storage\nUntypedStorage\n${word("0")}${word("cpu")}` +
    `${int(32)}tQ`;
  const halves = `ctorch._utils\n_rebuild_tensor_v3\n(${bytes}${int(14)}(${int(2)}t(${int(1)}t` +
    "\x89Nctorch\nuint16\ntR"; // of the storage's last float, 7
  const typed = "ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\n" +
    `ctorch.nn.parameter\nParameter\n(${storage()}${int(1)}(t(t\x89Nt}tR`;
  const pairs = `ccollections\nOrderedDict\n((${word("a")}${halves}t(${word("b")}${typed}tt\x85R`;
  const state = await io.loadTorch(await fileWith(`\x80\x02${pairs}.`));
  assertEquals(plain(state), { a: [[2], 0, 0x40e0], b: [[], 1] });
  const order = new Map([
    ["x/data.pkl", pickle("\x80\x02}.")],
    ["x/byteorder", pickle("little")],
    ["x/.format_version", pickle("1")],
  ]);
  assertEquals(await io.loadTorch(await encodeZip("test", order, true)), {});
});

cleanTest("torch: damaged storages are found, unless they are not to be", async () => {
  const file = await fileWith(`\x80\x02${tensorOf(storage(), int(0), int(8), int(1))}.`);
  const at = file.findLastIndex((byte, i) => byte === 0x40 && file[i - 1] === 0xe0); // 7
  file[at]! ^= 1;
  await assertRejects(() => io.loadTorch(file), DataError, "is damaged: found CRC-32");
  const { tensor } = await io.loadTorch(file, { verify: false });
  assert(tensor!.dataSync()[7] !== 7);
});

cleanTest("torch: mutations of pickles and files are errors of ours, at once", async () => {
  let state = 7;
  const random = (n: number) => {
    state ^= state << 13, state ^= state >>> 17, state ^= state << 5;
    return (state >>> 0) % n;
  };
  const counts = { refused: 0, taken: 0 };
  for (const name of ["views", "protocol2", "protocol4"]) {
    const whole = await bytesOf(name);
    const parts = new Map<string, Uint8Array<ArrayBuffer>>();
    for await (const [entry, bytes] of decodeZip(whole, name)) parts.set(entry, bytes.slice());
    const [main] = [...parts.keys()].filter((entry) => entry.endsWith("data.pkl"));
    for (let round = 0; round < 800; round++) {
      const bytes = (round % 4 ? parts.get(main!)! : whole).slice();
      for (let n = random(3); n >= 0; n--) {
        const at = random(bytes.length);
        if (random(3) === 0) bytes.copyWithin(at, random(bytes.length), random(bytes.length));
        else bytes[at] = random(2) ? random(256) : bytes[at]! ^ 1 << random(8);
      }
      const file = round % 4
        ? await encodeZip("test", new Map([...parts, [main!, bytes]]), false)
        : bytes;
      const before = memory().tensors;
      let made: Record<string, Tensor> = {};
      try {
        made = await io.loadTorch(file);
        counts.taken++;
      } catch (error) {
        if (!(error instanceof CudenoError)) throw error;
        assert(error.message.length < 2000);
        counts.refused++;
      }
      for (const x of Object.values(made)) x.dispose();
      assertEquals(memory().tensors, before, `${name}, round ${round}`);
    }
  }
  assert(counts.refused > 500 && counts.taken > 50, JSON.stringify(counts));
});

Deno.test("torch: sums of bytes are CRC-32's, in parts too", () => {
  const bytes = new TextEncoder().encode("123456789");
  assertEquals(crc32(bytes), 0xcbf43926);
  for (const n of range(10)) {
    assertEquals(crc32(bytes.subarray(n), crc32(bytes.subarray(0, n))), 0xcbf43926);
  }
});

cleanTest("torch: a file on the disk is read piece by piece", async () => {
  const { piece } = limits;
  const { read } = Deno.FsFile.prototype;
  await inFolder(async (folder) => {
    const path = `${folder}/x.pt`;
    const data = new Uint8Array(2 ** 22).fill(1, 2 ** 22 - 4);
    const text = `\x80\x02${tensorOf(storage(2 ** 20), int(0), int(2 ** 20), int(1))}.`;
    const parts = new Map([["x/data.pkl", pickle(text)], ["x/data/0", data]]);
    await Deno.writeFile(path, await encodeZip("test", parts, false));
    let most = 0;
    Deno.FsFile.prototype.read = function (into) {
      most = Math.max(most, into.length);
      return read.call(this, into);
    };
    try {
      limits.piece = 2 ** 14;
      const { tensor } = await io.loadTorch(path);
      assert(tensor!.dataSync().at(-1)! > 0);
    } finally {
      Deno.FsFile.prototype.read = read;
      limits.piece = piece;
    }
    assert(most < 70_000, `${most} bytes at once`);
  });
});
