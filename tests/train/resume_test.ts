// Stopping and going on: in a process, from a checkpoint, and after a process was killed.
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  ArgumentError,
  type Callback,
  data,
  type Dataset,
  manualSeed,
  metrics,
  nn,
  optim,
  rand,
  Trainer,
} from "../../mod.ts";
import { cleanTest, halves, inFolder, later, modUrl } from "../_helpers.ts";

const test = (name: string, fn: () => void | Promise<void>) => cleanTest(`resume: ${name}`, fn);

/** A training with all that has a state: dropout, noise in the data, a schedule, averages. */
function training(scaler = false) {
  manualSeed(11);
  const set = halves(70);
  const noisy: Dataset = data.map(set, ({ input, target }) => ({
    input: input.add(rand(input.shape, { low: -0.1, high: 0.1 })),
    target,
  }));
  const model = later(
    new nn.Sequential(
      new nn.Linear(2, 16),
      new nn.BatchNorm1d(16),
      new nn.ReLU(),
      new nn.Dropout(0.3),
      new nn.Linear(16, 2),
    ),
  );
  const optimizer = later(new optim.AdamW(model.parameters(), { lr: 0.01 }));
  const trainer = new Trainer(model, {
    loss: new nn.CrossEntropyLoss(),
    optimizer,
    schedule: new optim.schedule.StepLR(optimizer, { stepSize: 2, gamma: 0.5 }),
    ema: later(new optim.EMA(model, { decay: 0.9 })),
    ...(scaler && { scaler: later(new optim.GradScaler({ initScale: 8 })) }),
    metrics: ["accuracy", metrics.f1({ average: "macro" }), (output) => output.mul(output)],
  });
  return { trainer, noisy, model, validation: set };
}

const options = { epochs: 5, batchSize: 16 };

/** What must not differ: figures but for time. */
function figures(history: Awaited<ReturnType<Trainer["fit"]>>) {
  return {
    steps: [...history.stepLosses],
    epochs: history.epochs.map(({ seconds: _s, samplesPerSecond: _r, ...others }) => others),
  };
}

async function whole(more: object = {}) {
  const { trainer, noisy, model, validation } = training();
  const history = await trainer.fit(noisy, { ...options, validation, ...more, callbacks: [] });
  return { figures: figures(history), weights: weightsOf(model) };
}

const weightsOf = (model: nn.Module) =>
  Object.values(model.stateDict()).map((x) => Array.from(x.dataSync()));

const stopAfter = (steps: number): Callback => ({
  onStepEnd: ({ step, trainer }) => step === steps ? trainer.stop(`${steps} steps`) : undefined,
});

test("a checkpoint of any moment goes on bit for bit, in another trainer", async () => {
  for (const more of [{}, { stepsPerEpoch: 3 }, { accumulate: 2, dropLast: true }]) {
    const wanted = await whole(more);
    for (const steps of [1, 5, 6, 13]) {
      await inFolder(async (folder) => {
        const path = `${folder}/training.safetensors`;
        const first = training();
        const stopped = await first.trainer.fit(first.noisy, {
          ...options,
          ...more,
          validation: first.validation,
          callbacks: [stopAfter(steps)],
        });
        if (stopped.stopped !== undefined) {
          assertEquals(stopped.stopped, `${steps} steps`);
          assertEquals(stopped.stepLosses, wanted.figures.steps.slice(0, steps));
        }
        await first.trainer.saveCheckpoint(path);

        const second = training();
        rand([5]).dispose(); // another state, which the checkpoint's replaces
        await second.trainer.loadCheckpoint(path);
        assertEquals(second.trainer.step, Math.min(steps, wanted.figures.steps.length));
        const history = await second.trainer.fit(second.noisy, {
          batchSize: 16,
          ...more,
          validation: second.validation,
          callbacks: [],
        });
        assertEquals(figures(history), wanted.figures);
        assertEquals(weightsOf(second.model), wanted.weights);
        assertEquals(history.stopped, undefined);
      });
    }
  }
});

