import { checkNonlinearity, rnn } from "../ops/recurrent/rnn.ts";
import type { Tensor } from "../tensor.ts";
import { RNNCellBase, type RNNCellBaseOptions } from "./rnn_cell_base.ts";

/** Options of {@linkcode RNNCell}. */
export interface RNNCellOptions extends RNNCellBaseOptions {
  /** Default tanh. */
  nonlinearity?: "tanh" | "relu" | undefined;
}

/**
 * One step of plain recurrence, as torch.nn.RNNCell: h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or
 * with relu; x [n, in] or [in], the state [n, hidden] or [hidden], zeros where it is not given.
 *
 * ```ts
 * import { nn, randn } from "@cudeno/cudeno";
 * const cell = new nn.RNNCell(3, 8, { nonlinearity: "relu" });
 * let state = cell.run(randn([4, 3]));
 * state = cell.run(randn([4, 3]), state);
 * console.log(state.shape); // [4, 8]
 * ```
 */
export class RNNCell extends RNNCellBase {
  readonly #nonlinearity: "tanh" | "relu";

  constructor(inputSize: number, hiddenSize: number, options: RNNCellOptions = {}) {
    const { nonlinearity = "tanh" } = options ?? {};
    checkNonlinearity("RNNCell", nonlinearity);
    super("RNNCell", 1, inputSize, hiddenSize, options, ["nonlinearity"]);
    this.#nonlinearity = nonlinearity;
  }

  /** The state after x, from zeros. */
  override forward(x: Tensor): Tensor {
    return this.run(x);
  }

  /** The next state. */
  run(x: Tensor, state?: Tensor): Tensor {
    const before = state ? [state] : [];
    const nonlinearity = this.#nonlinearity;
    return this.single(x, before, (x, weights, [h0]) => [
      rnn(x, weights, { h0, nonlinearity }).h,
    ])[0]!;
  }
}
