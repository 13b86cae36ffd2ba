// Where the time of a step goes, before and after one change: the batch of a network that
// classifies becomes larger, and the device has more to do for each thing that the host asks.
//
//   deno run --allow-ffi examples/profile_mlp.ts --help
import { nn, optim, profile, randint, randn, scope } from "../mod.ts";
import { MemoryWatch, program } from "./program.ts";

const help = `Profiles a step of a network with two hidden layers, in small and in large batches.

  --batch N     samples of a small batch (32)
  --large N     samples of a large one (2048)
  --hidden N    units in a hidden layer (512)
  --lr X        learning rate of AdamW (0.001)`;

const defaults = { batch: 32, large: 2048, hidden: 512, lr: 1e-3 };

await program(help, defaults, async ({ batch, large, hidden, lr }) => {
  const model = new nn.Sequential(
    new nn.Linear(784, hidden),
    new nn.ReLU(),
    new nn.Linear(hidden, hidden),
    new nn.ReLU(),
    new nn.Linear(hidden, 10),
  );
  const optimizer = new optim.AdamW(model.parameters(), { lr });
  const loss = new nn.CrossEntropyLoss();
  const watch = new MemoryWatch("run");
  const each: number[] = [];
  for (const samples of [large, batch, large]) { // the first runs take longer
    await scope(async () => {
      const input = randn([samples, 784]), target = randint(0, 10, [samples]);
      const step = () => {
        optimizer.zeroGrad();
        loss.forward(model.forward(input), target).backward();
        optimizer.step();
      };
      await profile(step, { model });
      const found = await profile(step, { model });
      const { span, busy } = found.data;
      console.log(`Batches of ${samples}: ${(span / samples).toFixed(2)} µs a sample\n`);
      if (each.push(span / samples) > 1) console.log(`${found}\n`);
      console.log(`The device was busy for ${(100 * busy / span).toFixed(0)} % of it.\n`);
    });
    watch.step();
  }
  console.log(`${watch}`);
  return `a sample in a batch of ${large} takes ${(each[2]! / each[1]!).toFixed(2)} of the time`;
});
