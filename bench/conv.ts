// Convolutions in three directions beside PyTorch's in the same run:
// deno run -A bench/conv.ts [--device cuda] [--only REGEX] [--python python3] [--out FILE]
import { parseArgs } from "@std/cli/parse-args";
import {
  convVariants,
  CudenoError,
  type DType,
  init,
  keep,
  noGrad,
  randn,
  scope,
  type Tensor,
} from "../mod.ts";
import type { MatmulPrecision } from "../lib/core/precision.ts";
import { convolved, inputGradient, weightGradient } from "../lib/ops/conv/_convolution.ts";
import { shapesOf } from "../lib/ops/conv/_shapes.ts";
import { floorUs } from "./peaks.ts";
import { deviceUsEach, type Row, row, runPeer, writeRows } from "./timing.ts";

const args = parseArgs(Deno.args, {
  string: ["device", "only", "python", "out"],
  boolean: ["variants"],
  default: { device: "auto", only: "", python: "python3" },
});
const info = init({ device: args.device as "auto" | "cpu" | "cuda", seed: 1 });
const cpu = info.device === "cpu";

/** N, C, H, W -> K, kernel, stride, groups; padded so that a stride of 1 keeps the size. */
type Shape = [
  n: number,
  c: number,
  h: number,
  w: number,
  k: number,
  taps: number,
  stride: number,
  groups?: number,
  padding?: number,
];
const shapes: Shape[] = [
  [128, 1, 28, 28, 6, 5, 1, 1, 0],
  [128, 6, 12, 12, 16, 5, 1, 1, 0],
  [32, 64, 56, 56, 64, 3, 1],
  [32, 128, 28, 28, 128, 3, 1],
  [32, 256, 14, 14, 256, 3, 1],
  [32, 512, 7, 7, 512, 3, 1],
  [256, 64, 56, 56, 64, 3, 1],
  [32, 3, 224, 224, 64, 7, 2],
  [32, 64, 56, 56, 128, 1, 2],
  [32, 64, 56, 56, 128, 3, 2],
  [32, 144, 56, 56, 144, 3, 1, 144],
];

interface Method {
  name: string;
  dtype: DType;
  precision: MatmulPrecision;
}
const methods: Method[] = [
  { name: "float32", dtype: "float32", precision: "float32" },
  { name: "tf32", dtype: "float32", precision: "tf32" },
  { name: "bfloat16", dtype: "bfloat16", precision: "float32" },
].filter(({ name }) => !cpu || name === "float32") as Method[];
const directions = ["forward", "input", "weight"] as const;

const only = new RegExp(args.only);
const benches = methods.flatMap((method) =>
  shapes.filter(([n]) => !cpu || n < 256).flatMap((shape) =>
    directions.filter((direction) => direction !== "input" || shape[1] > 3)
      .map((direction) => ({ method, shape, direction }))
  )
).map((bench) => {
  const [n, c, h, w, k, taps, stride, groups = 1] = bench.shape;
  const kind = groups > 1 ? ` g${groups}` : "";
  const name = `${bench.method.name} ${n}x${c}x${h}x${w} ${k} ${taps}x${taps} s${stride}${kind} ` +
    bench.direction;
  return { ...bench, name };
}).filter(({ name }) => only.test(name));

const peers = await runPeer("torch_conv.py", args.python, [
  info.device.replace(/:.*/, ""),
  JSON.stringify(benches.map(({ name, method, shape, direction }) => {
    const [n, c, h, w, k, taps, stride, groups = 1, padding = (taps - 1) >> 1] = shape;
    return {
      name,
      dtype: method.dtype,
      tf32: method.name === "tf32",
      direction,
      x: [cpu ? Math.max(1, n >> 4) : n, c, h, w],
      w: [k, c / groups, taps, taps],
      stride,
      padding,
      groups,
    };
  })),
]);

const rows: Row[] = [];
for (const { name, method, shape, direction } of benches) {
  const [images, c, h, w, k, taps, stride, groups = 1, padding = (taps - 1) >> 1] = shape;
  const n = cpu ? Math.max(1, images >> 4) : images;
  await scope(async () => {
    const { dtype, precision } = method;
    const last = (x: Tensor) => x.to({ format: "channelsLast" });
    const x = last(randn([n, c, h, w], { dtype }));
    const weight = last(randn([k, c / groups, taps, taps], { dtype }));
    const work = (variant: string) => {
      const shapes = shapesOf("conv2d", x, weight, null, {
        ...{ stride, padding, groups, precision, variant },
      });
      const dy = keep(last(randn(shapes.output, { dtype })));
      const run = {
        forward: () => convolved(x, weight, shapes),
        input: () => inputGradient(dy, weight, shapes),
        weight: () => weightGradient(dy, x, shapes),
      }[direction];
      return { dy, fn: () => noGrad(() => run().dispose()) };
    };
    const names = args.variants ? convVariants(info.device) : ["default"];
    const tried = names.flatMap((variant) => {
      const { dy, fn } = work(variant);
      try {
        fn();
        return [{ variant, dy, fn }];
      } catch (error) {
        if (!(error instanceof CudenoError)) throw error;
        return [];
      }
    });
    const times = await deviceUsEach(tried.map(({ fn }) => fn), info.device);
    for (const [i, { variant, dy }] of tried.entries()) {
      const peer = peers.find((line) => line.name === name);
      const unit = method.name === "bfloat16" ? "half" : method.name === "tf32" ? "tf32" : "half";
      const products = method.name === "float32" ? 3 : 1;
      const flops = 2 * products * (dy.size * c / groups) * taps * taps;
      const bytes = (x.size + dy.size + weight.size) * (dtype === "bfloat16" ? 2 : 4);
      const floor = floorUs(info.name, unit, flops, bytes);
      const label = args.variants ? `${name} ${variant}` : name;
      const line = row(label, times[i]!, peer?.peer ?? "none", peer?.us ?? null, floor);
      console.log(line.name.padEnd(48), line.ours_us, line.peer_us, line.ratio, line.floor_us);
      rows.push(line);
      dy.dispose();
    }
  });
}
if (args.out) await writeRows(args.out, rows);
