// Operations and layers beside PyTorch (eager) in the same run:
// deno run -A bench/ops.ts [--device cuda] [--filter TEXT] [--python python3] [--out FILE]
// The entries are those of bench/peers/torch_ops.py, by name. --device cpu takes sizes a sixteenth
// as large.
import { parseArgs } from "@std/cli/parse-args";
import {
  avgPool2d,
  einsum,
  init,
  instanceNorm,
  maxPool2d,
  nn,
  noGrad,
  ones,
  randn,
  scope,
  type Shape,
  type Tensor,
  upsample,
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

const benches: Bench[] = [
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
  forward("einsum bij,bjk->bik 64x256", 3 * 4 * first(64) * 65536, () => {
    const [a, b] = [randn([first(64), 256, 256]), randn([first(64), 256, 256])];
    return () => einsum("bij,bjk->bik", a, b);
  }),
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
