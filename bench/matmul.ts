// The product of matrices beside the vendor's library: time, share of the peak, error against
// float64.
//
//   deno run -A bench/matmul.ts --device cuda --out bench/results/h200/matmul.json
//
// measures the products of bench/matmul/table.ts, the errors of every method and 200 random shapes;
// the last two go to files beside it, matmul_accuracy.{json,md} and matmul_random.json. --only
// REGEX takes those whose names it matches (random_float32, random_bfloat16 and accuracy are names
// too), --random N that many shapes.
//
//   deno run -A bench/matmul.ts --size 1024,4096 [--out FILE]
//
// measures every variant at these sizes instead; there --only goes by the variants' names.
import { parseArgs } from "@std/cli/parse-args";
import { init } from "../mod.ts";
import { accuracyTables, measureAccuracy } from "./matmul/accuracy.ts";
import { type LadderRow, measureLadder } from "./matmul/ladder.ts";
import { heading, line, type MatmulRow, measure } from "./matmul/measure.ts";
import { measureRandom, randomProducts } from "./matmul/random.ts";
import { products } from "./matmul/table.ts";
import { writeRows } from "./timing.ts";

const args = parseArgs(Deno.args, {
  string: ["device", "out", "only", "size", "random"],
  default: { device: "auto", only: "." },
});
const device = init({ device: args.device as "auto" | "cpu" | "cuda", seed: 1 });
const cpu = device.device === "cpu";
const only = new RegExp(args.only);
const rounds = cpu ? 5 : 11;

console.log(`${device.device}: ${device.name}, ${device.processors} processors; ${device.build}`);
if (args.size === undefined) await table();
else await ladder(args.size.split(",").map(Number));

async function table(): Promise<void> {
  const rows: MatmulRow[] = [];
  console.log(`\n${heading}`);
  for (const x of products(device.device).filter(({ name }) => only.test(name))) {
    const measured = await measure(x, device, { rounds });
    console.log(line(x, measured, device));
    rows.push(measured);
    save(args.out, rows);
  }

  const random: MatmulRow[] = [];
  const count = Number(args.random ?? (cpu ? 20 : 200));
  for (const dtype of ["float32", "bfloat16"] as const) {
    if (count === 0 || !only.test(`random_${dtype}`)) continue;
    console.log(`\nThe worst of ${count} random shapes, ${dtype}\n${heading}`);
    const shapes = randomProducts(count, dtype, cpu ? 1024 : 8192);
    const measured = await measureRandom(shapes, dtype, device);
    rows.push(measured.summary);
    random.push(...measured.rows);
    save(args.out, rows);
    save(beside("_random.json"), random);
  }

  if (only.test("accuracy")) {
    const accuracy = measureAccuracy(device);
    const tables = accuracyTables(accuracy);
    console.log(`\n${tables}`);
    save(beside("_accuracy.json"), accuracy);
    const text =
      `# Errors of matmul\n\nOn ${device.name}, op(a) [256, k] by op(b) [k, 256]: the relative ` +
      "error ||c - ab|| / ||ab|| against float64, and in brackets the largest " +
      "|c - ab| / (|a| |b|) of an element.\n\n";
    const path = beside("_accuracy.md");
    if (path !== undefined) Deno.writeTextFileSync(path, text + tables);
  }
}

async function ladder(sizes: number[]): Promise<void> {
  const rows: LadderRow[] = [];
  for (const size of sizes) {
    rows.push(...await measureLadder(size, device, { rounds, only, typescript: size <= 1024 }));
    save(args.out, rows);
  }
}

/** Another file beside that of the results. */
function beside(ending: string): string | undefined {
  return args.out?.replace(/(\.json)?$/, ending);
}

// After each step, so that what is measured is not lost with the machine.
function save(path: string | undefined, rows: object[]): void {
  if (path !== undefined) writeRows(path, rows);
}
