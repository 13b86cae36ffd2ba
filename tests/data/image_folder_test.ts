// Folders of pictures: what is found, what batches hold, resizing, and what is refused.
import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import {
  ArgumentError,
  data,
  DataError,
  IndexError,
  io,
  memory,
  type Tensor,
  tensor,
} from "../../mod.ts";
import { readPicture } from "../../lib/data/_image_file.ts";
import { decodeFile } from "../../lib/io/_image.ts";
import { cleanTest as test, inFolder, refuse, root } from "../_helpers.ts";

const fixture = (name: string) => new URL(`tests/fixtures/images/${name}`, root);
const index = (...rows: number[]) => tensor(Int32Array.from(rows));

/** A picture of one colour. */
async function plain(height: number, width: number, rgb: number[]): Promise<Uint8Array> {
  const pixels = rgb.flatMap((x) => Array(height * width).fill(x));
  return await io.encodePng(tensor(Uint8Array.from(pixels), { shape: [3, height, width] }));
}

/** A folder with these files, by path. */
function withFiles(
  files: Record<string, Uint8Array>,
  use: (dir: string) => Promise<void>,
): Promise<void> {
  return inFolder(async (dir) => {
    for (const [path, bytes] of Object.entries(files)) {
      await Deno.mkdir(`${dir}/${path.replace(/[^/]*$/, "")}`, { recursive: true });
      await Deno.writeFile(`${dir}/${path}`, bytes);
    }
    await use(dir);
  });
}

const [red, blue] = [await plain(4, 6, [255, 0, 0]), await plain(4, 6, [0, 0, 255])];

test("imageFolder: classes and files in order, and batches of them", async () => {
  const files = {
    "dog/2.PNG": blue,
    "dog/10.png": red,
    "dog/more/a.png": red,
    "Cat/x.png": red,
    "Cat/notes.txt": red,
    "Cat/.hidden.png": red,
    ".git/y.png": red,
    "loose.png": red,
  };
  await withFiles(files, async (dir) => {
    await Deno.symlink(`${dir}/dog/2.PNG`, `${dir}/Cat/linked.png`);
    await Deno.symlink(dir, `${dir}/dog/round`);
    await Deno.symlink("/nowhere", `${dir}/dog/broken.png`);
    const set = await data.imageFolder(dir);
    assertEquals(set.classes, ["Cat", "dog"]);
    const paths = ["Cat/linked.png", "Cat/x.png", "dog/10.png", "dog/2.PNG", "dog/more/a.png"];
    assertEquals(set.files, paths.map((path) => `${dir}/${path}`));
    assertEquals([set.length, set.targets, set.shape], [5, [0, 0, 1, 1, 1], [3, 4, 6]]);
    const { input, target } = set.batch(index(3, 1, 3));
    assertEquals([input.shape, input.dtype, target.dtype], [[3, 3, 4, 6], "float32", "int32"]);
    assertEquals([...target.dataSync()], [1, 0, 1]);
    const colours = input.select(3, 0).select(2, 0).dataSync();
    assertEquals([...colours], [0, 0, 1, 1, 0, 0, 0, 0, 1]);
    const empty = set.batch(index());
    assertEquals([empty.input.shape, empty.target.shape], [[0, 3, 4, 6], [0]]);
    let seen = 0;
    const url = new URL(`file://${dir}/`);
    const again = await data.imageFolder(url, { mode: "gray", size: [2, 3], device: "cpu" });
    for (const { input } of new data.DataLoader(again, { batchSize: 2, shuffle: true })) {
      assertEquals(input.shape.slice(1), [1, 2, 3]);
      seen += input.shape[0]!;
    }
    assertEquals([seen, again.files], [5, set.files]);
  });
});

// The triangle's weights by their definition, along one axis.
function resized(x: number[], size: number): number[] {
  const scale = x.length / size, support = Math.max(scale, 1);
  return Array.from({ length: size }, (_, i) => {
    const weights = x.map((_, k) =>
      Math.max(0, 1 - Math.abs(k + 0.5 - (i + 0.5) * scale) / support)
    );
    const sum = weights.reduce((a, b) => a + b);
    return x.reduce((y, value, k) => y + value * weights[k]! / sum, 0);
  });
}

test("imageFolder: pictures of all sizes become one, as by the definition", async () => {
  const bytes = await Deno.readFile(fixture("sampling_420.jpg"));
  await withFiles({ "a/1.jpg": bytes, "a/2.png": red }, async (dir) => {
    for (const [height, width] of [[29, 37], [13, 60], [50, 9], [1, 1], [29, 20], [64, 37]]) {
      const set = await data.imageFolder(dir, { size: [height!, width!], mode: "grey" });
      const { input } = set.batch(index(0));
      const image = decodeFile(bytes, "x", "grey");
      const rows = Array.from(
        { length: image.height },
        (_, y) => resized([...image.data.subarray(y * image.width, (y + 1) * image.width)], width!),
      );
      const columns = Array.from(
        { length: width! },
        (_, x) => resized(rows.map((row) => row[x]!), height!),
      );
      const off = [...input.dataSync()].map((value, i) =>
        Math.abs(value * 255 - columns[i % width!]![Math.floor(i / width!)]!)
      );
      // rounded after each axis
      assert(Math.max(...off) <= 1.01, `${height} x ${width}: ${Math.max(...off)}`);
    }
    const set = await data.imageFolder(dir, { size: 8 });
    assertEquals(set.batch(index(0, 1)).input.shape, [2, 3, 8, 8]);
  });
});

