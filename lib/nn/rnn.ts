import { checkNonlinearity, rnn } from "../ops/recurrent/rnn.ts";
import type { Tensor } from "../tensor.ts";
import { RNNBase, type RNNBaseOptions, type SequenceOptions } from "./rnn_base.ts";

/** Options of {@linkcode RNN}. */
export interface RNNOptions extends RNNBaseOptions {
  /** Default tanh. */
  nonlinearity?: "tanh" | "relu" | undefined;
}

/**
 * Plain recurrence over sequences, as torch.nn.RNN: h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) +
 * b_hh), or with relu. Input is [steps, n, in], with batchFirst [n, steps, in], or [steps, in] for
 * one sequence; output has hiddenSize features, twice as many where bidirectional. The state is
 * [layers * directions, n, hidden], zeros where it is not given. Parameters and their names are
 * {@linkcode RNNBase}'s.
 *
 * ```ts
 * import { nn, randn } from "@cudeno/cudeno";
 * const model = new nn.Sequential(new nn.RNN(3, 8, { batchFirst: true }), new nn.Linear(8, 2));
 * console.log(model.forward(randn([4, 5, 3])).shape); // [4, 5, 2]
 * ```
 */
export class RNN extends RNNBase {
  readonly #nonlinearity: "tanh" | "relu";

  constructor(inputSize: number, hiddenSize: number, options: RNNOptions = {}) {
    const { nonlinearity = "tanh" } = options ?? {};
    checkNonlinearity("RNN", nonlinearity);
    super("RNN", 1, inputSize, hiddenSize, options, ["nonlinearity"]);
    this.#nonlinearity = nonlinearity;
  }

  /** The outputs of the last layer. */
  override forward(x: Tensor, options: SequenceOptions = {}): Tensor {
    return this.run(x, undefined, options).output;
  }

  /** The outputs of the last layer and the last states of all, from states that came before. */
  run(x: Tensor, state?: Tensor, options: SequenceOptions = {}): { output: Tensor; state: Tensor } {
    const initial: Record<string, Tensor> = state ? { h: state } : {};
    const nonlinearity = this.#nonlinearity;
    const [output, last] = this.through(x, initial, options, (x, weights, [h0], further) => {
      const result = rnn(x, weights, { h0, ...further, nonlinearity });
      return [result.output, result.h];
    });
    return { output, state: last! };
  }
}
