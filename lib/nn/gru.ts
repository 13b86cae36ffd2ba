import { gru } from "../ops/recurrent/gru.ts";
import type { Tensor } from "../tensor.ts";
import { RNNBase, type RNNBaseOptions, type SequenceOptions } from "./rnn_base.ts";

/**
 * Gated recurrent units over sequences, as torch.nn.GRU; the formulas stand at {@linkcode gru}.
 * Input is [steps, n, in], with batchFirst [n, steps, in], or [steps, in] for one sequence; output
 * has hiddenSize features, twice as many where bidirectional. The state is [layers * directions, n,
 * hidden], zeros where it is not given. Parameters and their names are {@linkcode RNNBase}'s.
 *
 * ```ts
 * import { nn, randn } from "@cudeno/cudeno";
 * const layer = new nn.GRU(3, 8, { bidirectional: true });
 * const { output, state } = layer.run(randn([5, 4, 3]));
 * console.log(output.shape, state.shape); // [5, 4, 16], [2, 4, 8]
 * ```
 */
export class GRU extends RNNBase {
  constructor(inputSize: number, hiddenSize: number, options: RNNBaseOptions = {}) {
    super("GRU", 3, inputSize, hiddenSize, options);
  }

  /** The outputs of the last layer. */
  override forward(x: Tensor, options: SequenceOptions = {}): Tensor {
    return this.run(x, undefined, options).output;
  }

  /** The outputs of the last layer and the last states of all, from states that came before. */
  run(x: Tensor, state?: Tensor, options: SequenceOptions = {}): { output: Tensor; state: Tensor } {
    const initial: Record<string, Tensor> = state ? { h: state } : {};
    const [output, last] = this.through(x, initial, options, (x, weights, [h0], further) => {
      const result = gru(x, weights, { h0, ...further });
      return [result.output, result.h];
    });
    return { output, state: last! };
  }
}
