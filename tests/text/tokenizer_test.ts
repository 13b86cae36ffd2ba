import { assert, assertEquals, assertRejects } from "@std/assert";
import { BytePairTokenizer, DataError } from "../../mod.ts";
import { characters, pieces } from "../../lib/text/_byte_pairs.ts";
import { refuse } from "../_helpers.ts";

const story = await Deno.readTextFile(new URL("../../examples/data/text.txt", import.meta.url));
const own = BytePairTokenizer.train(story, { vocabSize: 600 });
const bytesOf = (text: string) => new TextEncoder().encode(text);
const json = (change: (file: ReturnType<typeof parts>) => void = () => {}) => {
  const file = parts();
  change(file);
  return bytesOf(JSON.stringify(file));
};
// deno-lint-ignore no-explicit-any -- what is to be malformed
const parts = (): any => JSON.parse(JSON.stringify(own));

// GPT-2's own way: of a word's pairs the first in merges.txt, everywhere, and again.
function naive(text: string): number[] {
  const { vocab, merges } = parts().model as { vocab: Record<string, number>; merges: string[] };
  return [...text.matchAll(pieces)].flatMap(([word]) => {
    let tokens = Array.from(bytesOf(word), (byte) => characters[byte]!);
    for (;;) {
      const pairs = new Set(tokens.slice(1).map((b, i) => `${tokens[i]} ${b}`));
      const pair = merges.find((pair) => pairs.has(pair))?.split(" ");
      if (!pair) return tokens.map((token) => vocab[token]!);
      const merged: string[] = [];
      for (let i = 0; i < tokens.length; i++) {
        const both = tokens[i] === pair[0] && tokens[i + 1] === pair[1];
        merged.push(both ? pair.join("") : tokens[i]!);
        if (both) i++;
      }
      tokens = merged;
    }
  });
}

Deno.test("BytePairTokenizer cuts text where GPT-2 does, with Unicode's white space", () => {
  const cut = (text: string) => [...text.matchAll(pieces)].map(([word]) => word);
  assertEquals(cut("I'll say: it's  2x²\n\n ok"), [
    ...["I", "'ll", " say", ":", " it", "'s", " ", " 2", "x", "²", "\n\n", " ok"],
  ]);
  assertEquals(cut("IT'S e\u0301 \u0085z\ufeff \u00a0 "), [
    ...["IT", "'", "S", " e", "\u0301", " \u0085".slice(0, 1), "\u0085", "z", "\ufeff", " \u00a0 "],
  ]);
});

Deno.test("BytePairTokenizer merges as GPT-2's own loop does, and gives the text back", () => {
  const words = ["the ", "lighthouse", "  ", "\n", "é", "日本", "😀", "'s", "1", "?!", "aaaaaaa"];
  let seed = 1;
  const random = (n: number) => (seed = seed * 48271 % 2147483647) % n;
  const texts = Array.from(
    { length: 50 },
    () => Array.from({ length: 20 }, () => words[random(words.length)]).join(""),
  );
  for (const text of ["", story.slice(0, 2000), "e".repeat(99), ...texts]) {
    const tokens = own.encode(text);
    assertEquals(tokens, naive(text));
    assertEquals(own.decode(tokens), text);
  }
  assert(own.encode(story).length < story.length / 2.5);
  const any = Uint8Array.from({ length: 5000 }, () => random(256));
  const bad = [0xc0, 0x80, 0xed, 0xa0, 0x80, 0xf4, 0x90, 0x80, 0x80, 0xe2, 0x82];
  for (const bytes of [any, Uint8Array.from(bad), bytesOf("\ufeffé日😀")]) {
    assertEquals(own.decodeBytes(own.encode(bytes)), bytes);
  }
  assertEquals(own.encode(bytesOf(story)), own.encode(story));
});

Deno.test("BytePairTokenizer: a long word without spaces takes no quadratic time", () => {
  const letters = Array.from({ length: 2e5 }, (_, i) => "etaoin"[(i * i + (i >> 3)) % 6]).join("");
  assertEquals(own.decode(own.encode(letters)), letters);
});

Deno.test("BytePairTokenizer: special tokens are what no merge makes", async () => {
  assertEquals(own.specialTokens, { "<|endoftext|>": own.vocabSize - 1 });
  const text = "a<|endoftext|><|endoftext|>b";
  const end = own.vocabSize - 1;
  assertEquals(own.encode(text), [...own.encode("a"), end, end, ...own.encode("b")]);
  const plain = own.encode(text, { specialTokens: false });
  assert(!plain.includes(end));
  assertEquals([own.decode(plain), own.decode(own.encode(text))], [text, text]);
  refuse(() => own.decode([end + 1]), "argument", `${end + 1}`, "a whole number below");
  const streamed: string[] = [];
  for await (const part of own.stream(own.encode("a日😀"))) streamed.push(part);
  assertEquals(streamed, ["a", "日", "😀"]);
});

