// PNG files of every kind, written here by the definition of each part, and damaged ones.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { DataError, DTypeError, io, rand, ShapeError, tensor, zeros } from "../../mod.ts";
import { cleanTest as test, refuse } from "../_helpers.ts";

const samplesOf = [1, 0, 3, 1, 2, 0, 4]; // by the type of colour
const adam7 = [
  ...[[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4]],
  ...[[0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]],
] as [number, number, number, number][];

interface Picture {
  width: number;
  height: number;
  depth: number;
  colour: number;
  /** Pixel by pixel, each below 2 to the depth. */
  samples: number[];
  interlaced?: boolean;
  filter?: (y: number) => number;
  before?: Uint8Array[];
}

function chunk(type: string, body: ArrayLike<number>): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(12 + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, body.length);
  bytes.set(new TextEncoder().encode(type), 4);
  bytes.set(body, 8);
  let crc = -1;
  for (const byte of bytes.subarray(4, -4)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  view.setUint32(8 + body.length, ~crc);
  return bytes;
}

// The lines of a picture, or of a pass, each with its filter.
function linesOf(picture: Picture, [x0, y0, dx, dy] = [0, 0, 1, 1]): number[] {
  const { width, height, depth, colour, samples, filter = (y: number) => y % 5 } = picture;
  const count = samplesOf[colour]!;
  const pixel = Math.max(1, count * depth / 8);
  const lines: number[] = [];
  let above: number[] = [];
  for (let y = y0, line = 0; y < height; y += dy, line++) {
    const row: number[] = [];
    let [byte, bits] = [0, 0];
    for (let x = x0; x < width; x += dx) {
      for (let c = 0; c < count; c++) {
        const value = samples[(y * width + x) * count + c]!;
        if (depth === 16) row.push(value >> 8, value & 255);
        else {
          byte = byte << depth | value;
          if ((bits += depth) === 8) row.push(byte), [byte, bits] = [0, 0];
        }
      }
    }
    if (bits > 0) row.push(byte << (8 - bits));
    if (row.length === 0) return [];
    const f = filter(line);
    lines.push(f);
    row.forEach((value, i) => {
      const [a, b, c] = [row[i - pixel] ?? 0, above[i] ?? 0, above[i - pixel] ?? 0];
      const near = [a, b, c].map((x) => Math.abs(a + b - c - x));
      const paeth = [a, b, c][near.indexOf(Math.min(...near))]!;
      lines.push((value - [0, a, b, (a + b) >> 1, paeth][f]!) & 255);
    });
    above = row;
  }
  return lines;
}

async function deflated(bytes: number[]): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([Uint8Array.from(bytes)]).stream();
  return await new Response(stream.pipeThrough(new CompressionStream("deflate"))).bytes();
}

async function file(header: number[], before: Uint8Array[], packed: Uint8Array) {
  const half = packed.length >> 1;
  return await new Blob([
    Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a),
    chunk("IHDR", header),
    chunk("tEXt", [1, 2, 3]),
    ...before as Uint8Array<ArrayBuffer>[],
    chunk("IDAT", packed.subarray(0, half)),
    chunk("IDAT", packed.subarray(half)),
    chunk("IEND", []),
  ]).bytes();
}

function headerOf({ width, height, depth, colour, interlaced }: Picture): number[] {
  const four = (x: number) => [x >>> 24, x >> 16 & 255, x >> 8 & 255, x & 255];
  return [...four(width), ...four(height), depth, colour, 0, 0, interlaced ? 1 : 0];
}

async function png(picture: Picture): Promise<Uint8Array<ArrayBuffer>> {
  const passes = picture.interlaced ? adam7 : [undefined];
  const lines = passes.flatMap((pass) => linesOf(picture, pass));
  return await file(headerOf(picture), picture.before ?? [], await deflated(lines));
}

const random = (n: number, below: number) =>
  Array.from({ length: n }, () => Math.floor(Math.random() * below));

// The samples as planes of bytes.
function planes(samples: number[], channels: number, to: (value: number) => number): number[] {
  return Array.from(
    { length: channels },
    (_, c) => samples.filter((_, i) => i % channels === c).map(to),
  ).flat();
}

const kinds = [[0, [1, 2, 4, 8, 16]], [2, [8, 16]], [4, [8, 16]], [6, [8, 16]]] as const;
const sizes = [[7, 11], [1, 6], [5, 1], [19, 9], [8, 8]] as const;

for (const [colour, depths] of kinds) {
  for (const depth of depths) {
    test(`decodePng: colours of type ${colour}, ${depth} bits, interlaced or not`, async () => {
      const channels = samplesOf[colour]!;
      const most = 2 ** depth - 1;
      for (const [width, height] of sizes) {
        for (const interlaced of [false, true]) {
          const samples = random(width * height * channels, most + 1);
          const bytes = await png({ width, height, depth, colour, samples, interlaced });
          const x = io.decodePng(bytes);
          assertEquals([x.shape, x.dtype], [[channels, height, width], "uint8"]);
          const wanted = planes(samples, channels, (value) => Math.round(value / most * 255));
          assertEquals([...x.dataSync()], wanted, `${width} x ${height}, ${interlaced}`);
        }
      }
    });
  }
}

