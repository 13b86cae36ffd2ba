// A language model of single characters: given some text, which character comes next? An LSTM, or a
// small transformer.
//
//   deno run --allow-ffi examples/char_lm.ts --help
import {
  arange,
  clipGradNorm,
  crossEntropy,
  indexSelect,
  noGrad,
  optim,
  rand,
  randint,
  scope,
  slice,
  tensor,
} from "../mod.ts";
import text from "./data/text.txt" with { type: "text" };
import { LstmModel, TransformerModel } from "./char_models.ts";
import { fail, MemoryWatch, program } from "./program.ts";

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
  const ids = tensor(Array.from(text, (c) => alphabet.indexOf(c)), { dtype: "int32" });
  const known = Math.floor(0.9 * ids.size); // the rest is only for testing
  console.log(`text: ${ids.size} characters, ${alphabet.length} different ones`);
  if (options.model !== "lstm" && options.model !== "transformer") {
    fail(`--model is ${options.model}; it must be lstm or transformer`);
  }
  const model = options.model === "lstm"
    ? new LstmModel(alphabet.length, hidden, layers)
    : new TransformerModel(alphabet.length, hidden, layers, context);
  console.log(model.summary());
  const optimizer = new optim.AdamW(model.parameters(), { lr });
  const schedule = new optim.schedule.OneCycleLR(optimizer, { maxLr: lr, totalSteps: steps });

  // Pieces from anywhere in a part of the text; each character is to be guessed from those before
  // it.
  const lossOn = (first: number, end: number) => {
    const starts = randint(first, end - context, [batch, 1]);
    const places = starts.add(arange(0, context + 1, 1, { dtype: "int32" })).flatten();
    const pieces = indexSelect(ids, 0, places).reshape([batch, context + 1]);
    const logits = model.forward(slice(pieces, 1, 0, context));
    return crossEntropy(logits.flatten(0, 1), slice(pieces, 1, 1).flatten());
  };
  const watch = new MemoryWatch();
  let loss = NaN;
  for (let step = 1; step <= steps; step++) {
    scope(() => {
      const found = lossOn(0, known);
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
  const unseen = await scope(() => noGrad(() => lossOn(known, ids.size))).item();
  console.log(`\n${write(options.sample)}\n`);
  return `loss ${loss.toFixed(3)} a character, ${unseen.toFixed(3)} on pages that it has not seen`;

  // Guesses the next character, takes one as likely as the guess says, and goes on behind it.
  function write(length: number): string {
    const written = Array.from("The ", (c) => alphabet.indexOf(c));
    for (const chance of rand([length]).dataSync()) {
      const shares = scope(() =>
        noGrad(() => {
          const seen = tensor([written.slice(-context)], { dtype: "int32" });
          const logits = slice(model.forward(seen), 1, -1).flatten();
          return logits.div(0.7).softmax(); // a little bolder than the guess
        })
      ).dataSync();
      let left = chance;
      const next = shares.findIndex((share) => (left -= share) < 0);
      written.push(next < 0 ? shares.length - 1 : next);
    }
    return written.map((id) => alphabet[id]).join("");
  }
});
