// Operations that memory limits beside PyTorch's eager kernels in the same run, in device time:
// deno run -A bench/memory_bound.ts [--device cuda] [--filter TEXT] [--python python3] [--out FILE]
// --device cpu takes first extents a sixteenth as large.
import { parseArgs } from "@std/cli/parse-args";
import {
  type DType,
  emptyCache,
  init,
  noGrad,
  ones,
  rand,
  randint,
  randn,
  scope,
  type Tensor,
} from "../mod.ts";
import { type Input, type Op, ops, size, table } from "./memory/ops.ts";
import { floorUs } from "./peaks.ts";
import { deviceUs, rounded, type Row, row, runPeer, runs, type Work, writeRows } from "./timing.ts";

const args = parseArgs(Deno.args, {
  string: ["device", "filter", "python", "out"],
  default: { device: "auto", filter: "", python: "python3" },
});
const info = init({ device: args.device as "auto" | "cpu" | "cuda", seed: 1 });
const cpu = info.device === "cpu";
const M = 2 ** 20;

/** What is measured; the peer's script gets the same, but for what `op` is. */
interface Case {
  name: string;
  op: string;
  inputs: Input[];
  dtype: DType;
  both: boolean;
  format: "contiguous" | "channelsLast";
  /** Copies of the inputs, taken in turn so that they do not stay in the L2 cache. */
  copies: number;
  bytes: number;
}

const cases = table.flatMap(([names, shapes]) =>
  names.flatMap((op) => shapes.flatMap((shape) => casesOf(op, shape)))
).filter(({ name }) => name.includes(args.filter));

function casesOf(op: string, full: number[]): Case[] {
  const { inputs: inputsOf = plain, moves, more, optimizer } = ops[op]!;
  const shape = [Math.ceil(full[0]! / (cpu ? 16 : 1)), ...full.slice(1)];
  const inputs = inputsOf(shape);
  const formats = op === "batchNorm" && shape.length === 4
    ? ["contiguous", "channelsLast"] as const
    : ["contiguous"] as const;
  return (["float32", "bfloat16"] as const).flatMap((dtype) =>
    formats.flatMap((format) =>
      moves.map((count, i) => {
        const itemSize = dtype === "float32" ? 4 : 2;
        const all = inputs.reduce((sum, input) => sum + size(input.shape) * itemSize, 0);
        const layout = formats.length > 1 ? ` ${format}` : "";
        return {
          name: `${op} ${full.map((n) => n % M ? n : `${n / M}M`).join("x")}${layout} ${dtype}${
            i ? ", both" : ""
          }`,
          op,
          inputs,
          dtype,
          both: i === 1,
          format,
          copies: cpu || optimizer ? 1 : Math.min(16, Math.ceil(120e6 / all)),
          bytes: count! * size(shape) * itemSize + (more?.(shape, itemSize, i ? 2 : 1) ?? 0),
        };
      })
    )
  );
}

function plain(shape: number[]): Input[] {
  return [{ shape, kind: "normal" }];
}

function made({ inputs, dtype, format, both }: Case): Tensor[] {
  return inputs.map(({ shape, kind, high }, i) => {
    if (kind === "classes") return randint(0, high!, shape);
    if (kind === "mask") return scope(() => rand(shape).lt(0.5));
    const layout = shape.length === 4 ? format : "contiguous";
    const x = scope(() => kind === "normal" ? randn(shape, { dtype }) : rand(shape, { dtype })).to({
      format: layout,
    });
    x.requiresGrad = both && (kind === "normal" || i === 0);
    return x;
  });
}

