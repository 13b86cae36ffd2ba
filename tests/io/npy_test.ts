// .npy and .npz files: bytes that are given here, NumPy's own where it is there, and damaged ones.
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  ArgumentError,
  CudenoError,
  data,
  DataError,
  type DType,
  DTypeError,
  full,
  io,
  memory,
  type Tensor,
  tensor,
  zeros,
} from "../../mod.ts";
import { encodeZip } from "../../lib/io/_zip.ts";
import { cleanTest as test, inFolder } from "../_helpers.ts";

const latin1 = (text: string) => Uint8Array.from(text, (char) => char.charCodeAt(0));

/** A .npy file whose header is this text. */
function npy(header: string, body: readonly number[], version = 1): Uint8Array<ArrayBuffer> {
  const length = version === 1 ? [header.length, 0] : [header.length, 0, 0, 0];
  return Uint8Array.of(
    ...latin1("\x93NUMPY"),
    ...[version, 0, ...length],
    ...latin1(header),
    ...body,
  );
}

function array(descr: string, shape: string, body: readonly number[], fortran = "False") {
  return npy(`{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': ${shape}, }\n`, body);
}

const load = async (source: io.Source): Promise<unknown[]> => {
  using x = await io.loadNpy(source);
  return [x.dtype, x.shape, [...x.dataSync()]];
};

const types: [descr: string, body: number[], dtype: DType, values: number[]][] = [
  ["<f2", [0, 0x3c, 0, 0xc1], "float16", [1, -2.5]],
  [">f2", [0x3c, 0, 0xc1, 0], "float16", [1, -2.5]],
  ["<f4", [0, 0, 0xc0, 0x3f, 0, 0, 0xc0, 0x7f], "float32", [1.5, NaN]],
  [">f4", [0x3f, 0xc0, 0, 0, 0xff, 0x80, 0, 0], "float32", [1.5, -Infinity]],
  ["=f4", [0, 0, 0xc0, 0x3f, 0, 0, 0, 0x80], "float32", [1.5, -0]],
  [">f8", [0x3f, 0xf8, 0, 0, 0, 0, 0, 0, ...Array(8).fill(0)], "float64", [1.5, 0]],
  ["<f8", [0, 0, 0, 0, 0, 0, 0xf8, 0x3f, ...Array(8).fill(0)], "float64", [1.5, 0]],
  ["|i1", [0xff, 0x7f], "int32", [-1, 127]],
  ["<i2", [0xfe, 0xff, 0x02, 0x01], "int32", [-2, 258]],
  [">i2", [0xff, 0xfe, 0x01, 0x02], "int32", [-2, 258]],
  ["<i4", [0, 0, 0, 0x80, 1, 0, 0, 0], "int32", [-(2 ** 31), 1]],
  [">i4", [0x80, 0, 0, 0, 0, 0, 0, 1], "int32", [-(2 ** 31), 1]],
  ["<i8", [0xfe, ...Array(7).fill(0xff), 3, ...Array(7).fill(0)], "int32", [-2, 3]],
  [">i8", [...Array(7).fill(0xff), 0xfe, ...Array(7).fill(0), 3], "int32", [-2, 3]],
  ["|u1", [0, 255], "uint8", [0, 255]],
  ["|b1", [0, 1], "uint8", [0, 1]],
];

test("npy: every type and byte order", async () => {
  for (const [descr, body, dtype, values] of types) {
    assertEquals(await load(array(descr, "(2,)", body)), [dtype, [2], values], descr);
  }
});

test("npy: versions 1 to 3, keys in any order, shapes of old Python", async () => {
  const header = "{'shape': (2L, 1L), 'fortran_order': False, 'descr': '|u1'}";
  for (const version of [1, 2, 3]) {
    assertEquals(await load(npy(header, [7, 8], version)), ["uint8", [2, 1], [7, 8]]);
  }
});

test("npy: no axis, no element, Fortran's order", async () => {
  assertEquals(await load(array("|u1", "()", [9])), ["uint8", [], [9]]);
  assertEquals(await load(array("<f4", "(2, 0, 3)", [])), ["float32", [2, 0, 3], []]);
  assertEquals(await load(array("<f4", "(0, 2)", [], "True")), ["float32", [0, 2], []]);
  const fortran = array("|u1", "(2, 3)", [1, 4, 2, 5, 3, 6], "True");
  assertEquals(await load(fortran), ["uint8", [2, 3], [1, 2, 3, 4, 5, 6]]);
  const cube = array("|i1", "(2, 1, 2)", [1, 3, 2, 4], "True");
  assertEquals(await load(cube), ["int32", [2, 1, 2], [1, 2, 3, 4]]);
  assertEquals(await load(array("|u1", "(2,)", [1, 2], "True")), ["uint8", [2], [1, 2]]);
});

