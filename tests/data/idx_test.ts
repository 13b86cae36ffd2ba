import { assert, assertEquals, assertRejects } from "@std/assert";
import { type IdxArray, type IdxDType, readIdx } from "../../lib/data/idx.ts";
import { sha256Hex } from "../../lib/data/_sha256.ts";
import { DataError } from "../../lib/native/errors.ts";

/** For each type: its code, its size in bytes, and how an element is written. */
const types: Record<IdxDType, [number, number, keyof DataView & `set${string}`]> = {
  uint8: [0x08, 1, "setUint8"],
  int8: [0x09, 1, "setInt8"],
  int16: [0x0b, 2, "setInt16"],
  int32: [0x0c, 4, "setInt32"],
  float32: [0x0d, 4, "setFloat32"],
  float64: [0x0e, 8, "setFloat64"],
};

function encodeIdx(dtype: IdxDType, shape: number[], values: readonly number[]) {
  const [code, size, set] = types[dtype];
  const start = 4 + 4 * shape.length;
  const bytes = new Uint8Array(start + size * values.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0, 0, code, shape.length]);
  shape.forEach((n, axis) => view.setUint32(4 + 4 * axis, n));
  const write = (view[set] as (offset: number, value: number) => void).bind(view);
  values.forEach((value, i) => write(start + i * size, value));
  return bytes;
}

async function gzip(bytes: Uint8Array<ArrayBuffer>) {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
  return await new Response(stream).bytes();
}

function plain({ shape, dtype, data }: IdxArray) {
  return { shape, dtype, type: data.constructor.name, values: [...data] };
}

const cases: [IdxDType, string, number[]][] = [
  ["uint8", "Uint8Array", [0, 1, 127, 128, 254, 255]],
  ["int8", "Int8Array", [0, 1, -1, 127, -128, 5]],
  ["int16", "Int16Array", [0, 1, -2, 32767, -32768, 258]],
  ["int32", "Int32Array", [0, 1, -2, 2 ** 31 - 1, -(2 ** 31), 16909060]],
  ["float32", "Float32Array", [0, 1.5, -2.25, Infinity, NaN, 2 ** -149]],
  ["float64", "Float64Array", [0, 0.1, -1e300, -Infinity, NaN, 5e-324]],
];

for (const [dtype, type, values] of cases) {
  Deno.test(`readIdx: ${dtype}, plain, compressed and as an unaligned view`, async () => {
    const bytes = encodeIdx(dtype, [2, 3], values);
    const before = bytes.slice();
    const expected = { shape: [2, 3], dtype, type, values };
    assertEquals(plain(await readIdx(bytes)), expected);
    assertEquals(plain(await readIdx(await gzip(bytes))), expected);
    const larger = new Uint8Array(bytes.length + 9);
    larger.set(bytes, 3);
    assertEquals(plain(await readIdx(larger.subarray(3, 3 + bytes.length))), expected);
    const shared = new Uint8Array(new SharedArrayBuffer(200)).subarray(1, 1 + bytes.length);
    shared.set(bytes);
    assertEquals(plain(await readIdx(shared)), expected);
    assertEquals(bytes, before);
  });
}

Deno.test("readIdx: any rank up to 8, and no elements", async () => {
  for (let rank = 1; rank <= 8; rank++) {
    const shape = Array.from({ length: rank }, (_, axis) => 1 + axis % 2);
    const count = shape.reduce((a, b) => a * b);
    const idx = await readIdx(encodeIdx("int16", shape, Array(count).fill(3)));
    assertEquals([idx.shape, idx.data.length], [shape, count]);
  }
  assertEquals((await readIdx(encodeIdx("float64", [0, 28, 28], []))).shape, [0, 28, 28]);
});

Deno.test("readIdx: bytes are not copied", async () => {
  const bytes = encodeIdx("uint8", [4], [1, 2, 3, 4]);
  assert((await readIdx(bytes)).data.buffer === bytes.buffer);
});