/** Queues the i-th call: a step, forward without recording, or forward and backward. */
function workOf({ run, optimizer }: Op, copies: Tensor[][], both: boolean): Work {
  if (optimizer) {
    const [parameters] = copies;
    for (const x of parameters!) {
      x.requiresGrad = true;
      x.grad = randn(x.shape, { dtype: x.dtype });
    }
    const made = optimizer(parameters!);
    return () => made.step();
  }
  const call = (i: number) => run(...copies[i % copies.length]!);
  if (!both) return (i) => noGrad(() => void scope(() => void call(i)));
  const seed = scope(() =>
    noGrad(() => {
      const { shape, dtype, format } = call(0);
      return ones(shape, { dtype }).to({ format });
    })
  );
  return (i) =>
    scope(() => {
      call(i).backward(seed);
      for (const x of copies[i % copies.length]!) {
        x.grad?.dispose();
        x.grad = null;
      }
    });
}

/** The largest error of a part of the result, as a part of the largest element, against float64. */
function errorOf({ run, parts }: Op, inputs: Tensor[], dtype: DType): number | undefined {
  if (!parts) return undefined;
  const [axis, to] = parts;
  const [x] = inputs;
  const part = (y: Tensor, along: number) => y.slice(along, 0, x!.rank === 1 ? 65536 : 4);
  return scope(() =>
    noGrad(() => {
      // weights go along with columns, classes with rows
      const cut = inputs.map((y) => {
        if (y.rank === x!.rank) return part(y, axis);
        return axis === 1 || y.dtype === "int32" ? part(y, 0) : y;
      });
      const exact = run(...cut.map((y) =>
        y.dtype === dtype ? y.to({ dtype: "float64", device: "cpu" }) : y.to("cpu")
      ));
      const y = to === undefined ? run(...cut) : part(run(...inputs), to);
      const difference = y.to({ dtype: "float64", device: "cpu" }).sub(exact).abs().max();
      return difference.dataSync()[0]! / exact.abs().max().dataSync()[0]!;
    })
  );
}

/** Beside a row's times, bytes that had to move over our time. */
interface MemoryRow extends Row {
  gb_s: number;
}

const peers = new Map(
  (await runPeer("torch_memory.py", args.python, [
    info.device.split(":")[0]!,
    JSON.stringify(cases),
  ]))
    .map((line) => [line.name, line]),
);
const cells = (...values: (string | number | null)[]) =>
  console.log(values.map((x, i) => `${x ?? "?"}`[i ? "padStart" : "padEnd"](i ? 10 : 58)).join(""));
cells("", "us", "torch", "ratio", "GB/s", "floor, %");
const rows: MemoryRow[] = [];
for (const one of cases) {
  const op = ops[one.op]!;
  const copies = Array.from({ length: one.copies }, () => made(one));
  let work: Work = () => {};
  const taken = runs(() => {
    work = workOf(op, copies, one.both);
    work(0);
  }, one.name);
  if (!taken) continue;
  const us = await deviceUs(work, info.device, { rounds: 5, roundUs: cpu ? 30_000 : 3000 });
  const error = one.both ? undefined : errorOf(op, copies[0]!, one.dtype);
  for (const x of copies.flat()) x.dispose();
  emptyCache();
  const { peer = "torch", us: peerUs = null } = peers.get(one.name) ?? {};
  const floor = floorUs(info.name, "float32", 0, one.bytes);
  const r = {
    ...row(one.name, us, peer, peerUs, floor, error),
    gb_s: rounded(one.bytes / us / 1e3),
  };
  cells(r.name, r.ours_us, r.peer_us, r.ratio, r.gb_s, floor && Math.round(100 * floor / us));
  rows.push(r);
}
const compared = rows.filter((r) => r.ratio !== null).sort((a, b) => a.ratio! - b.ratio!);
const logs = compared.reduce((sum, r) => sum + Math.log(r.ratio!), 0);
console.log(
  `${compared.length} of ${rows.length} rows compared, ` +
    `geometric mean of ratios ${rounded(Math.exp(logs / compared.length))}; below 1:`,
);
for (const r of compared.filter((r) => r.ratio! < 1)) cells(r.name, r.ours_us, r.peer_us, r.ratio);
if (args.out) writeRows(args.out, rows);
