// What profile() says of kernels beside deviceTime(), which times many one after another: matmul,
// a convolution and elementwise operations that take more than 20 µs on a large GPU.
// deno run -A bench/profile.ts [--device cuda]
import { parseArgs } from "@std/cli/parse-args";
import { conv2d, deviceTime, init, profile, randn, scope, type Tensor } from "../mod.ts";
import { median } from "./timing.ts";

const args = parseArgs(Deno.args, { string: ["device"], default: { device: "auto" } });
const info = init({ device: args.device as "auto" | "cpu" | "cuda", seed: 1 });
const scale = info.device === "cpu" ? 8 : 1;
const REPEATS = 20;

const n = 4096 / scale, images = 64 / scale, dtype = "bfloat16";
const a = randn([n, n]), half = randn([n, n], { dtype });
const last = { format: "channelsLast" } as const;
const x = randn([images, 64, 56, 56], { dtype }).to(last);
const w = randn([64, 64, 3, 3], { dtype }).to(last);
const operations: Record<string, () => Tensor> = {
  "matmul float32": () => a.matmul(a),
  "matmul bfloat16": () => half.matmul(half),
  "conv2d bfloat16": () => conv2d(x, w, null, { padding: 1 }),
  "add float32": () => a.add(a),
  "exp float32": () => a.exp(),
  "sum float32": () => a.sum(1),
};

console.log(`${info.name}\n${"operation".padEnd(18)} profile µs  deviceTime µs  ratio`);
for (const [name, operation] of Object.entries(operations)) {
  const repeated = () => {
    for (let i = 0; i < REPEATS; i++) operation().dispose();
  };
  repeated();
  const times: number[] = [];
  for (let i = 0; i < 5; i++) times.push(await deviceTime(repeated) / REPEATS);
  const { data } = await scope(() => profile(repeated));
  const seen = data.launches.reduce((sum, { duration }) => sum + duration, 0) / REPEATS;
  const by = median(times);
  console.log(
    name.padEnd(18),
    seen.toFixed(1).padStart(10),
    by.toFixed(1).padStart(14),
    (seen / by).toFixed(3).padStart(6),
  );
}