test("decodePng: palettes, with transparency or not", async () => {
  for (const depth of [1, 2, 4, 8]) {
    const colours = random(3 * 2 ** depth, 256);
    const samples = random(9 * 5, 2 ** depth);
    const alpha = random(2 ** depth - 1, 256); // the last is opaque
    const before = [chunk("PLTE", colours), chunk("tRNS", alpha)];
    const picture = { width: 9, height: 5, depth, colour: 3, samples, interlaced: depth === 4 };
    const wanted = [0, 1, 2].flatMap((c) => samples.map((i) => colours[3 * i + c]!));
    const rgb = io.decodePng(await png({ ...picture, before: before.slice(0, 1) }));
    assertEquals([rgb.shape, [...rgb.dataSync()]], [[3, 5, 9], wanted]);
    const rgba = io.decodePng(await png({ ...picture, before }));
    assertEquals([...rgba.dataSync()], [...wanted, ...samples.map((i) => alpha[i] ?? 255)]);
    // A number beyond the palette is black.
    const short = chunk("PLTE", colours.slice(0, 3));
    const dark = io.decodePng(await png({ ...picture, before: [short] }), { mode: "rgb" });
    assertEquals(dark.dataSync()[0], samples[0] === 0 ? colours[0] : 0);
  }
});

test("decodePng: one colour that stands for transparent", async () => {
  for (const [depth, key] of [[2, 1], [8, 77], [16, 0x1234]] as const) {
    const samples = [key, 0, key, 3];
    const before = [chunk("tRNS", [key >> 8, key & 255])];
    const x = io.decodePng(await png({ width: 4, height: 1, depth, colour: 0, samples, before }));
    assertEquals([x.shape, [...x.dataSync().slice(4)]], [[2, 1, 4], [0, 255, 0, 255]]);
  }
  const samples = [1, 2, 3, 1, 2, 4, 0, 2, 3];
  const before = [chunk("tRNS", [0, 1, 0, 2, 0, 3])];
  const x = io.decodePng(await png({ width: 3, height: 1, depth: 8, colour: 2, samples, before }));
  assertEquals([...x.dataSync().slice(9)], [0, 255, 255]);
});

test("decodePng: modes", async () => {
  const [samples, at] = [[200, 100, 50, 7], { width: 1, height: 1, depth: 8 }];
  const luma = Math.round(0.299 * 200 + 0.587 * 100 + 0.114 * 50);
  for (
    const [colour, grey, rgba] of [
      [0, [200], [200, 200, 200, 255]],
      [2, [luma], [200, 100, 50, 255]],
      [4, [200], [200, 200, 200, 100]],
      [6, [luma], [200, 100, 50, 7]],
    ] as const
  ) {
    const bytes = await png({ ...at, colour, samples: samples.slice(0, samplesOf[colour]) });
    const found = (mode: io.ImageMode) => [...io.decodeImage(bytes, { mode }).dataSync()];
    assertEquals(found("unchanged"), samples.slice(0, samplesOf[colour]));
    assertEquals([found("grey"), found("gray")], [grey, grey]);
    assertEquals([found("rgb"), found("rgba")], [rgba.slice(0, 3), rgba]);
  }
  const bytes = await png({ ...at, colour: 0, samples: [1] });
  refuse(() => io.decodePng(bytes, { mode: "RGB" as "rgb" }), "argument", "decodePng: mode", "rgb");
  refuse(() => io.decodePng("a.png" as never), "argument", "Deno.readFile");
});

test("decodePng: every kind of deflate's blocks", async () => {
  // Stored, with codes of their own over repetitions near and far, and with the fixed ones.
  for (const samples of [random(70_000, 256), Array(70_000).fill(9), [...random(35_000, 3)]]) {
    const x = { width: samples.length / 100, height: 100, depth: 8, colour: 0, samples };
    const found = io.decodePng(await png({ ...x, filter: () => 0 }));
    assertEquals([...found.dataSync()], samples);
  }
  const lines = [0, 1, 2, 0, 3, 4];
  const size = { width: 2, height: 2, depth: 8, colour: 0, samples: [] };
  const adler = (await deflated(lines)).slice(-4);
  const stored = [0x78, 1, 0, 2, 0, 0xfd, 0xff, 0, 1, 1, 4, 0, 0xfb, 0xff, 2, 0, 3, 4, ...adler];
  const x = io.decodePng(await file(headerOf(size), [], Uint8Array.from(stored)));
  assertEquals([...x.dataSync()], [1, 2, 3, 4]);
});

const colours = { width: 4, height: 5, depth: 8, colour: 2, samples: random(60, 256) };

