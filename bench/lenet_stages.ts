// An epoch of LeNet-5 on MNIST, from plain loops to what the library does by itself:
// deno run -A bench/lenet_stages.ts [--device cuda] [--batch 128] [--limit SAMPLES] [--rounds 3]
//   [--out FILE] [--svg FILE]
// With --limit, part of an epoch is timed and scaled up; the loops in TypeScript always are.
import { parseArgs } from "@std/cli/parse-args";
import { assertAlmostEquals } from "@std/assert";
import {
  conv2d,
  crossEntropy,
  data,
  type DeviceName,
  emptyCache,
  init,
  memory,
  models,
  nn,
  optim,
  plot,
  resetPeakMemory,
  scope,
  setMatmulPrecision,
  synchronize,
  type Tensor,
  zeros,
} from "../mod.ts";
import { median, rounded, writeRows } from "./timing.ts";
import { TypescriptLeNet } from "./typescript_lenet.ts";

const args = parseArgs(Deno.args, {
  string: ["device", "batch", "limit", "rounds", "out", "svg"],
  default: { device: "auto", batch: "128", limit: "60000", rounds: "3" },
});
const info = init({ device: args.device as "auto" | "cpu" | "cuda", seed: 1 });
const batch = Number(args.batch), limit = Number(args.limit), rounds = Number(args.rounds);
const lr = 0.05;
const { train } = await data.mnist({ device: "cpu" });

/** A way to train. */
interface Stage {
  name: string;
  device?: DeviceName;
  note?: string;
  /** What the model computes. Default: its forward(). */
  forward?: (model: nn.Sequential, x: Tensor) => Tensor;
  /** After each step. */
  after?: () => void;
  precision?: "tf32";
  zeroGrad?: optim.ZeroGradOptions;
}

// Each layer by itself, with the kernels of a variant.
const layerByLayer = (variant?: string) => (model: nn.Sequential, x: Tensor): Tensor => {
  for (const [, layer] of model.entries()) {
    if (variant && layer instanceof nn.Conv2d) {
      x = conv2d(x, layer.weight, layer.bias, { padding: layer.options.padding, variant });
    } else if (variant && layer instanceof nn.Linear) {
      x = x.matmul(layer.weight, { transposeB: true, variant }).add(layer.bias!);
    } else x = layer.forward(x);
  }
  return x;
};

const where = info.device === "cpu" ? "CPU" : "GPU";
const stages: Stage[] = [
  ...(info.device === "cpu" ? [] : [{ name: "CPU, the library", device: "cpu" as const }]),
  { name: `${where}, naive kernels`, forward: layerByLayer("naive") },
  { name: `${where}, layer by layer`, forward: layerByLayer() },
  {
    name: `${where}, layers combined, memory from the driver`,
    note: "no block is kept for reuse from one step to the next",
    after: () => emptyCache(),
  },
  {
    name: `${where}, layers combined, memory reused`,
    note: "Sequential computes layers with what follows them; freed blocks serve what comes next",
  },
  {
    name: `${where}, everything`,
    note: "gradients stay in their places, precision tf32",
    precision: "tf32",
    zeroGrad: { setToNone: false },
  },
];

interface StageRow {
  name: string;
  seconds: number;
  /** Blocks asked for in a step, and how many of them were new memory of the device's. */
  allocations?: number;
  device_allocations?: number;
  /** Bytes of the tensors of a step, and the most that it has in use, with what kernels work in. */
  bytes?: number;
  peak_bytes?: number;
  note?: string | undefined;
}

const CHECKED = 3; // steps whose losses are compared, and that the loops take
const initial = models.lenet5({ device: "cpu" }); // where all start
const start = initial.parameters().map((p) => p.dataSync());
initial.dispose();
const losses: number[] = [];

// The loops, which also say what the losses are to be.
function loops(): StageRow {
  const lenet = new TypescriptLeNet(start);
  const times: number[] = [];
  for (const index of loaderOf(train).indices()) {
    const { input, target } = scope(() => {
      const { input, target } = train.batch(index);
      return { input: input.dataSync() as Float32Array<ArrayBuffer>, target: target.dataSync() };
    });
    const begin = performance.now();
    losses.push(lenet.step(input, target, lr));
    times.push((performance.now() - begin) / 1000);
    if (times.length === CHECKED) break;
  }
  const seconds = rounded(Math.min(...times) * train.length / batch);
  const note = `scaled up from the fastest of ${CHECKED} steps`;
  return { name: "TypeScript, plain loops", seconds, note };
}

