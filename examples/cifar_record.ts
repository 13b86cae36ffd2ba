// Gets a small network to 0.94 on CIFAR-10 in 200 steps, after the public record's recipe (Keller
// Jordan's airbench94_muon, https://github.com/KellerJordan/cifar10-airbench): filters that whiten
// patches, filters that begin as the identity, Muon, mirrored images in turns, six views to test.
//
//   make data DATA=cifar10
//   deno run --allow-ffi --allow-read examples/cifar_record.ts --help
import { data, type DType, manualSeed, noGrad, scope } from "../mod.ts";
import { spread, writeResult } from "./photos.ts";
import { fail, MemoryWatch, program } from "./program.ts";
import { recordNet, setWhitening } from "./record/net.ts";
import { accuracy, part, train } from "./record/train.ts";

const help = `Trains on CIFAR-10 for 8.5 passes with batches of 2000, once for each seed.

  --data DIR     the files (data/cifar10); needs --allow-read
  --seeds N      how many runs are counted (1); one before them warms up
  --epochs X     passes over the data (8.5)
  --batch N      images a step (2000)
  --lr X         highest learning rate of Muon (0.24)
  --widths LIST  channels of the three groups (64,256,256)
  --dtype D      float16, bfloat16 or float32 (bfloat16)
  --limit N      take the first N images alone, of any files; 0 for all (0)
  --out FILE     write the result as JSON; needs --allow-write`;

const defaults = {
  ...{ data: undefined as string | undefined, out: undefined as string | undefined },
  ...{ seeds: 1, epochs: 8.5, batch: 2000, lr: 0.24, widths: "64,256,256", dtype: "bfloat16" },
  limit: 0,
};
await program(help, defaults, async ({ dtype, widths, ...given }) => {
  if (!["float16", "bfloat16", "float32"].includes(dtype)) fail(`--dtype is ${dtype}; see --help`);
  if (!(given.seeds >= 1)) fail(`--seeds is ${given.seeds}; it must be at least 1`);
  const o = { ...given, dtype: dtype as DType };
  const channels = widths.split(",").map(Number);
  const sets = await data.cifar10({ dir: o.data, verify: o.limit === 0 });
  const watch = new MemoryWatch("run");
  const runs: { accuracy: number; seconds: number }[] = [];
  for (let run = 0; run <= o.seeds; run++) {
    manualSeed(run);
    const net = recordNet(o.dtype, channels);
    const start = performance.now();
    const found = scope(() => {
      const set = part(sets.train, o);
      setWhitening(net.whiten, set.images.slice(0, 0, Math.min(5000, set.images.shape[0]!)));
      train(net, set, o);
      net.model.eval();
      return noGrad(() => accuracy(net, part(sets.test, o), o.batch));
    });
    const seconds = (performance.now() - start) / 1000;
    net.model.dispose();
    watch.step();
    if (run > 0) runs.push({ accuracy: found, seconds });
    const name = run > 0 ? `run ${run}` : "warm-up";
    console.log(`${name}: accuracy ${found.toFixed(4)}, ${seconds.toFixed(3)} s`);
  }
  console.log(`${watch}`);
  const { mean: share, deviation } = spread(runs.map(({ accuracy }) => accuracy));
  const { mean: seconds } = spread(runs.map(({ seconds }) => seconds));
  const { device } = sets.train;
  const { epochs, batch, lr, limit, seeds } = o;
  await writeResult(o.out, {
    ...{ name: "cifar10_record", device, seeds, epochs, batch, lr, widths, dtype, limit },
    ...{ accuracy: share, deviation, seconds, runs },
  });
  return `test accuracy ${share.toFixed(4)}, deviation ${deviation.toFixed(4)}, ` +
    `${seconds.toFixed(3)} s a run`;
});
