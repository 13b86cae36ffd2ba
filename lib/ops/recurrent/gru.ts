import { gradEnabled, recordAll } from "../../core/autograd.ts";
import { throughOps } from "../../core/backward.ts";
import { checkOptions } from "../../core/options.ts";
import type { Tensor } from "../../tensor.ts";
import { add, mul, sub } from "../elementwise/binary.ts";
import { concat } from "../shape/concat.ts";
import { linear } from "../linalg/linear.ts";
import {
  gradientOf,
  initialState,
  inputProduct,
  listed,
  lowered,
  makeStates,
  named,
  outputsOf,
  parameterGradients,
  type Plan,
  planOf,
  type RecurrentOptions,
  recurrentProduct,
  recurrentProductGrad,
  type RecurrentResult,
  type RecurrentWeights,
  Rows,
} from "./_recurrent.ts";
import { slice } from "../shape/slice.ts";
import { sigmoid, tanh } from "../elementwise/activations.ts";

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
  checkOptions("gru", options, ["h0", "reverse"]);
  const { reverse = false, ...given } = options;
  let initial;
  [x, weights, initial] = lowered("gru", x, weights, given);
  const plan = planOf("gru", 3, x, weights, initial, reverse);
  const h0 = initialState(x, plan, initial.h0);
  const { steps, n, hidden } = plan;
  const states = makeStates(h0, plan);
  const gates = inputProduct(x, weights, plan); // each step leaves its gates here, activated
  const inner = x.make([steps, n, hidden]); // u_n
  walk(weights, states, gates, inner, plan);

  const { output, h } = outputsOf(states, plan);
  const inputs = [x, ...listed(weights), h0];
  recordAll(
    [output, h],
    "gru",
    inputs,
    (dy, dh) =>
      gradEnabled()
        ? throughOps((x, ...rest) => composed(x!, rest, plan), inputs, dy, dh)
        : walkBack(
          gradientOf(output, dy),
          gradientOf(h, dh, true),
          x,
          weights,
          states,
          gates,
          inner,
          plan,
        ),
  );
  if (!output.node) { for (const saved of [states, gates, inner]) saved.dispose(); }
  return { output, h };
}

function walk(
  { weightHh, biasIh, biasHh }: RecurrentWeights,
  states: Tensor,
  gates: Tensor,
  inner: Tensor,
  plan: Plan,
): void {
  const { n, hidden, width, order, before, first } = plan;
  const { backend, code } = states;
  using fromState = states.make([n, width]);
  using h = new Rows(states);
  using g = new Rows(gates);
  using q = new Rows(inner);
  for (const t of order) {
    recurrentProduct(fromState, h.at[before + t]!, weightHh, plan);
    backend.check(
      backend.functions.cdn_gru_cell(
        g.at[t]!,
        q.at[t]!,
        h.at[first + t]!,
        g.at[t]!,
        fromState.handle,
        h.at[before + t]!,
        biasIh?.handle ?? 0,
        biasHh?.handle ?? 0,
        BigInt(n),
        BigInt(hidden),
        code,
      ),
    );
  }
}

function walkBack(
  dy: Tensor,
  dh: Tensor, // of the last state, then of each before it
  x: Tensor,
  weights: RecurrentWeights,
  states: Tensor,
  gates: Tensor,
  inner: Tensor,
  plan: Plan,
): (Tensor | null)[] {
  const { n, hidden, order, before } = plan;
  const { backend, code } = dy;
  const dgatesX = dy.make(gates.shape);
  const dgatesH = dy.make(gates.shape);
  // From the step after, past the product with its state.
  const past = dy.make([1, n, hidden]).fill(0);
  {
    using outputs = new Rows(dy);
    using h = new Rows(states);
    using g = new Rows(gates);
    using q = new Rows(inner);
    using dx = new Rows(dgatesX);
    using du = new Rows(dgatesH);
    for (const t of order.toReversed()) {
      backend.check(
        backend.functions.cdn_gru_cell_grad(
          dx.at[t]!,
          du.at[t]!,
          past.handle,
          outputs.at[t]!,
          dh.handle,
          past.handle,
          g.at[t]!,
          q.at[t]!,
          h.at[before + t]!,
          BigInt(n),
          BigInt(hidden),
          code,
        ),
      );
      recurrentProductGrad(dh, du.at[t]!, weights.weightHh, plan);
    }
  }
  return [...parameterGradients(x, weights, states, dgatesX, dgatesH, plan), add(dh, past)];
}

// The same of differentiable operations, for gradients that shall have gradients.
function composed(x: Tensor, rest: readonly Tensor[], plan: Plan): Tensor[] {
  const { steps, n, hidden, order, precision } = plan;
  const { weightIh, weightHh, biasIh, biasHh } = named(rest.slice(0, -1));
  let h = rest.at(-1)!;
  const products = linear(x, weightIh, biasIh, { precision });
  const outputs = new Array<Tensor>(steps);
  for (const t of order) {
    const a = slice(products, 0, t, t + 1).reshape([n, 3, hidden]);
    const u = linear(h, weightHh, biasHh, { precision }).reshape([n, 3, hidden]);
    const part = (sums: Tensor, k: number) => slice(sums, 1, k, k + 1).reshape([1, n, hidden]);
    const r = sigmoid(add(part(a, 0), part(u, 0)));
    const z = sigmoid(add(part(a, 1), part(u, 1)));
    const fresh = tanh(add(part(a, 2), mul(r, part(u, 2))));
    h = outputs[t] = add(fresh, mul(z, sub(h, fresh)));
  }
  return [concat(outputs, 0), h];
}
