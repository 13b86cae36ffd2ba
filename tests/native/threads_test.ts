// Results on the CPU are the same bit by bit, whatever the number of threads.
import { assertEquals } from "@std/assert";
import { modUrl, program } from "../_helpers.ts";

const compute = `
  import { init, rand, scope } from "${modUrl}";
  init({ device: "cpu", seed: 3 });
  const hash = async (x) => {
    const digest = await crypto.subtle.digest("SHA-256", x.dataSync());
    return new Uint8Array(digest).toHex();
  };
  const x = rand([1000003]), m = rand([999, 1005]), row = rand([1005]), a = rand([300, 257]),
    small = rand([1001, 7, 9]), large = rand([3, 130, 140]);
  const results = [
    x.exp(), x.tanh(), x.sum(), x.mean(), m.pow(row), m.sum(0), m.softmax(),
    a.matmul(a, { transposeB: true }), small.matmul(small, { transposeB: true }),
    large.matmul(large, { transposeA: true }), large.matmul(rand([3, 140]).mean(0)),
  ];
  for (const y of results) {
    console.log(await hash(y));
  }`;

Deno.test("results do not depend on the number of threads", async () => {
  const outputs = await Promise.all(
    ["1", "2", "5"].map((CUDENO_THREADS) =>
      program(compute, { flags: ["--allow-ffi"], env: { CUDENO_THREADS } })
    ),
  );
  const [one, ...others] = outputs.map(({ out }) => out);
  assertEquals(one!.trim().split("\n").length, 11);
  for (const other of others) assertEquals(other, one);
});
