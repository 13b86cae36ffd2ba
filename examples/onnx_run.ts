// Runs a network of an ONNX file on a photo: boxes of things found, by FastestDet
// (https://github.com/dog-qiuqiu/FastestDet has the file and the classes' names), or classes.
//
//   deno run --allow-ffi --allow-read examples/onnx_run.ts --help
import { io, onnx, scope, type Tensor, tensor, upsample } from "../mod.ts";
import { fail, program } from "./program.ts";

const help = `Runs a foreign network on a photo.

  --model FILE     .onnx with one input [1, 3, height, width]
  --photo FILE     .jpg or .png
  --task T         boxes, as FastestDet gives them, or classes (boxes)
  --labels FILE    a line for each class
  --threshold X    how sure of a box it must be (0.65)
  --top N          how many classes to show (5)`;

const defaults = {
  ...{ model: undefined as string | undefined, photo: undefined as string | undefined },
  ...{ labels: undefined as string | undefined, task: "boxes", threshold: 0.65, top: 5 },
};

interface Box {
  readonly score: number;
  readonly kind: number;
  readonly corners: readonly [left: number, top: number, right: number, bottom: number];
}

await program(help, defaults, async ({ model: path, photo, labels, task, threshold, top }) => {
  if (!path || !photo) fail("--model and --photo are needed; see --help");
  if (task !== "boxes" && task !== "classes") fail(`--task is ${task}; see --help`);
  for (const { level, where, found, advice } of await onnx.check(path)) {
    console.log(`${level}: ${where}: ${found}; ${advice}`);
  }
  using model = await onnx.load(path);
  console.log(model.summary());
  const [, , height, width] = model.inputs[0]!.shape ?? [];
  const size = [height, width].map((n) => typeof n === "number" ? n : 224) as [number, number];
  const names = labels ? (await Deno.readTextFile(labels)).trim().split("\n") : [];
  const nameOf = (i: number) => names[i] ?? `class ${i}`;

  using image = await pixels(photo);
  const [rows, columns] = image.shape.slice(2) as [number, number];
  const y = scope(() => {
    const x = upsample(image, { size, mode: "bilinear" });
    return Object.values(model.run(task === "boxes" ? x.div(255) : normalized(x)))[0]!;
  });
  using output = y;
  if (task === "classes") {
    const best = scope(() => output.reshape([-1]).softmax(0).topK(Math.min(top, output.size)));
    const [values, indices] = [await best.values.data(), await best.indices.data()];
    for (const x of [best.values, best.indices]) x.dispose();
    return Array.from(indices, (i, k) => `${nameOf(i)} ${values[k]!.toFixed(2)}`).join(", ");
  }
  const boxes = kept(decoded(await output.data(), output.shape, threshold));
  for (const { score, kind, corners: [left, upper, right, lower] } of boxes) {
    const place = [left * columns, upper * rows, right * columns, lower * rows].map(Math.round);
    console.log(`${nameOf(kind)} ${score.toFixed(2)}: ${place.join(", ")}`);
  }
  return `${boxes.length} boxes`;
});

// [1, 3, height, width], blue first as FastestDet was trained with OpenCV.
async function pixels(photo: string): Promise<Tensor> {
  const bytes = await Deno.readFile(photo);
  return scope(() => io.decodeImage(bytes, { mode: "rgb" }).unsqueeze(0).to("float32").flip(1));
}

// Red first, of mean 0 and deviation 1 over ImageNet.
function normalized(x: Tensor): Tensor {
  const per = (list: number[]) => tensor(list, { shape: [1, 3, 1, 1] });
  return x.flip(1).div(255).sub(per([0.485, 0.456, 0.406])).div(per([0.229, 0.224, 0.225]));
}

// [1, 5 + classes, rows, columns]: of each place how sure there is something, where, and of what.
function decoded(data: ArrayLike<number>, shape: readonly number[], threshold: number): Box[] {
  const [, channels, rows, columns] = shape as [number, number, number, number];
  const places = rows * columns, boxes: Box[] = [];
  const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
  for (let at = 0; at < places; at++) {
    const value = (channel: number) => data[channel * places + at]!;
    let kind = 0;
    for (let i = 1; i < channels - 5; i++) if (value(5 + i) > value(5 + kind)) kind = i;
    const score = value(0) ** 0.6 * value(5 + kind) ** 0.4;
    if (!(score > threshold)) continue;
    const x = (at % columns + Math.tanh(value(1))) / columns;
    const y = (Math.floor(at / columns) + Math.tanh(value(2))) / rows;
    const [w, h] = [sigmoid(value(3)) / 2, sigmoid(value(4)) / 2];
    boxes.push({ score, kind, corners: [x - w, y - h, x + w, y + h] });
  }
  return boxes;
}

// The best ones, without those that lie over a better one.
function kept(boxes: readonly Box[]): Box[] {
  const best: Box[] = [];
  for (const box of boxes.toSorted((a, b) => b.score - a.score)) {
    if (best.every((other) => overlap(box.corners, other.corners) <= 0.45)) best.push(box);
  }
  return best;
}

// The shared part of both areas.
function overlap(a: Box["corners"], b: Box["corners"]): number {
  const area = ([x, y, right, lower]: Box["corners"]) =>
    Math.max(0, right - x) * Math.max(0, lower - y);
  const [left, upper] = [Math.max(a[0], b[0]), Math.max(a[1], b[1])];
  const both = area([left, upper, Math.min(a[2], b[2]), Math.min(a[3], b[3])]);
  return both / (area(a) + area(b) - both);
}
