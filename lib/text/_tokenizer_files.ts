// vocab.json, merges.txt and tokenizer.json.
import { formatValue } from "../core/describe.ts";
import { DataError } from "../native/errors.ts";

/** What they say. */
export interface Files {
  /** What messages call them. */
  readonly name: string;
  /** Tokens by their texts, in which characters stand for bytes. */
  readonly vocab: ReadonlyMap<string, number>;
  readonly merges: readonly (readonly [string, string])[];
  /** Texts that are special, whatever merges make. */
  readonly special: ReadonlyMap<string, Strips>;
}

/** Whether a special token takes the white space before or after it along. */
export interface Strips {
  readonly lstrip: boolean;
  readonly rstrip: boolean;
}

interface File {
  readonly name: string;
  readonly text: string;
}

// What is looked for in them.
type Keys =
  | ("model" | "pre_tokenizer" | "normalizer" | "added_tokens" | "content" | "id" | "type")
  | ("vocab" | "merges" | "ignore_merges" | "add_prefix_space" | "use_regex")
  | ("continuing_subword_prefix" | "end_of_word_suffix" | "lstrip" | "rstrip" | "single_word");
type Json = { readonly [key in Keys]?: unknown };

const isObject = (x: unknown): x is Json =>
  typeof x === "object" && x !== null && !Array.isArray(x);

function parse({ name, text }: File): Json {
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch (cause) {
    throw new DataError(`${name} is no JSON: ${(cause as Error).message}`, { cause });
  }
  if (!isObject(found)) throw new DataError(`${name} has no object of JSON`);
  return found;
}

/** GPT-2's vocab.json. */
export function parseVocab(file: File): Pick<Files, "name" | "vocab"> {
  return { name: file.name, vocab: vocabOf(file.name, parse(file)) };
}

function vocabOf(name: string, found: unknown): Map<string, number> {
  if (!isObject(found)) throw new DataError(`${name} has no vocabulary: texts with numbers`);
  const vocab = new Map<string, number>(), texts: string[] = [];
  for (const [text, token] of Object.entries<unknown>(found as object as Record<string, unknown>)) {
    if (!Number.isSafeInteger(token) || token as number < 0 || token as number >= 2 ** 24) {
      throw new DataError(`${name}: ${formatValue(text)} is ${formatValue(token)}, no token`);
    }
    const other = texts[token as number];
    if (other !== undefined) {
      const both = `${formatValue(other)} and ${formatValue(text)}`;
      throw new DataError(`${name}: ${both} are both token ${token}`);
    }
    texts[token as number] = text;
    vocab.set(text, token as number);
  }
  return vocab;
}

/** GPT-2's merges.txt: a pair a line, after a first line for the version. */
export function parseMerges({ name, text }: File): Pick<Files, "merges"> {
  const lines = text.split(/\r?\n/);
  const first = lines[0]!.startsWith("#version") ? 1 : 0;
  const merges = lines.map((line, i) => [line, i + 1] as const).slice(first)
    .filter(([line]) => line !== "").map(([line, at]) => pairIn(`${name}, line ${at}`, line));
  return { merges };
}

function pairIn(where: string, found: unknown): [string, string] {
  const pair = typeof found === "string" ? found.split(" ") : found;
  if (
    Array.isArray(pair) && pair.length === 2 &&
    pair.every((part) => typeof part === "string" && part !== "")
  ) return pair as [string, string];
  throw new DataError(`${where} is ${formatValue(found)}; it must be two tokens`);
}

/** Hugging Face's tokenizer.json. */
export function parseTokenizer(file: File): Files {
  const { name } = file, found = parse(file);
  const { model, pre_tokenizer: cut, normalizer, added_tokens: added = [] } = found;
  if (!isObject(model) || model.type !== "BPE" || !Array.isArray(model.merges)) {
    const kind = isObject(model) ? formatValue(model.type) : "none";
    throw new DataError(
      `${name}: the model is ${kind}; it must be BPE, with merges, as in a tokenizer.json. ` +
        `GPT-2's ` +
        "vocab.json goes with its merges.txt: load(vocab, merges)",
    );
  }
  const level = isObject(cut) && cut.type === "ByteLevel" && cut.add_prefix_space !== true &&
    cut.use_regex !== false;
  const others = model.ignore_merges || model.continuing_subword_prefix || model.end_of_word_suffix;
  if (!level || normalizer || others || !Array.isArray(added)) {
    throw new DataError(
      `${name}: it does not cut text as GPT-2 does; pre_tokenizer must be ByteLevel, without ` +
        "add_prefix_space, and the normalizer none",
    );
  }
  const ids: [string, unknown][] = [], special = new Map<string, Strips>();
  for (const token of added) {
    if (!isObject(token) || typeof token.content !== "string" || token.content === "") {
      throw new DataError(`${name}: ${formatValue(token)} in added_tokens has no content`);
    }
    const { content, id, lstrip, rstrip, single_word: single } = token;
    if (single) throw new DataError(`${name}: ${formatValue(content)} has single_word`);
    ids.push([content, id]);
    special.set(content, { lstrip: lstrip === true, rstrip: rstrip === true });
  }
  const vocab = { ...isObject(model.vocab) ? model.vocab : {}, ...Object.fromEntries(ids) };
  return {
    ...{ name, vocab: vocabOf(name, vocab), special },
    merges: model.merges.map((pair, i) => pairIn(`${name}: merge ${i + 1}`, pair)),
  };
}
