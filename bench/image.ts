// Decoding the pictures of a folder to RGB, beside the platform's way to their pixels:
// createImageBitmap, a PNG file made of that, and its pixels, here by our decoder. From bytes in
// memory, one picture after another.
// deno run -A bench/image.ts --dir FOLDER [--count 50] [--out FILE]
import { parseArgs } from "@std/cli/parse-args";
import { decodeFile, imageInfo, resizeInto } from "../lib/io/_image.ts";
import { toPng } from "../lib/data/_image_file.ts";
import { median, rounded, type Row, row, writeRows } from "./timing.ts";

const args = parseArgs(Deno.args, { string: ["dir", "count", "out"], default: { count: "50" } });
const { dir, out } = args;
if (!dir) throw new Error("bench/image.ts: name a folder of pictures by --dir");

const paths = [...Deno.readDirSync(dir)].map(({ name }) => `${dir}/${name}`)
  .filter((path) => /\.(png|jpe?g)$/i.test(path)).sort().slice(0, Number(args.count));

/** Milliseconds of one run: the median of several after the first. */
async function measure(runs: number, run: () => unknown): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i <= runs; i++) {
    const start = performance.now();
    await run();
    if (i > 0) times.push(performance.now() - start);
  }
  return median(times);
}

const rows: (Row & { mpx_per_s: number })[] = [];
const sums = new Map<string, { ours: number; peer: number; pixels: number; count: number }>();
const small = new Uint8Array(3 * 224 * 224);
for (const path of paths) {
  const bytes = await Deno.readFile(path);
  const { kind, height, width } = imageInfo(bytes, path);
  const ours = await measure(7, () => decodeFile(bytes, path, "rgb"));
  const peer = await measure(2, async () => decodeFile(await toPng(path), path, "rgb"));
  const image = decodeFile(bytes, path, "rgb");
  const resizing = await measure(7, () => resizeInto(small, 224, 224, image));
  const parts = [[kind, ours, peer], ["resize to 224x224", resizing, 0]] as const;
  for (const [name, ours, peer] of parts) {
    const sum = sums.get(name) ?? { ours: 0, peer: 0, pixels: 0, count: 0 };
    sum.ours += ours, sum.peer += peer, sum.pixels += height * width, sum.count++;
    sums.set(name, sum);
  }
}
for (const [name, { ours, peer, pixels, count }] of sums) {
  const each = (ms: number) => ms * 1000 / count;
  const result = {
    ...row(name, each(ours), peer ? "createImageBitmap" : "none", peer ? each(peer) : null, null),
    mpx_per_s: rounded(pixels / ours / 1000),
    pixels: Math.round(pixels / count),
    count,
  };
  rows.push(result);
  console.log(result);
}
if (out) writeRows(out, rows);
