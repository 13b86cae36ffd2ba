// Training steps of whole networks beside PyTorch's in the same run, and the memory they take:
// deno run -A bench/networks.ts [--device cuda] [--only REGEX] [--batch N] [--python python3]
//   [--out FILE]
import { parseArgs } from "@std/cli/parse-args";
import {
  crossEntropy,
  data,
  type DType,
  init,
  models,
  optim,
  rand,
  randint,
  scope,
  setMatmulPrecision,
  synchronize,
} from "../mod.ts";
import { floorUs } from "./peaks.ts";
import { deviceUsEach, type PeerLine, type Row, row, runPeer, writeRows } from "./timing.ts";
import { Training } from "./training.ts";

const args = parseArgs(Deno.args, {
  string: ["device", "only", "batch", "python", "out"],
  default: { device: "auto", only: "", python: "python3" },
});
const info = init({ device: args.device as "auto" | "cpu" | "cuda", seed: 1 });
const cpu = info.device === "cpu";
const only = new RegExp(args.only);

/** What is measured: in `method`, "float32", "tf32" or "bfloat16". */
interface Bench {
  network: "resnet18" | "resnet50" | "lenet5";
  method: "float32" | "tf32" | "bfloat16";
  batch: number;
  work: "inference" | "both" | "step" | "epoch";
}

const works = { inference: "inference", both: "forward+backward", step: "step", epoch: "epoch" };
const onGpu = (["float32", "tf32", "bfloat16"] as const).flatMap((method) =>
  ([["resnet18", 256], ["resnet50", 128]] as const).flatMap(([network, batch]) =>
    (["both", "step"] as const).map((work): Bench => ({ network, method, batch, work }))
  )
);
const onCpu: Bench[] = [
  { network: "lenet5", method: "float32", batch: 64, work: "epoch" },
  { network: "resnet18", method: "float32", batch: 1, work: "inference" },
  { network: "resnet18", method: "float32", batch: 8, work: "inference" },
];
const benches = (cpu ? onCpu : onGpu).map((bench) => {
  const batch = Number(args.batch ?? bench.batch);
  return {
    ...bench,
    batch,
    name: `${bench.network} ${bench.method} ${batch} ${works[bench.work]}`,
  };
}).filter(({ name }) => only.test(name));

interface NetworkRow extends Row {
  /** The most memory in use beside parameters, gradients and the batch. */
  bytes: number | null;
  peer_bytes: number | null;
}

const peers = await runPeer("torch_networks.py", args.python, [
  info.device.replace(/:.*/, ""),
  JSON.stringify(benches),
  `${info.processors}`,
]);

const rows: NetworkRow[] = [];
for (const bench of benches) {
  setMatmulPrecision(bench.method === "tf32" ? "tf32" : "float32");
  const { us, bytes } = bench.work === "epoch" ? await epoch(bench) : await measured(bench);
  const peer: PeerLine | undefined = peers.find(({ name }) => name === bench.name);
  const line = {
    ...row(bench.name, us, peer?.peer ?? "none", peer?.us ?? null, floorOf(bench)),
    ...{ bytes, peer_bytes: peer?.bytes ?? null },
  };
  const mib = (x: number | null) => x === null ? "?" : `${(x / 2 ** 20).toFixed(0)} MiB`;
  console.log(
    `${bench.name}: ${(line.ours_us / 1000).toFixed(3)} ms, ` +
      `torch ${line.peer_us === null ? "?" : (line.peer_us / 1000).toFixed(3)} ms: ${
        line.ratio ?? "?"
      } times as fast; ${mib(bytes)}, torch ${mib(line.peer_bytes)}`,
  );
  rows.push(line);
  if (args.out) writeRows(args.out, rows);
}

async function measured({ network, method, batch, work }: Bench) {
  const dtype: DType = method === "bfloat16" ? "bfloat16" : "float32";
  const model = network === "resnet50" ? models.resnet50({ dtype }) : models.resnet18({ dtype });
  const shape = [batch, 3, 224, 224];
  const training = new Training({ model, shape, device: info.device, dtype });
  const bytes = work === "inference" ? null : await training.activationBytes();
  const [us] = await deviceUsEach([training[work as "both"]], info.device, {
    rounds: cpu ? 5 : 11,
  });
  training.dispose();
  return { us: us!, bytes };
}

// Images as many and as large as MNIST's; the first epoch warms up, the faster of the next counts.
async function epoch({ batch }: Bench) {
  const images = rand([60000, 1, 28, 28]), classes = randint(0, 10, [60000]);
  const set = new data.TensorDataset(images, classes);
  const model = models.lenet5();
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 });
  let us = Infinity;
  for (let round = 0; round < 3; round++) {
    const start = performance.now();
    for (const index of new data.DataLoader(set, { batchSize: batch, shuffle: true }).indices()) {
      scope(() => {
        const { input, target } = set.batch(index);
        optimizer.zeroGrad();
        crossEntropy(model.forward(input), target).backward();
        optimizer.step();
      });
    }
    await synchronize();
    if (round > 0) us = Math.min(us, (performance.now() - start) * 1000);
  }
  for (const part of [model, optimizer, set]) part.dispose();
  return { us, bytes: null };
}

// By the multiply-adds of the convolutions and the linear layer, of which training has three times
// as many, but for the gradient of the images.
function floorOf({ network, method, batch, work }: Bench): number | null {
  if (network === "lenet5") return null;
  const [all, first] = network === "resnet18" ? [1814.1e6, 118e6] : [4089.2e6, 118e6];
  const products = method === "float32" ? 3 : 1;
  const each = work === "inference" ? all : 3 * all - first;
  return floorUs(info.name, method === "tf32" ? "tf32" : "half", 2 * products * batch * each, 0);
}
