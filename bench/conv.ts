// Convolutions in three directions beside PyTorch's in the same run, and beside cuDNN's own time
// where variant "cudnn" finds it.
//
//   deno run -A bench/conv.ts --device cuda --out bench/results/h200/conv.json
//
// measures the layers of bench/conv/table.ts; --only REGEX takes those whose names it matches
// (depthwise, bfloat16, weight), --python PROGRAM says which has PyTorch.
//
//   deno run -A bench/conv.ts --ladder --out bench/results/h200/conv_ladder.json
//
// measures all methods at three shapes instead, and what memory they take.
//
//   deno run -A bench/conv.ts --random 60 --out bench/results/h200/conv_random.json
//
// measures that many random layers instead, in float32 and bfloat16.
import { parseArgs } from "@std/cli/parse-args";
import { convVariants, init } from "../mod.ts";
import { directions, methodsOn, peersOf, type Task, tasksOf } from "./conv/layer.ts";
import { compare, type ConvRow, heading, line, measure } from "./conv/measure.ts";
import { ladder, layers, randomLayers } from "./conv/table.ts";
import { byRatio, summaryOf } from "./random.ts";
import { type DeviceUsOptions, writeRows } from "./timing.ts";

const args = parseArgs(Deno.args, {
  string: ["device", "only", "python", "out", "random"],
  boolean: ["ladder"],
  default: { device: "auto", only: "", python: "python3" },
});
const info = init({ device: args.device as "auto" | "cpu" | "cuda", seed: 1 });
const only = new RegExp(args.only);
const variants = convVariants(info.device);
const methods = methodsOn(info);
const rows: ConvRow[] = [];

if (args.random !== undefined) await random(Number(args.random));
else await measured(tasksOf(args.ladder ? ladder : layers, methods), { everyVariant: args.ladder });

// Those chosen of the tasks, by the default beside cuDNN or by all variants.
async function measured(
  all: Task[],
  { everyVariant = false, quiet = false, ...timing }: DeviceUsOptions & {
    everyVariant?: boolean;
    quiet?: boolean;
  },
): Promise<ConvRow[]> {
  const tasks = all.filter(({ name, layer }) =>
    only.test(name) && (info.device !== "cpu" || layer.n < 256)
  );
  const peers = await peersOf(tasks, info, args.python);
  const own: ConvRow[] = [];
  if (!quiet) console.log(heading);
  for (const task of tasks) {
    const peer = peers.get(task.name);
    const found = everyVariant
      ? await measure(task, variants.filter((v) => serves(task, v)), info, peer, timing)
      : [await compare(task, variants, info, peer, timing)];
    if (!quiet) { for (const r of found) console.log(line(r)); }
    own.push(...found);
    rows.push(...found);
    // after each, so that what is measured is not lost with the machine
    if (args.out) writeRows(args.out, rows);
  }
  return own;
}

// Plain multiply-adds know no TF32.
function serves({ layer, method }: Task, variant: string): boolean {
  if (variant === "depthwise") return layer.groups === layer.c && layer.groups === layer.k;
  return method.name !== "tf32" || !["naive", "direct"].includes(variant);
}

async function random(count: number): Promise<void> {
  const drawn = randomLayers(count, info.device === "cpu" ? 3e8 : 3e10);
  const summaries = [];
  for (const method of methods.filter(({ name }) => name !== "tf32")) {
    const timing = { rounds: 3, roundUs: info.device === "cpu" ? 5000 : 1000 };
    const all = await measured(tasksOf(drawn, [method]), { quiet: true, ...timing });
    if (all.length === 0) continue;
    console.log(`\nThe worst of ${all.length}, ${method.name}\n${heading}`);
    for (const r of byRatio(all).slice(0, 12)) console.log(line(r));
    for (const direction of ["", ...directions]) {
      const own = all.filter(({ name }) => name.endsWith(direction));
      summaries.push(summaryOf(`conv_random ${method.name} ${direction || "all"}`, own));
    }
  }
  if (args.out) writeRows(args.out, [...summaries, ...rows]);
}
