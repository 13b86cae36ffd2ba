// What data costs a training: Fashion-MNIST read from disk sample by sample, and a folder of JPEG
// pictures, by the main thread (workers 0) and by Workers.
// deno run -A bench/loader.ts [--device cuda] [--dir FOLDER] [--data FOLDER] [--workers 0,1,2,4,8]
//   [--batch 256] [--pictures 512] [--out FILE]
// --data has the IDX files, plain or gzipped; --dir a folder of pictures for each class, in place
// of random ones of 375 x 500 pixels.
import { parseArgs } from "@std/cli/parse-args";
import {
  autocast,
  crossEntropy,
  data,
  init,
  io,
  nn,
  optim,
  rand,
  scope,
  synchronize,
  tensor,
} from "../mod.ts";
import { rounded, type Row, row, writeRows } from "./timing.ts";
import idxSamples from "./idx_samples.ts";

const args = parseArgs(Deno.args, {
  string: ["device", "dir", "data", "workers", "batch", "pictures", "out"],
  default: {
    device: "auto",
    data: "data/fashion_mnist",
    workers: "0,1,2,4,8",
    batch: "256",
    pictures: "512",
  },
});
const info = init({ device: args.device as "auto" | "cpu" | "cuda", seed: 1 });
const numbers = (list: string) => list.split(",").map(Number);
const rows: (Row & { waited: number; input_share?: number; per_second: number })[] = [];
const folder = await Deno.makeTempDir();

function note(name: string, seconds: number, waited: number, count: number, alone?: number): void {
  const result = {
    ...row(name, seconds * 1e6, "none", null, null),
    waited: rounded(waited / seconds),
    ...(alone !== undefined && { input_share: rounded(Math.max(0, 1 - alone / seconds)) }),
    per_second: rounded(count / seconds),
  };
  rows.push(result);
  console.log(result);
}

// ---- Fashion-MNIST from disk

async function plain(name: string): Promise<string> {
  const read = (path: string) => Deno.readFile(path).catch(() => undefined);
  const bytes = await read(`${args.data}/${name}`) ?? await read(`${args.data}/${name}.gz`);
  if (!bytes) throw new Error(`bench/loader.ts: there is no ${name} in ${args.data}: give --data`);
  const gzipped = bytes[0] === 0x1f;
  const stream = new Blob([bytes]).stream();
  const body = gzipped ? stream.pipeThrough(new DecompressionStream("gzip")) : stream;
  await Deno.writeFile(`${folder}/${name}`, body);
  return `${folder}/${name}`;
}

const layer = (from: number, to: number) => [
  new nn.Conv2d(from, to, 3, { padding: 1, bias: false }),
  new nn.BatchNorm2d(to),
  new nn.ReLU(),
];
const models = {
  mlp: () =>
    new nn.Sequential(
      ...[new nn.Flatten(), new nn.Linear(784, 128), new nn.ReLU(), new nn.Linear(128, 10)],
    ),
  // that of examples/fashion.ts
  recipe: () =>
    new nn.Sequential(
      ...[...layer(1, 64), ...layer(64, 64), new nn.MaxPool2d(2)],
      ...[...layer(64, 128), ...layer(128, 128), new nn.MaxPool2d(2)],
      ...[...layer(128, 256), ...layer(256, 256)],
      ...[new nn.AdaptiveAvgPool2d(1), new nn.Flatten(), new nn.Linear(256, 10)],
    ),
};
const files = {
  images: `${folder}/train-images-idx3-ubyte`,
  labels: `${folder}/train-labels-idx1-ubyte`,
};

/** The median of epochs after the first, which starts the workers: seconds, and those waited. */
async function epoch(kind: keyof typeof models, loader: data.DataLoader) {
  const model = models[kind]();
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.05, momentum: 0.9 });
  const times: { seconds: number; waited: number }[] = [];
  for (let epoch = 0; epoch < 6; epoch++) {
    const start = performance.now(), before = loader.waited;
    for await (const { input, target } of loader) {
      scope(() => {
        optimizer.zeroGrad();
        const images = input.reshape([input.shape[0]!, 1, 28, 28]);
        autocast("bfloat16", () => crossEntropy(model.forward(images), target)).backward();
        optimizer.step();
      });
    }
    await synchronize();
    const seconds = (performance.now() - start) / 1000;
    if (epoch > 0) times.push({ seconds, waited: loader.waited - before });
  }
  optimizer.dispose();
  model.dispose();
  return times.sort((a, b) => a.seconds - b.seconds)[2]!;
}

async function fashion(kind: keyof typeof models, batchSize: number) {
  const set = idxSamples(files);
  const read = async (name: string) => data.readIdx(await Deno.readFile(name));
  const [images, labels] = [await read(files.images), await read(files.labels)];
  const resident = new data.TensorDataset(
    tensor(images.data as Uint8Array, { shape: images.shape }),
    tensor(labels.data as Uint8Array),
  );
  const options = { batchSize, shuffle: true };
  const name = `fashion ${kind} batch ${batchSize}`;
  const alone = (await epoch(kind, new data.DataLoader(resident, options))).seconds;
  note(`${name} on the device`, alone, 0, set.length);
  resident.dispose();
  const module = new URL("./idx_samples.ts", import.meta.url);
  for (const count of numbers(args.workers)) {
    const workers = count > 0 ? { module, args: files, count } : undefined;
    using loader = new data.DataLoader(set, { ...options, workers });
    const { seconds, waited } = await epoch(kind, loader);
    note(`${name} workers ${count}`, seconds, waited, set.length, alone);
  }
}

// ---- a folder of pictures

async function pictures(): Promise<string> {
  const made: Uint8Array[] = [];
  for (let i = 0; i < 32; i++) {
    const png = await scope(() => {
      const smooth = rand([1, 3, 12, 16]).upsample({ size: [375, 500], mode: "bilinear" });
      return io.encodePng(smooth.reshape([3, 375, 500]));
    });
    const canvas = new OffscreenCanvas(500, 375);
    const bitmap = await createImageBitmap(new Blob([png]));
    canvas.getContext("bitmaprenderer")!.transferFromImageBitmap(bitmap);
    const jpeg = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
    made.push(await jpeg.bytes());
  }
  for (let i = 0; i < Number(args.pictures); i++) {
    const dir = `${folder}/pictures/${i % 2}`;
    await Deno.mkdir(dir, { recursive: true });
    await Deno.writeFile(`${dir}/${i}.jpg`, made[i % made.length]!);
  }
  return `${folder}/pictures`;
}

async function readPictures(dir: string, count: number) {
  const set = await data.imageFolder(dir, { size: 224 });
  const workers = count > 0 ? { count } : undefined;
  using loader = new data.DataLoader(set, { batchSize: 64, workers });
  let start = 0, waited = 0;
  for (let pass = 0; pass < 2; pass++) {
    start = performance.now();
    waited = loader.waited;
    for await (const _ of loader);
    await synchronize();
  }
  const seconds = (performance.now() - start) / 1000;
  note(`pictures batch 64 workers ${count}`, seconds, loader.waited - waited, set.length);
}

console.log(`${info.device}, ${info.name}`);
try {
  for (const name of ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"]) await plain(name);
  for (const kind of ["mlp", "recipe"] as const) {
    for (const batch of numbers(args.batch)) await fashion(kind, batch);
  }
  const dir = args.dir ?? await pictures();
  for (const count of numbers(args.workers)) await readPictures(dir, count);
  if (args.out) writeRows(args.out, rows);
} finally {
  await Deno.remove(folder, { recursive: true });
}
