// The matmul variants beside one another: deno run -A bench/matmul.ts [--size 1024] [--device cuda] [--out FILE]
import { parseArgs } from "@std/cli/parse-args";
import { CudenoError, init, matmulVariants, randn, scope, type Tensor } from "../mod.ts";
import { type Row, row, timeUs, writeRows } from "./timing.ts";
import { typescriptMatmul } from "./typescript_matmul.ts";

const args = parseArgs(Deno.args, {
  string: ["size", "device", "out", "variants"],
  boolean: ["typescript"],
  negatable: ["typescript"],
  default: { size: "1024", device: "auto", typescript: true },
});
const info = init({ device: args.device as "auto" | "cpu" | "cuda", seed: 1 });
const peers = ["cublas", "blas"];
const rows: Row[] = [];

console.log(`${info.device}: ${info.name}, ${info.processors} processors; ${info.build}`);
for (const size of String(args.size).split(",").map(Number)) await table(size);
if (args.out) writeRows(args.out, rows);

async function table(n: number) {
  const flops = 2 * n ** 3;
  const variants = args.variants?.split(",") ?? matmulVariants();
  // The ladder in its order, then the default, then the vendor's library.
  const order = [
    ...variants.filter((v) => v !== "default" && !peers.includes(v)),
    "default",
    ...variants.filter((v) => peers.includes(v)),
  ];
  const a = randn([n, n]), b = randn([n, n]);
  const timed: { name: string; us: number; error: number }[] = [];
  if (args.typescript && n <= 1024) {
    timed.push({ name: "TypeScript loops", ...typescript(a, b, n) });
  }
  for (const variant of order) {
    try {
      const error = scope(() => sampledError(a.matmul(b, { variant }), a, b));
      const us = await timeUs(() => a.matmul(b, { variant }).dispose(), info.device);
      timed.push({ name: variant, us, error });
    } catch (error) {
      if (!(error instanceof CudenoError)) throw error;
      console.log(`${variant}: ${error.message}`);
    }
  }
  const peer = timed.find((t) => peers.includes(t.name));
  console.log(`\nfloat32 ${n}x${n}x${n}`);
  console.log(
    `${"variant".padEnd(18)}${"ms".padStart(12)}${"TFLOP/s".padStart(10)}` +
      `${"x before".padStart(10)}${"x first".padStart(11)}${"x peer".padStart(8)}${
        "error".padStart(10)
      }`,
  );
  timed.forEach(({ name, us, error }, i) => {
    const before = i > 0 ? (timed[i - 1]!.us / us).toFixed(2) : "";
    console.log(
      name.padEnd(18) + (us / 1000).toFixed(4).padStart(12) +
        (flops / us / 1e6).toFixed(2).padStart(10) +
        before.padStart(10) + (timed[0]!.us / us).toFixed(1).padStart(11) +
        (peer ? (peer.us / us).toFixed(2) : "").padStart(8) + error.toExponential(1).padStart(10),
    );
    // 66.9 TFLOP/s: an H200's 16,896 lanes at 1.98 GHz. Other devices have no floor written down here.
    const floor = info.name.includes("H200") ? flops / 66.9e6 : null;
    rows.push(
      row(`matmul_float32_${n}_${name}`, us, peer?.name ?? "none", peer?.us ?? null, floor, error),
    );
  });
}

function typescript(a: Tensor, b: Tensor, n: number): { us: number; error: number } {
  const x = a.dataSync(), y = b.dataSync();
  const start = performance.now();
  const z = typescriptMatmul(x, y, n);
  const us = (performance.now() - start) * 1000;
  return { us, error: errorOfRows(z, x, y, n) };
}

function sampledError(c: Tensor, a: Tensor, b: Tensor): number {
  return errorOfRows(c.dataSync(), a.dataSync(), b.dataSync(), a.shape[0]!);
}

// ||c - ab|| / ||ab|| in float64 over eight rows.
function errorOfRows(
  c: ArrayLike<number>,
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  n: number,
): number {
  let wrong = 0, all = 0;
  for (let r = 0; r < 8; r++) {
    const i = Math.floor(r * (n - 1) / 7);
    const exact = new Float64Array(n);
    for (let k = 0; k < n; k++) {
      const x = a[i * n + k]!;
      for (let j = 0; j < n; j++) exact[j]! += x * b[k * n + j]!;
    }
    for (let j = 0; j < n; j++) {
      wrong += (c[i * n + j]! - exact[j]!) ** 2;
      all += exact[j]! ** 2;
    }
  }
  return Math.sqrt(wrong / all);
}
