// Two moons that lie within one another: no line parts them. A small network finds what does, and a
// picture shows it, with how sure the network is.
//
//   deno run --allow-ffi --allow-write=moons.svg examples/two_moons.ts --out moons.svg
import { crossEntropy, models, noGrad, optim, plot, scope, type Tensor, tensor } from "../mod.ts";
import { concat, rand, randn, stack } from "../mod.ts";
import { checkWrite, MemoryWatch, program } from "./program.ts";

const help = `Trains a small network to tell two moons apart.

  --points N    points of each moon (200)
  --noise X     how far they stray (0.15)
  --steps N     steps, each with all points (300)
  --hidden N    units in each of two hidden layers (16)
  --lr X        learning rate of Adam (0.02)
  --out FILE    draw what it has learned to this .svg (needs --allow-write)`;

const defaults = {
  ...{ points: 200, noise: 0.15, steps: 300, hidden: 16, lr: 0.02 },
  out: undefined as string | undefined,
};

/** Points on half circles, the second one upside down and moved: [2 * n, 2]. */
function moons(n: number, noise: number): Tensor {
  return scope(() => {
    const angle = rand([n], { high: Math.PI });
    const above = stack([angle.cos(), angle.sin()], 1);
    const below = stack([angle.cos().neg().add(1), angle.sin().neg().add(0.5)], 1);
    return concat([above, below]).add(randn([2 * n, 2]).mul(noise));
  });
}

await program(help, defaults, async ({ points: n, noise, steps, hidden, lr, out }) => {
  if (out) checkWrite("--out", out);
  const points = moons(n, noise);
  const labels = tensor(Array.from({ length: 2 * n }, (_, i) => Number(i >= n)), {
    dtype: "int32",
  });
  const model = models.mlp({ in: 2, hidden: [hidden, hidden], out: 2 });
  const optimizer = new optim.Adam(model.parameters(), { lr });
  const watch = new MemoryWatch();
  for (let step = 1; step <= steps; step++) {
    scope(() => {
      const loss = crossEntropy(model.forward(points), labels);
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
      if (step % 100 === 0) console.log(`step ${step}: loss ${loss.itemSync().toFixed(5)}`);
    });
    watch.step();
  }
  console.log(`${watch}`);
  if (out) {
    const regions = (x: Tensor) => model.forward(x).softmax(1);
    const picture = { labels, regions, classes: ["above", "below"], title: "Two moons" };
    await plot.scatter(points, picture).save(out);
    console.log(`picture: ${out}`);
  }
  const right = noGrad(() => model.forward(points).argmax(1).eq(labels).to("float32").mean());
  return `accuracy ${(await right.item()).toFixed(4)}`;
});
