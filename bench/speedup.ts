// What the methods of one product, and the devices of this machine for a network, have on each
// other:
// deno run -A bench/speedup.ts [--size 1024] [--batch N] [--only REGEX] [--out FILE] [--svg FILE]
// prints tables in Markdown, and writes FILE.json and FILE.md; --svg draws how many times as fast
// as the first each is. --only goes by matmul and resnet18.
import { parseArgs } from "@std/cli/parse-args";
import { type DeviceInfo, devices, init, models, plot } from "../mod.ts";
import { measureLadder } from "./matmul/ladder.ts";
import { deviceUsEach, rounded, writeRows } from "./timing.ts";
import { Training } from "./training.ts";

const args = parseArgs(Deno.args, {
  string: ["size", "batch", "only", "out", "svg"],
  default: { size: "1024", only: "" },
});
const only = new RegExp(args.only);
const rows: object[] = [];
const text: string[] = [];
const speedups: Record<string, number> = {};
let loops: number | undefined; // µs of the first method on the first device
init({ seed: 1 });
const found: DeviceInfo[] = devices().filter(({ device }) => device === "cpu" || /:0$/.test(device))
  .toReversed();

/** Adds a table, and prints it. */
function table(title: string, head: string[], lines: (string | number)[][]): void {
  const line = (cells: (string | number)[]) => `| ${cells.join(" | ")} |`;
  const rule = head.map((_, i) => i === 0 ? "---" : "--:");
  const all = [`\n${title}\n`, line(head), line(rule), ...lines.map(line)];
  text.push(...all);
  console.log(all.join("\n"));
}

const times = (x: number) => x >= 100 ? x.toFixed(0) : x.toPrecision(3);

for (const info of only.test("matmul") ? found : []) {
  init({ device: info.device, seed: 1 });
  const n = Number(args.size);
  const ladder = await measureLadder(n, info, { typescript: true });
  const first = ladder[0]!.ours_us;
  table(
    `A product of ${n} x ${n} matrices on ${info.name}`,
    ["method", "µs", "times as fast as the row before", "as the first"],
    ladder.map(({ name, ours_us }, i) => [
      name.replace(/^matmul_ladder_\d+_/, ""),
      rounded(ours_us),
      i === 0 ? "" : times(ladder[i - 1]!.ours_us / ours_us),
      times(first / ours_us),
    ]),
  );
  rows.push(...ladder.map((row) => ({ device: info.name, ...row })));
  loops ??= first;
  for (const { name, ours_us } of ladder) {
    speedups[`${info.device}: ${name.replace(/^matmul_ladder_\d+_/, "")}`] = loops / ours_us;
  }
}

if (only.test("resnet18")) {
  const parts = ["forward", "backward", "step"] as const;
  const measured: { info: DeviceInfo; batch: number; us: Record<string, number> }[] = [];
  for (const info of found) {
    init({ device: info.device, seed: 1 });
    const batch = Number(args.batch ?? (info.device === "cpu" ? 2 : 64));
    const shape = [batch, 3, 224, 224];
    const training = new Training({ model: models.resnet18(), shape, device: info.device });
    const rounds = info.device === "cpu" ? 3 : 7;
    const works = [training.forward, training.both, training.step];
    const [forward, both, step] = await deviceUsEach(works, info.device, { rounds }) as [
      number,
      number,
      number,
    ];
    measured.push({ info, batch, us: { forward, backward: both - forward, step } });
    training.dispose();
  }
  table(
    "ResNet-18 on images of 224 x 224 in float32, µs an image; a step is all with the optimizer",
    [
      "",
      ...measured.map(({ info, batch }) => `${info.name}, ${batch} at a time`),
      ...(measured.length > 1 ? ["times as fast as the first"] : []),
    ],
    parts.map((part) => {
      const each = measured.map(({ us, batch }) => us[part]! / batch);
      return [
        part,
        ...each.map(rounded),
        ...(each.length > 1 ? [times(each[0]! / each.at(-1)!)] : []),
      ];
    }),
  );
  for (const { info, batch, us } of measured) {
    for (const part of parts) {
      const ours_us = rounded(us[part]!);
      rows.push({ device: info.name, name: `resnet18 float32 ${batch} ${part}`, ours_us });
      const { us: first, batch: images } = measured[0]!;
      const name = `${info.device}: ResNet-18 ${part}, ${batch} images`;
      speedups[name] = first[part]! / images / (us[part]! / batch);
    }
  }
}

if (args.out) {
  const path = args.out.replace(/\.(json|md)$/, "");
  writeRows(`${path}.json`, rows);
  Deno.writeTextFileSync(`${path}.md`, `${text.join("\n").trim()}\n`);
}
if (args.svg) {
  const title = `A product of ${args.size} x ${args.size} matrices by its methods, and ResNet-18`;
  const how = { title, xLabel: "times as fast as the first", xScale: "log", width: 900 } as const;
  await plot.bar(speedups, how).save(args.svg);
}
