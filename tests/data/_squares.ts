// A data set as Workers import it: of numbers and their squares, with what may go wrong by `args`.
import { type data, rand } from "../../mod.ts";

export interface Squares {
  length?: number;
  /** At this sample: what happens. */
  at?: number;
  what?: "throw" | "reject" | "crash" | "shape" | "spin";
}

export default function squares({ length = 20, at, what }: Squares = {}): data.SampleDataset {
  return {
    length,
    classes: 2,
    get(i, random = Math.random) {
      if (i === at) {
        if (what === "throw") throw new RangeError("no such picture");
        if (what === "reject") return Promise.reject(new RangeError("no such file"));
        if (what === "crash") {
          return new Promise(() => setTimeout(() => globalThis.reportError(new Error("no paper"))));
        }
        if (what === "shape") return { input: [1], target: 0 };
        if (what === "spin") { for (const end = performance.now() + 50; performance.now() < end;); }
      }
      const input = [i, i * i, random(), rand([1], { device: "cpu" }).itemSync()];
      const sample = { input, target: i % 2, weight: i + 1 };
      return i % 3 === 0 ? Promise.resolve(sample) : sample;
    },
  };
}