test("a stopped fit() resumes in its process, a finished one goes on to more epochs", async () => {
  const wanted = await whole();
  const { trainer, noisy, model, validation } = training();
  await trainer.fit(noisy, { ...options, validation, callbacks: [stopAfter(7)] });
  const halfway = trainer.history;
  assertEquals(halfway.length, 1);
  const history = await trainer.fit(noisy, { ...options, validation, resume: true, callbacks: [] });
  assertEquals(figures(history), wanted.figures);
  assertEquals(weightsOf(model), wanted.weights);

  const short = training();
  const rest = { validation: short.validation, callbacks: [] };
  await short.trainer.fit(short.noisy, { ...options, ...rest, epochs: 3 });
  const longer = await short.trainer.fit(short.noisy, { ...options, ...rest, resume: true });
  assertEquals(figures(longer), wanted.figures);
});

test("nothing to resume, and another model's checkpoint, are errors", async () => {
  const { trainer, noisy } = training();
  await assertRejects(
    () => trainer.fit(noisy, { resume: true }),
    ArgumentError,
    "there is nothing to resume",
  );
  await inFolder(async (folder) => {
    const path = `${folder}/other.safetensors`;
    const model = later(new nn.Linear(3, 2));
    const optimizer = later(new optim.SGD(model.parameters(), { lr: 0.1 }));
    await new Trainer(model, { loss: new nn.MSELoss(), optimizer }).saveCheckpoint(path);
    const before = weightsOf(trainer.model);
    await assertRejects(() => trainer.loadCheckpoint(path), Error);
    assertEquals(weightsOf(trainer.model), before);
  });
});

// A program that trains, saves every few steps, and goes on from what it finds.
const program = `
  import { data, manualSeed, nn, optim, rand, Trainer } from "${modUrl}";
  const [path] = Deno.args;
  manualSeed(3);
  const x = rand([600, 4]);
  const set = new data.TensorDataset(x, x.sum(1).gt(2).to("int32"));
  const model = new nn.Sequential(
    new nn.Linear(4, 32), new nn.ReLU(), new nn.Dropout(0.2), new nn.Linear(32, 2),
  );
  const optimizer = new optim.Adam(model.parameters(), { lr: 0.01 });
  const trainer = new Trainer(model, { loss: new nn.CrossEntropyLoss(), optimizer });
  const found = await Deno.stat(path).then(() => true, () => false);
  if (found) await trainer.loadCheckpoint(path);
  console.log("begin");
  const history = await trainer.fit(set, {
    epochs: 8,
    batchSize: 25,
    callbacks: [{
      async onStepEnd({ step, trainer }) {
        if (step % 7 === 0) await trainer.saveCheckpoint(path);
      },
    }],
  });
  await trainer.saveCheckpoint(path);
  console.log(JSON.stringify(history.stepLosses), (await trainer.evaluate(set)).loss);
`;

Deno.test("resume: after kill -9 at 20 random moments the loss curve is the same", async () => {
  await inFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/train.ts`, program);
    const run = (path: string) =>
      new Deno.Command(Deno.execPath(), {
        args: [
          "run",
          "-A",
          "--no-check", // as program() has it: many starts, and none is about types
          `${folder}/train.ts`,
          `${folder}/${path}`,
        ],
        stdout: "piped",
        stderr: "piped",
      });
    // The child says when it begins to train; then it may be killed.
    const runFor = async (path: string, ms: number) => {
      const child = run(path).spawn();
      const reader = child.stdout.getReader();
      const { value } = await reader.read();
      const began = performance.now();
      const kill = () => {
        try {
          child.kill("SIGKILL");
        } catch { /* it has just ended by itself */ }
      };
      const timer = setTimeout(kill, Math.min(ms, 1e6));
      const parts = [value ?? new Uint8Array()];
      for (let next = await reader.read(); !next.done; next = await reader.read()) {
        parts.push(next.value);
      }
      clearTimeout(timer);
      const [{ signal }, err] = await Promise.all([child.status, child.stderr.text()]);
      const out = await new Response(new Blob(parts)).text();
      return { killed: signal === "SIGKILL", out, err, time: performance.now() - began };
    };
    const { out: wanted, err, ...first } = await runFor("whole.safetensors", Infinity);
    assert(wanted.startsWith("begin\n["), err);

    let kills = 0, { time } = first;
    for (let i = 0; kills < 20; i++) {
      const before = kills;
      for (;;) { // until it once comes to its end
        const ms = kills < 20 ? Math.random() * time : Infinity;
        const { killed, out, err } = await runFor(`killed${i}.safetensors`, ms);
        if (!killed) {
          assertEquals(out, wanted, `after ${kills} kills: ${err}`);
          break;
        }
        kills++;
      }
      if (kills === before) time /= 2; // the machine may have been slower at first
    }
  });
});
