// How fast networks get somewhere, over 20 seeds: the programs of examples/ in turn, their results
// in one file:
// deno run -A bench/records.ts [--device cuda] [--seeds 20] [--out FILE]
import { parseArgs } from "@std/cli/parse-args";
import { writeRows } from "./timing.ts";

const args = parseArgs(Deno.args, {
  string: ["device", "seeds", "out"],
  default: { device: "auto", seeds: "20" },
});

/** The programs, what they are to reach, and what others have published, not on this machine. */
const records = [
  {
    example: "mnist_record.ts",
    target: 0.99,
    published: "0.76 s on a GTX 1660 Ti",
  },
  {
    example: "cifar_record.ts",
    target: 0.94,
    published: "1.99 s on an A100 (airbench94_muon, compiled)",
  },
];
const rows: object[] = [];
for (const { example, target, published } of records) {
  const out = await Deno.makeTempFile({ suffix: ".json" });
  const path = new URL(`../examples/${example}`, import.meta.url).pathname;
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", path, "--device", args.device, "--seeds", args.seeds, "--out", out],
    stdout: "inherit",
    stderr: "inherit",
  }).output();
  if (!success) Deno.exit(1);
  const [result] = JSON.parse(await Deno.readTextFile(out));
  await Deno.remove(out);
  rows.push({ ...result, target, published });
  if (args.out) writeRows(args.out, rows);
}
