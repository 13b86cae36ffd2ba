import { formatValue } from "../../core/format.ts";
import { gradEnabled, recordAll } from "../../core/autograd.ts";
import { throughOps } from "../../core/backward.ts";
import { checkOptions } from "../../core/options.ts";
import { ArgumentError } from "../../native/errors.ts";
import type { Tensor } from "../../tensor.ts";
import { add } from "../elementwise/binary.ts";
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
import { relu, tanh } from "../elementwise/activations.ts";

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
  checkOptions("rnn", options, ["h0", "reverse", "nonlinearity"]);
  const { reverse = false, nonlinearity = "tanh", ...given } = options;
  checkNonlinearity("rnn", nonlinearity);
  const isRelu = nonlinearity === "relu";
  let initial;
  [x, weights, initial] = lowered("rnn", x, weights, given);
  const plan = planOf("rnn", 1, x, weights, initial, reverse);
  const h0 = initialState(x, plan, initial.h0);
  const states = makeStates(h0, plan);
  walk(x, weights, states, isRelu, plan);

  const { output, h } = outputsOf(states, plan);
  const inputs = [x, ...listed(weights), h0];
  recordAll(
    [output, h],
    "rnn",
    inputs,
    (dy, dh) =>
      gradEnabled()
        ? throughOps((x, ...rest) => composed(x!, rest, isRelu, plan), inputs, dy, dh)
        : walkBack(
          gradientOf(output, dy),
          gradientOf(h, dh, true),
          x,
          weights,
          states,
          isRelu,
          plan,
        ),
  );
  if (!output.node) states.dispose();
  return { output, h };
}

/** Throws unless it is one of the two. */
export function checkNonlinearity(op: string, found: string): void {
  if (found !== "tanh" && found !== "relu") {
    throw new ArgumentError(
      `${op}: nonlinearity is ${formatValue(found)}; it must be "tanh" or "relu"`,
    );
  }
}

function walk(
  x: Tensor,
  weights: RecurrentWeights,
  states: Tensor,
  isRelu: boolean,
  plan: Plan,
): void {
  const { weightHh, biasIh, biasHh } = weights;
  const { n, hidden, width, order, before, first } = plan;
  const { backend, code } = states;
  using products = inputProduct(x, weights, plan);
  using fromState = states.make([n, width]);
  using h = new Rows(states);
  using fromInput = new Rows(products);
  for (const t of order) {
    recurrentProduct(fromState, h.at[before + t]!, weightHh, plan);
    backend.check(
      backend.functions.cdn_rnn_cell(
        h.at[first + t]!,
        fromInput.at[t]!,
        fromState.handle,
        biasIh?.handle ?? 0,
        biasHh?.handle ?? 0,
        BigInt(n),
        BigInt(hidden),
        Number(isRelu),
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
  isRelu: boolean,
  plan: Plan,
): (Tensor | null)[] {
  const { steps, n, hidden, width, order, first } = plan;
  const { backend, code } = dy;
  const dgates = dy.make([steps, n, width]);
  {
    using outputs = new Rows(dy);
    using h = new Rows(states);
    using dg = new Rows(dgates);
    for (const t of order.toReversed()) {
      backend.check(
        backend.functions.cdn_rnn_cell_grad(
          dg.at[t]!,
          outputs.at[t]!,
          dh.handle,
          h.at[first + t]!,
          BigInt(n),
          BigInt(hidden),
          Number(isRelu),
          code,
        ),
      );
      recurrentProductGrad(dh, dg.at[t]!, weights.weightHh, plan);
    }
  }
  return [...parameterGradients(x, weights, states, dgates, dgates, plan), dh];
}

// The same of differentiable operations, for gradients that shall have gradients.
function composed(x: Tensor, rest: readonly Tensor[], isRelu: boolean, plan: Plan): Tensor[] {
  const { weightIh, weightHh, biasIh, biasHh } = named(rest.slice(0, -1));
  const { precision } = plan;
  let h = rest.at(-1)!;
  const products = linear(x, weightIh, biasIh, { precision });
  const outputs = new Array<Tensor>(plan.steps);
  for (const t of plan.order) {
    const sum = add(slice(products, 0, t, t + 1), linear(h, weightHh, biasHh, { precision }));
    h = outputs[t] = isRelu ? relu(sum) : tanh(sum);
  }
  return [concat(outputs, 0), h];
}
