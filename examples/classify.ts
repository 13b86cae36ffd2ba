// Says what is on photos, by a network with weights that were trained elsewhere.
//
//   deno run --allow-ffi --allow-read examples/classify.ts --help
//
// Weights are .safetensors with torchvision's keys: `save_file(model.state_dict(), path)` of
// safetensors.torch writes them. Photos are .ppm: `magick photo.jpg photo.ppm` makes them.
import { io, models, nn, noGrad, scope, Tensor, tensor, upsample } from "../mod.ts";
import { fail, program } from "./program.ts";

const networks = {
  alexnet: () => models.alexnet(),
  mobilenetV2: () => models.mobilenetV2(),
  resnet18: () => models.resnet18(),
  resnet34: () => models.resnet34(),
  resnet50: () => models.resnet50(),
  "squeezenet1.0": () => models.squeezenet(),
  "squeezenet1.1": () => models.squeezenet({ version: "1.1" }),
  vgg16: () => models.vgg16(),
  // Its authors' own, for Caffe, whose last convolution has a border.
  "squeezenet-caffe": () => {
    const model = models.squeezenet();
    const [drop, pool] = [new nn.Dropout(), new nn.AdaptiveAvgPool2d(1)];
    const last = new nn.Conv2d(512, 1000, 1, { padding: 1 });
    model.replace("classifier", new nn.Sequential(drop, last, new nn.ReLU(), pool)).dispose();
    return model;
  },
};

const help = `Classifies the .ppm photos of a folder.

  --photos DIR     the photos
  --weights FILE   .safetensors with torchvision's keys
  --model NAME     one of ${Object.keys(networks).join(", ")} (resnet18)
  --labels FILE    a line for each class: its name, or index, synset and name with tabs between;
                   photos whose names begin with a synset are then counted as right or wrong
  --top N          how many guesses to show (5)`;

const defaults = {
  ...{ photos: undefined as string | undefined, weights: undefined as string | undefined },
  ...{ labels: undefined as string | undefined, model: "resnet18", top: 5 },
};

await program(help, defaults, async ({ photos, weights, model: name, labels, top }) => {
  if (!photos || !weights) fail("--photos and --weights are needed; see --help");
  const make = networks[name as keyof typeof networks];
  if (!make) fail(`--model is ${name}; see --help`);
  const model = make();
  const state = await io.loadSafetensors(weights);
  model.loadStateDict(state);
  for (const x of Object.values(state)) x.dispose();
  nn.foldBatchNorm(model); // for evaluation
  const classes = labels ? (await Deno.readTextFile(labels)).trim().split("\n") : [];
  const names = [...Deno.readDirSync(photos)].map(({ name }) => name)
    .filter((file) => file.endsWith(".ppm")).sort();
  const prepare = name.endsWith("caffe") ? caffe : torchvision;
  const right = { judged: 0, first: 0, five: 0 };
  for (const file of names) {
    const photo = await Deno.readFile(`${photos}/${file}`);
    const best = noGrad(() =>
      scope(() => model.forward(prepare(pixels(photo, file))).softmax(1).topK(Math.max(top, 5)))
    );
    const [values, indices] = [await best.values.data(), await best.indices.data()];
    for (const x of [best.values, best.indices]) x.dispose();
    const found = Array.from(indices, (i) => classes[i] ?? `class ${i}`);
    const shown = found.slice(0, top).map((line, i) =>
      `${line.split("\t").at(-1)} ${values[i]!.toFixed(2)}`
    );
    console.log(`${file}: ${shown.join(", ")}`);
    const synset = /^n\d{8}/.exec(file)?.[0];
    if (!synset || !classes.some((line) => line.includes(synset))) continue;
    right.judged++;
    const place = found.slice(0, 5).findIndex((line) => line.includes(synset));
    if (place === 0) right.first++;
    if (place >= 0) right.five++;
  }
  const { judged, first, five } = right;
  if (judged === 0) return `${names.length} photos`;
  return `top-1 ${first} of ${judged}, top-5 ${five} of ${judged}`;
});

// A binary PPM file, "P6 width height 255" and the pixels, as [1, 3, height, width].
function pixels(bytes: Uint8Array<ArrayBuffer>, file: string): Tensor {
  const head = new TextDecoder("latin1").decode(bytes.subarray(0, 1000));
  const match = /^P6\s(?:#.*\n)?\s*(\d+)\s+(\d+)\s+255\s/.exec(head);
  const [width, height] = [Number(match?.[1]), Number(match?.[2])];
  const data = bytes.slice(match?.[0].length);
  if (data.length !== width * height * 3) fail(`${file} is no PPM photo (P6, of 8 bits)`);
  return tensor(data, { shape: [1, height, width, 3] }).to("float32").permute([0, 3, 1, 2]);
}

function middle(x: Tensor, size: number): Tensor {
  const [top, left] = [x.shape[2]! - size, x.shape[3]! - size].map((n) => Math.floor(n / 2));
  return x.slice(2, top!, top! + size).slice(3, left!, left! + size);
}

// The shorter side to 256 and the middle 224, of mean 0 and deviation 1 over ImageNet.
function torchvision(x: Tensor): Tensor {
  const scaleFactor = 256 / Math.min(x.shape[2]!, x.shape[3]!);
  const size = [2, 3].map((axis) => Math.round(x.shape[axis]! * scaleFactor)) as [number, number];
  const [mean, deviation] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]].map(perChannel);
  return middle(upsample(x, { size, mode: "bilinear" }), 224).div(255).sub(mean!).div(deviation!);
}

// Squashed to 256x256 and the middle 227, less ImageNet's mean.
function caffe(x: Tensor): Tensor {
  const whole = upsample(x, { size: 256, mode: "bilinear" });
  return middle(whole, 227).sub(perChannel([123, 117, 104]));
}

function perChannel(values: number[]): Tensor {
  return tensor(values, { shape: [1, 3, 1, 1] });
}
