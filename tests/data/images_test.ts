// CIFAR-10 and Fashion-MNIST, of which small files are made here, and PNG.
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { data, DataError, memory } from "../../mod.ts";
import { decodePng } from "../../lib/data/_png.ts";
import { cleanTest as test, inFolder, later } from "../_helpers.ts";

const record = 1 + 3 * 32 * 32;

/** Some images of CIFAR-10's format: image i of a file is of class i mod 10, byte p is i + p. */
function images(count: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: count * record }, (_, at) => {
    const [i, p] = [Math.floor(at / record), at % record - 1];
    return p < 0 ? i % 10 : i + p;
  });
}

async function through(bytes: Uint8Array<ArrayBuffer>, stream: GenericTransformStream) {
  return await new Response(new Blob([bytes]).stream().pipeThrough(stream)).bytes();
}

test("cifar10: five files for training and one for testing, plain or gzipped", async () => {
  await inFolder(async (dir) => {
    for (const [i, { name }] of data.cifar10Files.entries()) {
      const file = images(i + 1);
      const packed = await through(file, new CompressionStream("gzip"));
      if (i % 2) await Deno.writeFile(`${dir}/${name}.gz`, packed);
      else await Deno.writeFile(`${dir}/${name}`, file);
    }
    const { train, test, classes } = await data.cifar10({ dir, verify: false });
    later(train);
    later(test);
    assertEquals([train.inputs.shape, train.inputs.dtype], [[15, 3, 32, 32], "uint8"]);
    assertEquals([...train.targets.dataSync()], [0, 0, 1, 0, 1, 2, 0, 1, 2, 3, 0, 1, 2, 3, 4]);
    assertEquals([test.length, classes.length, classes[0], classes[9]], [
      ...[6, 10],
      ...["airplane", "truck"],
    ]);
    const third = test.inputs.select(0, 2).dataSync();
    assertEquals(third, images(3).slice(2 * record + 1));
    const real = await assertRejects(() => data.cifar10({ dir }), DataError);
    assertStringIncludes(real.message, "data_batch_1.bin is not CIFAR-10's: it has 3073 bytes");
    assertStringIncludes(real.message, "Delete it and run `make data DATA=cifar10`");
  });
});

test("cifar10: files that are missing, cut off, too large or of no class", async () => {
  const before = memory().tensors;
  const refuse = async (file: Uint8Array, message: string) => {
    const read = (name: string) => name.startsWith("test") ? file : images(1);
    const error = await assertRejects(() => data.cifar10({ read, verify: false }), DataError);
    assertStringIncludes(error.message, message);
  };
  await refuse(images(2).subarray(1), "test_batch.bin: found 6145 bytes, expected 3073 for each");
  await refuse(new Uint8Array(10_001 * record), "of at most 10000");
  await refuse(images(2).with(record, 10), "image 1 is of class 10");
  const gzip = await through(images(2), new CompressionStream("gzip"));
  await refuse(gzip.subarray(0, -9), "damaged or truncated");
  const many = await through(images(10_001), new CompressionStream("gzip"));
  await refuse(many, "test_batch.bin: the gzip file holds more than the 30730000 bytes");
  const missing = await assertRejects(() => data.cifar10({ dir: "/nowhere" }), DataError);
  assertStringIncludes(missing.message, "data_batch_1.bin.gz is missing; download CIFAR-10 with");
  assertEquals(memory().tensors, before);
});

test("fashionMnist: MNIST's format under other names and hashes", async () => {
  const dir = new URL("../../examples/data/mnist_subset", import.meta.url).pathname;
  const { train, test, classes } = await data.fashionMnist({ dir, verify: false, normalize: true });
  later(train);
  later(test);
  assertEquals([train.inputs.shape, test.length, classes[5]], [[5000, 1, 28, 28], 1000, "Sandal"]);
  const error = await assertRejects(() => data.fashionMnist({ dir }), DataError);
  assertStringIncludes(error.message, "train-images-idx3-ubyte is not Fashion-MNIST's");
});

// A PNG file whose line y has filter y % 5, written by the definition of each.
async function png(width: number, height: number, colour: number, pixels: Uint8Array) {
  const channels = [1, 0, 3, 0, 2, 0, 4][colour]!;
  const stride = width * channels;
  const lines = new Uint8Array(height * (stride + 1));
  for (let y = 0; y < height; y++) {
    lines[y * (stride + 1)] = y % 5;
    for (let i = 0; i < stride; i++) {
      const at = (dx: number, dy: number) =>
        i - dx < 0 || y - dy < 0 ? 0 : pixels[(y - dy) * stride + i - dx]!;
      const [a, b, c] = [at(channels, 0), at(0, 1), at(channels, 1)];
      const p = a + b - c;
      const near = [a, b, c].map((x) => Math.abs(p - x));
      const paeth = [a, b, c][near.indexOf(Math.min(...near))]!;
      const guess = [0, a, b, Math.floor((a + b) / 2), paeth][y % 5]!;
      lines[y * (stride + 1) + 1 + i] = at(0, 0) - guess;
    }
  }
  const packed = await through(lines, new CompressionStream("deflate"));
  const chunk = (type: string, body: Uint8Array) => {
    const bytes = new Uint8Array(12 + body.length);
    new DataView(bytes.buffer).setUint32(0, body.length);
    bytes.set(new TextEncoder().encode(type), 4);
    bytes.set(body, 8);
    return bytes;
  };
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, colour], 8);
  const half = packed.length >> 1;
  const parts = [chunk("IHDR", header), chunk("tEXt", Uint8Array.of(1, 2, 3))];
  parts.push(chunk("IDAT", packed.subarray(0, half)), chunk("IDAT", packed.subarray(half)));
  return await new Blob([
    Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a),
    ...parts,
    chunk("IEND", new Uint8Array(0)),
  ]).bytes();
}

Deno.test("decodePng: each filter, and 1 to 4 channels", async () => {
  for (const [colour, channels] of [[0, 1], [2, 3], [4, 2], [6, 4]] as const) {
    for (const [width, height] of [[7, 11], [1, 6], [5, 1]] as const) {
      const pixels = crypto.getRandomValues(new Uint8Array(width * height * channels));
      const found = await decodePng(await png(width, height, colour, pixels), "x.png");
      assertEquals(found, { width, height, channels, data: pixels });
    }
  }
});

Deno.test("decodePng: what is damaged, or of another kind", async () => {
  const good = await png(4, 5, 2, crypto.getRandomValues(new Uint8Array(60)));
  const refuse = async (bytes: Uint8Array, message: string) => {
    const error = await assertRejects(() => decodePng(bytes, "x.png"), DataError);
    assertStringIncludes(error.message, `x.png: ${message}`);
  };
  await refuse(new Uint8Array(0), "this is no PNG file");
  await refuse(good.subarray(0, 20), "it is truncated, at 20 bytes");
  await refuse(good.subarray(0, -1), "it is truncated");
  await refuse(good.with(24, 16), "it has 16 bits a channel and colours of type 2;");
  await refuse(good.with(25, 3), "it has 8 bits a channel and colours of type 3;");
  await refuse(good.with(28, 1), "it has 8 bits a channel and colours of type 2, interlaced;");
  await refuse(good.with(23, 6), "its lines have 65 bytes, not 78");
  await refuse(good.with(23, 4), "the deflate file holds more than the 52 bytes");
  await refuse(good.with(16, 255), "its header is of"); // far wider than the file can be
  await refuse(good.with(80, good[80]! ^ 0xff), "found "); // damaged
});
