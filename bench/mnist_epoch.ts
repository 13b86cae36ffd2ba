// One epoch of MNIST, 784-128-10, batch 128, plain SGD, beside PyTorch in the same run:
// deno run -A bench/mnist_epoch.ts [--device cpu] [--rounds 3] [--python python3] [--out FILE]
import { parseArgs } from "@std/cli/parse-args";
import { crossEntropy, data, init, nn, optim, scope, synchronize } from "../mod.ts";
import { median, type Row, row, writeRows } from "./timing.ts";

const args = parseArgs(Deno.args, {
  string: ["device", "python", "out", "rounds", "batch"],
  default: { device: "auto", python: "python3", rounds: "3", batch: "128" },
});
const batch = Number(args.batch), epochs = 3;
const info = init({ device: args.device as "auto" | "cpu" | "cuda", seed: 1 });
const { train, test } = await data.mnist();

async function ours(): Promise<{ seconds: number[]; accuracy: number }> {
  const model = new nn.Sequential(
    new nn.Flatten(),
    new nn.Linear(784, 128),
    new nn.ReLU(),
    new nn.Linear(128, 10),
  );
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
  const seconds: number[] = [];
  for (let epoch = 0; epoch < epochs; epoch++) {
    const start = performance.now();
    const loader = new data.DataLoader(train, { batchSize: batch, shuffle: true });
    for (const index of loader.indices()) {
      scope(() => {
        const { input, target } = train.batch(index);
        optimizer.zeroGrad();
        crossEntropy(model.forward(input), target).backward();
        optimizer.step();
      });
    }
    await synchronize();
    seconds.push((performance.now() - start) / 1000);
  }
  let right = 0;
  for (const index of new data.DataLoader(test, { batchSize: 1000 }).indices()) {
    scope(() => {
      const { input, target } = test.batch(index);
      right += model.forward(input).argmax(1).eq(target).to("float32").sum().itemSync();
    });
  }
  model.dispose();
  return { seconds, accuracy: right / test.length };
}

interface PeerLine {
  peer: string;
  seconds: number[];
  accuracy: number;
}

// The peer runs in its own process, with the threads that suit it best.
async function theirs(): Promise<PeerLine[]> {
  const script = new URL("./peers/torch_mlp.py", import.meta.url);
  const { stdout, success } = await new Deno.Command(args.python, {
    args: [
      script.pathname,
      Deno.env.get("MNIST_DIR") ?? "data/mnist",
      info.device.split(":")[0]!,
      `${batch}`,
    ],
    env: { OPENBLAS_NUM_THREADS: "1" },
    stderr: "inherit",
  }).output().catch(() => ({ stdout: new Uint8Array(), success: false }));
  if (!success) return [];
  return new TextDecoder().decode(stdout).trim().split("\n").map((line) => JSON.parse(line));
}

// Interleaved, so that a change of the machine's speed meets both.
const mine: number[] = [];
const others = new Map<string, number[]>();
let accuracy = 0;
for (let round = 0; round < Number(args.rounds); round++) {
  const result = await ours();
  mine.push(...result.seconds.slice(1)); // the first epoch warms up
  accuracy = result.accuracy;
  for (const line of await theirs()) {
    const times = others.get(line.peer) ?? [];
    times.push(...line.seconds.slice(1));
    others.set(line.peer, times);
    if (round === 0) {
      console.log(`${line.peer}: accuracy ${line.accuracy.toFixed(4)} after ${epochs} epochs`);
    }
  }
}
const us = median(mine) * 1e6;
console.log(`cudeno: accuracy ${accuracy.toFixed(4)} after ${epochs} epochs`);
console.log(
  `${info.device}, ${info.name}: ${(us / 1e6).toFixed(4)} s an epoch, ` +
    `${(us / Math.ceil(train.length / batch)).toFixed(1)} us a step`,
);
const rows: Row[] = [];
for (const [peer, times] of others) {
  const peerUs = median(times) * 1e6;
  console.log(`${peer}: ${(peerUs / 1e6).toFixed(4)} s, ${(peerUs / us).toFixed(2)} of it`);
  rows.push(row(`mnist_epoch_784_128_10_batch_${batch}`, us, peer, peerUs, null));
}
if (others.size === 0) {
  rows.push(row(`mnist_epoch_784_128_10_batch_${batch}`, us, "none", null, null));
}
if (args.out) writeRows(args.out, rows);
