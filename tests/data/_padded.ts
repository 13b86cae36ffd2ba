// Sequences as Workers import them, with a collate() that makes tensors.
import { data, tensor } from "../../mod.ts";

export const dataset: data.SampleDataset = {
  length: 5,
  get: (i) => ({ input: new Int32Array(i + 1).fill(i), target: i }),
};

export const collate = (samples: data.Sample[]): data.Batch => ({
  input: data.padSequence(samples.map(({ input }) => tensor(input as Int32Array))),
  target: tensor(samples.map(({ target }) => target as number), { dtype: "bfloat16" }),
});
