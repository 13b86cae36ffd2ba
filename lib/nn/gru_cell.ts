import { gru } from "../ops/recurrent/gru.ts";
import type { Tensor } from "../tensor.ts";
import { RNNCellBase, type RNNCellBaseOptions } from "./rnn_cell_base.ts";

/**
 * One step of gated recurrent units, as torch.nn.GRUCell: x [n, in] or [in], the state [n, hidden]
 * or [hidden], zeros where it is not given. The formulas stand at {@linkcode gru}.
 *
 * ```ts
 * import { nn, randn } from "@cudeno/cudeno";
 * const cell = new nn.GRUCell(3, 8);
 * let state = cell.run(randn([4, 3]));
 * state = cell.run(randn([4, 3]), state);
 * console.log(state.shape); // [4, 8]
 * ```
 */
export class GRUCell extends RNNCellBase {
  constructor(inputSize: number, hiddenSize: number, options: RNNCellBaseOptions = {}) {
    super("GRUCell", 3, inputSize, hiddenSize, options);
  }

  /** The state after x, from zeros. */
  override forward(x: Tensor): Tensor {
    return this.run(x);
  }

  /** The next state. */
  run(x: Tensor, state?: Tensor): Tensor {
    const before = state ? [state] : [];
    return this.single(x, before, (x, weights, [h0]) => [gru(x, weights, { h0 }).h])[0]!;
  }
}
