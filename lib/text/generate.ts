import type { AutocastDType } from "../core/autocast.ts";
import { checkInteger, checkList, checkNumber, checkOptions, refuse } from "../core/options.ts";
import { blocksOf, randomPlace, withRandomFrom } from "../core/random.ts";
import { GPT } from "../models/gpt.ts";
import { ArgumentError } from "../native/errors.ts";
import { checkModule } from "../nn/_check.ts";
import type { Module } from "../nn/module.ts";
import { multinomial } from "../ops/random/multinomial.ts";
import { argmax } from "../ops/reduce/argmax.ts";
import { reshape } from "../ops/shape/movement.ts";
import { beamSearch } from "./_beam_search.ts";
import { Continuation } from "./_continuation.ts";
import { probabilities } from "./_sampling.ts";

/** Options of {@linkcode generate} and {@linkcode generateStream}. */
export interface GenerateOptions {
  /** How many tokens to make at most. Default 100. */
  maxNewTokens?: number | undefined;
  /** Divides the scores: below 1 for what is likelier; 0 is `greedy`. Default 1. */
  temperature?: number | undefined;
  /** Only so many tokens of the highest scores, and those that are as high as the last. */
  topK?: number | undefined;
  /** Only the fewest tokens that have this probability together, above 0. Default 1: all. */
  topP?: number | undefined;
  /** Always the likeliest token. Default false. */
  greedy?: boolean | undefined;
  /** Above 1: the likeliest sequence of a search that keeps so many at each step. Default 1. */
  beams?: number | undefined;
  /** What beams' lengths are raised to: above 0 for longer sequences. Default 1. */
  lengthPenalty?: number | undefined;
  /** Tokens that end a sequence, and are not part of it. Default none. */
  stopTokens?: readonly number[] | undefined;
  /** Where random numbers begin. Default: they follow manualSeed(). */
  seed?: number | undefined;
  /** How many tokens the model can see; older ones are left out. Default: model.contextLength. */
  contextLength?: number | undefined;
  /** Whether a GPT keeps what it has computed of earlier tokens. Default true. */
  cache?: boolean | undefined;
  /** Runs the model under autocast() with this dtype. Default none. */
  autocast?: AutocastDType | undefined;
}

/**
 * Goes on with text: the new tokens for a prompt, or for each of several of any lengths. The model
 * is models.gpt(), or any that gives scores [batch, positions, tokens] for int32 [batch,
 * positions], of which none looks ahead. It runs in evaluation mode.
 *
 * Each token is drawn from the probabilities softmax(scores / temperature) of those that topK and
 * then topP leave, in Hugging Face's sense; or it is the likeliest (`greedy`); or the sequence is
 * found by beam search. The same seed gives the same tokens.
 *
 * @throws {ArgumentError} for an option or a prompt that cannot be.
 *
 * ```ts
 * import { generate, models } from "@cudeno/cudeno";
 * const model = models.gpt({ vocabSize: 65, contextLength: 32, dModel: 64, layers: 2 });
 * const options = { maxNewTokens: 5, temperature: 0.8, topK: 10, seed: 1 };
 * console.log(await generate(model, [1, 2, 3], options)); // five tokens
 * console.log(await generate(model, [[1], [4, 5]], { ...options, greedy: true })); // twice five
 * ```
 */
export async function generate<P extends ArrayLike<number> | readonly ArrayLike<number>[]>(
  model: Module,
  prompt: P,
  options: GenerateOptions = {},
): Promise<P extends ArrayLike<number> ? number[] : number[][]> {
  const single = !Array.isArray(prompt) || !prompt.some((x) => typeof x === "object");
  const all = (single ? [prompt] : prompt) as readonly ArrayLike<number>[];
  const found = await generated(model, all, checked("generate", model, all, options));
  return (single ? found[0] : found) as Awaited<ReturnType<typeof generate<P>>>;
}

async function generated(
  model: Module,
  prompts: readonly ArrayLike<number>[],
  settings: Settings,
): Promise<number[][]> {
  if (settings.beams > 1) {
    using text = new Continuation(model, prompts, settings);
    return await beamSearch(text, settings);
  }
  const rows: number[][] = prompts.map(() => []);
  for await (const tokens of steps(model, prompts, settings)) {
    tokens.forEach((token, i) => token !== undefined && rows[i]!.push(token));
  }
  return rows;
}

