// Pooling, relu and batch normalisation, forward, beside cuDNN's own in the same run:
//
//   CUDENO_CUDNN=FOLDER deno run -A bench/cudnn.ts --out bench/results/h200/cudnn.json
//
// FOLDER is that of libcudnn.so.9.
import { parseArgs } from "@std/cli/parse-args";
import {
  avgPool2d,
  batchNorm,
  init,
  maxPool2d,
  noGrad,
  ones,
  randn,
  scope,
  type Tensor,
  zeros,
} from "../mod.ts";
import { workspaceOf } from "./conv/measure.ts";
import { floorUs } from "./peaks.ts";
import { Cudnn, type Images, type Layer } from "./peers/cudnn.ts";
import { deviceUs, type Row, row, writeRows } from "./timing.ts";

interface LayerRow extends Row {
  /** Bytes that it takes besides inputs and result. */
  workspace: number;
  peer_workspace: number;
}

const args = parseArgs(Deno.args, { string: ["out"] });
const info = init({ device: "cuda", seed: 1 });
const x: Images = [64, 64, 112, 112];
const layers: Layer[] = [
  { kind: "maxPool2d", kernelSize: 3, stride: 2, padding: 1 },
  { kind: "avgPool2d", kernelSize: 2, stride: 2, padding: 0 },
  { kind: "relu" },
  { kind: "batchNorm training" },
  { kind: "batchNorm inference" },
];

function ours(layer: Layer, input: Tensor): () => Tensor {
  if ("kernelSize" in layer) {
    const { kind, ...options } = layer;
    return kind === "maxPool2d" ? () => maxPool2d(input, options) : () => avgPool2d(input, options);
  }
  if (layer.kind === "relu") return () => input.relu();
  const [weight, bias, runningMean, runningVar] = [ones, zeros, zeros, ones]
    .map((make) => make([x[1]])) as [Tensor, Tensor, Tensor, Tensor];
  const training = layer.kind === "batchNorm training";
  return () => batchNorm(input, { weight, bias, runningMean, runningVar, training });
}

const rows: LayerRow[] = [];
for (const dtype of ["float32", "bfloat16"] as const) {
  for (const layer of layers) {
    await scope(async () => {
      const input = randn([...x], { dtype }).to({ format: "channelsLast" });
      const work = ours(layer, input);
      const run = () => noGrad(() => work());
      const result = run();
      const bytes = (dtype === "float32" ? 4 : 2) *
        (input.size * (layer.kind === "batchNorm training" ? 2 : 1) + result.size);
      const workspace = workspaceOf(run);
      const us = await deviceUs(() => run().dispose(), info.device);
      // after ours, which has made the thread's context
      const cudnn = new Cudnn(Deno.env.get("CUDENO_CUDNN") ?? "/usr/local/cuda/lib64");
      const peer = cudnn.measure(layer, x, result.shape as unknown as Images, dtype);
      const floor = floorUs(info.name, "float32", 0, bytes);
      const made = {
        ...row(`${layer.kind} ${dtype} ${x.join("x")}`, us, "cuDNN", peer.us, floor),
        ...{ workspace, peer_workspace: peer.workspace },
      };
      console.log(made.name.padEnd(44), made.ours_us, made.peer_us, made.ratio, made.floor_us);
      rows.push(made);
      if (args.out) writeRows(args.out, rows);
    });
  }
}
