// Attention forward, and forward and backward, beside the best of PyTorch's backends in the same
// run, in device time:
// deno run -A bench/attention.ts [--device cuda] [--filter TEXT] [--python python3] [--out FILE]
// --device cpu takes smaller shapes.
import { parseArgs } from "@std/cli/parse-args";
import {
  emptyCache,
  grad,
  init,
  keep,
  noGrad,
  randn,
  scaledDotProductAttention,
  scope,
  type Tensor,
} from "../mod.ts";
import { floorUs } from "./peaks.ts";
import {
  deviceUs,
  type PeerLine,
  rounded,
  type Row,
  row,
  runPeer,
  type Work,
  writeRows,
} from "./timing.ts";

const args = parseArgs(Deno.args, {
  string: ["device", "filter", "python", "out"],
  default: { device: "auto", filter: "", python: "python3" },
});
const info = init({ device: args.device as "auto" | "cpu" | "cuda", seed: 1 });
const cpu = info.device === "cpu";

type Extents = [batch: number, heads: number, length: number, features: number];

/** What is measured; the peer's script gets the same. */
interface Case {
  name: string;
  shape: Extents;
  dtype: "bfloat16" | "float32";
  causal: boolean;
  both: boolean;
  /** Copies of the tensors, taken in turn so that they do not stay in the L2 cache. */
  copies: number;
}

const shapes: Extents[] = [
  [64, 6, 256, 64],
  [16, 12, 1024, 64],
  [4, 16, 4096, 64],
  [4, 16, 4096, 128],
  [1, 16, 16384, 128],
  [32, 8, 512, 32],
];
const onCpu: Extents[] = [[4, 6, 256, 64], [1, 4, 1024, 64], [1, 4, 1024, 128]];
const sized = cpu
  ? { bfloat16: onCpu, float32: onCpu }
  : { bfloat16: shapes, float32: shapes.slice(1, 4) };
const cases = (["bfloat16", "float32"] as const).flatMap((dtype) =>
  sized[dtype].flatMap((shape) =>
    [false, true].flatMap((causal) =>
      [false, true].map((both): Case => ({
        name: `${shape.join("x")} ${dtype}${causal ? " causal" : ""}${both ? ", both" : ""}`,
        ...{ shape, dtype, causal, both },
        copies: cpu ? 1 : Math.min(16, Math.ceil(120e6 / bytesOf(shape, dtype, 3))),
      }))
    )
  )
).filter(({ name }) => name.includes(args.filter));

function bytesOf(shape: Extents, dtype: Case["dtype"], tensors: number): number {
  return tensors * shape.reduce((a, b) => a * b) * (dtype === "float32" ? 4 : 2);
}

/** Queries, keys, values, and the gradient of what is found. */
type Operands = [q: Tensor, k: Tensor, v: Tensor, dy: Tensor];

function made({ shape, dtype, both }: Case): Operands {
  return Array.from({ length: 4 }, (_, i) => {
    const x = keep(randn(shape, { dtype }));
    x.requiresGrad = both && i < 3;
    return x;
  }) as Operands;
}

/** What is found, or the gradients of queries, keys and values. */
function run([q, k, v, dy]: Operands, { causal, both }: Case): Tensor[] {
  if (!both) return noGrad(() => [scaledDotProductAttention(q, k, v, { causal })]);
  return grad(scaledDotProductAttention(q, k, v, { causal }), [q, k, v], { gradOutputs: dy });
}

/**
 * The largest error of a head over its largest element, of all results, against float64 on the
 * device.
 */
function errorOf(operands: Operands, one: Case): number {
  const head = (x: Tensor) => x.detach().slice(0, 0, 1).slice(1, 0, 1).to("float64");
  return scope(() => {
    const wide = operands.map((x, i) => {
      const y = head(x).detach();
      y.requiresGrad = one.both && i < 3;
      return y;
    }) as Operands;
    const exact = run(wide, one).map((x) => x.detach());
    const errors = run(operands, one).map((x, i) => {
      const most = head(x).sub(exact[i]!).abs().max().itemSync();
      return most / exact[i]!.abs().max().itemSync();
    });
    return Math.max(...errors);
  });
}

/** Operations of the products that there must be: two forward, five more backward. */
function floorOf({ shape, dtype, causal, both }: Case): number | null {
  const [batch, heads, t, d] = shape;
  const pairs = batch * heads * (causal ? t * (t + 1) / 2 : t * t);
  // As exact as float32 are three products of 16 bits at the least.
  const flops = 2 * (both ? 7 : 2) * pairs * d * (dtype === "float32" ? 3 : 1);
  return floorUs(info.name, "half", flops, bytesOf(shape, dtype, both ? 12 : 4));
}

/** Beside a row's times, the peer's error, taken in the same way. */
interface AttentionRow extends Row {
  error_peer: number | null;
}

const lines: (PeerLine & { error?: number })[] = await runPeer(
  "torch_attention.py",
  args.python,
  [info.device.split(":")[0]!, JSON.stringify(cases)],
);
const peers = new Map(lines.map((line) => [line.name, line]));
const cells = (...values: (string | number | null)[]) =>
  console.log(values.map((x, i) => `${x ?? "?"}`[i ? "padStart" : "padEnd"](i ? 10 : 40)).join(""));
const short = (x: number | null) => x && x.toExponential(1);
cells("", "us", "torch", "ratio", "floor, %", "error", "torch's");
const rows: AttentionRow[] = [];
for (const one of cases) {
  const copies = Array.from({ length: one.copies }, () => made(one));
  const work: Work = (i) => scope(() => void run(copies[i % copies.length]!, one));
  const us = await deviceUs(work, info.device, { rounds: cpu ? 3 : 7 });
  const error = errorOf(copies[0]!, one);
  for (const x of copies.flat()) x.dispose();
  emptyCache();
  const { peer = "torch", us: peerUs = null, error: peerError } = peers.get(one.name) ?? {};
  const r = {
    ...row(one.name, us, peer, peerUs, floorOf(one), error),
    error_peer: peerError === undefined ? null : rounded(peerError),
  };
  const reached = r.floor_us && Math.round(100 * r.floor_us / us);
  cells(r.name, r.ours_us, r.peer_us, r.ratio, reached, short(r.error!), short(r.error_peer));
  rows.push(r);
}
if (args.out) writeRows(args.out, rows);
