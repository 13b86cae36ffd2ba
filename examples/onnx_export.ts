// Trains a small network, writes it as an ONNX file, reads that again, and compares the two.
//
//   deno run --allow-ffi examples/onnx_export.ts --help
import { nn, noGrad, onnx, optim, randn, scope } from "../mod.ts";
import { MemoryWatch, program } from "./program.ts";

const help = `Trains a network to tell points within a circle from others, and exports it.

  --steps N     steps of 64 points (300)
  --hidden N    units in the hidden layers (16)
  --lr X        learning rate of Adam (0.01)
  --out FILE    keep the file, for onnxruntime or a viewer; needs --allow-write`;

const defaults = { steps: 300, hidden: 16, lr: 0.01, out: undefined as string | undefined };

await program(help, defaults, async ({ steps, hidden, lr, out }) => {
  const model = new nn.Sequential({
    fc1: new nn.Linear(2, hidden),
    act1: new nn.ReLU(),
    norm: new nn.BatchNorm1d(hidden),
    fc2: new nn.Linear(hidden, 2),
  });
  const criterion = new nn.CrossEntropyLoss();
  const optimizer = new optim.Adam(model.parameters(), { lr });
  const watch = new MemoryWatch();
  for (let step = 1; step <= steps; step++) {
    scope(() => {
      const points = randn([64, 2]);
      const within = points.pow(2).sum(1).lt(1.386).to("int32"); // half of them
      const loss = criterion.forward(model.forward(points), within);
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
      if (step === 1 || step % 100 === 0) {
        console.log(`step ${step}: loss ${loss.itemSync().toFixed(5)}`);
      }
    });
    watch.step();
  }
  console.log(`${watch}`);

  // One point serves as the example: the graph is for any number of them.
  using example = randn([1, 2]);
  const bytes = await onnx.save(model, example, {
    path: out,
    names: { inputs: ["points"], outputs: ["scores"] },
    metadata: { classes: ["outside", "within"] },
  });
  for (const { level, where, found } of await onnx.check(bytes)) {
    console.log(`${level}: ${where}: ${found}`);
  }
  using loaded = await onnx.load(bytes);
  console.log(loaded.summary());

  using points = randn([1000, 2]);
  model.eval();
  const worst = scope(() => {
    const ours = noGrad(() => model.forward(points));
    const { scores } = loaded.run({ points });
    return scores!.sub(ours).abs().max().itemSync();
  });
  return `${bytes.length} bytes; the largest difference is ${worst.toExponential(1)}`;
});
