// Operations, optimizers and layers beside PyTorch (eager) in the same run:
// deno run -A bench/ops.ts [--device cuda] [--filter TEXT] [--python python3] [--out FILE]
// The entries are those of bench/peers/torch_ops.py, by name. --device cpu takes sizes a sixteenth
// as large.
import { parseArgs } from "@std/cli/parse-args";
import {
  avgPool2d,
  batchNorm,
  crossEntropy,
  cumsum,
  dropout,
  einsum,
  embedding,
  gelu,
  init,
  instanceNorm,
  layerNorm,
  logSumExp,
  maxPool2d,
  nn,
  noGrad,
  ones,
  optim,
  rand,
  randint,
  randn,
  scatterAdd,
  scope,
  type Shape,
  slice,
  softmax,
  sort,
  type Tensor,
  topK,
  upsample,
  variance,
  where,
} from "../mod.ts";
import { type Row, row, runPeer, timeUs, writeRows } from "./timing.ts";

const args = parseArgs(Deno.args, {
  string: ["device", "filter", "python", "out"],
  default: { device: "auto", filter: "", python: "python3" },
});
const info = init({ device: args.device as "auto" | "cpu" | "cuda", seed: 1 });
const scale = info.device === "cpu" ? 16 : 1; // by which the first extent is smaller
// bytes a microsecond, measured on an H200
const bandwidth = info.computeCapability === "9.0" ? 4.25e6 : undefined;

interface Bench {
  name: string;
  /** Makes the inputs and returns what to time. */
  setup(): () => void;
  /** Bytes that must move, where they are what limits. */
  bytes?: number;
}

const first = (n: number) => Math.max(1, n / scale);
const leaf = (shape: Shape) => randn(shape, { requiresGrad: true });
const classes = (n: number, high: number) => randint(0, high, [n]);

/** Forward without recording. */
function forward(name: string, bytes: number, make: () => () => Tensor): Bench {
  return {
    name,
    bytes,
    setup() {
      const fn = make();
      return () => noGrad(() => void scope(() => void fn()));
    },
  };
}

/** Forward and backward, from a gradient of ones; `leaves` get their gradients anew. */
function both(
  name: string,
  bytes: number,
  make: () => { leaves: Tensor[]; fn: () => Tensor },
): Bench {
  return {
    name,
    bytes,
    setup() {
      const { leaves, fn } = make();
      const seed = scope(() =>
        noGrad(() => {
          const { shape, format } = fn();
          return ones(shape).to({ format });
        })
      );
      return () =>
        scope(() => {
          fn().backward(seed);
          for (const x of leaves) {
            x.grad!.dispose();
            x.grad = null;
          }
        });
    },
  };
}

type Format = "contiguous" | "channelsLast";

/** Images [n, c, h, w], of which the CPU gets fewer, forward and with backward. */
function images(
  name: string,
  [n, c, h, w]: [number, number, number, number],
  bytes: { forward: number; both: number }, // for each element
  fn: (x: Tensor) => Tensor,
): Bench[] {
  const formats: Format[] = ["contiguous", "channelsLast"];
  const size = [first(n), c, h, w];
  const count = first(n) * c * h * w;
  return formats.flatMap((format) => {
    const kind = `${name} ${n}x${c}x${h}x${w} ${format}`;
    const make = () => noGrad(() => randn(size).to({ format }));
    return [
      forward(kind, bytes.forward * count, () => {
        const x = make();
        return () => fn(x);
      }),
      both(`${kind}, forward and backward`, bytes.both * count, () => {
        const x = make();
        x.requiresGrad = true;
        return { leaves: [x], fn: () => fn(x) };
      }),
    ];
  });
}

