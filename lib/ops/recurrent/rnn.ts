import { checkOptions } from "../../core/options.ts";
import { formatValue } from "../../core/describe.ts";
import { ArgumentError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { relu, tanh } from "../elementwise/activations.ts";
import { add } from "../elementwise/binary.ts";
import type { RecurrentOptions, RecurrentResult, RecurrentWeights } from "./_plan.ts";
import { type Cell, recurrent } from "./_recurrent.ts";

/** Options of {@linkcode rnn}. */
export interface RNNOptions extends RecurrentOptions {
  /** Default tanh. */
  nonlinearity?: "tanh" | "relu" | undefined;
}

/**
 * Plain recurrence: one layer and direction over a sequence x [steps, n, in],
 *
 *     h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)
 *
 * or with relu. Floats. What torch.nn.RNN computes for one layer. Gradients go to x, the weights
 * and h0.
 *
 * @throws {ShapeError} when shapes do not fit, or there are no steps.
 *
 * ```ts
 * import { randn, rnn } from "@cudeno/cudeno";
 * const weights = { weightIh: randn([8, 3]), weightHh: randn([8, 8]) };
 * const { output, h } = rnn(randn([5, 2, 3]), weights, { nonlinearity: "relu" });
 * console.log(output.shape, h.shape); // [5, 2, 8], [1, 2, 8]
 * ```
 */
export function rnn(
  x: Tensor,
  weights: RecurrentWeights,
  options: RNNOptions = {},
): RecurrentResult {
  checkOptions("rnn", options, ["h0", "reverse", "lengths", "nonlinearity"]);
  const { reverse = false, lengths, nonlinearity = "tanh", ...given } = options;
  checkNonlinearity("rnn", nonlinearity);
  const [output, h] = recurrent(
    cellOf(nonlinearity === "relu"),
    x,
    weights,
    given,
    reverse,
    lengths,
  );
  return { output, h: h! };
}

/** Throws unless it is one of the two. */
export function checkNonlinearity(op: string, found: string): void {
  if (found !== "tanh" && found !== "relu") {
    throw new ArgumentError(
      `${op}: nonlinearity is ${formatValue(found)}; it must be "tanh" or "relu"`,
    );
  }
}

const cellOf = (isRelu: boolean): Cell => ({
  ...{ op: "rnn", gates: 1, states: ["h0"], keepsGates: false, splits: false },
  nonlinearity: isRelu ? "relu" : "tanh",
  save: () => [],
  last: () => [],
  forward({ f, gates: a, h0, h, product: u, bIh, bHh, lengths: l, n, hidden: m, code }) {
    const kind = Number(isRelu);
    return (t) => f.cdn_rnn_cell(h[t]!, a[t]!, u, h0[t]!, bIh, bHh, l, t, n, m, kind, code);
  },
  back({ f, h, dy, dgX: dg, dh, carried: p, lengths: l, n, hidden: m, code }) {
    const kind = Number(isRelu);
    return (t) => f.cdn_rnn_cell_grad(dg[t]!, p, dy[t]!, dh, h[t]!, l, t, n, m, kind, code);
  },
  composed(fromInput, fromState) {
    const sum = add(fromInput, fromState);
    return [isRelu ? relu(sum) : tanh(sum)];
  },
});