test("npy: what is written is what NumPy writes, and reads back bit for bit", async () => {
  using x = tensor([[1, 2, 3]], { dtype: "uint8" });
  const dict = "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 3), }";
  const header = dict.padEnd(128 - 11) + "\n";
  assertEquals(await io.toNpy(x), npy(header, [1, 2, 3]));
  for (const dtype of ["float16", "float32", "float64", "int32", "uint8"] as const) {
    for (const shape of [[], [0], [3], [2, 2, 2], [1, 1, 1, 1, 1, 1, 1, 2]]) {
      const x = full(shape, 3, { dtype });
      const bytes = await io.toNpy(x);
      assertEquals(await load(bytes), [dtype, shape, [...x.dataSync()]]);
      assertEquals((bytes.length - x.dataSync().byteLength) % 64, 0);
    }
  }
  await assertRejects(() => io.toNpy(zeros([1], { dtype: "bfloat16" })), DTypeError, "bfloat16");
  await assertRejects(() => io.toNpy([1] as never), ArgumentError, "must be a tensor");
});

test("npy: from a path, a URL, a stream, a view that is not aligned, shared memory", async () => {
  const file = array("<f4", "(1,)", [0, 0, 0xc0, 0x3f]);
  const wanted = ["float32", [1], [1.5]];
  await inFolder(async (folder) => {
    await Deno.writeFile(`${folder}/x.npy`, file);
    assertEquals(await load(`${folder}/x.npy`), wanted);
    assertEquals(await load(new URL(`file://${folder}/x.npy`)), wanted);
    await assertRejects(() => load(`${folder}/y.npy`), DataError, "y.npy is missing");
    await assertRejects(() => load(folder), DataError, "a folder");
  });
  assertEquals(await load(new Blob([file]).stream()), wanted);
  assertEquals(await load(Uint8Array.of(0, ...file).subarray(1)), wanted);
  const shared = new SharedArrayBuffer(file.length);
  new Uint8Array(shared).set(file);
  assertEquals(await load(shared), wanted);
  const bad = new ReadableStream({ pull: (to) => to.error(new Error("cut off")) });
  await assertRejects(() => load(bad), DataError, "cut off");
  await assertRejects(() => load(ReadableStream.from(["text"]) as never), ArgumentError, "part");
  await assertRejects(() => load(3 as never), ArgumentError, "a path");
  await assertRejects(() => io.loadNpy(file, { dtype: 1 } as never), ArgumentError, "no option");
});

test("npy: broken files are errors that say what was found", async () => {
  const good = array("<f4", "(2,)", Array(8).fill(0));
  const dict = (text: string) => npy(text, Array(8).fill(0));
  const cases: [Uint8Array, typeof DataError | typeof DTypeError, string][] = [
    [new Uint8Array(0), DataError, "found 0 bytes"],
    [latin1("PK\x03\x04 and more"), DataError, "expected a .npy file"],
    [good.subarray(0, 6), DataError, "found 6 bytes, expected at least 1"],
    [good.subarray(0, 40), DataError, "40 bytes (truncated)"],
    [good.subarray(0, -1), DataError, "found 7 bytes of elements (truncated), expected 8"],
    [Uint8Array.of(...good, 0), DataError, "found 9 bytes of elements (trailing bytes)"],
    [good.with(6, 4), DataError, "version 4.0"],
    [good.with(7, 1), DataError, "version 1.1"],
    [npy("{}", [], 2).with(11, 255), DataError, "a header of 4278190082 bytes, expected at most"],
    [dict("[1, 2]"), DataError, "expected a dict"],
    [dict("{'descr': '<f4', 'shape': (2,)}"), DataError, "expected a dict"],
    [dict("{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}"), DataError, "a dict"],
    [dict("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)"), DataError, "a dict"],
    [dict("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 'y'}"), DataError, "dict"],
    [dict("{'descr': '<f4', 'descr': '<f4', 'shape': (2,)}"), DataError, "descr once"],
    [array("<f4", "(2)", Array(8).fill(0)), DataError, "a tuple as shape"],
    [array("<f4", "(2,,)", []), DataError, "a tuple of whole numbers"],
    [array("<f4", "(-2,)", []), DataError, "expected a dict"],
    [array("<f4", "(1000000000,)", Array(8).fill(0)), DataError, "expected 4000000000"],
    [array("<f4", "(9007199254740993, 0)", []), DataError, "less than 2^53"],
    [array("<f4", "(1,1,1,1,1,1,1,1,1)", Array(4).fill(0)), DataError, "at most 8 dimensions"],
    [array("|O", "(2,)", [1, 2]), DTypeError, "Python objects"],
    [array("<c8", "(1,)", Array(8).fill(0)), DTypeError, "'<c8'; known are f2, f4, f8"],
    [array("<u4", "(2,)", Array(8).fill(0)), DTypeError, "'<u4'"],
    [array("<U2", "(1,)", Array(8).fill(0)), DTypeError, "'<U2'"],
    [
      dict("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (2,)}"),
      DTypeError,
      "records",
    ],
    [
      array("<i8", "(2,)", [...Array(8).fill(0), 0, 0, 0, 0x80, 0, 0, 0, 0]),
      DTypeError,
      "element 1 is 2147483648",
    ],
  ];
  for (const [file, type, message] of cases) {
    await assertRejects(() => load(file), type as typeof DataError, message);
  }
});

