// 100,000 captured steps: whether memory stays flat, on the device and in the process, and losses
// are those of steps that are not captured, bit for bit:
// deno run -A bench/soak.ts [--device cuda] [--steps 100000] [--out FILE]
// Ends with code 1 where memory grows or losses differ.
import { parseArgs } from "@std/cli/parse-args";
import {
  capture,
  crossEntropy,
  init,
  manualSeed,
  memory,
  nn,
  optim,
  rand,
  randint,
  scope,
  type Tensor,
} from "../mod.ts";
import { writeRows } from "./timing.ts";

const args = parseArgs(Deno.args, {
  string: ["device", "steps", "out"],
  default: { device: "auto", steps: "100000" },
});
const info = init({ device: args.device as "auto" | "cpu" | "cuda", seed: 1 });
const all = Number(args.steps), looks = 20, every = Math.ceil(all / looks);

/** A training with what moves on from step to step: dropout, BatchNorm, clipping, a schedule. */
interface Training {
  step: (x: Tensor, y: Tensor) => Tensor;
  /** After each step. */
  after: () => void;
  parts: { dispose(): void }[];
}

const trainings: Record<string, { shape: number[]; make: () => nn.Module<Tensor, Tensor> }> = {
  perceptron: {
    shape: [64, 100],
    make: () =>
      new nn.Sequential(
        ...[new nn.Linear(100, 64), new nn.ReLU(), new nn.Dropout(0.2), new nn.Linear(64, 10)],
      ),
  },
  convolutions: {
    shape: [8, 3, 12, 12],
    make: () =>
      new nn.Sequential(
        ...[new nn.Conv2d(3, 8, 3), new nn.BatchNorm2d(8), new nn.ReLU(), new nn.MaxPool2d(2)],
        ...[new nn.Flatten(), new nn.Dropout(0.1), new nn.Linear(200, 10)],
      ),
  },
};

function training(make: () => nn.Module<Tensor, Tensor>): Training {
  const model = make();
  const optimizer = new optim.AdamW(model.parameters(), { lr: 1e-3 });
  const schedule = new optim.schedule.CosineAnnealingLR(optimizer, { tMax: 500 });
  return {
    step: (x, y) => {
      optimizer.zeroGrad();
      const loss = crossEntropy(model.forward(x), y);
      loss.backward();
      optim.clipGradNorm(model.parameters(), 1);
      optimizer.step();
      return loss;
    },
    after: () => schedule.step(),
    parts: [model, optimizer],
  };
}

/** The losses of some of so many steps, and memory then. */
function run(name: string, steps: number, captured: boolean) {
  const { shape, make } = trainings[name]!;
  manualSeed(1);
  const { step, after, parts } = training(make);
  using repeated = captured ? capture(step) : undefined;
  const doIt = repeated ?? step;
  const batches = Array.from({ length: 16 }, () => ({
    x: rand(shape),
    y: randint(0, 10, [shape[0]!]),
  }));
  const found: { step: number; loss: number; device: number; rss: number }[] = [];
  for (let i = 1; i <= steps; i++) {
    const { x, y } = batches[i % 16]!;
    scope(() => {
      const loss = doIt(x, y);
      if (i % every === 0 || i <= 50) {
        const { rss } = Deno.memoryUsage();
        found.push({ step: i, loss: loss.itemSync(), device: memory().reserved, rss });
      }
    });
    after();
  }
  for (const { x, y } of batches) parts.push(x, y);
  for (const part of parts) part.dispose();
  return found;
}

const rows = [];
for (const name of Object.keys(trainings)) {
  const start = performance.now();
  const captured = run(name, all, true);
  const seconds = (performance.now() - start) / 1000;
  // As many steps one operation after another would take long.
  const eagerSteps = Math.min(all, every * 2);
  const eager = run(name, eagerSteps, false);
  const same = eager.every(({ loss }, i) => Object.is(loss, captured[i]!.loss));
  const later = captured.filter(({ step }) => step % every === 0);
  // JavaScript's own memory rises and falls: the most in the second quarter and in the last.
  const quarter = (i: number) => later.slice(i * later.length / 4, (i + 1) * later.length / 4);
  const most = (key: "device" | "rss", i: number) => Math.max(...quarter(i).map((x) => x[key]));
  const [first, last] = [1, 3].map((i) => ({ device: most("device", i), rss: most("rss", i) }));
  const row = {
    ...{ name, device: info.device, steps: all, seconds },
    ...{ losses_compared: eager.length, to_step: eagerSteps, losses_same: same },
    ...{ device_bytes: [first!.device, last!.device], rss_bytes: [first!.rss, last!.rss] },
    flat: last!.device <= first!.device && last!.rss <= 1.05 * first!.rss,
  };
  const mib = (x: number) => `${(x / 2 ** 20).toFixed(2)} MiB`;
  console.log(
    `${name}: ${all} captured steps in ${
      seconds.toFixed(1)
    } s; ${eager.length} losses of the first ` +
      `${eagerSteps} ${same ? "are" : "are NOT"} those of eager steps; device ${
        mib(first!.device)
      } ` +
      `to ${mib(last!.device)}, process ${mib(first!.rss)} to ${mib(last!.rss)}`,
  );
  rows.push(row);
  if (args.out) writeRows(args.out, rows);
}
if (rows.some(({ flat, losses_same }) => !flat || !losses_same)) Deno.exit(1);
