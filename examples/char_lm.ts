// A language model of single characters: given some text, which character comes next? An LSTM, or a
// small transformer.
//
//   deno run --allow-ffi examples/char_lm.ts --help
import {
  clipGradNorm,
  crossEntropy,
  data,
  generate,
  models,
  nn,
  noGrad,
  optim,
  randint,
  scope,
  type Tensor,
} from "../mod.ts";
import text from "./data/text.txt" with { type: "text" };
import { fail, MemoryWatch, program } from "./program.ts";

/** From character numbers [n, steps] to the scores of those that follow, [n, steps, characters]. */
class LstmModel extends nn.Module {
  embedding: nn.Embedding;
  lstm: nn.LSTM;
  head: nn.Linear;
  constructor(characters: number, hidden: number, numLayers: number) {
    super();
    this.embedding = new nn.Embedding(characters, hidden);
    this.lstm = new nn.LSTM(hidden, hidden, { numLayers, batchFirst: true, dropout: 0.2 });
    this.head = new nn.Linear(hidden, characters);
  }
  override forward(x: Tensor): Tensor {
    return this.head.forward(this.lstm.forward(this.embedding.forward(x)));
  }
}

const help = `Trains a language model of characters on a short story, and lets it tell its own.

  --model M     lstm or transformer (lstm)
  --steps N     steps of training (600)
  --batch N     pieces of text a step (32)
  --context N   characters a piece, from which the model may guess (64)
  --hidden N    features of each layer (128)
  --layers N    layers (2)
  --lr X        highest learning rate of AdamW (0.004)
  --sample N    characters to write at the end (300)`;

const defaults = {
  ...{ model: "lstm", steps: 600, batch: 32, context: 64, hidden: 128, layers: 2, lr: 0.004 },
  sample: 300,
};

await program(help, defaults, async (options) => {
  const { steps, batch, context, hidden, layers, lr } = options;
  const alphabet = [...new Set(text)].sort();
  const ids = Array.from(text, (c) => alphabet.indexOf(c));
  const known = Math.floor(0.9 * ids.length); // the rest is only for testing
  console.log(`text: ${ids.length} characters, ${alphabet.length} different ones`);
  if (options.model !== "lstm" && options.model !== "transformer") {
    fail(`--model is ${options.model}; it must be lstm or transformer`);
  }
  const model = options.model === "lstm"
    ? new LstmModel(alphabet.length, hidden, layers)
    : models.gpt({
      ...{ vocabSize: alphabet.length, contextLength: context, dModel: hidden, layers, heads: 4 },
    });
  console.log(model.summary());
  const optimizer = new optim.AdamW(model.parameters(), { lr });
  const schedule = new optim.schedule.OneCycleLR(optimizer, { maxLr: lr, totalSteps: steps });

  // Pieces from anywhere in a part of the text; each character is to be guessed from those before
  // it.
  const pages = [ids.slice(0, known), ids.slice(known)] as const;
  const [train, test] = pages.map((part) =>
    new data.TokenDataset(part, { contextLength: context })
  );
  const lossOn = (set: data.TokenDataset) => {
    const { input, target } = set.batch(randint(0, set.length, [batch]));
    return crossEntropy(model.forward(input).flatten(0, 1), target.flatten());
  };
  const watch = new MemoryWatch();
  let loss = NaN;
  for (let step = 1; step <= steps; step++) {
    scope(() => {
      const found = lossOn(train!);
      optimizer.zeroGrad();
      found.backward();
      clipGradNorm(model.parameters(), 1);
      optimizer.step();
      schedule.step();
      if (step % 50 !== 0 && step !== 1 && step !== steps) return;
      loss = found.itemSync();
      console.log(`step ${step}: loss ${loss.toFixed(4)}`);
    });
    watch.step();
  }
  console.log(`${watch}`);
  model.eval();
  const unseen = await scope(() => noGrad(() => lossOn(test!))).item();
  console.log(`\n${await write(options.sample)}\n`);
  return `loss ${loss.toFixed(3)} a character, ${unseen.toFixed(3)} on pages that it has not seen`;

  async function write(length: number): Promise<string> {
    const start = Array.from("The ", (c) => alphabet.indexOf(c));
    // a little bolder than the model
    const how = { maxNewTokens: length, temperature: 0.7, contextLength: context };
    const written = await generate(model, start, how);
    return [...start, ...written].map((id) => alphabet[id]).join("");
  }
});
