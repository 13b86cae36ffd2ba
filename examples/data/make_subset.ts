/**
 * Makes the committed subset of MNIST, for those who have not downloaded the full set: the first
 * 5,000 training and 1,000 test images with their labels, about 1 MB, as .gz IDX files of the same
 * names. The result is the same whenever and wherever it is made with the same Deno.
 *
 *     make data && deno run -A examples/data/make_subset.ts
 */

import { gunzipSync, gzipSync } from "node:zlib";
import { mnistFiles } from "../../lib/data/mnist_files.ts";

const from = Deno.env.get("MNIST_DIR") || `${import.meta.dirname}/../../data/mnist`;
const to = `${import.meta.dirname}/mnist_subset`;

/**
 * The first `count` items of an IDX file: big-endian sizes in the header, the first one replaced.
 */
function head(idx: Uint8Array, count: number): Uint8Array {
  const view = new DataView(idx.buffer, idx.byteOffset, idx.byteLength);
  const rank = view.getUint8(3);
  let itemBytes = 1;
  for (let axis = 1; axis < rank; axis++) itemBytes *= view.getUint32(4 + 4 * axis);
  const part = idx.slice(0, 4 + 4 * rank + count * itemBytes);
  new DataView(part.buffer).setUint32(4, count);
  return part;
}

let total = 0;
await Deno.mkdir(to, { recursive: true });
for (const { name } of mnistFiles) {
  const count = name.startsWith("train") ? 5_000 : 1_000;
  const gz = gzipSync(head(gunzipSync(await Deno.readFile(`${from}/${name}.gz`)), count), {
    level: 9,
  });
  await Deno.writeFile(`${to}/${name}.gz`, gz);
  total += gz.length;
}
console.log(`${to}: ${total} bytes`);