const unpack = async (source: io.Source) => {
  const found = await data.npz(source);
  const values = Object.entries(found).map(([name, x]) => [name, x.shape, [...x.dataSync()]]);
  for (const x of Object.values(found)) x.dispose();
  return values;
};

const some = () => ({
  x: tensor([[1, 2], [3, 4]]),
  "layer/ü": tensor([7], { dtype: "uint8" }),
  __proto: zeros([0]),
});
const wanted = [["x", [2, 2], [1, 2, 3, 4]], ["layer/ü", [1], [7]], ["__proto", [0], []]];

test("npz: both ways, stored and deflated, through files", async () => {
  await inFolder(async (folder) => {
    for (const compress of [false, true]) {
      const bytes = await io.toNpz(some(), { compress });
      assertEquals(bytes, await io.toNpz(some(), { compress }), "the same bytes each time");
      assertEquals(await unpack(bytes), wanted);
      await io.saveNpz(`${folder}/x.npz`, some(), { compress });
      assertEquals(await unpack(`${folder}/x.npz`), wanted);
    }
  });
  assertEquals(await unpack(await io.toNpz({})), []);
  const large = { z: zeros([100_000]) };
  assert((await io.toNpz(large, { compress: true })).length < 2000);
  assertEquals((await unpack(await io.toNpz(large, { compress: true })))[0]![1], [100_000]);
  const key = JSON.parse('{"__proto__": 1}');
  Object.defineProperty(key, "__proto__", { value: zeros([1]), enumerable: true });
  assertEquals(Object.keys(await data.npz(await io.toNpz(key))), ["__proto__"]);
  await assertRejects(() => io.toNpz(zeros([1]) as never), ArgumentError);
  await assertRejects(() => io.toNpz({}, { compress: 1 } as never), ArgumentError, "true or false");
});

/** A copy with some bytes at a place, or at a place before the end, replaced. */
function patched(file: Uint8Array, at: number, ...bytes: number[]): Uint8Array {
  const copy = file.slice();
  copy.set(bytes, at < 0 ? file.length + at : at);
  return copy;
}

test("npz: broken files are errors that say what was found", async () => {
  const stored = await io.toNpz({ a: tensor([1, 2]), b: tensor([3]) });
  const packed = await io.toNpz({ a: zeros([50]) }, { compress: true });
  const directory = stored.length - 22 - 2 * (46 + 5);
  const cases: [Uint8Array, string][] = [
    [new Uint8Array(0), "no end of a zip file"],
    [stored.subarray(0, -1), "truncated?"],
    [patched(stored, -14, 3, 0, 3, 0), "no header of entry 2 of 3"],
    [patched(stored, -14, 1, 0, 1, 0), "bytes after the directory's 1 entries"],
    [patched(stored, -12, 255, 255), "zip64"],
    [patched(stored, directory + 24, 255, 255, 255, 255), "zip64"],
    [patched(stored, -18, 1), "one"],
    [patched(stored, -6, 255), "its directory is at"],
    [patched(stored, directory + 28, 255, 255), "goes beyond the directory"],
    [patched(stored, directory + 20, 255, 255), "take more than"],
    [patched(stored, directory + 51 + 42, 0, 0, 0, 0), '"b.npy" is damaged: found CRC-32'],
    [patched(stored, directory + 8, 1), '"a.npy" is encrypted'],
    [patched(stored, directory + 10, 12), "compressed by bzip2"],
    [patched(stored, directory + 24, 1), "expected its size of"],
    [patched(stored, directory + 51 + 46, "a".charCodeAt(0)), '"a.npy" is there twice'],
    [patched(stored, directory + 46 + 4, "x".charCodeAt(0)), '"a.npx" is no array'],
    [patched(stored, 0, 0), "has no header at 0"],
    [patched(stored, 40, 1), "damaged: found CRC-32"],
    [patched(packed, 40, 255, 255), "deflate-raw"],
    [patched(packed, packed.length - 22 - 51 + 24, 1, 0), "holds more than"],
    [patched(packed, packed.length - 22 - 51 + 24, 255, 255), "expected 65"],
    [patched(packed, packed.length - 22 - 51 + 24, 255, 255, 255, 127), "cannot hold"],
  ];
  for (const [file, message] of cases) {
    await assertRejects(() => data.npz(file), DataError, message);
  }
  // the second array is refused, and the first does not stay
  const b = array("<c8", "()", Array(8).fill(0));
  const parts = { "a.npy": array("|u1", "()", [1]), "b.npy": b };
  const mixed = await encodeZip("test", new Map(Object.entries(parts)), false);
  const before = memory().tensors;
  await assertRejects(() => data.npz(mixed), DTypeError, '"b.npy": its elements are');
  assertEquals(memory().tensors, before);
});

