import { lstm } from "../ops/recurrent/lstm.ts";
import type { Tensor } from "../tensor.ts";
import { statesOf } from "./_check.ts";
import type { LSTMState } from "./lstm.ts";
import { RNNCellBase, type RNNCellBaseOptions } from "./rnn_cell_base.ts";

/**
 * One step of long short-term memory, as torch.nn.LSTMCell: x [n, in] or [in], both states [n,
 * hidden] or [hidden], zeros where they are not given. The formulas stand at {@linkcode lstm}.
 *
 * ```ts
 * import { nn, randn } from "@cudeno/cudeno";
 * const cell = new nn.LSTMCell(3, 8);
 * let state = cell.run(randn([4, 3]));
 * state = cell.run(randn([4, 3]), state);
 * console.log(state.h.shape, state.c.shape); // [4, 8], [4, 8]
 * ```
 */
export class LSTMCell extends RNNCellBase {
  constructor(inputSize: number, hiddenSize: number, options: RNNCellBaseOptions = {}) {
    super("LSTMCell", 4, inputSize, hiddenSize, options);
  }

  /** The hidden state after x, from zeros. */
  override forward(x: Tensor): Tensor {
    return this.run(x).h;
  }

  /** The next states. */
  run(x: Tensor, state?: LSTMState): LSTMState {
    const before = Object.values(statesOf("LSTMCell", state));
    const [h, c] = this.single(x, before, (x, weights, [h0, c0]) => {
      const next = lstm(x, weights, { h0, c0 });
      return [next.h, next.c];
    });
    return { h: h!, c: c! };
  }
}
