import { gradEnabled, recordAll } from "../../core/autograd.ts";
import { throughOps } from "../../core/backward.ts";
import { checkOptions } from "../../core/options.ts";
import type { Tensor } from "../../tensor.ts";
import { add, mul } from "../elementwise/binary.ts";
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
  recurrentProduct,
  recurrentProductGrad,
  type RecurrentWeights,
  Rows,
} from "./_recurrent.ts";
import { slice } from "../shape/slice.ts";
import { sigmoid, tanh } from "../elementwise/activations.ts";

/** Options of {@linkcode lstm}. */
export interface LSTMOptions {
  /** The hidden state before the first step, [1, n, hidden]. Default zeros. */
  h0?: Tensor | undefined;
  /** The cell state before the first step, [1, n, hidden]. Default zeros. */
  c0?: Tensor | undefined;
  /** Walk from the last step to the first. Default false. */
  reverse?: boolean | undefined;
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
  checkOptions("lstm", options, ["h0", "c0", "reverse"]);
  const { reverse = false, ...given } = options;
  let initial;
  [x, weights, initial] = lowered("lstm", x, weights, given);
  const plan = planOf("lstm", 4, x, weights, initial, reverse);
  const [h0, c0] = [initialState(x, plan, initial.h0), initialState(x, plan, initial.c0)];
  const { steps, n, hidden } = plan;
  const states = makeStates(h0, plan);
  const gates = inputProduct(x, weights, plan); // each step leaves its gates here, activated
  const cells = x.make([steps - 1, n, hidden]); // those between c0 and the last
  const cLast = x.make([1, n, hidden]);
  walk(weights, states, gates, cells, c0, cLast, plan);

  const { output, h } = outputsOf(states, plan);
  const c = cLast.alias(); // so that disposing of it leaves what is saved
  const inputs = [x, ...listed(weights), h0, c0];
  recordAll([output, h, c], "lstm", inputs, (dy, dh, dc) => {
    if (gradEnabled()) {
      return throughOps((x, ...rest) => composed(x!, rest, plan), inputs, dy, dh, dc);
    }
    const gradients = [gradientOf(output, dy), gradientOf(h, dh, true), gradientOf(c, dc, true)];
    return walkBack(gradients, x, weights, states, gates, cells, c0, cLast, plan);
  });
  if (!output.node) { for (const saved of [states, gates, cells, cLast]) saved.dispose(); }
  return { output, h, c };
}

// The cell states before and after step i, by handle.
const cellBefore = (i: number, c0: Tensor, cells: Rows) => (i === 0 ? c0.handle : cells.at[i - 1]!);
const cellAfter = (i: number, c: Tensor, cells: Rows) => cells.at[i] ?? c.handle;

function walk(
  { weightHh, biasIh, biasHh }: RecurrentWeights,
  states: Tensor,
  gates: Tensor,
  cells: Tensor,
  c0: Tensor,
  cLast: Tensor,
  plan: Plan,
): void {
  const { n, hidden, width, order, before, first } = plan;
  const { backend, code } = states;
  using fromState = states.make([n, width]);
  using h = new Rows(states);
  using c = new Rows(cells);
  using g = new Rows(gates);
  order.forEach((t, i) => {
    recurrentProduct(fromState, h.at[before + t]!, weightHh, plan);
    backend.check(
      backend.functions.cdn_lstm_cell(
        g.at[t]!,
        cellAfter(i, cLast, c),
        h.at[first + t]!,
        g.at[t]!,
        fromState.handle,
        cellBefore(i, c0, c),
        biasIh?.handle ?? 0,
        biasHh?.handle ?? 0,
        BigInt(n),
        BigInt(hidden),
        code,
      ),
    );
  });
}

function walkBack(
  gradients: readonly Tensor[],
  x: Tensor,
  weights: RecurrentWeights,
  states: Tensor,
  gates: Tensor,
  cells: Tensor,
  c0: Tensor,
  cLast: Tensor,
  plan: Plan,
): (Tensor | null)[] {
  const { steps, n, hidden, order } = plan;
  const { backend, code } = states;
  const [dy, dh, dc] = gradients as [Tensor, Tensor, Tensor]; // dh and dc go back step by step
  const dgates = states.make(gates.shape);
  {
    using outputs = new Rows(dy);
    using c = new Rows(cells);
    using g = new Rows(gates);
    using dg = new Rows(dgates);
    for (let i = steps - 1; i >= 0; i--) {
      const t = order[i]!;
      backend.check(
        backend.functions.cdn_lstm_cell_grad(
          dg.at[t]!,
          dc.handle,
          outputs.at[t]!,
          dh.handle,
          dc.handle,
          g.at[t]!,
          cellAfter(i, cLast, c),
          cellBefore(i, c0, c),
          BigInt(n),
          BigInt(hidden),
          code,
        ),
      );
      recurrentProductGrad(dh, dg.at[t]!, weights.weightHh, plan);
    }
  }
  return [...parameterGradients(x, weights, states, dgates, dgates, plan), dh, dc];
}

// The same of differentiable operations, for gradients that shall have gradients.
function composed(x: Tensor, rest: readonly Tensor[], plan: Plan): Tensor[] {
  const { steps, n, hidden, order, precision } = plan;
  const { weightIh, weightHh, biasIh, biasHh } = named(rest.slice(0, -2));
  let [h, c] = rest.slice(-2) as [Tensor, Tensor];
  const products = linear(x, weightIh, biasIh, { precision });
  const outputs = new Array<Tensor>(steps);
  for (const t of order) {
    const sums = add(slice(products, 0, t, t + 1), linear(h, weightHh, biasHh, { precision }))
      .reshape([n, 4, hidden]);
    const gate = (k: number) => slice(sums, 1, k, k + 1).reshape([1, n, hidden]);
    const kept = mul(sigmoid(gate(1)), c);
    c = add(kept, mul(sigmoid(gate(0)), tanh(gate(2))));
    h = outputs[t] = mul(sigmoid(gate(3)), tanh(c));
  }
  return [concat(outputs, 0), h, c];
}
