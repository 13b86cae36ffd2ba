import { checkOptions } from "../../core/options.ts";
import type { Tensor } from "../../tensor.ts";
import { sigmoid, tanh } from "../elementwise/activations.ts";
import { add, mul } from "../elementwise/binary.ts";
import type { Lengths, Plan, RecurrentWeights } from "./_plan.ts";
import { type Cell, gatesOf, recurrent, type Walk } from "./_recurrent.ts";

/** Options of {@linkcode lstm}. */
export interface LSTMOptions {
  /** The hidden state before the first step, [1, n, hidden]. Default zeros. */
  h0?: Tensor | undefined;
  /** The cell state before the first step, [1, n, hidden]. Default zeros. */
  c0?: Tensor | undefined;
  /** Walk from the last step to the first. Default false. */
  reverse?: boolean | undefined;
  /** How many steps each sequence has. Default all. */
  lengths?: Lengths | undefined;
}

/** What {@linkcode lstm} returns. */
export interface LSTMResult {
  /** The hidden states of all steps, [steps, n, hidden]. */
  readonly output: Tensor;
  /** The hidden state after the last step, [1, n, hidden]. */
  readonly h: Tensor;
  /** The cell state after the last step, [1, n, hidden]. */
  readonly c: Tensor;
}

/**
 * Long short-term memory: one layer and direction over a sequence x [steps, n, in]. With the gates'
 * sums a = W_ih x_t + b_ih + W_hh h_(t-1) + b_hh, split into four in the order i, f, g, o:
 *
 *     i, f, o = sigmoid(a_i, a_f, a_o)   g = tanh(a_g)
 *     c_t = f c_(t-1) + i g              h_t = o tanh(c_t)
 *
 * Floats. What torch.nn.LSTM computes for one layer. Gradients go to x, the weights and both
 * states.
 *
 * @throws {ShapeError} when shapes do not fit, or there are no steps.
 *
 * ```ts
 * import { lstm, randn } from "@cudeno/cudeno";
 * const weights = { weightIh: randn([4 * 8, 3]), weightHh: randn([4 * 8, 8]) };
 * const { output, h, c } = lstm(randn([5, 2, 3]), weights);
 * console.log(output.shape, h.shape, c.shape); // [5, 2, 8], [1, 2, 8], [1, 2, 8]
 * ```
 */
export function lstm(x: Tensor, weights: RecurrentWeights, options: LSTMOptions = {}): LSTMResult {
  checkOptions("lstm", options, ["h0", "c0", "reverse", "lengths"]);
  const { reverse = false, lengths, ...given } = options;
  const [output, h, c] = recurrent(cell, x, weights, given, reverse, lengths);
  return { output, h: h!, c: c! };
}

const cell: Cell = {
  ...{ op: "lstm", gates: 4, states: ["h0", "c0"], keepsGates: true, splits: false },
  // The cell states between c0 and the last, and the last.
  save: (x, { steps, n, hidden }) => [x.make([steps - 1, n, hidden]), x.make([1, n, hidden])],
  last: ([, c]) => [c!.alias()], // so that disposing of it leaves what is saved
  forward(walk, plan) {
    const { f, gates: g, h0, h, product: u, bIh, bHh, lengths: l, n, hidden: m, code } = walk;
    const [c0, c] = cellStates(walk, plan);
    return (t) =>
      f.cdn_lstm_cell(g[t]!, c[t]!, h[t]!, g[t]!, u, c0[t]!, h0[t]!, bIh, bHh, l, t, n, m, code);
  },
  back(walk, plan) {
    const { f, gates: g, dy, dgX: dg, dh, past: dc, carried: p, lengths: l, n, hidden: m, code } =
      walk;
    const [c0, c] = cellStates(walk, plan);
    return (t) =>
      f.cdn_lstm_cell_grad(dg[t]!, dc, p, dy[t]!, dh, dc, g[t]!, c[t]!, c0[t]!, l, t, n, m, code);
  },
  composed(fromInput, fromState, [, c], plan) {
    const [i, f, g, o] = gatesOf(add(fromInput, fromState), 4, plan);
    const kept = mul(sigmoid(f!), c!);
    const fresh = add(kept, mul(sigmoid(i!), tanh(g!)));
    return [mul(sigmoid(o!), tanh(fresh)), fresh];
  },
};

// Those that steps begin with and those that they end with, by time: in the hidden ones' order.
function cellStates({ saved, initial }: Walk, plan: Plan): readonly [number[], number[]] {
  const all = [initial[1]!, ...saved[0]!, ...saved[1]!];
  if (plan.initial > 0) all.reverse();
  return [all.slice(plan.before), all.slice(plan.first)];
}
