// What an operation costs the host: small tensors, forward, allocation and free, beside the same
// native calls alone (the floor) and PyTorch.
// deno run -A bench/host.ts [--device cuda] [--filter TEXT] [--python python3 | --peer FILE] [--out
// FILE]
// --peer names what `python3 bench/peers/torch_host.py cuda|cpu` printed; without it the script is
// run.
import { parseArgs } from "@std/cli/parse-args";
import { init, nn, optim, randn, scope, softmax, synchronize, type Tensor, zeros } from "../mod.ts";
import { median, type PeerLine, peerLines, rounded, row, runPeer, writeRows } from "./timing.ts";

const args = parseArgs(Deno.args, {
  string: ["device", "filter", "python", "peer", "out"],
  default: { device: "auto", filter: "", python: "python3" },
});
const info = init({ device: args.device as "auto" | "cpu" | "cuda", seed: 1 });
// launches in a row; the driver takes about a thousand before the host has to wait
const BATCH = 200;
const BATCHES = 300;

interface Bench {
  name: string;
  /** What is timed. */
  fn?: () => void;
  /** Or how it is timed: microseconds. */
  times?: () => Promise<number[]>;
  /** The native calls that it comes to, in memory that is there already. */
  bare?: () => number;
  /** How many they are. Default 1. */
  launches?: number;
}

const small = [16, 16];
const [x, y, z] = [randn(small), randn(small), randn(small)];
const [a, b] = [randn([64, 64]), randn([64, 64])];
const leaves = [randn([64, 64], { requiresGrad: true }), randn([64, 64], { requiresGrad: true })];
const [c, d, e, sum] = [randn([64, 64]), randn([64, 64]), randn([64, 64]), randn([])];
const { functions: f } = x.backend;
const layout = new BigInt64Array([256n, 1n, 1n]);
const spread = new BigInt64Array([64n, 0n, 64n, 0n, 0n]);

const model = new nn.Sequential(
  ...[new nn.Linear(64, 64), new nn.ReLU(), new nn.Linear(64, 64), new nn.ReLU()],
  new nn.Linear(64, 10),
);
const parameters = model.parameters();
scope(() => model.forward(randn([8, 64])).sum().backward());
const optimizer = new optim.AdamW(parameters, { lr: 1e-3 });
const handles = (tensors: readonly Tensor[]) => Uint32Array.from(tensors, (x) => x.handle);
const [p, g] = [handles(parameters), handles(parameters.map(({ grad }) => grad!))];
const moments = [1, 2].map(() => parameters.map(({ shape }) => zeros(shape)));
const [m, v] = moments.map(handles);
const clock = zeros([11], { dtype: "float64" });
const sizes = BigInt64Array.from(parameters, ({ size }) => BigInt(size));

const product = (c: Tensor, a: Tensor, b: Tensor, transposeA = 0, transposeB = 0) =>
  f.cdn_matmul(
    ...[c.handle, a.handle, b.handle] as const,
    null,
    0,
    ...[64n, 64n, 64n, 0n, 0n, 0n] as const,
    ...[transposeA, transposeB, 0, 0, 0] as const,
  );

const benches: Bench[] = [
  { name: "bare launch", fn: () => void f.cdn_fill(sum.handle, 1n, 0, 0) },
  {
    name: "relu 16x16",
    fn: () => x.relu().dispose(),
    bare: () => f.cdn_relu(z.handle, x.handle, 256n, 0),
  },
  {
    name: "add 16x16",
    fn: () => x.add(y).dispose(),
    bare: () => f.cdn_add(z.handle, x.handle, y.handle, layout, 1, 0, 0),
  },
  {
    name: "softmax 16x16",
    fn: () => softmax(x).dispose(),
    bare: () => f.cdn_softmax(z.handle, x.handle, 16n, 16n, 0),
  },
  {
    name: "matmul 64x64",
    fn: () => a.matmul(b).dispose(),
    bare: () => product(c, a, b),
  },
  {
    name: "matmul, relu, sum and backward 64x64",
    fn: () => {
      scope(() => leaves[0]!.matmul(leaves[1]!).relu().sum().backward());
      for (const leaf of leaves) {
        leaf.grad!.dispose();
        leaf.grad = null;
      }
    },
    launches: 8,
    bare: () =>
      product(c, a, b) + f.cdn_relu(d.handle, c.handle, 4096n, 0) +
      f.cdn_sum(sum.handle, d.handle, 1n, 4096n, 1n, 0, 0) + f.cdn_fill(sum.handle, 1n, 1, 0) +
      f.cdn_strided_copy(e.handle, sum.handle, spread, 2, 0) +
      f.cdn_relu_grad(c.handle, e.handle, d.handle, 4096n, 0) +
      product(d, c, b, 0, 1) + product(e, a, c, 1, 0),
  },
  {
    name: "AdamW step of a 64-64-64-10 MLP",
    fn: () => optimizer.step(),
    launches: 2,
    bare: () =>
      f.cdn_adam_step(
        ...[p!, g!, m!, v!, null, sizes, parameters.length] as const,
        ...[clock.handle, 0, 0.999, 1e-8, 0.01, 1, 0, 0] as const,
      ),
  },
];

// A number that was ready before long work was queued behind it.
async function readsBeforeProducts(): Promise<number[]> {
  const [big, other] = [randn([8192, 8192]), randn([8192, 8192])];
  const times: number[] = [];
  for (let i = -2; i < 10; i++) {
    using number = x.sum();
    for (let short = 0; short < 16; short++) x.relu().dispose();
    for (let product = 0; product < 4; product++) big.matmul(other).dispose();
    const start = performance.now();
    await number.item();
    if (i >= 0) times.push((performance.now() - start) * 1000);
    await synchronize();
  }
  return times;
}
if (info.device !== "cpu") { // which has nothing queued
  benches.push({ name: "item() before 4 products of 8192, queued", times: readsBeforeProducts });
}

/** Microseconds of a call in each of many batches, between which the device is waited for. */
async function measure(fn: () => unknown, launches = 1): Promise<number[]> {
  const calls = BATCH / launches;
  const times: number[] = [];
  for (let i = -50; i < BATCHES; i++) { // the first ones warm up
    const start = performance.now();
    for (let call = 0; call < calls; call++) fn();
    const us = (performance.now() - start) * 1000 / calls;
    await synchronize();
    if (i >= 0) times.push(us);
  }
  return times;
}

const peers = args.peer
  ? peerLines(Deno.readTextFileSync(args.peer))
  : await runPeer("torch_host.py", args.python, [info.device.split(":")[0]!, args.filter]);
const results: object[] = [];
for (const { name, fn, times: timed, bare, launches } of benches) {
  if (!name.includes(args.filter)) continue;
  if (bare && bare() !== 0) throw new Error(`${name}: the bare calls fail`);
  const times = timed ? await timed() : await measure(fn!, launches);
  const floor = bare ? median(await measure(bare, launches)) : null;
  const peer: PeerLine | undefined = peers.find((line) => line.name === name);
  const result = row(name, median(times), peer?.peer ?? "torch", peer?.us ?? null, floor);
  results.push({
    ...result,
    min_us: rounded(Math.min(...times)),
    peer_min_us: peer?.min_us ?? null,
  });
  console.log(
    `${name}: ${result.ours_us} us (least ${rounded(Math.min(...times))}), floor ${
      result.floor_us ?? "-"
    }, torch ${result.peer_us ?? "?"}`,
  );
}
if (args.out) writeRows(args.out, results);