async function measured(stage: Stage): Promise<StageRow> {
  const { device = info.device, forward = (model, x) => model.forward(x) } = stage;
  const model = models.lenet5({ device });
  model.parameters().forEach((p, i) => p.copyFrom(start[i]!));
  const optimizer = new optim.SGD(model.parameters(), { lr });
  const set = device === "cpu"
    ? train
    : new data.TensorDataset(train.inputs.to(device), train.targets.to(device));
  const step = (index: Tensor, see?: (loss: Tensor) => void) => {
    scope(() => {
      const { input, target } = set.batch(index);
      optimizer.zeroGrad(stage.zeroGrad);
      const loss = crossEntropy(forward(model, input), target);
      loss.backward();
      optimizer.step();
      see?.(loss);
    });
    stage.after?.();
  };
  setMatmulPrecision(stage.precision ?? "float32");
  let checked = 0;
  let counts = {};
  for (const index of loaderOf(set).indices()) { // also warms up
    if (checked === CHECKED) {
      counts = counted(device, () => step(index));
      break;
    }
    step(index, (loss) => {
      const tolerance = stage.precision === "tf32" ? 2e-3 : 2e-4;
      assertAlmostEquals(loss.itemSync(), losses[checked++]!, tolerance, stage.name);
    });
  }
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    let seen = 0;
    const begin = performance.now();
    for (const index of loaderOf(set).indices()) {
      step(index);
      if ((seen += index.size) >= limit) break;
    }
    await synchronize(device);
    times.push((performance.now() - begin) / 1000 * set.length / seen);
  }
  for (const part of [model, optimizer, ...(set === train ? [] : [set])]) part.dispose();
  const scaled = limit < set.length ? `scaled up from ${limit} samples` : undefined;
  const note = [stage.note, scaled].filter(Boolean).join("; ");
  return { name: stage.name, seconds: rounded(median(times)), ...counts, note };
}

function loaderOf(set: data.Dataset) {
  return new data.DataLoader(set, { batchSize: batch });
}

// What a step asks of the allocator, and the allocator of the device.
function counted(device: DeviceName, step: () => void): Partial<StageRow> {
  using x = zeros([], { device });
  const functions = x.backend.functions as { cdn_alloc: (...args: never[]) => number };
  const original = functions.cdn_alloc;
  let bytes = 0;
  functions.cdn_alloc = (...args) => {
    bytes += Number(args[2]);
    return original(...args);
  };
  resetPeakMemory(device);
  const before = memory(device);
  try {
    step();
  } finally {
    functions.cdn_alloc = original;
  }
  const after = memory(device);
  return {
    allocations: after.allocations - before.allocations,
    device_allocations: after.deviceAllocations - before.deviceAllocations,
    bytes,
    peak_bytes: after.peak - before.live,
  };
}

const rows: StageRow[] = [];
console.log(`LeNet-5 on MNIST, an epoch in batches of ${batch}, on ${info.name}\n`);
console.log("| stage | s | x before | x first | blocks a step, new | MB a step, at once | notes |");
console.log("| --- | --: | --: | --: | --: | --: | --- |");
for (const run of [loops, ...stages.map((stage) => () => measured(stage))]) {
  const row = await run();
  const x = (other?: StageRow) => other ? (other.seconds / row.seconds).toPrecision(3) : "";
  const mb = (bytes?: number) => ((bytes ?? 0) / 1e6).toFixed(1);
  const memory = row.allocations === undefined ? ["", ""] : [
    `${row.allocations}, ${row.device_allocations}`,
    `${mb(row.bytes)}, ${mb(row.peak_bytes)}`,
  ];
  const cells = [row.name, row.seconds, x(rows.at(-1)), x(rows[0]), ...memory, row.note ?? ""];
  console.log(`| ${cells.join(" | ")} |`);
  rows.push(row);
}
if (args.out) writeRows(args.out, rows);
if (args.svg) {
  const title = `An epoch of LeNet-5 on MNIST, in batches of ${batch}, on ${info.name}`;
  const seconds = Object.fromEntries(rows.map(({ name, seconds }) => [name, seconds]));
  const how = { title, xLabel: "seconds", xScale: "log", width: 900 } as const;
  await plot.bar(seconds, how).save(args.svg);
}