Deno.test("readIdx: a damaged file is refused, with what was found and expected", async () => {
  const good = encodeIdx("int32", [2, 3], [1, 2, 3, 4, 5, 6]);
  const refuse = (bytes: Uint8Array, message: string) =>
    assertRejects(() => readIdx(bytes, "labels"), DataError, `labels: found ${message}`);
  await refuse(new Uint8Array(0), "0 bytes, expected an IDX header of at least 4");
  await refuse(good.subarray(0, 3), "3 bytes, expected an IDX header of at least 4");
  await refuse(good.with(0, 1), "first bytes 01 00, expected 00 00");
  await refuse(good.with(1, 255), "first bytes 00 ff, expected 00 00");
  await refuse(good.with(2, 0x0a), "type code 0a, expected one of 08,09,0b,0c,0d,0e");
  await refuse(good.with(3, 0), "rank 0, expected 1 to 8");
  await refuse(good.with(3, 9), "rank 9, expected 1 to 8");
  await refuse(good.subarray(0, 11), "11 bytes, expected a header of 12 for rank 2");
  await refuse(good.subarray(0, 12), "12 bytes (truncated), expected 36 for int32 of shape [2, 3]");
  await refuse(good.subarray(0, 35), "35 bytes (truncated), expected 36");
  await refuse(new Uint8Array([...good, 0]), "37 bytes (trailing bytes), expected 36");
  // Sizes whose product overflows, and a rank and sizes that ask for more than any machine has.
  const huge = new Uint8Array(36).fill(255);
  huge.set([0, 0, 0x0e, 8]);
  await refuse(huge, "36 bytes (truncated), expected ");
});

Deno.test("readIdx: damaged gzip is refused, with its cause", async () => {
  const bytes = encodeIdx("uint8", [100], Array.from({ length: 100 }, (_, i) => i * 7 & 255));
  const gz = await gzip(bytes);
  const damaged = [
    gz.subarray(0, 2),
    gz.subarray(0, 40),
    gz.subarray(0, -1),
    gz.with(50, gz[50]! ^ 8),
    gz.with(gz.length - 6, gz.at(-6)! ^ 1), // the checksum
    gz.with(2, 9), // an unknown method
    new Uint8Array([...gz, 1, 2, 3]),
  ];
  for (const bytes of damaged) {
    const error = await assertRejects(() => readIdx(bytes, "images.gz"), DataError, "images.gz: ");
    assert(error.cause instanceof Error);
  }
  const short = await gzip(bytes.slice(0, -1));
  await assertRejects(() => readIdx(short), DataError, "found 107 bytes (truncated)");

  const shared = new Uint8Array(new SharedArrayBuffer(gz.length));
  shared.set(gz);
  assertEquals((await readIdx(shared)).shape, [100]);
});

Deno.test("readIdx: the committed subset of MNIST", async () => {
  const folder = new URL("../../examples/data/mnist_subset/", import.meta.url);
  const images = await readIdx(await Deno.readFile(new URL("t10k-images-idx3-ubyte.gz", folder)));
  const labels = await readIdx(await Deno.readFile(new URL("t10k-labels-idx1-ubyte.gz", folder)));
  assertEquals([images.shape, images.dtype], [[1000, 28, 28], "uint8"]);
  assertEquals([labels.shape, labels.dtype], [[1000], "uint8"]);
  assert(Math.max(...labels.data) === 9);
});

Deno.test("sha256Hex: the examples of FIPS 180-4, a view and shared memory", async () => {
  const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  const none = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  assertEquals(await sha256Hex(new Uint8Array(0)), none);
  assertEquals(await sha256Hex(new TextEncoder().encode("xabcx").subarray(1, 4)), abc);
  const shared = new Uint8Array(new SharedArrayBuffer(3));
  shared.set(new TextEncoder().encode("abc"));
  assertEquals(await sha256Hex(shared), abc);
});

Deno.test("readIdx: gzip is inflated no further than the header says", async () => {
  // The end is damaged: who reads so far gets another error.
  const bomb = async (header: number[], size: number) => {
    const bytes = new Uint8Array(size);
    bytes.set(header);
    return (await gzip(bytes)).slice(0, -8);
  };
  const refuse = (bytes: Uint8Array, message: string) =>
    assertRejects(() => readIdx(bytes, "labels"), DataError, message);
  await refuse(
    await bomb([0, 0, 8, 1, 0, 0, 0, 9], 1e6),
    "labels: the gzip file holds more than the 17 bytes",
  );
  await refuse(await bomb([0, 0, 8, 1, 0, 1, 0, 0], 1e6), "holds more than the 65544 bytes");
  await refuse(await bomb([0, 0, 8, 1, 0x40, 0, 0, 0], 1e6), "bytes of gzip cannot hold");
  await refuse(await bomb([], 1e6), "type code 00, expected one of");
  await refuse(
    await bomb([0, 0, 0x0e, 2, 1, 0, 0, 0, 1, 0, 0, 0], 1e6),
    "inflate it before reading it",
  );
  await refuse(await bomb([0, 0, 0x0e, 8, ...new Array(32).fill(255)], 1e6), "inflate it before");
});