/**
 * {@linkcode generate} for one prompt, token by token as they come. BytePairTokenizer.stream()
 * makes text of them.
 *
 * ```ts
 * import { generateStream, models } from "@cudeno/cudeno";
 * const model = models.gpt({ vocabSize: 65, contextLength: 32, dModel: 64, layers: 2 });
 * for await (const token of generateStream(model, [1, 2, 3], { maxNewTokens: 5 })) {
 *   console.log(token);
 * }
 * ```
 */
export async function* generateStream(
  model: Module,
  prompt: ArrayLike<number>,
  options: GenerateOptions = {},
): AsyncGenerator<number, void, void> {
  const settings = checked("generateStream", model, [prompt], options);
  if (settings.beams > 1) {
    throw new ArgumentError(
      "generateStream: beams are known at the end only; use generate() for them",
    );
  }
  for await (const [token] of steps(model, [prompt], settings)) yield token!;
}

type Settings = ReturnType<typeof checked>;

// The next token of each sequence, none for those that have ended.
async function* steps(
  model: Module,
  prompts: readonly ArrayLike<number>[],
  { maxNewTokens, sampling, stop, seed, ...settings }: Settings,
): AsyncGenerator<(number | undefined)[], void, void> {
  using text = new Continuation(model, prompts, settings);
  const ended = prompts.map(() => false);
  let place = seed && { seed: seed.seed, drawn: seed.offset, held: null };
  for (let n = 0; n < maxNewTokens; n++) {
    using chosen = text.step((scores) => {
      if (!sampling) return argmax(scores, 1);
      const likely = probabilities(scores, sampling);
      const draw = () => reshape(multinomial(likely, 1, { replacement: true }), [prompts.length]);
      if (!place) return draw();
      return withRandomFrom(place, () => {
        const drawn = draw();
        place = { ...randomPlace(), held: null };
        return drawn;
      });
    });
    const tokens = await chosen.data();
    text.push(tokens);
    const next = Array.from(tokens, (token, i) => {
      ended[i] ||= stop.has(token);
      return ended[i] ? undefined : token;
    });
    if (!ended.includes(false)) return;
    yield next;
  }
}

function checked(
  op: string,
  model: Module,
  prompts: readonly ArrayLike<number>[],
  options: GenerateOptions,
) {
  checkModule(op, "the model", model);
  checkOptions(op, options, [
    ...["maxNewTokens", "temperature", "topK", "topP", "greedy", "beams", "lengthPenalty"],
    ...["stopTokens", "seed", "contextLength", "cache", "autocast"],
  ]);
  const { maxNewTokens = 100, temperature = 1, topK, topP, greedy = false, beams = 1 } = options;
  const { lengthPenalty = 1, stopTokens = [], seed, cache = true, autocast } = options;
  const own = (model as { contextLength?: unknown }).contextLength;
  const { contextLength = typeof own === "number" ? own : Number.MAX_SAFE_INTEGER } = options;
  checkInteger(op, "maxNewTokens", maxNewTokens, 0);
  checkNumber(op, "temperature", temperature, 0);
  if (topK !== undefined) checkInteger(op, "topK", topK, 1);
  if (topP !== undefined && !(topP > 0 && topP <= 1)) {
    refuse(op, "topP", topP, "above 0, and 1 at most");
  }
  checkInteger(op, "beams", beams, 1);
  checkNumber(op, "lengthPenalty", lengthPenalty);
  checkInteger(op, "contextLength", contextLength, 1);
  if (model instanceof GPT && contextLength > model.contextLength) {
    refuse(op, "contextLength", contextLength, `at most the model's, ${own}`);
  }
  const isToken = (token: unknown) => Number.isSafeInteger(token) && token as number >= 0;
  checkList(op, "stopTokens", stopTokens as unknown[], isToken, "tokens");
  const lists = prompts.length > 0 &&
    prompts.every((prompt) => prompt?.length > 0 && Array.from(prompt).every(isToken));
  if (!lists) {
    const wanted =
      "one token or more, whole numbers from 0 up as encode() gives, or a list of such";
    refuse(op, "the prompt", prompts.length === 1 ? prompts[0] : prompts, wanted);
  }
  return {
    ...{ maxNewTokens, contextLength, cache, autocast, beams, lengthPenalty },
    sampling: greedy || temperature === 0 ? undefined : { temperature, topK, topP },
    ...{ stop: new Set(stopTokens), seed: blocksOf(op, seed) },
  };
}
