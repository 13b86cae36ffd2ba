import { bytesOf } from "../core/host.ts";
import { checkInteger, checkList, checkOptions, refuse } from "../core/options.ts";
import { type Source, sourceOf } from "../io/_source.ts";
import { ArgumentError, DataError } from "../native/errors.ts";
import { byteOf, byteOrder, characters, learnt, Merges, pieces, space } from "./_byte_pairs.ts";
import { type Files, parseMerges, parseTokenizer, parseVocab } from "./_tokenizer_files.ts";
import { textIn } from "./_utf8.ts";

/** Options of {@linkcode BytePairTokenizer.train}. */
export interface TrainTokenizerOptions {
  /** How many tokens there shall be at most, with the 256 bytes and special ones. */
  vocabSize: number;
  /** Tokens that text is not made of, the last ones. Default `["<|endoftext|>"]`. */
  specialTokens?: readonly string[] | undefined;
}

/** Options of {@linkcode BytePairTokenizer.encode}. */
export interface EncodeOptions {
  /** Whether the names of special tokens in the text stand for them. Default true. */
  specialTokens?: boolean | undefined;
}

const KEPT = 2 ** 16, LONG = 64;

/**
 * Text as tokens and back, as GPT-2 does it: text is cut into words, numbers and the like, each in
 * UTF-8, and in those pairs of tokens are merged, beginning with the 256 bytes, in the order of
 * merges.txt. So any text can be encoded and comes back as it was.
 *
 * What no merge makes is a special token, such as GPT-2's `<|endoftext|>`.
 *
 * ```ts
 * import { BytePairTokenizer } from "@cudeno/cudeno";
 * const tokenizer = BytePairTokenizer.train("low lower lowest low low", { vocabSize: 262 });
 * const tokens = tokenizer.encode("slower<|endoftext|>");
 * console.log(tokens, tokenizer.decode(tokens)); // the text again
 * ```
 */
export class BytePairTokenizer {
  /** The special tokens by name. */
  readonly specialTokens: Readonly<Record<string, number>>;
  /** One more than the highest token: what a model's vocabSize has to be. */
  readonly vocabSize: number;
  readonly #files: Files;
  readonly #names: string[] = []; // by token
  readonly #bytes: number[]; // the token of each
  readonly #merges = new Merges();
  readonly #special: RegExp | undefined;
  readonly #known = new Map<string, number[]>();

