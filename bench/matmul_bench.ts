// `deno bench --allow-ffi`: the variants of the default device on square matrices, from plain loops
// to tensor cores and the vendor's library. Each one's name says its rate by the device's clock,
// many calls back to back, and what part of the peak of the unit used that is; the times that deno
// bench adds are of single calls that are waited for.
import { type DType, init, randn, synchronize, type Tensor } from "../mod.ts";
import { measureLadder, rungs } from "./matmul/ladder.ts";
import { typescriptMatmul } from "./typescript_matmul.ts";

const device = init({ seed: 1 });
const cpu = device.device === "cpu";
const timing = cpu ? { rounds: 3, roundUs: 5000 } : { rounds: 3 };

for (const size of cpu ? [256, 512] : [1024, 4096]) {
  const group = `matmul ${size}x${size}x${size} on ${device.device}, ${device.name}`;
  const rows = await measureLadder(size, device, timing);
  const squares = new Map<DType, Tensor>();
  const square = (dtype: DType) => {
    const x = squares.get(dtype) ?? randn([size, size], { dtype });
    squares.set(dtype, x);
    return x;
  };
  if (cpu) {
    const x = new Float32Array(size * size).fill(0.5);
    const name = "TypeScript loops";
    Deno.bench({ name, group, baseline: true, n: 1, warmup: 0 }, () => {
      typescriptMatmul(x, x, size);
    });
  }
  for (const [i, { name, product, options }] of rungs(size, device).entries()) {
    const { tflops, share, ours_us } = rows[i]!;
    const part = share === null ? "" : `, ${(100 * share).toFixed(0)}%`;
    const x = square(product.dtype);
    Deno.bench({
      name: `${name}: ${tflops.toPrecision(3)} TFLOP/s${part}`,
      group,
      ...(ours_us > 5000 ? { n: 10, warmup: 1 } : {}),
    }, async () => {
      x.matmul(x, options).dispose();
      await synchronize();
    });
  }
}