test("npy, npz: every byte turned, every length: only errors of ours", async () => {
  const files = [
    await io.toNpz({ a: tensor([1]) }, { compress: true }),
    array("<i2", "(2, 1)", [1, 2, 3, 4], "True"),
  ];
  for (const [i, file] of files.entries()) {
    const before = memory().tensors;
    const attack = async (bytes: Uint8Array) => {
      try {
        const made = i === 0 ? Object.values(await data.npz(bytes)) : [await data.npy(bytes)];
        for (const x of made) (x as Tensor).dispose();
        return 0;
      } catch (error) {
        if (!(error instanceof CudenoError)) throw error;
        return 1;
      }
    };
    let refused = 0;
    for (let at = 0; at < file.length; at++) {
      for (const turn of [1, 0x80, 0xff]) refused += await attack(file.with(at, file[at]! ^ turn));
      assertEquals(await attack(file.subarray(0, at)), 1);
    }
    assert(refused > file.length, `${refused} refused`);
    assertEquals(memory().tensors, before);
  }
});

const python = async (source: string, folder: string) => {
  const { success, stdout, stderr } = await new Deno.Command("/usr/bin/python3", {
    args: ["-c", source],
    cwd: folder,
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).trim();
};
const numpy = await python("import numpy", ".").then(() => true, () => false);

Deno.test({
  name: "npy, npz: both ways with NumPy",
  ignore: !numpy,
  fn: () =>
    inFolder(async (folder) => {
      const source = `
import numpy as np
x = np.arange(24).reshape(2, 3, 4)
for t in "<f2 >f4 <f8 >f8 i1 >i2 <i4 <i8 >i8 u1".split():
  np.save(t.strip("<>") + ("big" if t[0] == ">" else "") + ".npy", x.astype(t))
np.save("fortran.npy", np.asfortranarray(x))
np.save("zero.npy", np.array(5.0))
np.save("bool.npy", np.array([True, False]))
np.save("object.npy", np.array([{}], dtype=object))
np.save("record.npy", np.zeros(2, dtype=[("a", "<f4"), ("b", "<i4")]))
np.save("text.npy", np.array(["abc"]))
np.savez("plain.npz", x=x, y=np.float32([1.5]))
np.savez_compressed("packed.npz", x=x, y=np.float32([1.5]))
with open("v3.npy", "wb") as f: np.lib.format.write_array(f, x, version=(3, 0))
`;
      await python(source, folder);
      const counted = Array.from({ length: 24 }, (_, i) => i);
      const names = "f2 f4big f8 f8big i1 i2big i4 i8 i8big u1 fortran v3".split(" ");
      for (const name of names) {
        const [, shape, values] = await load(`${folder}/${name}.npy`);
        assertEquals([shape, values], [[2, 3, 4], counted], name);
      }
      assertEquals(await load(`${folder}/zero.npy`), ["float64", [], [5]]);
      assertEquals(await load(`${folder}/bool.npy`), ["uint8", [2], [1, 0]]);
      for (const name of ["object", "record", "text"]) {
        await assertRejects(() => load(`${folder}/${name}.npy`), DTypeError, `${name}.npy`);
      }
      for (const name of ["plain", "packed"]) {
        const wanted = [["x", [2, 3, 4], counted], ["y", [1], [1.5]]];
        assertEquals(await unpack(`${folder}/${name}.npz`), wanted);
      }
      using a = tensor([[1, 2], [3, 4]], { dtype: "float16" });
      using b = tensor(5, { dtype: "int32" });
      await io.saveNpy(`${folder}/a.npy`, a);
      await io.saveNpz(`${folder}/b.npz`, { a, b }, { compress: true });
      await io.saveNpz(`${folder}/c.npz`, { "ü": b });
      const told = await python(
        `import numpy as np
a, b, c = np.load("a.npy"), np.load("b.npz"), np.load("c.npz")
print(a.dtype, a.tolist(), b["a"].tolist(), b["b"].dtype, b["b"].shape, int(b["b"]), c["ü"])`,
        folder,
      );
      assertEquals(told, "float16 [[1.0, 2.0], [3.0, 4.0]] [[1.0, 2.0], [3.0, 4.0]] int32 () 5 5");
    }),
});