  private constructor(files: Files) {
    if (!(files?.vocab instanceof Map)) {
      throw new ArgumentError("BytePairTokenizer: make one by load() or train()");
    }
    const { name, vocab, merges, special } = files;
    this.#files = files;
    for (const [text, token] of vocab) this.#names[token] = text;
    const find = (text: string, where: string) => {
      const token = vocab.get(text);
      if (token === undefined) throw new DataError(`${name}: ${where}, which is no token`);
      return token;
    };
    this.#bytes = characters.map((c, byte) => find(c, `byte ${byte} is ${c}`));
    const made = new Set<string>(characters);
    for (const [i, [a, b]] of merges.entries()) {
      const where = `merge ${i + 1}, of ${a} and ${b}, has `;
      const token = find(a + b, `${where}${a + b}`);
      this.#merges.add(find(a, where + a), find(b, where + b), token);
      made.add(a + b);
    }
    const others = [...vocab].filter(([text]) => special.has(text) || !made.has(text));
    this.specialTokens = Object.fromEntries(others);
    this.vocabSize = this.#names.length;
    if (others.length === 0) return;
    // the longest first, of those that begin alike
    const names = others.map(([text]) => text).sort((a, b) => b.length - a.length);
    const any = (of: string[]) =>
      of.map((text) => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")).join("|");
    const [left, right] = (["lstrip", "rstrip"] as const).map((side) =>
      any(names.filter((text) => special.get(text)?.[side]))
    );
    // white space from where it begins alone, so that a long one takes no quadratic time
    const before = left && `(?:(?<!${space})${space}+(?=${left}))?`;
    const after = right && `(?:(?<=${right})${space}+)?`;
    this.#special = new RegExp(`${before}(${any(names)})${after}`, "u");
  }

  /**
   * Reads GPT-2's vocab.json and merges.txt, or Hugging Face's tokenizer.json alone, if that is of
   * the same kind: byte-level, with GPT-2's words. A source is a path or URL, the bytes, or a
   * stream of them.
   *
   * @throws {DataError} for files that are missing, malformed or of another kind.
   *
   * ```ts ignore
   * import { BytePairTokenizer } from "@cudeno/cudeno";
   * const gpt2 = await BytePairTokenizer.load("gpt2/vocab.json", "gpt2/merges.txt");
   * console.log(gpt2.encode("Hello world")); // 15496, 995
   * ```
   */
  static async load(vocab: Source, merges?: Source): Promise<BytePairTokenizer> {
    const read = async (source: Source) => {
      const { name, bytes } = await sourceOf("BytePairTokenizer", source);
      try {
        return { name, text: new TextDecoder("utf-8", { fatal: true }).decode(bytes.slice()) };
      } catch (cause) {
        throw new DataError(`${name} is no UTF-8`, { cause });
      }
    };
    const first = await read(vocab);
    if (merges === undefined) return new BytePairTokenizer(parseTokenizer(first));
    const files = { ...parseVocab(first), ...parseMerges(await read(merges)) };
    return new BytePairTokenizer({ ...files, special: new Map() });
  }

  /**
   * Makes a tokenizer from text: merges the pair that is there most often, again and again, until
   * there are vocabSize tokens, or no pair is there twice. Meant for some thousand tokens.
   *
   * ```ts
   * import { BytePairTokenizer } from "@cudeno/cudeno";
   * const tokenizer = BytePairTokenizer.train("so so so it is", { vocabSize: 300 });
   * console.log(tokenizer.vocabSize, JSON.stringify(tokenizer).length); // tokenizer.json's text
   * ```
   */
  static train(text: string, options: TrainTokenizerOptions): BytePairTokenizer {
    const op = "BytePairTokenizer.train";
    if (typeof text !== "string") refuse(op, "the text", text, "a string");
    checkOptions(op, options, ["vocabSize", "specialTokens"]);
    const { vocabSize, specialTokens = ["<|endoftext|>"] } = options;
    const isName = (name: unknown) => typeof name === "string" && name !== "";
    checkList(op, "specialTokens", specialTokens as unknown[], isName, "names");
    checkInteger(op, "vocabSize", vocabSize, 256 + specialTokens.length);
    const counts = new Map<string, number>();
    for (const [word] of text.matchAll(pieces)) counts.set(word, (counts.get(word) ?? 0) + 1);
    const encoder = new TextEncoder();
    const tokenOf = new Map(byteOrder.map((byte, token) => [byte, token]));
    const words = Array.from(counts, ([word, count]): [number[], number] => [
      Array.from(encoder.encode(word), (byte) => tokenOf.get(byte)!),
      count,
    ]);
    const names = byteOrder.map((byte) => characters[byte]!);
    const room = vocabSize - 256 - specialTokens.length;
    const merges = learnt(words, 256, room).map(([a, b]): [string, string] => {
      const pair: [string, string] = [names[a]!, names[b]!];
      names.push(pair.join(""));
      return pair;
    });
    for (const [i, name] of specialTokens.entries()) {
      if (names.includes(name)) {
        refuse(op, `specialTokens[${i}]`, name, "none of the text's own tokens, nor one before it");
      }
      names.push(name);
    }
    const special = new Map(specialTokens.map((x) => [x, { lstrip: false, rstrip: false }]));
    const vocab = new Map(names.map((name, token) => [name, token]));
    return new BytePairTokenizer({ name: op, vocab, merges, special });
  }

  /**
   * The tokens of a text, or of bytes, which need not be UTF-8.
   *
   * ```ts
   * import { BytePairTokenizer } from "@cudeno/cudeno";
   * const tokenizer = BytePairTokenizer.train("so so so", { vocabSize: 300 });
   * console.log(tokenizer.encode("so<|endoftext|>", { specialTokens: false }).length); // as text
   * ```
   */
  encode(text: string | Uint8Array, options: EncodeOptions = {}): number[] {
    checkOptions("encode", options, ["specialTokens"]);
    const bytes = typeof text === "string" ? undefined : bytesOf("encode", text);
    if (typeof text !== "string" && !bytes) refuse("encode", "the text", text, "a string or bytes");
    const special = options.specialTokens ?? true ? this.#special : undefined;
    const tokens: number[] = [];
    for (const part of bytes ? textIn(bytes) : [text as string]) {
      if (typeof part !== "string") {
        for (const token of this.#merged(part)) tokens.push(token);
        continue;
      }
      // with a group split() gives what it matches too
      for (const piece of special ? part.split(special) : [part]) {
        const token = special && Object.hasOwn(this.specialTokens, piece)
          ? this.specialTokens[piece]
          : undefined;
        if (token !== undefined) tokens.push(token);
        else this.#encode(piece, tokens);
      }
    }
    return tokens;
  }

  #encode(text: string, tokens: number[]): void {
    const encoder = new TextEncoder(), known = this.#known;
    for (const [word] of text.matchAll(pieces)) {
      let found = known.get(word);
      if (!found) {
        found = this.#merged(encoder.encode(word));
        if (known.size >= KEPT) known.clear();
        if (word.length <= LONG) known.set(word, found);
      }
      for (const token of found) tokens.push(token);
    }
  }

  #merged(bytes: Uint8Array): number[] {
    return this.#merges.merged(Array.from(bytes, (byte) => this.#bytes[byte]!));
  }

