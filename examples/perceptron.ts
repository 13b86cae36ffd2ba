// The oldest of networks: one linear unit, which learns on which side of a line a point lies.
//
//   deno run --allow-ffi examples/perceptron.ts --help
import { data, nn, noGrad, optim, rand, scope, type Tensor, tensor } from "../mod.ts";
import { MemoryWatch, program } from "./program.ts";

const help = `Trains one linear unit to separate two sets of points in the plane.

  --points N    how many points (200)
  --steps N     steps at most, each with all points (1000)
  --lr X        learning rate (0.5)`;

/**
 * Points of a square, none near the line through them, and 1 or -1 for the side of it on which each
 * lies.
 */
function separable(n: number): data.TensorDataset {
  const [turn, shift] = rand([2]).dataSync();
  const angle = 2 * Math.PI * turn!;
  const side = (x: number, y: number) =>
    Math.cos(angle) * x + Math.sin(angle) * y + (shift! - 0.5) / 2;
  const points: number[][] = [];
  while (points.length < n) {
    const drawn = rand([n, 2], { low: -1 }).dataSync();
    for (let i = 0; i < n && points.length < n; i++) {
      const [x, y] = [drawn[2 * i]!, drawn[2 * i + 1]!];
      if (Math.abs(side(x, y)) > 0.05) points.push([x, y]);
    }
  }
  return new data.TensorDataset(
    tensor(points),
    tensor(points.map(([x, y]) => Math.sign(side(x!, y!)))),
  );
}

/** The share of points that lie on the side that the unit says. */
const accuracyOf = (output: Tensor, side: Tensor) => output.mul(side).gt(0).to("float32").mean();

await program(help, { points: 200, steps: 1000, lr: 0.5 }, async ({ points, steps, lr }) => {
  const { inputs, targets } = scope(() => separable(points));
  const unit = new nn.Linear(2, 1);
  const optimizer = new optim.SGD(unit.parameters(), { lr });
  const watch = new MemoryWatch();
  let accuracy = 0;
  let step = 0;
  while (accuracy < 1 && step < steps) {
    accuracy = scope(() => {
      const output = unit.forward(inputs).squeeze(1);
      // Hinge loss: 0 for a point on the right side and at some distance, growing the further it is
      // on the wrong one.
      const loss = output.mul(targets).neg().add(1).relu().mean();
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
      return noGrad(() => accuracyOf(output, targets)).itemSync();
    });
    watch.step();
    step++;
    if (step % 10 === 0 || accuracy === 1) {
      console.log(`step ${step}: accuracy ${accuracy.toFixed(4)}`);
    }
  }
  const [w0, w1] = unit.weight.dataSync();
  const b = (await unit.bias!.item()).toFixed(3);
  console.log(`line: ${w0!.toFixed(3)} x + ${w1!.toFixed(3)} y + ${b} = 0`);
  console.log(`${watch}`);
  return `accuracy ${accuracy.toFixed(4)} after ${step} steps`;
});
