import { lstm } from "../ops/recurrent/lstm.ts";
import type { Tensor } from "../tensor.ts";
import { statesOf } from "./_check.ts";
import { RNNBase, type RNNBaseOptions, type SequenceOptions } from "./rnn_base.ts";

/** The states of an LSTM, both of one shape. */
export interface LSTMState {
  /** The hidden state. */
  readonly h: Tensor;
  /** The cell state. */
  readonly c: Tensor;
}

/**
 * Long short-term memory over sequences, as torch.nn.LSTM; the formulas stand at {@linkcode lstm}.
 * Input is [steps, n, in], with batchFirst [n, steps, in], or [steps, in] for one sequence; output
 * has hiddenSize features, twice as many where bidirectional. States are [layers * directions, n,
 * hidden]; those not given are zeros. Parameters and their names are {@linkcode RNNBase}'s.
 *
 * ```ts
 * import { data, nn, randn } from "@cudeno/cudeno";
 * const layer = new nn.LSTM(3, 8, { numLayers: 2, batchFirst: true });
 * const first = layer.run(randn([4, 5, 3]));
 * const next = layer.run(randn([4, 5, 3]), first.state); // goes on where it stopped
 * console.log(next.output.shape, next.state.c.shape); // [4, 5, 8], [2, 4, 8]
 * const padded = data.padSequence([randn([5, 3]), randn([2, 3])]);
 * const { state } = layer.run(padded, undefined, { lengths: [5, 2] }); // after steps 5 and 2
 * ```
 */
export class LSTM extends RNNBase {
  constructor(inputSize: number, hiddenSize: number, options: RNNBaseOptions = {}) {
    super("LSTM", 4, inputSize, hiddenSize, options);
  }

  /** The outputs of the last layer. */
  override forward(x: Tensor, options: SequenceOptions = {}): Tensor {
    return this.run(x, undefined, options).output;
  }

  /** The outputs of the last layer and the last states of all, from states that came before. */
  run(
    x: Tensor,
    state?: LSTMState,
    options: SequenceOptions = {},
  ): { output: Tensor; state: LSTMState } {
    const initial = statesOf("LSTM", state);
    const [output, h, c] = this.through(x, initial, options, (x, weights, [h0, c0], further) => {
      const result = lstm(x, weights, { h0, c0, ...further });
      return [result.output, result.h, result.c];
    });
    return { output, state: { h: h!, c: c! } };
  }
}
