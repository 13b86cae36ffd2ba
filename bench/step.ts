// Whole training steps of small networks, one operation after another, captured, and in a kernel
// that takes many of them, beside PyTorch's and JAX's in the same run:
// deno run -A bench/step.ts [--device cuda] [--only REGEX] [--python python3] [--no-peer] [--quick]
//   [--out FILE]
import { parseArgs } from "@std/cli/parse-args";
import {
  autocast,
  capture,
  crossEntropy,
  data,
  init,
  manualSeed,
  models,
  nn,
  optim,
  randint,
  randn,
  scope,
  synchronize,
  type Tensor,
  Trainer,
} from "../mod.ts";
import { floorUs, type Unit } from "./peaks.ts";
import { median, type PeerLine, rounded, type Row, row, runPeer, writeRows } from "./timing.ts";

const args = parseArgs(Deno.args, {
  boolean: ["quick", "peer"],
  negatable: ["peer"],
  string: ["device", "only", "python", "out"],
  default: { device: "auto", only: "", python: "python3", peer: true },
});
const info = init({ device: args.device as "auto" | "cpu" | "cuda", seed: 1 });
const cpu = info.device === "cpu";
const only = new RegExp(args.only);
/** About how long each is measured for. */
const seconds = args.quick ? 0.02 : cpu ? 1 : 0.3;

/** The forms of a step; microseconds of one, or null where there is no such form. */
interface Forms {
  eager: number | null;
  captured: number | null;
  persistent: number | null;
  /** The largest difference of any step's loss from the eager one, of captured and persistent. */
  apart?: number;
}

interface Bench {
  name: string;
  /** Multiply-adds of a step, and what multiplies them. */
  work: [number, Unit];
  measure(): Promise<Forms>;
}

interface StepRow extends Row, Forms {
  /** All that peers did, by what they are called. */
  peers: Record<string, number>;
}

const mlp = () => new nn.Sequential(new nn.Flatten(), ...linears(784, 128, 10));
function linears(...widths: number[]): nn.Module<Tensor, Tensor>[] {
  return widths.slice(1).flatMap((width, i) => [
    ...(i ? [new nn.ReLU()] : []),
    new nn.Linear(widths[i]!, width),
  ]);
}
// Without the border that models.lenet5 gives to MNIST's images: as the peers have it.
const lenet = () =>
  new nn.Sequential(
    ...[new nn.Conv2d(1, 6, 5), new nn.ReLU(), new nn.MaxPool2d(2)],
    ...[new nn.Conv2d(6, 16, 5), new nn.ReLU(), new nn.MaxPool2d(2)],
    ...[new nn.Flatten(), ...linears(256, 120, 84, 10)],
  );
const MLP = 784 * 128 + 128 * 10, LENET = 24 * 24 * 25 * 6 + 64 * 150 * 16 + 256 * 120 + 84 * 130;
const gpt = cpu
  ? { dModel: 128, layers: 2, heads: 4, contextLength: 256, vocabSize: 65 }
  : { dModel: 384, layers: 6, heads: 6, contextLength: 256, vocabSize: 65 };

const trained = (batch: number) => [
  fitted(`mlp 784-128-10, batch ${batch}`, mlp, batch, MLP),
  fitted(`lenet5 44426 parameters, batch ${batch}`, lenet, batch, LENET),
];
const benches: Bench[] = [
  ...(cpu ? [64, 128] : [64, 128, 1024]).flatMap(trained),
  ...(cpu ? [] : [resnet(32)]),
  characters(cpu ? 8 : 64),
  recurrent(64, cpu ? 16 : 64, 256),
  epoch(128),
].filter(({ name }) => only.test(name));

const device = info.device.replace(/:.*/, "");
const names = JSON.stringify(benches.map(({ name }) => name));
const peers: PeerLine[] = args.peer
  ? [
    ...await runPeer("torch_step.py", args.python, [device, names, `${args.quick ? 1 : 0}`]),
    ...(cpu ? [] : await runPeer("jax_step.py", args.python, [names])),
  ]
  : [];