test("decodePng: what is damaged, and says so", async () => {
  const good = await png(colours);
  const bad = (bytes: Uint8Array, ...parts: string[]) =>
    refuse(() => io.decodePng(bytes), DataError, "decodePng: ", ...parts);
  bad(new Uint8Array(0), "it is neither a PNG nor a JPEG file, by its first bytes");
  bad(good.subarray(0, 20), "it is truncated, at 20 bytes");
  bad(good.subarray(0, -1), "it is truncated");
  bad(good.with(20, 1), "the CRC-32 of IHDR at byte 8 is", "not");
  bad(good.with(45, 9), "the CRC-32 of tEXt");
  const header = headerOf(colours);
  const lines = linesOf(colours);
  const packed = await deflated(lines);
  const made = (at: number, value: number, before: Uint8Array[] = [], data = packed) =>
    file(header.with(at, value), before, data);
  bad(await made(8, 3), "its header says 3 bits a sample, colours of type 2");
  bad(await made(9, 5), "there is no such PNG");
  bad(await made(12, 2), "interlacing 2");
  bad(await made(3, 0), "0 x 5 pixels");
  bad(await made(0, 255), "its header says 4278190084 x 5 pixels; at most 268435456");
  bad(await made(0, 2), "its header is of", "cannot hold"); // far wider than the file can be
  bad(await made(9, 3), "it has no palette");
  bad(await made(7, 6), "it holds fewer bytes");
  bad(await made(7, 4), "it holds more bytes");
  bad(await made(0, 0, [chunk("ABCD", [])]), "a chunk ABCD, which is not known");
  bad(await made(0, 0, [chunk("tRNS", [1])]), "tRNS");
  bad(await made(0, 0, [chunk("IHDR", header)]), "IHDR must be its first chunk");
  bad(await made(0, 0, [], packed.with(-1, packed.at(-1)! ^ 1)), "its checksum is another");
  bad(await made(0, 0, [], packed.with(0, 0)), "it does not begin as zlib's does");
  bad(await made(0, 0, [], packed.subarray(0, -4)), "its checksum is missing");
  bad(await made(0, 0, [], packed.subarray(0, 9)), "it ends too early");
  bad(await made(0, 0, [], await deflated(lines.with(0, 5))), "a line has the filter 5");
  const jpeg = await Deno.readFile(new URL("../fixtures/images/rgb.jpg", import.meta.url));
  bad(jpeg, "this is a JPEG file, not PNG; io.decodeImage takes either");
});

test("decodePng: bytes cut off and changed give a picture or a DataError", async () => {
  const before = [chunk("PLTE", random(12, 256)), chunk("tRNS", [1, 2])];
  const palette = { width: 9, height: 9, depth: 2, colour: 3, samples: random(81, 4), before };
  for (const picture of [colours, { ...palette, interlaced: true }]) {
    const good = await png(picture);
    const look = (bytes: Uint8Array) => {
      try {
        io.decodePng(bytes).dispose();
        return true;
      } catch (error) {
        assert(error instanceof DataError, `${error}`);
        return false;
      }
    };
    for (let n = 0; n < good.length; n++) assert(!look(good.subarray(0, n)), `cut at ${n}`);
    for (let i = 0; i < good.length; i++) {
      assert(!look(good.with(i, good[i]! ^ (1 << i % 8))), `byte ${i}`);
    }
    const packed = await deflated(picture === colours ? linesOf(picture) : [1, 2, 3]);
    for (let i = 0; i < packed.length; i++) {
      for (let bit = 0; bit < 8; bit++) {
        const changed = packed.with(i, packed[i]! ^ (1 << bit));
        look(await file(headerOf(picture), picture === colours ? [] : before, changed));
      }
    }
  }
});

test("encodePng: what decodePng reads, from uint8 and floats", async () => {
  for (const shape of [[1, 1], [9, 14], [1, 3, 5], [2, 4, 4], [3, 17, 8], [4, 5, 31]]) {
    const x = rand(shape).mul(256).to("uint8");
    const y = io.decodePng(await io.encodePng(x));
    assertEquals(y.shape, shape.length === 2 ? [1, ...shape] : shape);
    assertEquals(y.dataSync(), x.dataSync());
  }
  const floats = [0, 1, 0.5, 2, -1, NaN, 0.2, 0.999];
  for (const dtype of ["float32", "float64", "float16", "bfloat16"] as const) {
    const y = io.decodePng(await io.encodePng(tensor(floats, { shape: [2, 4], dtype })));
    assertEquals([...y.dataSync()], [0, 255, 128, 255, 0, 0, 51, 255], dtype);
  }
  // Filters pay: a ramp is small.
  const ramp = tensor(Uint8Array.from({ length: 64 * 64 }, (_, i) => i % 64 + (i >> 6)));
  assert((await io.encodePng(ramp.reshape([64, 64]))).length < 250);
});

test("encodePng: what it does not take", async () => {
  for (const shape of [[4], [5, 2, 2], [0, 2, 2], [3, 0, 4], [1, 3, 4, 4]]) {
    await assertRejects(() => io.encodePng(zeros(shape)), ShapeError, "encodePng: the image is");
  }
  const int32 = zeros([2, 2], { dtype: "int32" });
  await assertRejects(() => io.encodePng(int32), DTypeError, 'to("uint8")');
  refuse(() => io.decodePng(int32 as never), "argument", "bytes");
  await assertRejects(() => io.encodePng([[1]] as never), "the image is");
});
