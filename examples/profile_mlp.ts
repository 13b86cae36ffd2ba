// Where the time of a step goes, before and after one change: batches of 32, then of 2048, of a
// network that classifies. The device has more to do for each thing that the host asks.
// deno run -A examples/profile_mlp.ts [--device cuda] [--trace FILE]
import { parseArgs } from "@std/cli/parse-args";
import { init, nn, optim, profile, randint, randn } from "../mod.ts";

const { device, trace } = parseArgs(Deno.args, {
  string: ["device", "trace"],
  default: { device: "auto" },
});
console.log(`${init({ device: device as "auto" | "cpu" | "cuda", seed: 1 }).name}\n`);

const model = new nn.Sequential(
  new nn.Linear(784, 512),
  new nn.ReLU(),
  new nn.Linear(512, 512),
  new nn.ReLU(),
  new nn.Linear(512, 10),
);
const optimizer = new optim.AdamW(model.parameters(), { lr: 1e-3 });
const loss = new nn.CrossEntropyLoss();

for (const batch of [32, 2048]) {
  using input = randn([batch, 784]), target = randint(0, 10, [batch]);
  const step = () => {
    optimizer.zeroGrad();
    loss.forward(model.forward(input), target).backward();
    optimizer.step();
  };
  for (let i = 0; i < 3; i++) await profile(step, { model }); // the first runs take longer
  const found = await profile(step, { model, peaks: true });
  const { span, busy } = found.data;
  console.log(`# Batches of ${batch}: ${(span / batch).toFixed(2)} µs a sample\n\n${found}\n`);
  console.log(`The device was busy for ${(100 * busy / span).toFixed(0)} % of it.\n`);
  if (trace) await found.save(trace);
}