const rows: StepRow[] = [];
for (const { name, work: [multiplyAdds, unit], measure } of benches) {
  const forms = await measure();
  const theirs = peers.filter((line) => line.name === name).toSorted((a, b) => a.us - b.us);
  const ours = Math.min(...[forms.eager, forms.captured, forms.persistent].map((x) => x ?? 1e9));
  const line: StepRow = {
    ...row(
      name,
      ours,
      theirs[0]?.peer ?? "none",
      theirs[0]?.us ?? null,
      floorUs(info.name, unit, 6 * multiplyAdds, 0),
    ),
    ...forms,
    peers: Object.fromEntries(theirs.map(({ peer, us }) => [peer, rounded(us)])),
  };
  const us = (x: number | null) => x === null ? "-" : rounded(x);
  console.log(
    `${name}: eager ${us(forms.eager)} us, captured ${us(forms.captured)}, persistent ${
      us(forms.persistent)
    }; ${theirs.map((x) => `${x.peer} ${us(x.us)}`).join(", ") || "no peer"}; ${
      line.ratio ?? "?"
    } times as fast as the best; losses apart by ${forms.apart ?? "?"}`,
  );
  rows.push(line);
  if (args.out) writeRows(args.out, rows);
}

/** 60000 images of bytes on the device, trained on by fit() in each of its ways. */
function fitted(
  name: string,
  make: () => nn.Module<Tensor, Tensor>,
  batch: number,
  multiplyAdds: number,
): Bench {
  return {
    name,
    work: [batch * multiplyAdds, "float32"],
    async measure() {
      const images = scope(() => randint(0, 256, [60000, 1, 28, 28]).to("uint8"));
      const set = new data.TensorDataset(images, randint(0, 10, [60000]));
      const losses: number[][] = [];
      let start: Record<string, Tensor> = {};
      const forms: Forms = { eager: null, captured: null, persistent: null };
      for (const way of [false, "graph", "auto"] as const) {
        const model = make();
        if (way) model.loadStateDict(start);
        else start = cloned(model);
        const optimizer = new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 });
        const trainer = new Trainer(model, { optimizer, loss: new nn.CrossEntropyLoss() });
        const fit = async (epochs: number, stepsPerEpoch?: number) => {
          const history = await trainer.fit(set, {
            ...{ epochs, batchSize: batch, capture: way, dropLast: true, stepsPerEpoch },
            callbacks: [],
          });
          const steps = stepsPerEpoch ?? Math.floor(set.length / batch);
          return { history, us: history.epochs.map((e) => e.seconds * 1e6 / steps) };
        };
        manualSeed(1); // the same order for all
        const { history } = await fit(1, 100);
        losses.push([...history.stepLosses]);
        const form = way === false ? "eager" : history.path;
        if (way === "auto" && form !== "persistent") continue;
        // An epoch's beginning is part of what is measured; the first one captures.
        const few = args.quick || (cpu && multiplyAdds === LENET);
        const { us } = await fit(args.quick ? 2 : few ? 3 : 5, few ? 100 : undefined);
        forms[form] = median(us.slice(1));
        optimizer.dispose();
        model.dispose();
      }
      images.dispose();
      return { ...forms, apart: apart(losses) };
    },
  };
}
function cloned(model: nn.Module): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(model.stateDict()).map(([k, x]) => [k, x.clone()]));
}
/** How far the others' losses are from the first's. */
function apart([first, ...others]: number[][]): number {
  return Math.max(0, ...others.flatMap((x) => x.map((y, i) => Math.abs(y - first![i]!))));
}

/** A step by itself, and captured and repeated. */
function stepped(name: string, work: Bench["work"], make: () => Step): Bench {
  return {
    name,
    work,
    async measure() {
      const { step, parts } = make();
      const eager = await timed((times) => {
        for (let i = 0; i < times; i++) scope(() => void step());
      });
      const captured = capture(step);
      for (let i = 0; i < 6; i++) captured()?.dispose();
      const forms = { eager, captured: await timed(captured.repeat), persistent: null };
      captured.dispose();
      for (const part of parts) part.dispose();
      return forms;
    },
  };
}
interface Step {
  step: () => Tensor;
  parts: { dispose(): void }[];
}