Deno.test("BytePairTokenizer reads its own JSON, and GPT-2's two files", async () => {
  const { vocab, merges } = parts().model;
  const lines = ["#version: 0.2", ...merges, ""].join("\n");
  const all = [
    await BytePairTokenizer.load(json()),
    await BytePairTokenizer.load(json((file) => {
      file.model.merges = merges.map((pair: string) => pair.split(" "));
    })),
    await BytePairTokenizer.load(bytesOf(JSON.stringify(vocab)), bytesOf(lines)),
  ];
  for (const one of all) {
    assertEquals(one.encode(story), own.encode(story));
    assertEquals(one.specialTokens, own.specialTokens);
    assertEquals(JSON.stringify(one), JSON.stringify(own));
  }
});

Deno.test("BytePairTokenizer: special tokens take white space as files say", async () => {
  const end = own.vocabSize - 1, [a, b] = [own.encode("a"), own.encode("b")];
  const spaces = own.encode(" \u00a0"), text = "a \u00a0<|endoftext|> \u00a0b";
  for (const [lstrip, rstrip] of [[true, false], [false, true], [true, true]]) {
    const one = await BytePairTokenizer.load(
      json((file) => Object.assign(file.added_tokens[0], { lstrip, rstrip })),
    );
    const wanted = [...a, ...(lstrip ? [] : spaces), end, ...(rstrip ? [] : spaces), ...b];
    const again = await BytePairTokenizer.load(bytesOf(JSON.stringify(one)));
    for (const each of [one, again]) assertEquals(each.encode(text), wanted);
    const wide = " ".repeat(1e5); // takes no quadratic time
    assertEquals(one.decode(one.encode(`a${wide}b`)), `a${wide}b`);
  }
});

Deno.test("BytePairTokenizer refuses files that are malformed or of another kind", async () => {
  const { vocab } = parts().model;
  const cases: [vocab: Uint8Array, merges: Uint8Array | undefined, message: string][] = [
    [bytesOf("{"), undefined, "no JSON"],
    [bytesOf("[]"), undefined, "no object"],
    [Uint8Array.of(0xff), undefined, "no UTF-8"],
    [json((file) => file.model.type = "WordPiece"), undefined, "must be BPE"],
    [bytesOf(JSON.stringify(vocab)), undefined, "load(vocab, merges)"],
    [json((file) => file.normalizer = { type: "NFC" }), undefined, "the normalizer none"],
    [json((file) => file.pre_tokenizer.add_prefix_space = true), undefined, "as GPT-2 does"],
    [json((file) => file.model.vocab = 3), undefined, "byte 0"],
    [json((file) => delete file.model.vocab["a"]), undefined, "byte 97 is a"],
    [json((file) => file.model.vocab["a"] = 1.5), undefined, '"a" is 1.5'],
    [json((file) => file.model.vocab["a"] = 5), undefined, "both token 5"],
    [json((file) => file.model.merges[2] = "a"), undefined, "merge 3 is"],
    [json((file) => file.model.merges.push("q q")), undefined, "has qq, which is no token"],
    [json((file) => file.added_tokens = [3]), undefined, "added_tokens"],
    [json((file) => file.added_tokens[0].single_word = true), undefined, "single_word"],
    [json((file) => file.model.end_of_word_suffix = "</w>"), undefined, "as GPT-2 does"],
    [bytesOf(JSON.stringify(vocab)), bytesOf("#version: 0.2\nh e\nt\n"), "line 3"],
  ];
  for (const [first, second, message] of cases) {
    await assertRejects(() => BytePairTokenizer.load(first, second), DataError, message);
  }
  await assertRejects(() => BytePairTokenizer.load("no/such.json"), DataError, "no/such.json");
  refuse(() => BytePairTokenizer.train("a", { vocabSize: 256 }), "argument", "at least 257");
  // č stands for byte 13, é is merged of Ã and ©, and one name has one token
  for (const specialTokens of [["č"], ["Ã©"], ["<x>", "<x>"]]) {
    const train = () => BytePairTokenizer.train("é é é", { vocabSize: 300, specialTokens });
    refuse(
      train,
      "argument",
      `specialTokens[${specialTokens.length - 1}] is "${specialTokens[0]}"`,
    );
  }
});
