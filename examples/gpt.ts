// A small GPT that learns to write from a text, of characters or of byte pairs, and writes.
//
//   deno run --allow-ffi examples/gpt.ts --help
//   deno run --allow-ffi --allow-read=. examples/gpt.ts --text shakespeare.txt --size small
import { dirname } from "@std/path";
import { BytePairTokenizer, type Callback, callbacks, crossEntropy, data } from "../mod.ts";
import { generateStream, models, optim, Trainer } from "../mod.ts";
import story from "./data/text.txt" with { type: "text" };
import { checkWrite, fail, MemoryWatch, program } from "./program.ts";

const help = `Trains a GPT on a text and lets it write.

  --text FILE         the text; needs --allow-read (a short story)
  --vocab N           tokens of a byte-pair tokenizer that is trained on it; 0: characters (0)
  --size S            tiny, small or gpt2: 2 layers of 64 features for 64 tokens, 6 of 384 for
                      256, or 12 of 768 for 1024 (tiny)
  --steps N           steps of training (300)
  --every N           steps after which to measure, write a little and save (100)
  --batch N           pieces of text a step (16)
  --lr X              learning rate of AdamW at first; falls to a tenth, as a cosine (0.003)
  --dropout P         (0.1)
  --autocast D        none or bfloat16 (none)
  --checkpoint FILE   save there, a .safetensors file, and go on from there; needs permissions
  --prompt T          what the samples begin with (The)
  --sample N          tokens to write at the end (300)
  --temperature X     (0.8)
  --top-k N           (40)`;

const defaults = {
  ...{ text: undefined, vocab: 0, size: "tiny", steps: 300, every: 100, batch: 16, lr: 0.003 },
  ...{ dropout: 0.1, autocast: "none", checkpoint: undefined, prompt: "The", sample: 300 },
  ...{ temperature: 0.8, "top-k": 40 },
};

const sizes = {
  tiny: { layers: 2, dModel: 64, heads: 4, contextLength: 64 },
  small: { layers: 6, dModel: 384, heads: 6, contextLength: 256 },
  gpt2: { layers: 12, dModel: 768, heads: 12, contextLength: 1024 },
};

// Each character as a token, in the tokenizer's manner.
function characters(text: string) {
  const alphabet = [...new Set(text)].sort(), places = new Map(alphabet.map((c, i) => [c, i]));
  return {
    vocabSize: alphabet.length,
    encode: (text: string) => Array.from(text, (c) => places.get(c)).filter((i) => i !== undefined),
    async *stream(tokens: AsyncIterable<number>) {
      for await (const token of tokens) yield alphabet[token]!;
    },
  };
}

await program(help, defaults, async (options) => {
  const { steps, every, batch, lr, dropout, autocast, checkpoint, prompt, temperature } = options;
  if (!Object.hasOwn(sizes, options.size)) fail(`--size is one of ${Object.keys(sizes)}`);
  if (autocast !== "none" && autocast !== "bfloat16") fail("--autocast is none or bfloat16");
  if (checkpoint) checkWrite("--checkpoint", dirname(checkpoint));
  const size = sizes[options.size as keyof typeof sizes];
  const text = options.text ? await Deno.readTextFile(options.text) : story;
  const tokenizer = options.vocab > 0
    ? BytePairTokenizer.train(text, { vocabSize: options.vocab, specialTokens: [] })
    : characters(text);
  const { vocabSize } = tokenizer;
  const tokens = tokenizer.encode(text);
  const start = tokenizer.encode(prompt);
  if (start.length === 0) fail("--prompt has nothing that the text has");
  const known = Math.floor(0.9 * tokens.length); // the rest is only for testing
  console.log(`text: ${tokens.length} tokens, ${vocabSize} different ones`);
  const { contextLength } = size;
  const train = new data.TokenDataset(tokens.slice(0, known), { contextLength });
  const unseen = new data.TokenDataset(tokens.slice(known), { contextLength });
  const pieces = Math.ceil(unseen.length / contextLength);
  const whole = Array.from({ length: pieces }, (_, i) => i * contextLength);
  const test = new data.Subset(unseen, whole);

  const model = models.gpt({ ...size, vocabSize, dropout });
  // Norms and biases are left out of the decay, as GPT-2 had it.
  const groups = model.parameterGroups([{ match: /ln_|bias$/, weightDecay: 0 }]);
  const optimizer = new optim.AdamW(groups, { lr, betas: [0.9, 0.95], weightDecay: 0.1 });
  const schedule = new optim.schedule.CosineAnnealingLR(optimizer, {
    tMax: steps,
    etaMin: lr / 10,
  });
  const trainer = new Trainer(model, {
    loss: (scores, target) => crossEntropy(scores.flatten(0, 1), target.flatten()),
    ...{ optimizer, schedule, scheduleEvery: "step", clipGradNorm: 1 },
    ...(autocast === "bfloat16" && { autocast }),
  });
  if (checkpoint && await Deno.stat(checkpoint).then(() => true, () => false)) {
    await trainer.loadCheckpoint(checkpoint);
    console.log(`goes on after step ${trainer.step}`);
  }

  async function write(maxNewTokens: number): Promise<string> {
    let written = prompt;
    const how = { maxNewTokens, temperature, topK: options["top-k"], seed: 1 };
    for await (const part of tokenizer.stream(generateStream(model, start, how))) written += part;
    return written;
  }
  const show: Callback = {
    async onEpochEnd({ loss, valLoss }) {
      const found = `loss ${loss.toFixed(4)}, on unseen text ${valLoss!.toFixed(4)}`;
      console.log(`step ${trainer.step}: ${found}: ${JSON.stringify(await write(40))}`);
    },
  };
  const watch = new MemoryWatch("epoch");
  const history = await trainer.fit(train, {
    ...{ epochs: Math.ceil(steps / every), stepsPerEpoch: every, batchSize: batch },
    ...{ validation: test },
    callbacks: [
      ...[show, watch],
      ...(checkpoint ? [new callbacks.ModelCheckpoint({ path: checkpoint })] : []),
    ],
  });
  console.log(`${watch}\n\n${await write(options.sample)}\n`);
  const { loss = NaN, valLoss = NaN } = history.at(-1) ?? {};
  return `loss ${loss.toFixed(3)} a token, ${valLoss.toFixed(3)} on text that it has not seen`;
});
