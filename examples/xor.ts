// Exclusive or: no line separates its two answers, so that one unit cannot learn it, and a hidden
// layer can.
//
//   deno run --allow-ffi examples/xor.ts --help
import { nn, noGrad, optim, scope, tensor } from "../mod.ts";
import { MemoryWatch, program } from "./program.ts";

const help = `Trains a small network on the four cases of exclusive or.

  --steps N     steps, each with all four cases (500)
  --hidden N    units in the hidden layer (8)
  --lr X        learning rate of SGD with momentum 0.9 (0.2)`;

const cases = [[0, 0], [0, 1], [1, 0], [1, 1]];

await program(help, { steps: 500, hidden: 8, lr: 0.2 }, async ({ steps, hidden, lr }) => {
  const inputs = tensor(cases);
  const targets = tensor(cases.map(([a, b]) => a! ^ b!), { dtype: "int32" });
  const model = new nn.Sequential(
    new nn.Linear(2, hidden),
    new nn.Tanh(),
    new nn.Linear(hidden, 2),
  );
  console.log(model.summary());
  const criterion = new nn.CrossEntropyLoss();
  const optimizer = new optim.SGD(model.parameters(), { lr, momentum: 0.9 });
  const watch = new MemoryWatch();
  for (let step = 1; step <= steps; step++) {
    scope(() => {
      const loss = criterion.forward(model.forward(inputs), targets);
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
      if (step === 1 || step % 100 === 0) {
        console.log(`step ${step}: loss ${loss.itemSync().toFixed(5)}`);
      }
    });
    watch.step();
  }
  const answers = await scope(() => noGrad(() => model.forward(inputs).argmax(1))).data();
  let right = 0;
  cases.forEach(([a, b], i) => {
    console.log(`${a} xor ${b} = ${answers[i]}`);
    if (answers[i] === (a! ^ b!)) right++;
  });
  console.log(`${watch}`);
  return `${right} of 4 right`;
});
