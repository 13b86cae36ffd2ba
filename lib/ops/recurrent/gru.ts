import { checkOptions } from "../../core/options.ts";
import type { Tensor } from "../../tensor.ts";
import { sigmoid, tanh } from "../elementwise/activations.ts";
import { add, mul, sub } from "../elementwise/binary.ts";
import type { RecurrentOptions, RecurrentResult, RecurrentWeights } from "./_plan.ts";
import { type Cell, gatesOf, recurrent } from "./_recurrent.ts";

/**
 * Gated recurrent units: one layer and direction over a sequence x [steps, n, in]. With the gates'
 * sums a = W_ih x_t + b_ih and u = W_hh h_(t-1) + b_hh, each split into three in the order r, z, n:
 *
 *     r = sigmoid(a_r + u_r)      z = sigmoid(a_z + u_z)
 *     n = tanh(a_n + r u_n)       h_t = (1 - z) n + z h_(t-1)
 *
 * Floats. What torch.nn.GRU computes for one layer. Gradients go to x, the weights and h0.
 *
 * @throws {ShapeError} when shapes do not fit, or there are no steps.
 *
 * ```ts
 * import { gru, randn } from "@cudeno/cudeno";
 * const weights = { weightIh: randn([3 * 8, 3]), weightHh: randn([3 * 8, 8]) };
 * const { output, h } = gru(randn([5, 2, 3]), weights);
 * console.log(output.shape, h.shape); // [5, 2, 8], [1, 2, 8]
 * ```
 */
export function gru(
  x: Tensor,
  weights: RecurrentWeights,
  options: RecurrentOptions = {},
): RecurrentResult {
  checkOptions("gru", options, ["h0", "reverse", "lengths"]);
  const { reverse = false, lengths, ...given } = options;
  const [output, h] = recurrent(cell, x, weights, given, reverse, lengths);
  return { output, h: h! };
}

const cell: Cell = {
  ...{ op: "gru", gates: 3, states: ["h0"], keepsGates: true, splits: true },
  save: (x, { steps, n, hidden }) => [x.make([steps, n, hidden])], // u_n
  last: () => [],
  forward(walk) {
    const { f, gates: g, h0, h, saved: [q], product: u, bIh, bHh, lengths: l, n, hidden: m } = walk;
    const { code } = walk;
    return (t) =>
      f.cdn_gru_cell(g[t]!, q![t]!, h[t]!, g[t]!, u, h0[t]!, bIh, bHh, l, t, n, m, code);
  },
  back(walk) {
    const { f, gates: g, h0, saved: [q], dy, dgX: dx, dgH: du, dh, past: p } = walk;
    const { lengths: l, n, hidden: m, code } = walk;
    return (t) =>
      f.cdn_gru_cell_grad(
        dx[t]!,
        du[t]!,
        p,
        dy[t]!,
        dh,
        p,
        g[t]!,
        q![t]!,
        h0[t]!,
        l,
        t,
        n,
        m,
        code,
      );
  },
  composed(fromInput, fromState, [h], plan) {
    const [a, u] = [gatesOf(fromInput, 3, plan), gatesOf(fromState, 3, plan)];
    const r = sigmoid(add(a[0]!, u[0]!));
    const z = sigmoid(add(a[1]!, u[1]!));
    const fresh = tanh(add(a[2]!, mul(r, u[2]!)));
    return [add(fresh, mul(z, sub(h!, fresh)))];
  },
};
