// JPEG files of tests/fixtures/images, with the pixels that libjpeg makes of them, and files that
// are damaged. tests/fixtures/make_images.py made both.
import { assert, assertEquals } from "@std/assert";
import { DataError, io, tensor } from "../../mod.ts";
import { imageInfo } from "../../lib/io/_image.ts";
import { cleanTest as test, refuse, root } from "../_helpers.ts";

const folder = new URL("tests/fixtures/images/", root);
const names = [...Deno.readDirSync(folder)].map(({ name }) => name)
  .filter((name) => name.endsWith(".jpg")).sort();
const weights = () => tensor([0.299, 0.587, 0.114]);
const read = (name: string) => Deno.readFileSync(new URL(name, folder));

test("decodeJpeg: the pixels of libjpeg, for each sampling, colours and orientation", () => {
  assertEquals(names.length, 23);
  for (const name of names) {
    const found = io.decodeJpeg(read(name));
    const wanted = io.decodePng(read(name.replace(".jpg", ".png")));
    assertEquals([found.shape, found.dtype], [wanted.shape, "uint8"], name);
    const off = found.to("int32").sub(wanted.to("int32")).abs();
    assertEquals(off.max().itemSync(), 0, name);
  }
});

test("decodeJpeg: modes", () => {
  const bytes = read("sampling_420.jpg");
  const [grey, rgb, rgba] = (["grey", "rgb", "rgba"] as const).map((mode) =>
    io.decodeImage(bytes, { mode })
  );
  assertEquals([grey!.shape, rgb!.shape, rgba!.shape], [[1, 29, 37], [3, 29, 37], [4, 29, 37]]);
  assertEquals(rgba!.slice(0, 0, 3).dataSync(), rgb!.dataSync());
  assert(rgba!.select(0, 3).dataSync().every((x) => x === 255));
  // Brightness is what the file has, before it became colours that were cut off.
  const luma = rgb!.to("float32").permute([1, 2, 0]).mul(weights()).sum(2);
  const off = luma.sub(grey!.select(0, 0).to("float32")).abs().mean().itemSync();
  assert(off < 3, `${off}`);
  for (const name of ["rgb.jpg", "cmyk.jpg"]) {
    const [one, three] = [io.decodeJpeg(read(name), { mode: "gray" }), io.decodeJpeg(read(name))];
    const sum = three.to("float32").permute([1, 2, 0]).mul(weights()).sum(2);
    assert(sum.sub(one.select(0, 0).to("float32")).abs().max().itemSync() <= 0.51, name);
  }
  const three = io.decodeJpeg(read("grey.jpg"), { mode: "rgb" });
  for (const c of [0, 1, 2]) {
    assertEquals(three.select(0, c).dataSync(), io.decodeJpeg(read("grey.jpg")).dataSync());
  }
});

test("decodeJpeg: what comes between and behind does not count", () => {
  const good = read("sampling_444.jpg");
  const wanted = io.decodeJpeg(good).dataSync();
  for (
    const bytes of [
      [...good, 1, 2, 3],
      [...good.subarray(0, -2)], // without its last marker
      [...good.subarray(0, 2), 0xff, 0xfe, 0, 4, 9, 9, 0xff, 0xff, ...good.subarray(3)],
    ]
  ) {
    assertEquals(io.decodeJpeg(Uint8Array.from(bytes)).dataSync(), wanted);
  }
  const shared = new Uint8Array(new SharedArrayBuffer(good.length));
  shared.set(good);
  assertEquals(io.decodeJpeg(shared).dataSync(), wanted);
});

const frameOf = (bytes: Uint8Array) =>
  bytes.findIndex((x, i) => x === 0xff && [0xc0, 0xc2].includes(bytes[i + 1]!));

test("decodeJpeg: what is damaged or of another kind, and says so", () => {
  const good = read("sampling_420.jpg");
  const frame = frameOf(good);
  const bad = (bytes: Uint8Array, ...parts: string[]) =>
    refuse(() => io.decodeJpeg(bytes), DataError, "decodeJpeg: ", ...parts);
  bad(Uint8Array.of(0xff, 0xd8), "neither a PNG nor a JPEG");
  bad(good.subarray(0, 100), "it is truncated, at 100 bytes");
  bad(good.subarray(0, -30), "it is truncated");
  bad(good.with(frame + 1, 0xc9), "it is a JPEG of the kind SOF9", "arithmetic codes");
  bad(good.with(frame + 4, 12), "it has 12 bits a sample");
  bad(good.with(frame + 9, 2), "it has 2 components");
  bad(good.with(frame + 11, 0x32).with(frame + 14, 0x21), "whole ratios");
  bad(good.with(frame + 11, 0x55), "the segment SOF");
  bad(good.with(frame + 12, 3), "a quantization table is missing");
  bad(good.with(frame + 5, 0).with(frame + 6, 0), "DNL");
  bad(good.with(frame + 5, 255), "pixels, which", "bytes cannot hold");
  bad(good.with(frame + 5, 255).with(frame + 7, 255), "at most 268435456 are decoded");
  const restart = read("restart_420.jpg");
  const first = restart.findIndex((x, i) => x === 0xff && restart[i + 1] === 0xd0);
  bad(restart.with(first + 1, 0xd3), "a restart marker is missing");
  const scan = good.findIndex((x, i) => x === 0xff && good[i + 1] === 0xda);
  bad(Uint8Array.from([...good.subarray(0, scan), 0xff, 0xd9]), "before all of its components");
  const progressive = read("progressive_420.jpg");
  const at = progressive.findIndex((x, i) => x === 0xff && progressive[i + 1] === 0xda);
  bad(progressive.with(at + 11, 9), "a scan is of no such coefficients");
  bad(read("rgb.png"), "this is a PNG file, not JPEG");
});

test("decodeJpeg: bytes cut off and changed give a picture or a DataError", () => {
  let pictures = 0;
  for (const name of names.filter((name) => !/_[345678]\.jpg/.test(name))) {
    const good = read(name);
    const look = (bytes: Uint8Array) => {
      try {
        const { height, width } = imageInfo(bytes, name);
        if (height * width > 1e6) return;
        io.decodeJpeg(bytes).dispose();
        pictures++;
      } catch (error) {
        assert(error instanceof DataError, `${name}: ${error}`);
      }
    };
    for (let n = 0; n < good.length; n += 3) look(good.subarray(0, n));
    for (let i = 0; i < good.length; i++) {
      look(good.with(i, good[i]! ^ (1 << i % 8)));
      if (i % 4 === 0) look(good.with(i, 255));
    }
  }
  assert(pictures > 1000, `${pictures}`);
});