test("imageFolder: a Worker reads pictures on the host, with no device at all", async () => {
  const picture = { mode: "rgb", channels: 3, height: 5, width: 5, resize: true } as const;
  const wanted = new Uint8Array(75);
  readPicture(wanted, "x", picture, await Deno.readFile(fixture("rgb.jpg")));
  assert(wanted.some((x) => x > 0));
  const module = new URL("lib/data/_image_file.ts", root).href;
  const source = `import { readPicture } from ${JSON.stringify(module)};
    onmessage = ({ data }) => {
      const to = new Uint8Array(75);
      readPicture(to, data.path, data.picture);
      postMessage(to);
    };`;
  const url = `data:application/javascript,${encodeURIComponent(source)}`;
  const workers = [1, 2].map(() => new Worker(url, { type: "module" }));
  const found = workers.map((worker) =>
    new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = reject;
      worker.postMessage({ path: fixture("rgb.jpg").pathname, picture });
    })
  );
  assertEquals(await Promise.all(found), [wanted, wanted]);
  for (const worker of workers) worker.terminate();
});

test("imageFolder: formats that the platform decodes", async () => {
  // A BMP of 2 x 1 pixels: blue first in a pixel, rows filled up to 4 bytes.
  const bmp = new Uint8Array(54 + 8);
  const view = new DataView(bmp.buffer);
  bmp.set([0x42, 0x4d]);
  for (const [at, value] of [[2, 62], [10, 54], [14, 40], [18, 2], [22, 1], [34, 8]] as const) {
    view.setUint32(at, value, true);
  }
  view.setUint16(26, 1, true);
  view.setUint16(28, 24, true);
  bmp.set([0, 0, 255, 255, 0, 0], 54);
  await withFiles({ "a/1.bmp": bmp, "b/1.png": await plain(1, 2, [9, 9, 9]) }, async (dir) => {
    const set = await data.imageFolder(dir, { extensions: ["bmp", ".png"] });
    const { input } = set.batch(index(0));
    assertEquals([...input.dataSync()], [1, 0, 0, 0, 0, 1]);
    await Deno.writeFile(`${dir}/a/2.bmp`, red.subarray(0, 20));
    const broken = data.imageFolder(dir, { extensions: ["bmp", "png"] });
    await assertRejects(() => broken, DataError, "a/2.bmp: it is no PNG or JPEG file");
  });
});

test("imageFolder: broken, missing and other files are named", async () => {
  const files = {
    "a/1.png": red,
    "a/2.png": red.subarray(0, 60),
    "a/3.jpg": new TextEncoder().encode("no picture"),
    "a/4.png": await plain(3, 6, [1, 2, 3]),
    "a/5.png": red,
  };
  await withFiles(files, async (dir) => {
    const set = await data.imageFolder(dir);
    const before = memory().tensors;
    const bad = (row: number, ...parts: string[]) => {
      using rows: Tensor = index(0, row);
      refuse(() => set.batch(rows), DataError, ...parts);
    };
    await Deno.remove(`${dir}/a/5.png`);
    bad(1, `${dir}/a/2.png: it is truncated, at 60 bytes`);
    bad(2, `${dir}/a/3.jpg: it is neither a PNG nor a JPEG file`);
    bad(3, `${dir}/a/4.png: it has 3 x 6 pixels, and the first picture 4 x 6`, "{ size:");
    bad(4, `${dir}/a/5.png cannot be read`);
    using rows = index(0, 5);
    refuse(() => set.batch(rows), IndexError, "an index is 5; it must be in 0..4");
    refuse(() => set.batch(rows.to("float32")), "dtype", "ImageFolder: the index", "int32");
    using negative = index(-1);
    refuse(() => set.batch(negative), IndexError, "-1");
    assertEquals(memory().tensors, before + 3); // with the one of float32
    assertAlmostEquals(set.batch(index(0)).input.mean().itemSync(), 1 / 3, 1e-6);
  });
});

test("imageFolder: folders without classes or pictures, and options that are none", async () => {
  await withFiles({ "a/1.png": red, "b/1.txt": red }, async (dir) => {
    const bad = (dir: string, ...parts: string[]) =>
      assertRejects(() => data.imageFolder(dir), DataError, parts[0]);
    await bad(`${dir}/c`, `${dir}/c is missing`);
    await bad(`${dir}/a`, `${dir}/a has no folders in it; wanted is one for each class`);
    await bad(dir, `${dir}/b has no files in it that end in .png, .jpg, .jpeg`);
    await bad(`${dir}/a/1.png`, "cannot be read");
    const options = (options: object, part: string) =>
      assertRejects(() => data.imageFolder(dir, options), ArgumentError, part);
    await options({ size: 0 }, "size is 0");
    await options({ size: [3, 4, 5] }, "a number or [height, width]");
    await options({ mode: "unchanged" }, "mode");
    await options({ extensions: "png" }, "extensions");
    await options({ resize: 3 }, "there is no option resize");
    await assertRejects(() => data.imageFolder(3 as never), ArgumentError, "a path");
  });
});
