// A training that may be killed at any moment. It saves all that it consists of every few steps;
// run again, it goes on from there, and what comes is what would have come, to the last bit.
//
//   deno run --allow-ffi --allow-read=. --allow-write=. examples/resume.ts
//   deno run -A examples/resume.ts --kill-after 37    # until it is done: the same losses
//
// The data is what mnist.ts takes: imported, not read.
import { dirname } from "@std/path";
import { type Callback, callbacks, nn, optim, Trainer } from "../mod.ts";
import { loadMnist } from "./data/load_mnist.ts";
import { checkWrite, MemoryWatch, program } from "./program.ts";

const help = `Trains on MNIST, saves after every few steps, and goes on where it was.

  --checkpoint FILE   where to save; begins anew where it is not there (resume.safetensors)
  --every N           save after so many steps, each time (10)
  --kill-after N      kill the process after so many steps of this run; needs --allow-run (0: never)
  --epochs N          epochs of 25 steps (4)
  --batch N           samples a step (64)
  --lr X              highest learning rate of AdamW, in one cycle over all steps (0.01)`;

const defaults = {
  ...{ checkpoint: "resume.safetensors", every: 10, "kill-after": 0 },
  ...{ epochs: 4, batch: 64, lr: 0.01 },
};

const stepsPerEpoch = 25;

async function exists(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

await program(help, defaults, async ({ checkpoint, every, epochs, batch, lr, ...options }) => {
  checkWrite("--checkpoint", dirname(checkpoint));
  const { train, test } = await loadMnist();
  // All of these are random or change as training goes: first weights, the order of images, what is
  // dropped, the learning rate, and AdamW's averages of gradients. The checkpoint has them all.
  const model = new nn.Sequential(
    ...[new nn.Flatten(), new nn.Linear(784, 64), new nn.ReLU(), new nn.Dropout({ p: 0.2 })],
    new nn.Linear(64, 10),
  );
  const optimizer = new optim.AdamW(model.parameters(), { lr });
  const totalSteps = Math.max(1, epochs * stepsPerEpoch);
  const schedule = new optim.schedule.OneCycleLR(optimizer, { maxLr: lr, totalSteps });
  const trainer = new Trainer(model, {
    loss: new nn.CrossEntropyLoss(),
    ...{ optimizer, schedule, scheduleEvery: "step", metrics: ["accuracy"] },
  });
  if (await exists(checkpoint)) {
    await trainer.loadCheckpoint(checkpoint); // the next fit() goes on from there
    console.log(`goes on after step ${trainer.step}; without ${checkpoint} it would begin anew`);
  }

  const save = new callbacks.ModelCheckpoint({ path: checkpoint, everySteps: every });
  let steps = 0;
  const show: Callback = {
    async onStepEnd({ step, loss }) {
      if (step % 5 === 0) console.log(`step ${step}: loss ${await loss.item()}`);
      // No chance to save or close anything, as when the power fails.
      if (++steps === options["kill-after"]) Deno.kill(Deno.pid, "SIGKILL");
    },
  };
  const memory = new MemoryWatch("epoch");
  const history = await trainer.fit(train, {
    ...{ epochs, stepsPerEpoch, batchSize: batch, callbacks: [save, show, memory] },
  });
  console.log(`${memory}`);
  const { accuracy } = await trainer.evaluate(test);
  const loss = history.stepLosses.at(-1) ?? NaN;
  return `loss ${loss} after ${history.stepLosses.length} steps, accuracy ${accuracy!.toFixed(4)}`;
});
