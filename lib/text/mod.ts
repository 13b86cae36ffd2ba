/** Text: tokens of it, and more of it from a language model. */
export * from "./byte_pair_tokenizer.ts";
export * from "./generate.ts";
