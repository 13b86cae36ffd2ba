// `deno bench --allow-ffi`: the matmul variants of the default device on 512x512x512, and plain TypeScript as the baseline.
import { CudenoError, init, matmulVariants, randn, synchronize } from "../mod.ts";

const n = 512;
const info = init({ seed: 1 });
const a = randn([n, n]), b = randn([n, n]);
const group = `matmul float32 ${n}x${n}x${n} on ${info.device}, ${info.name}`;

Deno.bench({ name: "TypeScript loops", group, baseline: true, n: 3, warmup: 1 }, () => {
  const x = a.dataSync(), y = b.dataSync(), z = new Float32Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let k = 0; k < n; k++) sum += x[i * n + k]! * y[k * n + j]!;
      z[i * n + j] = sum;
    }
  }
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
