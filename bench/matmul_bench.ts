// `deno bench --allow-ffi`: the matmul variants of the default device on 512x512x512, and plain TypeScript as the baseline.
import { CudenoError, init, matmulVariants, randn, synchronize } from "../mod.ts";
import { typescriptMatmul } from "./typescript_matmul.ts";

const n = 512;
const info = init({ seed: 1 });
const a = randn([n, n]), b = randn([n, n]);
const group = `matmul float32 ${n}x${n}x${n} on ${info.device}, ${info.name}`;

Deno.bench({ name: "TypeScript loops", group, baseline: true, n: 3, warmup: 1 }, () => {
  typescriptMatmul(a.dataSync(), b.dataSync(), n);
});

for (const variant of matmulVariants()) {
  try {
    a.matmul(b, { variant }).dispose();
  } catch (error) {
    if (error instanceof CudenoError) continue; // a vendor's library that this machine lacks
    throw error;
  }
  // Waiting for the device is part of it, some 25 us: bench/matmul.ts times many products together.
  Deno.bench({ name: variant, group }, async () => {
    a.matmul(b, { variant }).dispose();
    await synchronize();
  });
}
