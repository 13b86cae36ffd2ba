// Training steps of language models beside PyTorch's in the same run, as a program waits for them:
// deno run -A bench/gpt.ts [--device cuda] [--only REGEX] [--modes eager,compile]
//   [--python python3] [--profile] [--out FILE]
// --profile prints where our step's time goes. --device cpu takes smaller models.
import { parseArgs } from "@std/cli/parse-args";
import {
  autocast,
  crossEntropy,
  emptyCache,
  init,
  memory,
  models,
  nn,
  optim,
  profile,
  randint,
  randn,
  resetPeakMemory,
  scope,
  setMatmulPrecision,
} from "../mod.ts";
import { floorUs } from "./peaks.ts";
import { type PeerLine, type Row, row, runPeer, timeUs, writeRows } from "./timing.ts";

const args = parseArgs(Deno.args, {
  boolean: ["profile"],
  string: ["device", "only", "modes", "python", "out"],
  default: { device: "auto", only: "", modes: "eager,compile", python: "python3" },
});
const info = init({ device: args.device as "auto" | "cpu" | "cuda", seed: 1 });
const cpu = info.device === "cpu";
const only = new RegExp(args.only);

/** A GPT, or where there is no vocabulary one encoder layer. */
interface Sizes {
  model: string;
  dModel: number;
  layers: number;
  heads: number;
  batch: number;
  length: number;
  vocab: number;
}

interface Bench extends Sizes {
  name: string;
  /** Products in float32 or tf32, or autocast to bfloat16. */
  method: "float32" | "tf32" | "bfloat16";
}

const character = { dModel: 384, layers: 6, heads: 6, batch: 64, length: 256, vocab: 65 };
const encoder = { dModel: 512, layers: 1, heads: 8, batch: 32, length: 128, vocab: 0 };
const sizes: [Sizes, Bench["method"][]][] = cpu
  ? [
    [{ model: "character GPT", ...character, dModel: 128, layers: 2, heads: 4, batch: 8 }, [
      "float32",
    ]],
    [{ model: "encoder layer", ...encoder, batch: 4 }, ["float32"]],
  ]
  : [
    [{ model: "character GPT", ...character }, ["float32", "tf32", "bfloat16"]],
    [{
      ...{ model: "GPT-2 124M", dModel: 768, layers: 12, heads: 12, batch: 16, length: 1024 },
      vocab: 50304,
    }, ["bfloat16"]],
    [{ model: "encoder layer", ...encoder }, ["float32", "tf32", "bfloat16"]],
  ];
const benches = sizes.flatMap(([size, methods]) =>
  methods.map((method): Bench => ({
    ...size,
    method,
    name: `${size.model} ${method} ${size.batch}x${size.length}x${size.dModel} ${
      size.vocab ? "step" : "both"
    }`,
  }))
).filter(({ name }) => only.test(name));

interface StepRow extends Row {
  tokens_per_s: number;
  /** The most memory in use. */
  bytes: number;
  peer_bytes: number | null;
}

const rows: StepRow[] = [];
for (const bench of benches) {
  setMatmulPrecision(bench.method === "tf32" ? "tf32" : "float32");
  const { us, bytes } = await measured(bench);
  const peers: PeerLine[] = await runPeer("torch_gpt.py", args.python, [
    info.device.replace(/:.*/, ""),
    JSON.stringify([bench]),
    args.modes,
  ]);
  const peer = peers.toSorted((a, b) => a.us - b.us)[0];
  const line = {
    ...row(bench.name, us, peer?.peer ?? "none", peer?.us ?? null, floorOf(bench)),
    tokens_per_s: Math.round(bench.batch * bench.length / us * 1e6),
    ...{ bytes, peer_bytes: peer?.bytes ?? null },
  };
  const mib = (x: number | null) => x === null ? "?" : `${(x / 2 ** 20).toFixed(0)} MiB`;
  console.log(
    `${bench.name}: ${(line.ours_us / 1000).toFixed(3)} ms, ${peer?.peer ?? "torch"} ${
      line.peer_us === null ? "?" : (line.peer_us / 1000).toFixed(3)
    } ms: ${line.ratio ?? "?"} times as fast; ${mib(bytes)}, torch ${mib(line.peer_bytes)}`,
  );
  rows.push(line);
  if (args.out) writeRows(args.out, rows);
}

async function measured(bench: Bench) {
  emptyCache();
  resetPeakMemory();
  const step = bench.vocab ? trainingStep(bench) : encoderPass(bench);
  const us = await timeUs(step.run, info.device, 5);
  const bytes = memory().peak;
  if (args.profile) console.log((await profile(step.run)).toString());
  for (const part of step.parts) part.dispose();
  return { us, bytes };
}

function trainingStep({ dModel, layers, heads, batch, length, vocab, method }: Bench) {
  const model = models.gpt({
    ...{ dModel, layers, heads, vocabSize: vocab, contextLength: length, dropout: 0 },
  });
  const optimizer = new optim.AdamW(model.parameters(), { lr: 1e-4 });
  const input = randint(0, vocab, [batch, length]), target = randint(0, vocab, [batch * length]);
  const lossOf = () => crossEntropy(model.forward(input).flatten(0, 1), target);
  const run = () =>
    scope(() => {
      optimizer.zeroGrad();
      const loss = method === "bfloat16" ? autocast("bfloat16", lossOf) : lossOf();
      loss.backward();
      optimizer.step();
    });
  return { run, parts: [model, optimizer, input, target] };
}

function encoderPass({ dModel, heads, batch, length, method }: Bench) {
  const model = new nn.TransformerEncoderLayer(dModel, heads, { dropout: 0 });
  const input = randn([batch, length, dModel]), slope = randn([batch, length, dModel]);
  input.requiresGrad = true;
  const run = () =>
    scope(() => {
      model.zeroGrad();
      input.grad = null;
      const forward = () => model.forward(input);
      const y = method === "bfloat16" ? autocast("bfloat16", forward) : forward();
      y.backward(slope.to(y.dtype));
    });
  return { run, parts: [model, input, slope] };
}

// By the multiply-adds of the products, attention's among them, three times in a step.
function floorOf({ dModel, layers, batch, length, vocab, method }: Bench): number | null {
  const feedForward = vocab ? 4 * dModel : 2048;
  const attention = length * dModel * (vocab ? 1 : 2); // causal in a GPT
  const layer = 4 * dModel * dModel + 2 * dModel * feedForward + attention;
  const each = layers * layer + dModel * vocab, products = method === "float32" ? 3 : 1;
  return floorUs(
    info.name,
    method === "tf32" ? "tf32" : "half",
    6 * products * batch * length * each,
    0,
  );
}
