export * from "./gru.ts";
export * from "./lstm.ts";
export { rnn, type RNNOptions } from "./rnn.ts";
export type { Lengths, RecurrentOptions, RecurrentResult, RecurrentWeights } from "./_plan.ts";