  /**
   * The text of tokens; bytes that are no UTF-8 become U+FFFD.
   *
   * @throws {ArgumentError} for a token that there is not.
   */
  decode(tokens: ArrayLike<number>): string {
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(this.decodeBytes(tokens));
  }

  /** The bytes of tokens. */
  decodeBytes(tokens: ArrayLike<number>): Uint8Array<ArrayBuffer> {
    const bytes: number[] = [];
    for (const token of Array.from(tokens)) {
      const name = this.#names[token];
      if (name === undefined) {
        refuse("decode", "a token", token, `a whole number below ${this.vocabSize}`);
      }
      if (Object.hasOwn(this.specialTokens, name)) bytes.push(...new TextEncoder().encode(name));
      else for (const c of name) bytes.push(byteOf.get(c)!);
    }
    return Uint8Array.from(bytes);
  }

  /**
   * Text from tokens as they come: each time what is complete, as a character may be of several.
   *
   * ```ts
   * import { BytePairTokenizer } from "@cudeno/cudeno";
   * const tokenizer = BytePairTokenizer.train("¿qué?", { vocabSize: 257 });
   * const parts = [];
   * for await (const text of tokenizer.stream(tokenizer.encode("qué"))) parts.push(text);
   * console.log(parts); // q, u, é
   * ```
   */
  async *stream(
    tokens: AsyncIterable<number> | Iterable<number>,
  ): AsyncGenerator<string, void, void> {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    for await (const token of tokens) {
      const text = decoder.decode(this.decodeBytes([token]), { stream: true });
      if (text) yield text;
    }
    const rest = decoder.decode();
    if (rest) yield rest;
  }

  /** What JSON.stringify() writes: Hugging Face's tokenizer.json. */
  toJSON(): object {
    const { vocab, merges, special } = this.#files;
    const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true };
    return {
      version: "1.0",
      added_tokens: Object.entries(this.specialTokens).map(([content, id]) => ({
        ...{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false },
        ...special.get(content),
        special: true,
      })),
      normalizer: null,
      pre_tokenizer: { ...byteLevel, use_regex: true },
      post_processor: null,
      decoder: byteLevel,
      model: {
        type: "BPE",
        vocab: Object.fromEntries(vocab),
        merges: merges.map((pair) => pair.join(" ")),
      },
    };
  }
}