const M = 2 ** 20;
const [rows, wide] = [first(16384), 1024];
const flat = first(64 * M);
const benches: Bench[] = [
  forward("gelu 64M", 8 * flat, () => {
    const x = randn([flat]);
    return () => gelu(x);
  }),
  forward("where 64M", 13 * flat, () => {
    const [a, b] = [randn([flat]), randn([flat])];
    const condition = a.gt(b);
    return () => where(condition, a, b);
  }),
  forward("dropout 64M", 8 * flat, () => {
    const x = randn([flat]);
    return () => dropout(x, { p: 0.1 });
  }),
  forward("slice ::2 of 64M", 6 * flat, () => {
    const x = randn([flat]);
    return () => slice(x, 0, 0, undefined, 2);
  }),
  forward("softmax 16384x1024", 8 * rows * wide, () => {
    const x = randn([rows, wide]);
    return () => softmax(x);
  }),
  forward("variance 16384x1024", 4 * rows * wide, () => {
    const x = randn([rows, wide]);
    return () => variance(x, 1);
  }),
  forward("logSumExp 16384x1024", 4 * rows * wide, () => {
    const x = randn([rows, wide]);
    return () => logSumExp(x, 1);
  }),
  forward("cumsum 16384x1024", 8 * rows * wide, () => {
    const x = randn([rows, wide]);
    return () => cumsum(x, 1);
  }),
  forward("cumsum 16M", 8 * first(16 * M), () => {
    const x = randn([first(16 * M)]);
    return () => cumsum(x, 0);
  }),
  both("layerNorm 16384x1024, forward and backward", 20 * rows * wide, () => {
    const [x, weight, bias] = [leaf([rows, wide]), leaf([wide]), leaf([wide])];
    return { leaves: [x, weight, bias], fn: () => layerNorm(x, wide, { weight, bias }) };
  }),
  both("batchNorm 65536x256, forward and backward", 28 * first(65536) * 256, () => {
    const [x, weight, bias] = [leaf([first(65536), 256]), leaf([256]), leaf([256])];
    return { leaves: [x, weight, bias], fn: () => batchNorm(x, { weight, bias, training: true }) };
  }),
  ...images("batchNorm", [256, 64, 112, 112], { forward: 12, both: 32 }, (x) => {
    return batchNorm(x, { training: true });
  }),
  ...images("maxPool2d 3 stride 2", [256, 64, 112, 112], { forward: 5, both: 10 }, (x) => {
    return maxPool2d(x, { kernelSize: 3, stride: 2, padding: 1 });
  }),
  ...images("avgPool2d 3 stride 2", [256, 64, 112, 112], { forward: 5, both: 10 }, (x) => {
    return avgPool2d(x, { kernelSize: 3, stride: 2, padding: 1 });
  }),
  ...images("instanceNorm", [16, 64, 256, 256], { forward: 8, both: 20 }, (x) => instanceNorm(x)),
  ...(["bilinear", "bicubic"] as const).flatMap((mode) =>
    images(`upsample 2 ${mode}`, [8, 3, 512, 512], { forward: 20, both: 40 }, (x) => {
      return upsample(x, { scaleFactor: 2, mode });
    })
  ),
  both("crossEntropy 16384x1024, forward and backward", 12 * rows * wide, () => {
    const x = leaf([rows, wide]);
    const target = classes(rows, wide);
    return { leaves: [x], fn: () => crossEntropy(x, target) };
  }),
  both("embedding 16384 of 50000x512, forward and backward", 8 * rows * 512, () => {
    const weight = leaf([50000, 512]);
    const index = classes(rows, 50000);
    return { leaves: [weight], fn: () => embedding(index, weight) };
  }),
  forward("scatterAdd 4M into 1M", 12 * first(4 * M) + 8 * M, () => {
    const [x, source] = [randn([M]), randn([first(4 * M)])];
    const index = classes(first(4 * M), M);
    return () => scatterAdd(x, 0, index, source);
  }),
  forward("topK 5 of 4096x1000", 4 * first(4096) * 1000, () => {
    const x = rand([first(4096), 1000]);
    return () => topK(x, 5).values;
  }),
  forward("topK 50 of 256x50000", 4 * first(256) * 50000, () => {
    const x = rand([first(256), 50000]);
    return () => topK(x, 50).values;
  }),
  forward("sort 1M", 8 * first(M), () => {
    const x = rand([first(M)]);
    return () => sort(x).values;
  }),
  forward("einsum bij,bjk->bik 64x256", 3 * 4 * first(64) * 65536, () => {
    const [a, b] = [randn([first(64), 256, 256]), randn([first(64), 256, 256])];
    return () => einsum("bij,bjk->bik", a, b);
  }),
  {
    name: "AdamW 16 x 4M parameters",
    bytes: 28 * 16 * first(4 * M),
    setup() {
      const parameters = Array.from({ length: 16 }, () => leaf([first(4 * M)]));
      for (const p of parameters) p.grad = randn(p.shape);
      const optimizer = new optim.AdamW(parameters, { lr: 1e-3 });
      return () => optimizer.step();
    },
  },
  {
    name: "AdamW 100 x 1000 parameters",
    setup() {
      const parameters = Array.from({ length: 100 }, () => leaf([1000]));
      for (const p of parameters) p.grad = randn(p.shape);
      const optimizer = new optim.AdamW(parameters, { lr: 1e-3 });
      return () => optimizer.step();
    },
  },
  both("lstm 64 steps of 64x256, 256 hidden, forward and backward", 0, () => {
    const layer = new nn.LSTM(256, 256); // with its own weights: under large ones gradients explode
    const x = leaf([64, first(64), 256]);
    return { leaves: [x, ...layer.parameters()], fn: () => layer.forward(x) };
  }),
  both("TransformerEncoderLayer 32x128x512, forward and backward", 0, () => {
    const options = { feedForward: 2048, dropout: 0, batchFirst: true };
    const layer = new nn.TransformerEncoderLayer(512, 8, options);
    const x = leaf([first(32), 128, 512]);
    return { leaves: [x, ...layer.parameters()], fn: () => layer.forward(x) };
  }),
];

const wanted = benches.filter(({ name }) => name.includes(args.filter));
const lines = await runPeer("torch_ops.py", args.python, [
  info.device.split(":")[0]!,
  args.filter,
]);
const peers = {
  version: lines[0]?.peer ?? "torch",
  us: new Map(lines.map(({ name, us }) => [name, us])),
};
const results: Row[] = [];
for (const { name, setup, bytes } of wanted) {
  const us = await timeUs(setup(), info.device);
  const floor = bytes && bandwidth ? bytes / bandwidth : null;
  const result = row(name, us, peers.version, peers.us.get(name) ?? null, floor);
  results.push(result);
  const ratio = result.ratio === null ? "" : `${result.ratio.toFixed(2)} times as fast`;
  console.log(
    `${name}: ${result.ours_us} us, torch ${result.peer_us ?? "?"} us, floor ${
      result.floor_us ?? "?"
    }: ${ratio}`,
  );
}
if (args.out) writeRows(args.out, results);