/** Microseconds a step, of rounds that are waited for at their ends. */
async function timed(steps: (times: number) => void): Promise<number> {
  const run = async (times: number) => {
    const begin = performance.now();
    steps(times);
    await synchronize(info.device);
    return (performance.now() - begin) * 1000 / times;
  };
  await run(3);
  const times = Math.max(3, Math.ceil(seconds * 1e6 / await run(3)));
  const rounds: number[] = [];
  for (let i = 0; i < 5; i++) rounds.push(await run(times));
  return median(rounds);
}

function resnet(batch: number): Bench {
  return stepped(`resnet18 bfloat16, batch ${batch}`, [batch * 1.814e9, "half"], () => {
    const model = models.resnet18({ dtype: "bfloat16" });
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 });
    const shape = [batch, 3, 224, 224];
    const images = scope(() => randn(shape, { dtype: "bfloat16" }).to({ format: "channelsLast" }));
    const classes = randint(0, 1000, [batch]);
    const step = () => {
      optimizer.zeroGrad();
      const loss = crossEntropy(model.forward(images), classes);
      loss.backward();
      optimizer.step();
      return loss;
    };
    return { step, parts: [model, optimizer, images, classes] };
  });
}

function characters(batch: number): Bench {
  const { dModel, layers, contextLength: length, vocabSize } = gpt;
  const each = layers * (12 * dModel ** 2 + length * dModel) + dModel * vocabSize;
  const method = cpu ? "float32" : "bfloat16";
  const name = `character GPT ${method} ${batch}x${length}x${dModel}`;
  return stepped(name, [batch * length * each, cpu ? "float32" : "half"], () => {
    const model = models.gpt({ ...gpt, dropout: 0 });
    const optimizer = new optim.AdamW(model.parameters(), { lr: 1e-4 });
    const input = randint(0, vocabSize, [batch, length]);
    const target = randint(0, vocabSize, [batch * length]);
    const lossOf = () => crossEntropy(model.forward(input).flatten(0, 1), target);
    const step = () => {
      optimizer.zeroGrad();
      const loss = cpu ? lossOf() : autocast("bfloat16", lossOf);
      loss.backward();
      optimizer.step();
      return loss;
    };
    return { step, parts: [model, optimizer, input, target] };
  });
}

function recurrent(length: number, batch: number, width: number): Bench {
  const work = length * batch * 8 * width ** 2;
  return stepped(`lstm, ${length} steps of ${batch}x${width}, both ways`, [work, "float32"], () => {
    const layer = new nn.LSTM(width, width), x = randn([length, batch, width]);
    x.requiresGrad = true;
    const slope = randn([length, batch, width]);
    const step = () => {
      layer.zeroGrad();
      if (x.grad) x.grad = null;
      const y = layer.forward(x);
      y.backward(slope);
      return y;
    };
    return { step, parts: [layer, x, slope] };
  });
}

/** An epoch through the Trainer, everything counted: the first one, of a new Trainer. */
function epoch(batch: number): Bench {
  return {
    name: `mlp 784-128-10, batch ${batch}, first epoch of a Trainer`,
    work: [60000 * MLP, "float32"],
    async measure() {
      const images = scope(() => randint(0, 256, [60000, 1, 28, 28]).to("uint8"));
      const set = new data.TensorDataset(images, randint(0, 10, [60000]));
      const forms: Forms = { eager: null, captured: null, persistent: null };
      for (const way of [false, "graph", "auto"] as const) {
        const times: number[] = [];
        let form: keyof Forms = "eager";
        for (let i = 0; i < (args.quick ? 2 : 6); i++) {
          const model = mlp();
          const optimizer = new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 });
          const begin = performance.now();
          const trainer = new Trainer(model, { optimizer, loss: new nn.CrossEntropyLoss() });
          const { path } = await trainer.fit(set, {
            ...{ epochs: 1, batchSize: batch, capture: way, callbacks: [] },
          });
          times.push((performance.now() - begin) * 1000);
          if (way) form = path;
          optimizer.dispose();
          model.dispose();
        }
        forms[form] = median(times.slice(1));
      }
      images.dispose();
      return forms;
    },
  };
}
